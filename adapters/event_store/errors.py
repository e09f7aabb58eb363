"""What can be wrong with the file of the log, each as an error with its next step, and how SQLite's codes map to it.

Rule: no other file of the event store reads an SQLite result code; none here imports eventsourcing.
Result codes: https://www.sqlite.org/rescode.html (the low byte is the primary code).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.errors import ExitCode, KeyturnError

_ROOM_MIN: Final = 64 * 1024
"""Bytes: with less than this free, a write that failed without saying why failed for want of room. SQLite
grows its shared-memory file by 32 KiB, and reports that as an input/output error or as a file it cannot open."""


class EventStoreError(KeyturnError):
    """The event log {path} cannot be used: {why}."""

    exit_code = ExitCode.PERSON_NEEDED
    hint = "Check the disk and the permissions of the state folder: keyturn doctor."


class NoLog(EventStoreError):
    """There is no event log at {path}."""

    exit_code = ExitCode.USAGE
    hint = "Check --state (or KEYTURN_STATE); keyturn init makes a new one."


class NotALog(EventStoreError):
    """{path} is not an event log of keyturn: {why}."""

    exit_code = ExitCode.USAGE
    hint = "Check --state (or KEYTURN_STATE). If a log should be there, put it back from a backup."


class NewerSchema(EventStoreError):
    """The event log {path} has schema {found}; this version of keyturn knows schemas up to {known}."""

    exit_code = ExitCode.USAGE
    hint = "Use the version of keyturn that wrote the log, or a newer one."


class ReadOnlyLog(EventStoreError):
    """The event log {path} cannot be written: {why}. Nothing was changed."""

    exit_code = ExitCode.USAGE
    hint = "Give this user write access to the file and to its folder, or move the state with --state."


class DiskFull(EventStoreError):
    """There is no room for the event log {path}. Nothing was changed and nothing is lost."""

    hint = "Make room on that disk, then run: keyturn resume."


class LogBusy(EventStoreError):
    """The event log {path} was locked by another process for too long. Nothing was changed."""

    exit_code = ExitCode.REFUSED
    hint = "Run the command again; keyturn doctor shows which processes use the state folder."


class LogDamaged(EventStoreError):
    """The event log {path} is damaged: {why}."""

    hint = "keyturn audit verify names the first bad position. Put the log back from a backup."


class UnsuitableFilesystem(EventStoreError):
    """The event log {path} cannot be kept there: {why}."""

    exit_code = ExitCode.USAGE
    hint = "Put the state on a local disk with --state (or KEYTURN_STATE)."


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn whatever SQLite or the operating system raise in the block into an error of this catalogue.

    `sqlite3.IntegrityError` passes, since it says something about the events and not about the file, and so
    does `sqlite3.ProgrammingError`, which is a mistake of ours.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.Error as error:
        raise _of_sqlite(error, path) from error
    except OSError as error:
        raise _of_system(error, path) from error


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Tell whether an error only says that another process holds the lock."""
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def _primary_code(error: sqlite3.Error) -> int | None:
    """Return the result code; None for what the sqlite3 module raises by itself, as for a text that is not UTF-8."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _of_sqlite(error: sqlite3.Error, path: Path) -> EventStoreError:
    """Return the error that an SQLite error means."""
    named: EventStoreError
    match _primary_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            named = LogBusy(path=path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            named = ReadOnlyLog(path=path, why="the file or its folder is read-only")
        case sqlite3.SQLITE_FULL:
            named = DiskFull(path=path)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR if not _has_room(path):
            named = DiskFull(path=path)
        case sqlite3.SQLITE_CANTOPEN:
            named = _of_closed_file(path)
        case sqlite3.SQLITE_NOTADB:
            named = NotALog(path=path, why="it is not an SQLite database")
        case sqlite3.SQLITE_CORRUPT | None:
            named = LogDamaged(path=path, why=error)
        case _:
            named = EventStoreError(path=path, why=error)
    return named


def _of_closed_file(path: Path) -> EventStoreError:
    """Return why the file cannot be opened."""
    if not path.exists():
        return NoLog(path=path)
    if not path.is_file():
        return NotALog(path=path, why="it is not a file")
    # The write-ahead log and the shared memory stand beside the file, so the folder must be writable too.
    return ReadOnlyLog(path=path, why="this user may not write the file or its folder")


def _of_system(error: OSError, path: Path) -> EventStoreError:
    """Return the error that an error of the operating system means."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(path=path)
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return ReadOnlyLog(path=path, why=error.strerror)
        case _:
            return EventStoreError(path=path, why=error.strerror)


def _has_room(path: Path) -> bool:
    """Tell whether the disk of the file has room for what SQLite keeps beside it."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return True
    return disk.f_bavail * disk.f_frsize >= _ROOM_MIN
