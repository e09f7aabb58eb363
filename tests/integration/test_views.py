"""The views in their file: crashes, many processes, permissions and damage."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import VIEWS_FILE
from adapters.views import SqliteViews, ViewsUnusable
from engine.facts import Recorded
from projections.feed import Projection, Row, catch_up, rebuild
from projections.history import HISTORY
from projections.status import STATUS, documents
from tests.integration.views_bench import facts, log, state, views
from tests.integration.views_process import BATCH, DIES_AT

__all__ = ["facts", "log", "state", "views"]

BOTH: tuple[Projection, ...] = (STATUS, HISTORY)


def contents(views: SqliteViews) -> dict[str, list[Row]]:
    """Return all rows of both views."""
    found: dict[str, list[Row]] = {}
    for projection in BOTH:
        with views.reading(projection) as rows:
            found |= {table.name: rows.select(table) for table in projection.tables}
    return found


def assert_as_rebuilt(views: SqliteViews, log: SqliteEventLog) -> None:
    """Hold the rows against those of a view that is folded from the first event (I12)."""
    live = contents(views)
    assert live["history_events"]
    for projection in BOTH:
        rebuild(projection, log, views)
    assert contents(views) == live


def process(mode: str, state: Path) -> subprocess.Popen[str]:
    """Start a process that is ready to fold, and waits for a line."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.views_process", mode, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


# --- crashes and other processes --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_crash_between_rows_and_tracking_leaves_neither(state: Path, log: SqliteEventLog) -> None:
    """The process is killed when the rows of a batch are written, and before it is said that they are."""
    with process("die", state) as dying:
        dying.communicate("go\n", timeout=60)
    assert dying.returncode == -signal.SIGKILL
    with SqliteViews(state / VIEWS_FILE) as views:
        with views.writing(STATUS) as page:
            assert page.tracking.position == DIES_AT - BATCH
        for projection in BOTH:
            catch_up(projection, log, views)
        assert_as_rebuilt(views, log)


@pytest.mark.slow
def test_processes_that_catch_up_at_once_fold_each_fact_once(
    state: Path, log: SqliteEventLog, facts: list[Recorded]
) -> None:
    """They make the file at once, too."""
    with ExitStack() as stack:
        started = [stack.enter_context(process("live", state)) for _ in range(3)]
        for each in started:
            assert each.stdin
            each.stdin.write("go\n")
            each.stdin.flush()
        for each in started:
            output, _ = each.communicate(timeout=60)
            assert output.split() == [str(len(facts))] * 2
            assert each.returncode == 0
    with SqliteViews(state / VIEWS_FILE) as views:
        assert_as_rebuilt(views, log)


def test_an_error_in_the_block_changes_nothing(views: SqliteViews, log: SqliteEventLog) -> None:
    """Rows and tracking are taken back together."""
    catch_up(STATUS, log, views)
    before = contents(views)

    def interrupted() -> None:
        with views.writing(STATUS) as page:
            page.clear()
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert contents(views) == before


def test_a_reader_sees_one_moment(views: SqliteViews, log: SqliteEventLog, state: Path) -> None:
    """What another process folds meanwhile is not mixed in."""
    catch_up(STATUS, log, views)
    with SqliteViews(state / VIEWS_FILE) as theirs, views.reading(STATUS) as rows:
        before = documents(rows)
        with theirs.writing(STATUS) as page:
            page.clear()
        assert documents(rows) == before


# --- the file ---------------------------------------------------------------------------------------------


def test_the_file_is_for_its_user_alone(views: SqliteViews, log: SqliteEventLog, state: Path) -> None:
    """Those that SQLite keeps beside it as well."""
    catch_up(HISTORY, log, views)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.glob(f"{VIEWS_FILE}*")}
    assert modes == dict.fromkeys((VIEWS_FILE, f"{VIEWS_FILE}-wal", f"{VIEWS_FILE}-shm"), 0o600)


def test_a_folder_that_is_missing_is_made_for_its_user_alone(tmp_path: Path) -> None:
    SqliteViews(tmp_path / "new" / VIEWS_FILE).close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "new").iterdir()] == [VIEWS_FILE]


def test_a_deleted_file_is_made_again(state: Path, log: SqliteEventLog) -> None:
    """Nothing was in it that the log does not say."""
    found = []
    for _ in range(2):
        with SqliteViews(state / VIEWS_FILE) as views:
            catch_up(HISTORY, log, views)
            catch_up(STATUS, log, views)
            found.append(contents(views))
        for path in state.glob(f"{VIEWS_FILE}*"):
            path.unlink()
    assert found[0] == found[1]


def test_a_file_of_something_else_is_refused_and_left_alone(state: Path) -> None:
    path = state / VIEWS_FILE
    path.write_text("this is no database, and long enough to be looked at as one" * 20)
    before = path.read_bytes()
    with pytest.raises(ViewsUnusable, match="not a database"):
        SqliteViews(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused(state: Path) -> None:
    with closing(sqlite3.connect(state / VIEWS_FILE)) as other:
        other.execute("CREATE TABLE theirs (name TEXT)")
    with pytest.raises(ViewsUnusable, match="another program") as caught:
        SqliteViews(state / VIEWS_FILE)
    assert "deleted, it is made again" in caught.value.advice


def test_a_file_of_another_format_is_refused(views: SqliteViews, state: Path) -> None:
    with closing(sqlite3.connect(state / VIEWS_FILE)) as later:
        later.execute("PRAGMA user_version = 9")
    with pytest.raises(ViewsUnusable, match="format 9"):
        SqliteViews(state / VIEWS_FILE)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ViewsUnusable, match="File exists"):
        SqliteViews(tmp_path / "file" / VIEWS_FILE)


def test_a_view_that_is_locked_for_too_long_is_told(state: Path, views: SqliteViews) -> None:
    """Waiting has an end, after which a person hears why."""
    with SqliteViews(state / VIEWS_FILE, busy_seconds_max=0.01) as waiting:
        theirs = waiting.writing(STATUS)
        with views.writing(STATUS), pytest.raises(ViewsUnusable, match="locked"):
            theirs.__enter__()
