"""What the checks share: looking is timed, always ends in a sample, and is told in one line without secrets.

Rule 1: what answers badly or not at all fails; what could not be measured is unknown, with the reason.
Rule 2: no text of a driver or of a server is told, but codes and numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.adapter import CheckAdapter, CheckContext
from engine.health import TEXT_BYTES_MAX, CheckResult, Sample, Subject
from engine.values import SECOND, CredentialValue, Form, Microseconds

PASS: Final = CheckResult.PASS
WARN: Final = CheckResult.WARN
FAIL: Final = CheckResult.FAIL
UNKNOWN: Final = CheckResult.UNKNOWN


class OutOfReach(Exception):
    """What is looked at did not answer, or not to this login: a failure. The message is one line for people."""


class NotSeen(Exception):
    """There was nothing to measure: unknown. The message is one line for people."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one look showed; `value` is in the unit of the check."""

    result: CheckResult
    text: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Connections:
    """The connections of a server but ours: of the login, of everybody, and how many each may be (0: no limit)."""

    mine: int
    total: int
    login_limit: int
    server_limit: int


@dataclass(frozen=True, slots=True)
class Transactions:
    """The open transactions: how many, for how many seconds the oldest, and how many sessions could not be seen."""

    count: int
    oldest: float
    hidden: int = 0


See = Callable[[Subject], Found]
"""Looks once; raises `OutOfReach`, `NotSeen`, or ModuleNotFoundError where the driver is not installed."""


class Looking:
    """The port `HealthCheck` around a function that sees; `files` are those that it reads, by option."""

    def __init__(self, name: str, unit: str, see: See, files: Mapping[str, Path] | None = None) -> None:
        self.name = name
        self._unit = unit
        self._see = see
        self._files = files or {}

    def validate(self) -> dict[str, str]:
        """Return which of the files are not there."""
        return {option: f"there is no {path}" for option, path in self._files.items() if not path.is_file()}

    def look(self, subject: Subject) -> Sample:
        """Look once; what is not seen is a sample as well."""
        began = time.monotonic_ns()
        try:
            found = self._see(subject)
        except OutOfReach as error:
            found = Found(FAIL, str(error))
        except NotSeen as error:
            found = Found(UNKNOWN, str(error))
        except ModuleNotFoundError as error:
            found = Found(UNKNOWN, f"the Python package {error.name!r} is not installed")
        took = Microseconds((time.monotonic_ns() - began) // 1_000)
        unit = "" if found.value is None else self._unit
        return Sample(found.result, found.value, unit, took, in_one_line(found.text, subject))


def declared(
    name: str,
    summary: str,
    options: type[msgspec.Struct],
    see: Callable[[Any, CheckContext], See],
    *,
    unit: str,
    kinds: frozenset[str] = frozenset(),
    extra: str = "",
) -> CheckAdapter:
    """Return the adapter of a check that measures in `unit`; `see` makes, from its options, what looks."""

    def build(given: Any, context: CheckContext) -> Looking:
        root = getattr(given, "tls_root", "")
        files = {"tls_root": context.base / root} if root else {}
        return Looking(context.name, unit, see(given, context), files)

    return CheckAdapter(
        name=name,
        summary=summary,
        options=options,
        build=build,
        kinds=kinds,
        extra=extra,
    )


def judged(value: float, *, warn: float | None = None, fail: float | None = None) -> CheckResult:
    """Say how a value looks against what it may not exceed; a bound of None is no bound."""
    if fail is not None and value > fail:
        return FAIL
    return WARN if warn is not None and value > warn else PASS


def usable(subject: Subject) -> CredentialValue:
    """Return the value to log in with; raises `NotSeen` where there is none in the clear."""
    value = subject.new
    if value is None or value.secret is None or value.form is not Form.PLAIN:
        raise NotSeen("there is no value that could be used to log in")
    return value


def seconds(duration: Microseconds) -> float:
    """Return a length of time in seconds."""
    return duration / SECOND


def in_milliseconds(length: float) -> str:
    """Tell a length of time, given in seconds."""
    return f"{length * 1000:.1f} ms"


def in_one_line(text: str, subject: Subject) -> str:
    """Return the text on one line, without the values of the subject, within `TEXT_BYTES_MAX`."""
    for value in (subject.new, subject.old):
        if value is not None and value.secret is not None and value.revealed():
            text = text.replace(value.revealed(), "…")
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line.encode(errors="replace")[:TEXT_BYTES_MAX].decode(errors="ignore")
