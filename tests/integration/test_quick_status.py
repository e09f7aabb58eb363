"""The quick answer to `status`: that of the view, and none where the view may be behind or anything is odd."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from adapters import quick_status
from adapters.event_store import schema
from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE, VIEWS_FILE
from adapters.views import SqliteViews
from engine.facts import Recorded
from projections.feed import Tracking, catch_up
from projections.status import STATUS, documents
from tests.histories import BEGAN, walk
from tests.integration.views_bench import facts, log, state, views

__all__ = ["facts", "log", "state", "views"]

TTL = 30 * 86_400_000_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file; the quick way looks at its time and size alone."""
    path = tmp_path / "keyturn.yaml"
    path.write_text("version: 1")
    return path


@pytest.fixture
def followed(views: SqliteViews, log: SqliteEventLog, config: Path) -> SqliteViews:
    """Views at the head of the log, with two configured services of which the log knows one."""
    catch_up(STATUS, log, views)
    views.remember(config, services(views))
    return views


def services(views: SqliteViews) -> list[tuple[str, str, int | None, int | None]]:
    """Return the configured services, one of them due a while after it was last rotated."""
    with views.reading(STATUS) as rows:
        (last,) = [int(each["last_rotated_at"]) for each in documents(rows) if each["service"] == "service-1"]
    return [("service-1", "production", last, last + TTL), ("fresh", "production", None, None)]


def answer(state: Path, config: Path) -> Any:
    """Return the quick answer."""
    return quick_status.answer(str(state), str(config))


def test_the_quick_answer_is_that_of_the_view(followed: SqliteViews, state: Path, config: Path) -> None:
    """The configured services in their order; then those whose rotation is open although they were taken out."""
    found = answer(state, config)
    with followed.reading(STATUS) as rows:
        entries = documents(rows)
    assert found == quick_status.assembled(entries, services(followed), {})
    left = [each["service"] for each in entries if each["open"] and each["service"] != "service-1"]
    assert [each["service"] for each in found] == ["service-1", "fresh", *left]


def test_a_service_is_due_when_it_was_said_to_be() -> None:
    entry = {"service": "a", "environment": "b", "state": "ok", "open": False, "version": "v1", "rotation_id": "r"}
    entry |= dict.fromkeys(("waiting", "error", "rollout"))
    entry |= {"last_rotated_at": BEGAN, "last_outcome": "completed", "restore_points": [], "next": []}
    (seen,) = quick_status.assembled([entry | {"grace_until": BEGAN}], [("a", "b", BEGAN, BEGAN + TTL)], {"b/a": 7})
    assert seen["last_rotated_at"] == seen["grace_until"] == "2026-01-01T00:00:00.000000Z"
    assert seen["due_at"] == "2026-01-31T00:00:00.000000Z"
    (without,) = quick_status.assembled([entry | {"grace_until": None}], [("a", "b", BEGAN, None)], {"c/a": 7})
    assert without["due_at"] is None
    assert (seen["unheard"], without["unheard"]) == (7, None)


def test_a_service_that_was_never_rotated_has_the_fields_of_the_others(
    followed: SqliteViews, state: Path, config: Path
) -> None:
    first, fresh, *_ = answer(state, config)
    assert list(fresh) == list(first)
    assert (fresh["state"], fresh["due_at"], fresh["restore_points"]) == ("never_rotated", None, [])


def test_a_service_that_is_configured_no_more_is_left_out_when_nothing_is_open() -> None:
    entry = {"service": "a", "environment": "b", "open": False}
    assert quick_status.assembled([entry], [], {}) == []


def test_without_a_log_there_is_no_quick_answer(followed: SqliteViews, state: Path, config: Path) -> None:
    (state / LOG_FILE).unlink()
    assert answer(state, config) is None


def test_a_view_that_is_behind_gives_no_quick_answer(
    followed: SqliteViews, log: SqliteEventLog, state: Path, config: Path, facts: list[Recorded]
) -> None:
    """One event more is enough, until the view has caught up."""
    assert answer(state, config)
    log.append([each.fact for each in walk(Random(5), steps=300)[len(facts) :]])
    assert answer(state, config) is None
    catch_up(STATUS, log, followed)
    followed.remember(config, services(followed))
    assert answer(state, config)


