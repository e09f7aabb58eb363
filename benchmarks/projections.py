"""Rebuilding the views from the log, and the quick answer to `keyturn status`.

The raw side reads the same events from the same log and folds nothing; for the quick answer it is an
interpreter that does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE, VIEWS_FILE
from adapters.views import SqliteViews
from benchmarks.table import Goal, Row, rates
from projections.feed import BATCH, Projection, catch_up, rebuild
from projections.history import HISTORY
from projections.status import STATUS, documents
from tests.histories import Walk

EVENTS = 200_000
SERVICES = 50
SERVICES_AT_ONCE = 3
"""A rotation takes a second or so, and few run at a time: so lie their events in a log."""

PROCESSES = 15
QUICK = "from adapters import quick_status; assert quick_status.answer({state!r}, {config!r})"


def rows() -> Iterator[Row]:
    """Yield the figures: events a second of each view, and milliseconds of the quick answer."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        with SqliteEventLog.create(state / LOG_FILE) as log, SqliteViews(state / VIEWS_FILE) as views:
            count = fill(log)
            for projection, goal in ((STATUS, Goal(at_least=100_000)), (HISTORY, Goal(at_least=50_000))):
                ours, raw = rates(count, _rebuilding(projection, log, views), lambda: read(log), rounds=3)
                yield Row(f"rebuild {projection.name}, {count} events", "events/s", ours, raw, goal)
            catch_up(STATUS, log, views)
            config = state / "keyturn.yaml"
            config.touch()
            with views.reading(STATUS) as rows:
                rotated = {each["service"]: each["last_rotated_at"] for each in documents(rows)}
            names = [f"service-{number}" for number in range(SERVICES)]
            views.remember(config, [(name, "production", rotated.get(name), None) for name in names])
        script = QUICK.format(state=str(state), config=str(config))
        bare, quick = milliseconds("pass", script)
        yield Row(f"quick status of {SERVICES} services (raw: bare python)", "ms", quick, bare, _STATUS_GOAL)


_STATUS_GOAL = Goal(at_most=4, of_ratio=True)


def fill(log: SqliteEventLog) -> int:
    """Append at least `EVENTS` events of rotations, a few of them at a time; return how many."""
    appended = 0
    walk = Walk(Random(1), services=SERVICES, lean=0.95)  # noqa: S311  # the same events every time
    while appended < EVENTS:
        walk.near(SERVICES_AT_ONCE)
        for _ in range(BATCH):
            walk.step()
        appended += len(log.append(walk.facts))
        walk.facts.clear()
    return appended


def read(log: SqliteEventLog) -> None:
    """Read the whole log, in batches."""
    position = 0
    while facts := log.after(position, limit=BATCH):
        position = facts[-1].position


def _rebuilding(projection: Projection, log: SqliteEventLog, views: SqliteViews) -> Callable[[], object]:
    return lambda: rebuild(projection, log, views)


def milliseconds(*scripts: str) -> list[float]:
    """Return how long an interpreter takes for each script: the median, the scripts taking turns."""
    taken: list[list[float]] = [[] for _ in scripts]
    for _ in range(PROCESSES):
        for each, script in zip(taken, scripts, strict=True):
            start = perf_counter()
            subprocess.run([sys.executable, "-c", script], check=True)
            each.append((perf_counter() - start) * 1_000)
    return [median(each) for each in taken]
