"""When a rotation is due, and when one may begin: `ttl`, `schedule`, `timezone` and `windows`.

Rule 1: pure; times are microseconds since 1970, and clocks on walls are those of a named zone.
Rule 2: a window holds up beginnings alone. Going back, going on and retiring are never held up by one.

A time of `schedule` comes when the clock of the zone first shows it, or passes over it: one that is left out when the
clocks are changed is the first one after the gap, and one that comes twice is taken once, the first time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from engine.values import SECOND, Instant, Microseconds

DAYS_MAX: Final = 366
"""How far is looked for a time at which a window is open."""

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_SPAN: Final = r"\A([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z"
Span = Annotated[str, msgspec.Meta(pattern=_SPAN, description="HH:MM-HH:MM, such as 22:00-04:00")]

FIELDS: Final = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 that its month has, or L for the last day",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT",
}
"""The fields of a cron expression in their order, and what they take beside `*`, lists, ranges and steps."""

_MINUTE: Final = timedelta(minutes=1)
_MINUTES_A_DAY: Final = 24 * 60


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times of the week, month or year; what is not given is any."""

    times: tuple[Span, ...] = ()
    """Times of the day, `HH:MM-HH:MM`, the end not included; `22:00-04:00` goes over midnight."""
    weekdays: tuple[Weekday, ...] = ()
    """Days of the week; after midnight it is the next day."""
    days_of_month: tuple[Annotated[int, msgspec.Meta(ge=-31, le=31)], ...] = ()
    """Days of the month, 1 to 31; -1 is the last, -2 the one before it."""
    months: tuple[Annotated[int, msgspec.Meta(ge=1, le=12)], ...] = ()
    """Months, 1 to 12."""
    location: str = ""
    """The time zone, as in `Europe/Oslo`; the `timezone` of the rotation where none is given."""


