"""A state folder with a log of some hundred facts, and its views, as fixtures. No tests live here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE, VIEWS_FILE
from adapters.views import SqliteViews
from engine.facts import Recorded
from tests.histories import walk


@pytest.fixture(scope="module")
def facts() -> list[Recorded]:
    """Some hundred facts of three services, all of them begun."""
    return walk(Random(5), steps=250)


@pytest.fixture
def state(tmp_path: Path, facts: list[Recorded]) -> Path:
    """A state folder with a log."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    with SqliteEventLog.create(folder / LOG_FILE) as log:
        log.append([each.fact for each in facts])
    return folder


@pytest.fixture
def log(state: Path) -> Iterator[SqliteEventLog]:
    with SqliteEventLog(state / LOG_FILE, must_exist=True) as opened:
        yield opened


@pytest.fixture
def views(state: Path) -> Iterator[SqliteViews]:
    with SqliteViews(state / VIEWS_FILE) as opened:
        yield opened
