"""Times for people: ISO 8601 in UTC, from and to microseconds.

Rule: pure; no clock, and no time zone but the one that a text names.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_text(instant: int) -> str:
    """Return `2026-03-01T12:00:00.000000Z` for microseconds since 1970: sorts as text, and loses nothing."""
    moment = _EPOCH + timedelta(microseconds=instant)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: str) -> int:
    """Return the microseconds since 1970 of an ISO 8601 time or date; without an offset it is UTC.

    Raises ValueError for anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND
