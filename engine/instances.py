"""The ports of a rollout: who uses a credential, how one of them is handed a version, and what it proves to use.

Rule 1: an instance is known by its id alone; where it is and what it is like may change from one look to the next.
Rule 2: that a version was sent is no proof that it is used; what cannot be seen is unknown, never moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Protocol, runtime_checkable

import msgspec

from engine.values import CredentialValue, Instant

INSTANCE_ID_MAX = 253
"""Characters of an id: the longest name that DNS, and so Kubernetes, has for one."""


class Instance(msgspec.Struct, frozen=True, omit_defaults=True):
    """One consumer of the credential, as discovery lists it."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=INSTANCE_ID_MAX)]
    """Its name, the same for as long as it lives."""
    zone: str = ""
    """Its failure domain, as an availability zone or a cluster; empty where it has none."""
    endpoint: str = ""
    """Where it is reached, as `http://10.0.0.5:8080`; empty where nobody needs to know."""
    labels: dict[str, str] = {}
    """What selectors look at."""
    canary: bool = False
    """It is marked to be among the first."""


class Usage(StrEnum):
    """What an instance was seen to use."""

    USED = "used"
    """It proved that it uses the version."""
    OTHER = "other"
    """It proved that it uses another version, or none."""
    UNKNOWN = "unknown"
    """It could not be asked, gave no clear answer, or its answer proves nothing."""


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one look at an instance showed. `detail` is redacted text for people, one line."""

    usage: Usage
    detail: str = ""


@runtime_checkable
class Discovery(Protocol):
    """Who uses the credential of a service."""

    def instances(self) -> Sequence[Instance]:
        """Return all instances there are now, each id once; raises `Unavailable` or `Rejected`.

        A part of them is never returned as the whole: where the listing broke off, it raises.
        """
        ...


@runtime_checkable
class Distributor(Protocol):
    """How an instance is given a version, and shows which one it uses."""

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Have the instance use `version`, which is `value`; the same again changes nothing.

        It returns when the instance was told, which is no proof that it uses it. What is told takes effect before
        `deadline`, is overtaken by what is told later, or is `Uncertain`. Raises the three outcomes.
        """
        ...

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Say whether the instance uses `version` now; changes nothing, and never raises the three outcomes."""
        ...


@runtime_checkable
class Witness(Protocol):
    """A target that can tell whether a version is still in use."""

    def sessions(self, value: CredentialValue) -> int | None:
        """Return how many sessions were opened with the version and are open now, our own left out.

        None where the target cannot tell them from those of another version, or could not be asked.
        """
        ...
