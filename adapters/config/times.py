"""What can be wrong with `schedule`, `timezone` and `windows` of a rotation.

Rule: when a rotation is due and may begin is told by adapters/schedule.py; here is only asked whether it can be meant.
"""

from __future__ import annotations

from typing import Final

from adapters.config.problems import KeyPath, Report
from adapters.config.schema import Rotation
from adapters.schedule import Timetable, Window, Windows, cron_fault, is_zone, near_zone, opens_at
from engine.values import Instant

_SOME_DAY: Final = Instant(1_767_225_600_000_000)
"""The first of January 2026: a year from any day has all of its days but 29 February."""

_MONTHS: Final = range(1, 13)
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""How many days the months can have."""


def check_times(rotation: Rotation, path: KeyPath, report: Report) -> None:
    """Report a schedule, a time zone or windows that cannot be meant."""
    if rotation.timezone is not None:
        _check_zone(rotation.timezone, (*path, "timezone"), report)
        if rotation.schedule is None and rotation.windows == Windows():
            message = "there is neither a `schedule` nor `windows` that it could be the zone of."
            report.note((*path, "timezone"), message)
    if rotation.schedule is not None:
        fault = cron_fault(rotation.schedule)
        if fault:
            hint = "minute, hour, day of the month, month, day of the week: 0 3 * * 1-5"
            report.error((*path, "schedule"), f"this is no cron expression: {fault}.", hint)
    _check_windows(rotation, (*path, "windows"), report)


def _check_windows(rotation: Rotation, path: KeyPath, report: Report) -> None:
    before = len(report.errors)
    for kind in ("allowed", "blocked"):
        for index, window in enumerate(getattr(rotation.windows, kind)):
            _check_window(window, (*path, kind, index), report)
    zone = rotation.timezone if rotation.timezone and is_zone(rotation.timezone) else "UTC"
    if len(report.errors) == before and opens_at(Timetable(zone=zone, windows=rotation.windows), _SOME_DAY) is None:
        report.error(path, "no rotation could ever begin: within a year there is no time for it.")


def _check_window(window: Window, path: KeyPath, report: Report) -> None:
    for index, span in enumerate(window.times):
        begin, _, end = span.partition("-")
        if begin == end:
            report.error((*path, "times", index), "this is no time at all.", "For the whole day, leave `times` out.")
    if window.location:
        _check_zone(window.location, (*path, "location"), report)
    if window.days_of_month and not any(_has(month, window) for month in window.months or _MONTHS):
        message = "none of its months has any of these days."
        report.error((*path, "days_of_month"), message, "They are 1 to 31, or -1 to -31 from the end.")


def _has(month: int, window: Window) -> bool:
    """Tell whether a month can have one of the days of a window."""
    return any(1 <= abs(day) <= _LENGTHS[month - 1] for day in window.days_of_month)


def _check_zone(name: str, path: KeyPath, report: Report) -> None:
    if is_zone(name):
        return
    try:
        near = near_zone(name)
        hint = f"Did you mean {near!r}?" if near else "Europe/Oslo is one, UTC another."
    except LookupError:
        hint = "This machine has no database of time zones but UTC; install the package tzdata."
    report.error(path, "there is no such time zone.", hint)
