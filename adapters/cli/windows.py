"""Whether a service is due, and whether a rotation of it may begin now.

Rule: only a beginning is held up; nothing here is asked by what goes on or back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.cli.refusals import BadInput, OutsideWindow
from adapters.schedule import due_at, is_open, opens_at
from engine.values import Instant
from projections.times import from_text, to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.cli.starting import Asked
    from adapters.config.model import Service


def is_due(session: Session, service: Service, last_rotated_at: str | None, now: Instant) -> bool:
    """Tell whether a service is due; `last_rotated_at` is the one of `keyturn.status/1`."""
    last = None if last_rotated_at is None else Instant(from_text(last_rotated_at))
    due = due_at(service.timetable, last_rotated_at=last, since=min(session.known_since, now))
    return due is not None and due <= now


def opens(service: Service, now: Instant) -> str:
    """Return for people when a rotation may begin."""
    at = opens_at(service.timetable, now)
    return "in more than a year" if at is None else f"at {to_text(at)}"


def require_reason(*, outside: bool, reason: str) -> None:
    """Raise `BadInput` where a window is to be passed over and nobody says why."""
    if outside and not reason:
        raise BadInput(what="--outside-window", why="it needs a --reason, which is recorded")


def admitted(session: Session, asked: Asked, *, outside: bool) -> Asked:
    """Return a rotation that is asked for as it may begin now; one `outside` of its windows says so in its reason.

    Raises `OutsideWindow` where no window of the service is open, unless it may begin outside of them.
    """
    service, now = asked.service, session.installation.world.clock.now().wall
    if is_open(service.timetable, now):
        return asked
    if not outside:
        raise OutsideWindow(service=service.name, environment=service.environment, opens=opens(service, now))
    return replace(asked, reason=f"outside of its windows: {asked.reason}")
