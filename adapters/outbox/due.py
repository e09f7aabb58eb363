"""Credentials that are overdue: recorded once a version, so that the outbox can tell.

Rule: whoever looks records it; the stream of a due date takes one fact, so that many processes record it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from adapters.config.model import Service
from adapters.schedule import due_at
from engine import channel_events as c
from engine.errors import Conflict
from engine.facts import Fact
from engine.ports import EventLog
from engine.values import SECOND, Instant, Microseconds

PATIENCE: Final = Microseconds(3_600 * SECOND)
"""How long after it was due a version may be current before people are told: a timer that runs hourly is fine."""


def overdue(
    services: Iterable[Service], entries: Iterable[Mapping[str, Any]], now: Instant
) -> list[c.CredentialOverdue]:
    """Return which services should have been rotated a while ago, of those that have channels and are ever due.

    `entries` are those of projections/status.py: times are microseconds.
    """
    known = {(entry["service"], entry["environment"]): entry for entry in entries}
    found: list[c.CredentialOverdue] = []
    for service in services:
        entry = known.get((service.name, service.environment))
        if entry is None or not service.channels or entry["last_rotated_at"] is None:
            continue
        due = due_at(service.timetable, last_rotated_at=Instant(entry["last_rotated_at"]), since=now)
        if entry["version"] and due is not None and due + PATIENCE < now:
            found.append(c.CredentialOverdue(service.name, service.environment, entry["version"], due))
    return found


def record(log: EventLog, found: Iterable[c.CredentialOverdue], *, actor: str, at: Instant) -> int:
    """Append what is not in the log yet; return how many."""
    count = 0
    for event in found:
        stream = c.due_date_id(event.service, event.environment, event.version)
        if log.stream(stream):
            continue
        try:
            log.append([Fact(stream, 1, at, actor, event)])
        except Conflict:
            continue  # another process was first
        count += 1
    return count
