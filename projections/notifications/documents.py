"""A notice as a document: what programs read of it.

Rule: the names are those of `keyturn.rotation/1` where that has them.
"""

from __future__ import annotations

from typing import Any

from engine.notices import Notice
from engine.values import SECOND
from projections.notifications.words import headline
from projections.times import to_text


def document(notice: Notice) -> dict[str, Any]:
    """Return a notice as plain JSON would have it: the names of `keyturn.rotation/1` where it has them."""
    cause = notice.cause
    return {
        "schema": "keyturn.notice/1",
        "position": notice.position,
        "kind": notice.kind.value,
        "urgency": notice.urgency.value,
        "text": headline(notice),
        "at": to_text(notice.at),
        "service": notice.service,
        "environment": notice.environment,
        "rotation_id": notice.rotation_id or None,
        "strategy": notice.strategy or None,
        "state": notice.state or None,
        "version": notice.version,
        "previous_version": notice.previous_version,
        "actor": notice.actor or None,
        "reason": notice.reason,
        "automatic": notice.automatic,
        "started_at": None if notice.started_at is None else to_text(notice.started_at),
        "duration_seconds": None if notice.duration is None else notice.duration / SECOND,
        "error": None
        if cause is None
        else {"step": cause.step, "kind": cause.kind, "message": cause.message, "hint": cause.hint},
        "next": list(notice.next_steps),
        "wave": notice.wave,
        "until": None if notice.until is None else to_text(notice.until),
        "channel": notice.channel or None,
    }
