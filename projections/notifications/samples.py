"""Sample notices, one of each kind: for `notify test`, and to try every template before anything happens.

Rule: every field that a notice of the kind can have is filled, so that a template that uses it is tried as well.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from engine.credential_events import Cause
from engine.notices import Notice, NoticeKind
from engine.values import SECOND, Instant, Microseconds

_FAILED: Final = frozenset(
    {NoticeKind.FAILED, NoticeKind.ROLLBACK_STARTED, NoticeKind.ROLLED_BACK, NoticeKind.ROLLBACK_FAILED}
)
_STATES: Final = {
    NoticeKind.STARTED: "staging",
    NoticeKind.COMPLETED: "grace",
    NoticeKind.FAILED: "failed",
    NoticeKind.ROLLBACK_STARTED: "rolling_back",
    NoticeKind.ROLLED_BACK: "rolled_back",
    NoticeKind.ROLLBACK_FAILED: "rollback_failed",
    NoticeKind.WAVE_COMPLETED: "distributing",
    NoticeKind.PAUSED: "paused",
    NoticeKind.RESUMED: "distributing",
    NoticeKind.WAITING: "waiting",
}
_ROTATION: Final = "00000000-0000-4000-8000-000000000000"


def sample(kind: NoticeKind, *, service: str, environment: str, at: Instant, channel: str = "") -> Notice:
    """Return a notice of a rotation that never was: position 0, and a rotation id of zeros."""
    notice = Notice(
        position=0,
        kind=kind,
        at=at,
        service=service,
        environment=environment,
        rotation_id=_ROTATION,
        strategy="alternating",
        state=_STATES.get(kind, ""),
        version="v00000000000000000000",
        previous_version="v00000000000000000001",
        actor="keyturn",
        reason="this is a test, nothing happened",
        started_at=Instant(at - 5 * SECOND),
        duration=Microseconds(5 * SECOND),
        next_steps=(f"keyturn show {_ROTATION} tells what happened",),
        until=Instant(at + 86_400 * SECOND),
        wave=0 if kind is NoticeKind.WAVE_COMPLETED else None,
        ends_failure=kind is NoticeKind.COMPLETED,
        channel=channel if kind is NoticeKind.UNDELIVERED else "",
        automatic=kind in _FAILED,
    )
    if kind not in _FAILED and kind is not NoticeKind.UNDELIVERED:
        return notice
    cause = Cause("verify", "rejected", "a test: the target refused the new value", "This is a test; do nothing.")
    return replace(notice, cause=cause)


def samples(*, service: str, environment: str, at: Instant) -> list[Notice]:
    """Return one notice of every kind."""
    return [sample(kind, service=service, environment=environment, at=at, channel="slack") for kind in NoticeKind]