class Windows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When rotations may begin."""

    allowed: tuple[Window, ...] = ()
    """Only in one of these, where there are any."""
    blocked: tuple[Window, ...] = ()
    """In none of these."""


class Timetable(msgspec.Struct, frozen=True):
    """When a service is rotated."""

    ttl: Microseconds | None = None
    schedule: str = ""
    zone: str = "UTC"
    windows: Windows = Windows()


def is_zone(name: str) -> bool:
    """Tell whether there is a time zone of this name."""
    try:
        _zone(name)
    except LookupError:
        return False
    return True


def near_zone(wrong: str) -> str:
    """Return the time zone that was probably meant, empty where none is near; raises LookupError without a database."""
    known = available_timezones()
    if not known:
        raise LookupError
    places = {name.rpartition("/")[2]: name for name in sorted(known)}
    near = get_close_matches(wrong, known, n=1) or get_close_matches(wrong.title(), places, n=1, cutoff=0.8)
    return places.get(near[0], near[0]) if near else ""


def cron_fault(expression: str) -> str:
    """Return what is wrong with a cron expression, which is not repeated; empty where nothing is."""
    from cronsim import CronSim, CronSimError

    given = len(expression.split())
    if given != len(FIELDS):
        return f"{len(FIELDS)} fields are expected, and there {'is' if given == 1 else 'are'} {given}"
    try:
        comes = next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        return f"the {field} is wrong, {FIELDS.get(field, 'whatever it is')} is expected"
    return "" if comes else "no day is ever like that"


def due_at(table: Timetable, *, last_rotated_at: Instant | None, since: Instant) -> Instant | None:
    """Return when the next rotation is due; None where it is never.

    With `ttl` a service that was never rotated is due at once. With `schedule` it is due at the first time of it after
    the last rotation, or after `since` where there was none. With both, whatever comes first.
    """
    found: list[int] = []
    if table.ttl is not None:
        found.append(since if last_rotated_at is None else last_rotated_at + table.ttl)
    if table.schedule:
        scheduled = _after(table.schedule, table.zone, since if last_rotated_at is None else last_rotated_at)
        found += [] if scheduled is None else [scheduled]
    return Instant(min(found)) if found else None


@lru_cache(maxsize=10_000)
def _after(expression: str, zone: str, at: Instant) -> Instant | None:
    from cronsim import CronSim, CronSimError

    # The library walks a clock that knows no zone: across a change of the clocks by half an hour it loses minutes, and
    # in the hour that comes twice it can answer with a time that has passed.
    where = _zone(zone)
    try:
        for wall in CronSim(expression, _local(at, where).replace(tzinfo=None)):
            reached = _reached(wall, where)
            if reached > at:
                return reached
    except CronSimError:
        pass  # 30 February, as an example: it is right, and never comes
    return None


def _reached(wall: datetime, where: tzinfo) -> Instant:
    """Return when the clock of a zone first shows a time, in whole minutes and without a zone, or passes over it."""
    at = _instant(wall.replace(tzinfo=where))
    while _local(at, where).replace(tzinfo=None) != wall:
        wall += _MINUTE  # It is left out; the first that is shown after it is when the clocks are changed.
        at = _instant(wall.replace(tzinfo=where))
    return at


def is_open(table: Timetable, at: Instant) -> bool:
    """Tell whether a rotation may begin at a time."""
    allowed, blocked = table.windows.allowed, table.windows.blocked
    if allowed and not any(_covers(window, table.zone, at) for window in allowed):
        return False
    return not any(_covers(window, table.zone, at) for window in blocked)


def opens_at(table: Timetable, at: Instant) -> Instant | None:
    """Return the first time from `at` on at which a rotation may begin; None where there is none within a year."""
    now, last = at, at + DAYS_MAX * _MINUTES_A_DAY * 60 * SECOND
    while now <= last:
        if is_open(table, now):
            return now
        now = _next_turn(table, now)
    return None


def _covers(window: Window, zone: str, at: Instant) -> bool:
    local = _local(at, _zone(window.location or zone))
    if window.weekdays and WEEKDAYS[local.weekday()] not in window.weekdays:
        return False
    if window.months and local.month not in window.months:
        return False
    if window.days_of_month and not {local.day, local.day - _length(local) - 1} & set(window.days_of_month):
        return False
    minute = local.hour * 60 + local.minute
    spans = [_span(span) for span in window.times]
    return not spans or any(
        begin <= minute < end if begin < end else minute >= begin or minute < end for begin, end in spans
    )


def _length(local: datetime) -> int:
    """Return how many days the month has."""
    return (local.replace(day=28) + timedelta(days=4)).replace(day=1).toordinal() - local.replace(day=1).toordinal()


@lru_cache(maxsize=1_000)
def _span(text: str) -> tuple[int, int]:
    """Return the first minute of the day, and the one behind the last."""
    begin, end = (int(each[:2]) * 60 + int(each[3:]) for each in text.split("-"))
    return begin, end


def _next_turn(table: Timetable, at: Instant) -> Instant:
    """Return a later time before which no window opens or closes.

    It is the next time of the day that a window names, or midnight. Where clocks are changed on the way, it is half of
    the way, and so on, down to a minute. (No zone changes its clock there and back within a day.)
    """
    zones = {_zone(window.location or table.zone) for window in _every(table)}
    base = at - at % (60 * SECOND)
    minutes = min(_until_edge(window, table.zone, at) for window in _every(table))
    while minutes > 1 and any(
        _local(at, each).utcoffset() != _local(Instant(base + minutes * 60 * SECOND), each).utcoffset()
        for each in zones
    ):
        minutes //= 2
    return Instant(base + minutes * 60 * SECOND)


def _every(table: Timetable) -> tuple[Window, ...]:
    return (*table.windows.allowed, *table.windows.blocked)


def _until_edge(window: Window, zone: str, at: Instant) -> int:
    """Return the minutes on the clock from that of a time to the next at which the window may open or close."""
    local = _local(at, _zone(window.location or zone))
    minute = local.hour * 60 + local.minute
    edges = {edge for span in window.times for edge in _span(span)} | {_MINUTES_A_DAY}
    return min(edge for edge in edges if edge > minute) - minute


@lru_cache(maxsize=1_000)
def _zone(name: str) -> tzinfo:
    """Return a zone; raises LookupError where there is none. UTC needs no database of zones."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, OSError) as error:  # what is no name, and a folder of the database
        raise LookupError from error


def _local(at: Instant, where: tzinfo) -> datetime:
    return datetime.fromtimestamp(at // SECOND, tz=where)


def _instant(local: datetime) -> Instant:
    return Instant(int(local.timestamp()) * SECOND)
