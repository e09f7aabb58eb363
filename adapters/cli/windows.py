"""Whether a service is due, and whether a rotation of it may begin now.

Rule: only a beginning is held up; nothing here is asked by what goes on or back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.cli.refusals import BadInput, OutsideWindow
from adapters.schedule import due_at, is_open, opens_at
from engine.values import Instant
from projections.times import from_text, to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service


def is_due(service: Service, last_rotated_at: str | None, now: Instant) -> bool:
    """Tell whether a service is due; one with a schedule that was never rotated is due at its next time."""
    last = None if last_rotated_at is None else Instant(from_text(last_rotated_at))
    due = due_at(service.timetable, last_rotated_at=last, since=now)
    return due is not None and due <= now


def opens(service: Service, now: Instant) -> str:
    """Return for people when a rotation may begin."""
    at = opens_at(service.timetable, now)
    return "in more than a year" if at is None else f"at {to_text(at)}"


def require_window(session: Session, services: Sequence[Service], *, outside: bool, reason: str) -> None:
    """Raise `OutsideWindow` where no window of a service is open, unless that is asked for with a reason."""
    if outside and not reason:
        raise BadInput(what="--outside-window", why="it needs a --reason, which is recorded")
    now = session.installation.world.clock.now().wall
    for service in services:
        if not outside and not is_open(service.timetable, now):
            raise OutsideWindow(service=service.name, environment=service.environment, opens=opens(service, now))
