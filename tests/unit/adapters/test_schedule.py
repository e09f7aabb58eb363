"""When a rotation is due and when one may begin, against a scan of every minute, across the changes of the clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.schedule import (
    WEEKDAYS,
    Timetable,
    Window,
    Windows,
    cron_fault,
    due_at,
    is_open,
    is_zone,
    near_zone,
    opens_at,
)
from engine.values import SECOND, Instant, Microseconds
from tests.unit.config.reading import only, reads, service

MINUTE = 60 * SECOND
ONE = timedelta(minutes=1)
DAY = 24 * 60 * MINUTE

CHANGES = {
    "Europe/Oslo": ["2026-03-28", "2026-10-24"],
    "America/New_York": ["2026-03-07", "2026-10-31"],
    "Australia/Lord_Howe": ["2026-04-04", "2026-10-03"],
    "Africa/Casablanca": ["2026-02-14", "2026-03-21"],
    "Asia/Kathmandu": ["2026-03-28"],
}
"""Five zones, and days before their clocks change: by an hour, by half an hour, around Ramadan, and never."""

STARTS = [(zone, day) for zone, days in CHANGES.items() for day in days]


def instant(text: str, zone: str = "UTC") -> Instant:
    """Return a time of a zone."""
    return Instant(int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND)


def minutes(begin: Instant, days: float) -> list[Instant]:
    """Return every minute from a time on."""
    return [Instant(begin + number * MINUTE) for number in range(int(days * 24 * 60))]


# --- schedules ------------------------------------------------------------------------------------------------


def passed(begin: Instant, days: int, zone: str) -> Iterator[tuple[Instant, list[datetime]]]:
    """Yield each minute and what the clock on the wall shows or passes over then for the first time."""
    tz, last = ZoneInfo(zone), None
    for at in minutes(begin, days):
        wall = datetime.fromtimestamp(at // SECOND, tz=tz).replace(tzinfo=None)
        if last is None or wall == last + ONE:
            yield at, [wall]
        else:  # Put forward, it passes over what is left out; put back, it shows nothing new for a while.
            yield at, [last + ONE * number for number in range(1, (wall - last) // ONE + 1)]
        last = wall if last is None else max(last, wall)


def scan(expression: str, days: Iterable[tuple[Instant, list[datetime]]]) -> list[Instant]:
    """Return every minute that an expression means, by looking at each: one that comes twice is taken once."""
    fields = [_numbers(field, *ends) for field, ends in zip(expression.split(), ENDS, strict=True)]
    return [at for at, new in days if any(_means(fields, wall) for wall in new)]


ENDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def _means(fields: list[set[int]], wall: datetime) -> bool:
    minute, hour, day, month, weekday = fields
    return (
        wall.minute in minute
        and wall.hour in hour
        and wall.day in day
        and wall.month in month
        and wall.isoweekday() % 7 in weekday
    )


def _numbers(field: str, least: int, most: int) -> set[int]:
    """Return the numbers of `*`, `*/n`, `a-b` and `a,b`."""
    if field.startswith("*"):
        return set(range(least, most + 1, int(field[2:] or "1")))
    if "-" in field:
        begin, end = field.split("-")
        return set(range(int(begin), int(end) + 1))
    return {int(each) for each in field.split(",")}


AROUND_THE_CHANGE = [
    "0 3 * * *",
    "30 2 * * *",
    "15 1,2 * * *",
    "45 1-3 * * *",
    "*/20 * * * *",
    "5 * * * *",
    "*/15 3 * * *",
    "*/10 0 * * *",
    "0 */2 * * *",
]


@pytest.mark.slow
@pytest.mark.parametrize("expression", AROUND_THE_CHANGE)
@pytest.mark.parametrize(("zone", "day"), STARTS)
def test_a_schedule_is_due_when_a_scan_of_every_minute_says_so(zone: str, day: str, expression: str) -> None:
    """Wherever in the days around a change of the clocks the last rotation was."""
    begin = instant(day, zone)
    found = scan(expression, passed(begin, 4, zone))
    table = Timetable(schedule=expression, zone=zone)
    for at in minutes(begin, 2.5)[::7]:
        expected = next(each for each in found if each > at)
        assert due_at(table, last_rotated_at=at, since=Instant(0)) == expected, at


@pytest.mark.slow
@pytest.mark.parametrize("zone", sorted(CHANGES))
def test_a_year_has_the_due_times_that_a_scan_of_every_minute_finds(zone: str) -> None:
    """Each is due after the one before it; none is left out and none comes twice."""
    begin = instant("2026-01-01", zone)
    year = list(passed(begin, 365, zone))
    for expression in ("30 2 * * *", "0 3 * * 1-5", "45 1 1,15 * *", "15 2 * 3,10 0"):
        table, at, due = Timetable(schedule=expression, zone=zone), Instant(begin - MINUTE), []
        while (at := due_at(table, last_rotated_at=at, since=at) or Instant(0)) < begin + 365 * DAY:
            due.append(at)
        assert due == scan(expression, year), expression


@pytest.mark.slow
@given(
    st.tuples(*[st.sampled_from(["*", *(str(n) for n in range(least, most + 1))]) for least, most in ENDS]),
    st.sampled_from(sorted(CHANGES)),
    st.integers(instant("2024-01-01"), instant("2031-01-01")),
)
def test_what_is_due_is_later_than_the_last_rotation_and_never_moves_back(
    fields: tuple[str, ...], zone: str, at: int
) -> None:
    """Else a rotation that has just ended would be due again at once."""
    table = Timetable(schedule=" ".join(fields), zone=zone)
    due = due_at(table, last_rotated_at=Instant(at), since=Instant(0))
    if due is not None:
        assert due > at
        assert due % MINUTE == 0
        assert due_at(table, last_rotated_at=Instant(due - 1), since=Instant(0)) == due


def test_a_time_that_comes_twice_is_not_due_again_in_the_second_hour() -> None:
    """At 02:10 of winter time 02:45 has been: it is due tomorrow, not since half an hour ago."""
    table = Timetable(schedule="45 2 * * *", zone="Europe/Oslo")
    second = instant("2026-10-25T01:10")
    assert due_at(table, last_rotated_at=second, since=second) == instant("2026-10-26T01:45")


def test_what_was_never_rotated_is_due_at_once_by_ttl_and_at_its_next_time_by_schedule() -> None:
    now = instant("2026-05-01T12:00")
    assert due_at(Timetable(ttl=Microseconds(DAY)), last_rotated_at=None, since=now) == now
    scheduled = Timetable(schedule="0 3 * * *")
    assert due_at(scheduled, last_rotated_at=None, since=now) == instant("2026-05-02T03:00")
    assert due_at(Timetable(), last_rotated_at=None, since=now) is None


def test_a_time_that_passed_since_the_last_rotation_is_due_still() -> None:
    """A daemon that was down makes up for it, once."""
    last = instant("2026-05-01T12:00")
    assert due_at(Timetable(schedule="0 3 * * *"), last_rotated_at=last, since=instant("2026-05-09")) == instant(
        "2026-05-02T03:00"
    )


def test_with_both_whatever_comes_first_is_due() -> None:
    last = instant("2026-05-01T12:00")
    daily = Timetable(ttl=Microseconds(10 * DAY), schedule="0 3 * * *")
    assert due_at(daily, last_rotated_at=last, since=last) == instant("2026-05-02T03:00")
    short = Timetable(ttl=Microseconds(DAY // 24), schedule="0 3 * * *")
    assert due_at(short, last_rotated_at=last, since=last) == instant("2026-05-01T13:00")


def test_a_day_that_never_comes_is_never_due() -> None:
    assert due_at(Timetable(schedule="0 0 30 2 *"), last_rotated_at=instant("2026-05-01"), since=Instant(0)) is None


# --- windows --------------------------------------------------------------------------------------------------


def covers(window: Window, zone: str, at: Instant) -> bool:
    """Tell in the plainest way whether a window is open at a minute."""
    local = datetime.fromtimestamp(at // SECOND, tz=ZoneInfo(window.location or zone))
    if window.weekdays and local.strftime("%a").lower() not in window.weekdays:
        return False
    if window.months and local.month not in window.months:
        return False
    next_month = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    from_end = -(next_month.date() - local.date()).days
    if window.days_of_month and local.day not in window.days_of_month and from_end not in window.days_of_month:
        return False
    clock = local.strftime("%H:%M")
    spans = [span.split("-") for span in window.times]
    return not spans or any(
        begin <= clock < end if begin < end else (clock >= begin or clock < end) for begin, end in spans
    )


clocks = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.sampled_from([0, 15, 30, 45, 59]))
spans = st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1]).map("-".join)
windows = st.builds(
    Window,
    times=st.lists(spans, max_size=2).map(tuple),
    weekdays=st.lists(st.sampled_from(WEEKDAYS), max_size=4, unique=True).map(tuple),
    days_of_month=st.lists(st.sampled_from([1, 2, 15, 28, 31, -1, -3]), max_size=2).map(tuple),
    months=st.lists(st.sampled_from([2, 3, 4, 10, 11]), max_size=2).map(tuple),
    location=st.sampled_from(["", *CHANGES]),
)
tables = st.builds(
    Timetable,
    zone=st.sampled_from(sorted(CHANGES)),
    windows=st.builds(
        Windows, allowed=st.lists(windows, max_size=2).map(tuple), blocked=st.lists(windows, max_size=2).map(tuple)
    ),
)


@pytest.mark.slow
@given(tables, st.sampled_from(STARTS))
def test_a_window_opens_when_a_scan_of_every_minute_says_so(table: Timetable, start: tuple[str, str]) -> None:
    """Within three days around a change of the clocks; what opens later was closed until then, wherever one looks."""
    zone, day = start
    begin = instant(day, zone)

    def is_free(at: Instant) -> bool:
        allowed, blocked = table.windows.allowed, table.windows.blocked
        inside = not allowed or any(covers(window, table.zone, at) for window in allowed)
        return inside and not any(covers(window, table.zone, at) for window in blocked)

    found = next((at for at in minutes(begin, 3) if is_free(at)), None)
    opens = opens_at(table, begin)
    if found is not None:
        assert opens == found
    elif opens is not None:
        assert opens >= begin + 3 * DAY
        assert is_free(opens)
        assert not is_free(Instant(opens - MINUTE))
        assert not any(is_free(Instant(at)) for at in range(begin, min(opens, begin + 40 * DAY), 97 * MINUTE))
    else:
        assert not any(is_free(at) for at in minutes(begin, 40)[::97])
    assert is_open(table, begin) is is_free(begin)


def test_a_window_goes_by_the_clock_of_its_location() -> None:
    noon = Window(times=("12:00-13:00",), location="Asia/Kathmandu")
    table = Timetable(zone="Europe/Oslo", windows=Windows(allowed=(noon,)))
    assert opens_at(table, instant("2026-05-01")) == instant("2026-05-01T12:00", "Asia/Kathmandu")


def test_a_window_opens_by_the_clock_that_was_put_forward_before_it() -> None:
    table = Timetable(zone="Europe/Oslo", windows=Windows(allowed=(Window(times=("04:00-05:00",)),)))
    assert opens_at(table, instant("2026-03-29T00:30")) == instant("2026-03-29T02:00")


def test_without_windows_it_is_always_open() -> None:
    assert opens_at(Timetable(), Instant(7)) == 7


# --- configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("schedule", "schedule: 0 3 * * 1-5", Timetable(schedule="0 3 * * 1-5")),
        ("timezone", "schedule: 0 3 * * *, timezone: Europe/Oslo", Timetable(schedule="0 3 * * *", zone="Europe/Oslo")),
        ("ttl", "ttl: 1d", Timetable(ttl=Microseconds(DAY))),
    ],
)
def test_every_key_reaches_the_timetable(key: str, text: str, expected: Timetable) -> None:
    """What each of them does there is what the scans above show."""
    assert reads(service(rotation=text)).services["app"].timetable == expected


@pytest.mark.parametrize("kind", ["allowed", "blocked"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("times: ['22:00-04:00']", Window(times=("22:00-04:00",))),
        ("weekdays: [sat]", Window(weekdays=("sat",))),
        ("days_of_month: [-1]", Window(days_of_month=(-1,))),
        ("months: [7]", Window(months=(7,))),
        ("months: [7], location: Asia/Kathmandu", Window(months=(7,), location="Asia/Kathmandu")),
    ],
)
def test_every_key_of_a_window_reaches_the_timetable(kind: str, text: str, expected: Window) -> None:
    table = reads(service(rotation=f"windows: {{{kind}: [{{{text}}}]}}")).services["app"].timetable
    assert table.windows == Windows(**{kind: (expected,)})


@pytest.mark.parametrize(
    ("text", "key", "said", "hint"),
    [
        ("schedule: nightly", "schedule", "5 fields are expected, and there is 1", "0 3 * * 1-5"),
        ("schedule: 0 0 3 * * *", "schedule", "5 fields are expected, and there are 6", "0 3 * * 1-5"),
        ("schedule: 99 * * * *", "schedule", "the minute is wrong, 0-59 is expected", "0 3 * * 1-5"),
        ("schedule: 0 3 * * 9", "schedule", "the day-of-week is wrong, 0-7 or SUN-SAT", "0 3 * * 1-5"),
        ("schedule: 0 0 30 2 *", "schedule", "the day-of-month is wrong, 1-31 that its month has", "0 3 * * 1-5"),
        (f"schedule: {'9' * 201}", "schedule", "200 characters at most", ""),
        ("schedule: 0 3 * * *, timezone: Europe/Olso", "timezone", "no such time zone", "mean 'Europe/Oslo'?"),
        ("schedule: 0 3 * * *, timezone: oslo", "timezone", "no such time zone", "mean 'Europe/Oslo'?"),
        ("schedule: 0 3 * * *, timezone: ../zone", "timezone", "no such time zone", "Europe/Oslo is one"),
        ("windows: {allowed: [{}, {times: ['25:00-26:00']}]}", "windows.allowed[1].times[0]", "HH:MM-HH:MM", ""),
        ("windows: {allowed: [{times: ['22:00-24:01']}]}", "windows.allowed[0].times[0]", "HH:MM-HH:MM", ""),
        (
            "windows: {blocked: [{times: ['04:00-04:00']}]}",
            "windows.blocked[0].times[0]",
            "no time at all",
            "whole day",
        ),
        (
            "windows: {allowed: [{weekdays: [sta]}]}",
            "windows.allowed[0].weekdays[0]",
            "one of these is expected",
            "'sat'?",
        ),
        ("windows: {allowed: [{months: [13]}]}", "windows.allowed[0].months[0]", "at most 12", ""),
        ("windows: {allowed: [{days_of_month: [32]}]}", "windows.allowed[0].days_of_month[0]", "at most 31", ""),
        (
            "windows: {allowed: [{days_of_month: [0]}]}",
            "windows.allowed[0].days_of_month",
            "none of its months",
            "-1 to",
        ),
        (
            "windows: {allowed: [{days_of_month: [30, -30], months: [2]}]}",
            "windows.allowed[0].days_of_month",
            "none of its months",
            "",
        ),
        ("windows: {allowed: [{location: Mars}]}", "windows.allowed[0].location", "no such time zone", ""),
        (
            "windows: {allowed: [{months: [2]}], blocked: [{months: [2]}]}",
            "windows",
            "no rotation could ever begin",
            "",
        ),
        ("windows: {blocked: [{}]}", "windows", "no rotation could ever begin", ""),
    ],
)
def test_what_cannot_be_meant_is_told(text: str, key: str, said: str, hint: str) -> None:
    """By the key that it stands at; the value, which may be a secret in a wrong place, is not repeated."""
    problem = only(service(rotation=text))
    assert problem.key == f"services.app.rotation.{key}"
    assert said in problem.message
    assert hint in problem.hint


@given(st.text(alphabet="0123456789*/-,#LW SUNJA\u00b2\uff11", max_size=40) | st.text(max_size=40))
def test_any_expression_is_right_or_told_to_be_wrong(text: str) -> None:
    """And when one that is right comes next can be told."""
    if cron_fault(text) == "":
        assert due_at(Timetable(schedule=text), last_rotated_at=Instant(0), since=Instant(0)) is not None


@given(st.text(max_size=20))
def test_any_text_is_a_zone_or_is_none(text: str) -> None:
    assert is_zone(text) in (True, False)


def test_the_zone_that_was_meant_is_told() -> None:
    assert [near_zone(wrong) for wrong in ("Europe/Olso", "kathmandu", "xyz")] == ["Europe/Oslo", "Asia/Kathmandu", ""]


def test_a_time_zone_of_nothing_is_noted() -> None:
    """It changes nothing, so it may be a mistake."""
    (note,) = reads(service(rotation="timezone: Europe/Oslo")).problems
    assert "neither a `schedule` nor `windows`" in note.message
