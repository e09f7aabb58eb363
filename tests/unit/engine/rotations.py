"""Rotations in any condition, made by folding facts: for tests of decisions, which are pure."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from msgspec.structs import replace

from engine import events as e
from engine import rotation as rotations
from engine.attempts import Attempt
from engine.facts import Fact
from engine.machine import State
from engine.plan import Kind, Plan, Strategy
from engine.rotation import Rotation
from engine.values import SECOND, Deadline, Instant, Microseconds, Moment

ROTATION: Final = UUID("018f4e6a-7b1c-7def-8a90-123456789abc")
AT: Final = Instant(1_767_225_600_000_000)
CAUSE: Final = e.Cause("apply", "unavailable", "no answer")


def seconds(count: float) -> Instant:
    """Return the time so many seconds after the rotation began."""
    return Instant(AT + int(count * SECOND))


def moment(count: float = 0.0, *, uptime: float | None = None, boot: str = "boot-1") -> Moment:
    """Return what the clock shows so many seconds after the rotation began."""
    return Moment(seconds(count), boot, Microseconds(int((count if uptime is None else uptime) * SECOND)))


def plan(strategy: Strategy = Strategy.SINGLE, **changes: Any) -> Plan:
    """Return a plan; what is not said has its default."""
    overlap = strategy in (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
    return Plan(**{"strategy": strategy, "overlap": overlap, **changes})


def started(the_plan: Plan | None = None, **changes: Any) -> Fact:
    """Return the first fact of a rotation of `app` from v1 to v2."""
    fields = {
        "service": "app-db",
        "environment": "production",
        "kind": Kind.ROTATION,
        "plan": the_plan or plan(),
        "version": "v2",
        "login": "app",
        "owner": "host:1",
        "previous": "v1",
        "previous_login": "app",
    }
    return Fact(ROTATION, 1, AT, "ada", e.RotationStarted(**{**fields, **changes}), State.STAGING)


def rotation(state: State = State.STAGING, the_plan: Plan | None = None, **changes: Any) -> Rotation:
    """Return a rotation in a state, with whatever else is said of it."""
    return replace(rotations.start(started(the_plan)), state=state, **changes)


def attempt(
    number: int = 1,
    version: str = "v2",
    *,
    login: str = "app",
    until: float = 5,
    closed: bool = False,
    settled: bool = False,
    done: bool = False,
) -> Attempt:
    """Return an attempt that can take effect until so many seconds after the rotation began."""
    return Attempt(number, version, login, seconds(until), closed, settled, done)


def grace(count: float) -> Deadline:
    """Return a deadline so many seconds after the rotation began, by the wall clock and by that of the boot."""
    return Deadline(seconds(count), "boot-1", Microseconds(int(count * SECOND)))
