"""The page about schedules is true: its configuration is right, and means what the page says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.config.model import Service
from adapters.schedule import Timetable, Window, Windows, due_at, is_open
from engine.values import SECOND, Instant
from tests.unit.config.reading import SERVICE, reads

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "schedule-rotations.md").read_text(encoding="utf-8")
OSLO = "Europe/Oslo"


def at(text: str, zone: str = OSLO) -> Instant:
    """Return a time of a zone."""
    return Instant(int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND)


def shown() -> Service:
    """Return the service of the page."""
    block = PAGE.split("```yaml\nrotation:\n")[1].split("```")[0].replace("\n", "\n    ")
    before = SERVICE[: SERVICE.index("    rotation:")] % {"type": "memory", "keys": ""}
    return reads(f"{before}    rotation:\n    {block}").services["app"]


def test_the_service_of_the_page_is_due_on_working_days_at_three() -> None:
    friday = at("2026-05-01T12:00")
    assert due_at(shown().timetable, last_rotated_at=friday, since=friday) == at("2026-05-04T03:00")


@pytest.mark.parametrize(
    ("time", "zone", "is_free"),
    [
        ("2026-05-01T23:00", OSLO, True),
        ("2026-05-01T04:59", OSLO, True),
        ("2026-05-01T05:00", OSLO, False),
        ("2026-05-02T12:00", "America/New_York", True),
        ("2026-12-24T23:00", OSLO, False),
        ("2026-12-31T23:00", OSLO, False),
    ],
)
def test_the_service_of_the_page_may_be_rotated_in_its_windows(time: str, zone: str, *, is_free: bool) -> None:
    assert is_open(shown().timetable, at(time, zone)) is is_free


def test_a_time_that_is_left_out_comes_when_the_clock_is_put_forward() -> None:
    half_past_two = Timetable(schedule="30 2 * * *", zone=OSLO)
    last = at("2026-03-28T12:00")
    assert due_at(half_past_two, last_rotated_at=last, since=last) == at("2026-03-29T03:00")


@pytest.mark.parametrize(
    ("time", "is_free"), [("01T04:00", True), ("01T23:00", True), ("02T04:00", False), ("02T23:00", False)]
)
def test_a_weekday_is_the_one_of_the_calendar(time: str, *, is_free: bool) -> None:
    """The first of May 2026 is a Friday."""
    friday = Windows(allowed=(Window(times=("22:00-05:00",), weekdays=("fri",)),))
    assert is_open(Timetable(zone=OSLO, windows=friday), at(f"2026-05-{time}")) is is_free


@pytest.mark.parametrize(
    ("expression", "last", "due"),
    [
        ("0 3 L * *", "2026-05-01", "2026-05-31T03:00"),
        ("0 3 * * 5L", "2026-05-01", "2026-05-29T03:00"),
        ("0 3 * * mon#2", "2026-05-01", "2026-05-11T03:00"),
        ("0 3 15 * 0", "2026-05-05", "2026-05-10T03:00"),
        ("0 3 */2 * 0", "2026-05-05", "2026-05-17T03:00"),
    ],
)
def test_an_expression_means_what_the_page_says(expression: str, last: str, due: str) -> None:
    table = Timetable(schedule=expression, zone=OSLO)
    assert due_at(table, last_rotated_at=at(last), since=Instant(0)) == at(due)
