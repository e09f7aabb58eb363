"""The file of the log: its table, its marks, how it comes into being and how a connection to it is made.

Rule: an open connection is always to a log that is known to be ours, complete, and synced at each commit.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from adapters.event_store.errors import NewerSchema, NotALog, UnsuitableFilesystem, named_errors

SCHEMA: Final = 1
"""The schema that this version writes, kept in `PRAGMA user_version`."""

APPLICATION_ID: Final = int.from_bytes(b"keyt")
"""What `PRAGMA application_id` says of a log of ours."""

TABLE: Final = "events"

# AUTOINCREMENT: a position is never given out twice, even if the last events were deleted, and
# sqlite_sequence tells that they once were there.
CREATE_TABLE: Final = f"""
    CREATE TABLE {TABLE} (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        originator_id BLOB NOT NULL CHECK (length(originator_id) = 16),
        originator_version INTEGER NOT NULL,
        tag TEXT NOT NULL,
        state BLOB NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        UNIQUE (originator_id, originator_version)
    )
"""

_SYNCHRONOUS_FULL: Final = 2


def address(path: Path) -> str:
    """Return the URI under which SQLite opens the log and never makes an empty one in its place."""
    return f"{path.absolute().as_uri()}?mode=rw"


def connect(path: Path, *, busy_seconds_max: float) -> sqlite3.Connection:
    """Return a connection in autocommit mode whose commits are on the disk when they return.

    Raises the errors of the catalogue.
    """
    with named_errors(path):
        connection = sqlite3.connect(
            address(path),
            uri=True,
            timeout=busy_seconds_max,
            isolation_level=None,
            check_same_thread=False,  # A connection of the pool is used by one thread at a time.
        )
        try:
            _assert_ours(connection, path)
            _make_durable(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def create(path: Path) -> None:
    """Make the log where there is none, folder (0700) and file (0600) included; leave one that is there alone.

    Any number of processes may do so at once. The file is made under another name and linked to its own when
    it is complete and on the disk, so that nobody ever sees half a log. Raises the errors of the catalogue.
    """
    with named_errors(path):
        if path.exists():
            return
        _make_folder(path.parent)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as draft_folder:
            draft = Path(draft_folder, path.name)
            draft.touch(mode=0o600)
            _write_schema(draft, path)
            _link(draft, path)
        _sync_folder(path.parent)


def _write_schema(draft: Path, path: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(CREATE_TABLE)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
        _make_durable(connection, path)


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # Another process was first, and its log is complete.
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        raise UnsuitableFilesystem(path=path, why="it has no hard links") from error


def _make_folder(folder: Path) -> None:
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: without that a power cut may lose the file, events and all."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _assert_ours(connection: sqlite3.Connection, path: Path) -> None:
    if path.stat().st_size == 0:
        # SQLite takes an empty file for a new database; where a log was, it is a log that was lost.
        raise NotALog(path=path, why="it is empty")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise NotALog(path=path, why="it is a database of another program")
    schema = _pragma(connection, "user_version")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise NewerSchema(path=path, found=schema, known=SCHEMA)


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """Have every commit synced (https://www.sqlite.org/pragma.html#pragma_synchronous), and check that it is."""
    if _pragma(connection, "journal_mode") != "wal":
        _pragma(connection, "journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # On macOS a plain fsync leaves the data in the cache of the drive; elsewhere this changes nothing.
    connection.execute("PRAGMA fullfsync = ON")
    if _pragma(connection, "journal_mode") != "wal":
        raise UnsuitableFilesystem(path=path, why="it cannot share memory between processes")
    if _pragma(connection, "synchronous") != _SYNCHRONOUS_FULL:
        raise UnsuitableFilesystem(path=path, why="SQLite does not sync its commits")


def _pragma(connection: sqlite3.Connection, statement: str) -> object:
    """Return the value that a PRAGMA statement answers with."""
    row: tuple[object, ...] = connection.execute(f"PRAGMA {statement}").fetchone()
    return row[0]
