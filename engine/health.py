"""The port of health checks: what is looked at, and what was seen.

Rule 1: a check says what it saw, and judges one moment; what follows from several is a policy of the engine.
Rule 2: what could not be seen is unknown, never fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

import msgspec

from engine.values import CredentialValue, Microseconds

TEXT_BYTES_MAX: Final = 4_096
"""How much of what a check says is kept, as in Consul."""


class CheckResult(StrEnum):
    """How a moment looked; the order is that of the exit codes of Nagios."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a check saw at one moment."""

    result: CheckResult
    value: float | None = None
    """What was measured, in `unit`; None where nothing was."""
    unit: str = ""
    """`s`, `bytes`, `ratio`, or empty for a count."""
    duration: Microseconds = Microseconds(0)
    """How long looking took."""
    text: str = ""
    """One line for people, redacted, within `TEXT_BYTES_MAX`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: the versions of one credential, and which of them should work."""

    service: str
    environment: str
    strategy: str = ""
    rotation_id: str = ""
    """Empty where no rotation is at work."""
    new_version: str = ""
    old_version: str = ""
    new: CredentialValue | None = None
    """The version that is current, or becomes so."""
    old: CredentialValue | None = None
    """The one before it; None where there is none."""
    old_works: bool | None = None
    """True: the old version must be accepted, as the way back; False: it must be refused; None: either will do."""
    instances: tuple[str, ...] = ()
    """The instances of the wave that soaks; empty where the credential as a whole is looked at."""
    others: tuple[str, ...] = ()
    """The instances that do not have the new version, to compare with over the same minutes."""


@runtime_checkable
class HealthCheck(Protocol):
    """One check of one service."""

    @property
    def name(self) -> str:
        """What it is called in its service."""
        ...

    def look(self, subject: Subject) -> Sample:
        """Look once, within the timeout it was configured with; never raises the three outcomes."""
        ...


@runtime_checkable
class Validatable(Protocol):
    """A check that can tell, without looking, what would keep it from doing so."""

    def validate(self) -> Mapping[str, str]:
        """Return what is wrong, by the option that it is about; empty where nothing is. Never raises."""
        ...
