"""The file of the log: how it comes into being, and what is said when it cannot be used."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from time import sleep
from uuid import UUID

import pytest
from eventsourcing.persistence import ConnectionPoolClosedError

from adapters.event_store.errors import (
    DiskFull,
    EventStoreError,
    LogBusy,
    LogDamaged,
    NewerSchema,
    NoLog,
    NotALog,
    ReadOnlyLog,
)
from adapters.event_store.schema import SCHEMA, connect
from adapters.event_store.sqlite import SqliteEventLog
from engine.errors import ExitCode
from tests.integration.event_store_process import fact

ONE = UUID(int=1)
ORDINARY_USER = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be made."""
    return tmp_path / "events.db"


@contextmanager
def _as_ordinary_user() -> Iterator[Path]:
    """Yield a folder of a user whom permissions stop: root gives up its rights while the block runs."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, ORDINARY_USER, ORDINARY_USER)
        os.setegid(ORDINARY_USER)
        os.seteuid(ORDINARY_USER)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- making it ------------------------------------------------------------------------------------------


def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask says: folders that were missing 0700, the files 0600."""
    path = tmp_path / "state" / "keyturn" / "events.db"
    before = os.umask(0)
    try:
        with SqliteEventLog.create(path) as log:
            log.append([fact(ONE, 1)])
            files = {each.name: _mode(each) for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert files == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600}
    assert [_mode(folder) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


def test_a_log_is_made_once(path: Path) -> None:
    """Opening it again, or making it again, finds what is there."""
    with SqliteEventLog.create(path) as log:
        recorded = log.append([fact(ONE, 1)])
    with SqliteEventLog.create(path) as log, SqliteEventLog(path) as again:
        assert log.after(0) == again.after(0) == recorded
    assert [each.name for each in path.parent.iterdir()] == ["events.db"], "nothing is left lying about"


@pytest.mark.parametrize("name", ["a log.db", "100%.db", "what?#.db", "a:memory:.db", "mode=memory&x.db", "'\"é.db"])
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    """SQLite opens the log by URI, where many characters have a meaning."""
    with SqliteEventLog(tmp_path / name) as log:
        log.append([fact(ONE, 1)])
    assert [each.name for each in tmp_path.iterdir()] == [name]
    with SqliteEventLog(tmp_path / name, must_exist=True) as log:
        assert log.head() == 1


def test_every_commit_is_synced(path: Path) -> None:
    """Whatever the library or the build of SQLite would choose: write-ahead log, and synchronous=FULL."""
    with SqliteEventLog(path) as log:
        datastore = log.recorder.datastore
        assert datastore.select("PRAGMA journal_mode") == [("wal",)]
        assert datastore.select("PRAGMA synchronous") == [(2,)]


def test_a_log_in_another_journal_mode_is_brought_back(path: Path) -> None:
    """A backup may have been restored, or a person tried something."""
    SqliteEventLog(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    with closing(connect(path, busy_seconds_max=1)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# --- positions ------------------------------------------------------------------------------------------


def test_positions_of_deleted_events_are_not_given_out_again(path: Path) -> None:
    """A reader that has seen them would never see what came in their place, so nothing is appended at all."""
    with SqliteEventLog(path) as log:
        log.append([fact(ONE, version) for version in range(1, 6)])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM events WHERE position > 3")
        with pytest.raises(LogDamaged, match="event 4 is missing") as caught:
            log.append([fact(ONE, 4)])
        assert log.head() == 3
        assert log.verify().first_bad_position == 4
    assert caught.value.exit_code == ExitCode.PERSON_NEEDED
    assert "keyturn audit verify" in caught.value.advice


# --- what is not a log -------------------------------------------------------------------------------------


def test_a_log_that_must_exist_is_not_made(path: Path) -> None:
    """`audit verify` with a mistyped path must not find a new, empty, perfectly good log."""
    with pytest.raises(NoLog, match=str(path)):
        SqliteEventLog(path, must_exist=True)
    assert not path.exists()


def test_an_empty_file_is_not_taken_for_a_new_log(path: Path) -> None:
    """Where a log was, an empty file is a log that was lost."""
    path.touch()
    with pytest.raises(NotALog, match="it is empty"):
        SqliteEventLog(path)


def test_another_file_is_left_alone(path: Path) -> None:
    path.write_bytes(b"canary-content " * 100)
    with pytest.raises(NotALog, match="not an SQLite database") as caught:
        SqliteEventLog(path)
    assert path.read_bytes() == b"canary-content " * 100
    assert "canary" not in str(caught.value)


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE events (position INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    with pytest.raises(NotALog, match="another program"):
        SqliteEventLog(path)
    assert path.read_bytes() == before


def test_a_folder_is_not_a_log(path: Path) -> None:
    path.mkdir()
    with pytest.raises(NotALog, match="not a file"):
        SqliteEventLog(path)


def test_a_place_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EventStoreError, match="Not a directory"):
        SqliteEventLog(tmp_path / "file" / "events.db")


def test_a_newer_schema_is_refused(path: Path) -> None:
    """An older keyturn would not know what it overlooks."""
    SqliteEventLog(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(NewerSchema, match=f"schema {SCHEMA + 1}; .* up to {SCHEMA}") as caught:
        SqliteEventLog(path)
    assert "newer" in caught.value.advice


@pytest.mark.parametrize("page", [2, 3, 4])
def test_a_damaged_file_is_named(path: Path, page: int) -> None:
    """Not what an event says, but the file itself is bad: its table, the index of its streams, or its counter."""
    with SqliteEventLog(path) as log:
        log.append([fact(ONE, version) for version in range(1, 200)])
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(LogDamaged, match="damaged"):
        SqliteEventLog(path).verify()


def test_a_text_that_is_none_is_damage(path: Path) -> None:
    """The sqlite3 module raises this one by itself, without a code of SQLite."""
    with SqliteEventLog(path) as log:
        log.append([fact(ONE, 1)])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE events SET tag = CAST(X'FFFE' AS TEXT)")
        with pytest.raises(LogDamaged):
            log.after(0)
        assert log.verify().first_bad_position == 1


# --- what cannot be written ----------------------------------------------------------------------------------


def test_a_folder_that_may_not_be_written_is_named() -> None:
    """The write-ahead log stands beside the file, so the folder counts, for a new log and for an old one."""
    with _as_ordinary_user() as folder:
        path = folder / "events.db"
        folder.chmod(0o500)
        with pytest.raises(ReadOnlyLog, match="Permission denied") as caught:
            SqliteEventLog(path)
        assert "write access" in caught.value.advice
        folder.chmod(0o700)
        with SqliteEventLog(path) as log:
            log.append([fact(ONE, 1)])
        folder.chmod(0o500)
        with pytest.raises(ReadOnlyLog, match="the file or its folder"):
            SqliteEventLog(path)


def test_a_file_that_may_not_be_written_can_be_read() -> None:
    """Only appending is refused."""
    with _as_ordinary_user() as folder:
        path = folder / "events.db"
        with SqliteEventLog(path) as log:
            recorded = log.append([fact(ONE, 1)])
        path.chmod(0o400)
        with SqliteEventLog(path) as log:
            assert log.after(0) == recorded
            with pytest.raises(ReadOnlyLog, match="read-only"):
                log.append([fact(ONE, 2)])
        path.chmod(0o600)
        with SqliteEventLog(path) as log:
            assert log.after(0) == recorded


def test_a_folder_that_may_not_be_entered_is_named() -> None:
    with _as_ordinary_user() as folder:
        (folder / "closed").mkdir(mode=0o000)
        with pytest.raises(ReadOnlyLog, match="Permission denied"):
            SqliteEventLog(folder / "closed" / "events.db")


# --- a full disk ------------------------------------------------------------------------------------------------


def _fill(log: SqliteEventLog) -> int:
    """Append until it is refused; return how many events were acknowledged."""
    acknowledged = 0

    def fill() -> None:
        nonlocal acknowledged
        while True:
            batch = [fact(ONE, acknowledged + number, "x" * 500) for number in range(1, 4)]
            acknowledged = log.append(batch)[-1].position

    with pytest.raises(DiskFull, match="nothing is lost") as caught:
        fill()
    assert "Make room" in caught.value.advice
    return acknowledged


def test_a_file_that_may_not_grow_loses_nothing(path: Path) -> None:
    """What was acknowledged is there, what was refused is not, and it goes on when there is room."""
    with SqliteEventLog(path) as log:
        datastore = log.recorder.datastore
        datastore.select("PRAGMA max_page_count = 40")
        acknowledged = _fill(log)
        assert log.head() == acknowledged > 0
        assert log.verify().ok
        datastore.select("PRAGMA max_page_count = 4000")
        assert log.append([fact(ONE, acknowledged + 1)])[0].position == acknowledged + 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, which only root can mount; without it the test of `max_page_count` stands in."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """The same on a disk that is really full: also when opened afresh, and it goes on when there is room."""
    path = small_disk / "events.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    with SqliteEventLog(path) as log:
        acknowledged = _fill(log)
        assert log.head() == acknowledged > 0
        assert log.verify().ok
        with pytest.raises(DiskFull):
            log.append([fact(ONE, acknowledged + 1, "y" * 100_000)])
        ballast.unlink()
        log.append([fact(ONE, acknowledged + 1)])
    with SqliteEventLog(path) as log:
        assert [each.originator_version for each in log.stream(ONE)] == list(range(1, acknowledged + 2))
        assert log.verify().ok


def test_a_log_is_not_made_on_a_full_disk(small_disk: Path) -> None:
    """And half of one is not left behind."""
    ballast = small_disk / "ballast"
    disk = os.statvfs(small_disk)
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize))
    with pytest.raises(DiskFull):
        SqliteEventLog(small_disk / "events.db")
    assert [each.name for each in small_disk.iterdir()] == ["ballast"]
    ballast.unlink()
    with SqliteEventLog(small_disk / "events.db") as log:
        assert log.append([fact(ONE, 1)])[0].position == 1


def test_a_file_system_that_is_read_only_is_named(small_disk: Path) -> None:
    path = small_disk / "events.db"
    SqliteEventLog(path).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ReadOnlyLog):
        SqliteEventLog(path)
    with pytest.raises(ReadOnlyLog, match="Read-only file system"):
        SqliteEventLog(small_disk / "other.db")


# --- a lock that is held ---------------------------------------------------------------------------------------


def test_a_log_that_stays_locked_is_named(path: Path) -> None:
    """Another process holds it for longer than one may wait: refused, nothing changed, readers go on."""
    with SqliteEventLog(path, busy_seconds_max=0.02) as log, closing(sqlite3.connect(path)) as other:
        log.append([fact(ONE, 1)])
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogBusy, match="locked by another process") as caught:
            log.append([fact(ONE, 2)])
        assert caught.value.exit_code == ExitCode.REFUSED
        assert log.head() == 1
        other.execute("ROLLBACK")
        assert log.append([fact(ONE, 2)])[0].position == 2


@pytest.mark.slow
def test_who_waits_gets_the_next_turn(path: Path) -> None:
    """A process that holds the lock nearly always lets others in nearly every time it lets go.

    SQLite's own wait, which grows to 0.1 s, needs 56 turns and more for the same.
    """
    turns, held, done = 0, Event(), Event()

    def hold_nearly_always() -> None:
        nonlocal turns
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            while not done.is_set():
                other.execute("BEGIN IMMEDIATE")
                held.set()
                sleep(0.030)
                held.clear()
                other.execute("COMMIT")
                turns += 1
                sleep(0.003)

    with SqliteEventLog(path) as log:
        holder = Thread(target=hold_nearly_always)
        holder.start()
        for version in range(1, 11):
            held.wait()
            log.append([fact(ONE, version)])
        done.set()
        holder.join()
        assert log.head() == 10
    assert turns <= 30


def test_a_closed_log_is_a_mistake_of_ours(path: Path) -> None:
    """No error for users: it passes through as the library raises it."""
    log = SqliteEventLog(path)
    log.close()
    log.close()
    with pytest.raises(ConnectionPoolClosedError):
        log.head()