def test_a_service_that_was_rotated_since_it_was_told_when_it_is_due_gives_no_quick_answer(
    followed: SqliteViews, state: Path, config: Path
) -> None:
    """As where a process died between the one and the other."""
    (name, environment, last, due), *others = services(followed)
    for known in (None, 7, last):
        followed.remember(config, [(name, environment, known, due), *others])
        assert (answer(state, config) is None) is (known != last)


def test_a_view_of_another_log_gives_no_quick_answer(followed: SqliteViews, state: Path, config: Path) -> None:
    """Even where it has as many events."""
    with followed.writing(STATUS) as page:
        page.track(Tracking(page.tracking.position, b"\0" * 32))
    assert answer(state, config) is None


def test_a_view_of_another_schema_gives_no_quick_answer(followed: SqliteViews, state: Path, config: Path) -> None:
    with closing(sqlite3.connect(state / VIEWS_FILE)) as later:
        later.execute("UPDATE tracking SET schema = schema + 1")
        later.commit()
    assert answer(state, config) is None


def test_a_configuration_that_was_touched_gives_no_quick_answer(
    followed: SqliteViews, state: Path, config: Path
) -> None:
    """A new time, or a new size, and of course another file."""
    other = config.with_name("other.yaml")
    other.write_text(config.read_text())
    assert answer(state, other) is None
    assert answer(state, config.with_name("missing.yaml")) is None
    times = config.stat()
    config.write_text("version: 1 ")
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert answer(state, config) is None


def test_services_are_remembered_as_of_the_mark(followed: SqliteViews, state: Path, config: Path) -> None:
    """What was read before the file changed is not taken for what it says now."""
    mark = quick_status.stamp(str(config))
    config.write_text("version: 1 # later")
    followed.remember(config, services(followed), mark=mark)
    assert answer(state, config) is None


@pytest.mark.parametrize("content", [b"", b"no database" * 100], ids=["empty", "garbage"])
def test_views_that_cannot_be_read_give_no_quick_answer(state: Path, config: Path, content: bytes) -> None:
    """The slow way tells what is wrong with them."""
    (state / VIEWS_FILE).write_bytes(content)
    assert answer(state, config) is None


def test_a_path_may_hold_what_ends_one_in_a_uri(tmp_path: Path, config: Path) -> None:
    state = tmp_path / "50% of #1?"
    with SqliteEventLog.create(state / LOG_FILE) as log, SqliteViews(state / VIEWS_FILE) as views:
        catch_up(STATUS, log, views)
        views.remember(config, [("fresh", "production", None, None)])
        assert [each["service"] for each in answer(state, config)] == ["fresh"]


def test_the_quick_answer_changes_no_file(followed: SqliteViews, state: Path, config: Path) -> None:
    """It reads; and works for files that nobody has open."""
    followed.close()
    before = {path: path.read_bytes() for path in state.glob("*.db")}
    assert answer(state, config)
    assert {path: path.read_bytes() for path in state.glob("*.db")} == before


def test_the_quick_way_reads_the_table_of_the_log() -> None:
    """It repeats the name, because it must not import what makes the table."""
    assert f"FROM {schema.TABLE} ORDER BY position" in quick_status._HEAD


def test_a_configuration_that_is_gone_is_not_remembered(followed: SqliteViews, state: Path, config: Path) -> None:
    config.unlink()
    followed.remember(config, services(followed))
    assert answer(state, config) is None


@pytest.mark.slow
def test_the_quick_answer_loads_sqlite_and_json_alone(followed: SqliteViews, state: Path, config: Path) -> None:
    """Of ours, only three small files; of libraries, none."""
    script = (
        "import sys; before = set(sys.modules); from adapters import quick_status; "
        f"found = quick_status.answer({str(state)!r}, {str(config)!r}); import json; "
        "print(json.dumps([found is not None, sorted(set(sys.modules) - before)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    answered, loaded = json.loads(done.stdout)
    assert answered
    outside = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert outside == {"adapters", "projections"}
    ours = {name for name in loaded if name.startswith(("adapters.", "projections."))}
    assert ours == {"adapters.quick_status", "projections.shapes", "projections.times"}
    assert not {"pathlib", "urllib", "dataclasses", "typing", "inspect", "tempfile"} & set(loaded)
