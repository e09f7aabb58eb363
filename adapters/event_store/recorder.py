"""How the eventsourcing library reads and writes our SQLite file: connections, transactions, statements.

Rule 1: the hash of an event is computed and written inside the transaction that appends it.
Rule 2: what threads of one process append at once is synced once, and is still all or none of each of them.
Rule 3: rows are plain tuples, selected by column; the library's own statements are not used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, RLock
from time import monotonic, sleep
from typing import Any, Final, cast
from uuid import UUID

from eventsourcing.persistence import ConnectionUnavailableError, IntegrityError, Notification, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteFactory,
)
from eventsourcing.utils import Environment

from adapters.event_store.application import ChainedRecorder, Links, Place, content_of
from adapters.event_store.errors import EventStoreError, LogBusy, LogDamaged, is_busy, named_errors
from adapters.event_store.mapper import ChainedRow, FactMapper
from adapters.event_store.schema import CREATE_TABLE, TABLE, address, connect
from engine.chain import GENESIS, Content, Link, chained

_INSERT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"
_HEAD: Final = "SELECT MAX(position) FROM events"
_LAST: Final = "SELECT position, hash FROM events ORDER BY position DESC LIMIT 1"
_ISSUED: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
_STREAM: Final = "SELECT originator_version, tag, state FROM events WHERE originator_id = ?"
_ALL: Final = "SELECT position, originator_id, originator_version, tag, state, hash FROM events WHERE position > ?"
# A value of another type than ours is NULL here, so that the check of the chain names its position.
_LINKS: Final = """
    SELECT position,
        CASE typeof(originator_id) WHEN 'blob' THEN originator_id END,
        CASE typeof(originator_version) WHEN 'integer' THEN originator_version END,
        CASE typeof(tag) WHEN 'text' THEN CAST(tag AS BLOB) END,
        CASE typeof(state) WHEN 'blob' THEN state END,
        CASE typeof(hash) WHEN 'blob' THEN hash END
    FROM events ORDER BY position
"""


_TRY_SECONDS: Final = 0.0005
"""Between two tries to become the writer: a try takes 10 us, an append from 0.2 ms on."""


_CONNECTIONS: Final = 16
"""Connections that stay open: as many as the threads that use one log at once, for opening one takes milliseconds."""


@dataclass(slots=True, eq=False)
class _Append:
    """Events that a thread waits to be recorded; `places` are theirs once they are."""

    events: Sequence[StoredEvent]
    places: Sequence[Place] = ()


class LogConnectionPool(SQLiteConnectionPool):
    """Connections that are checked to be to our log, and to sync each commit."""

    def __init__(self, path: Path, *, busy_seconds_max: float) -> None:
        super().__init__(db_name=address(path), pool_size=_CONNECTIONS, pool_timeout=busy_seconds_max)
        self._path = path
        self._busy_seconds_max = busy_seconds_max

    def _create_connection(self) -> SQLiteConnection:
        connection = connect(self._path, busy_seconds_max=self._busy_seconds_max)
        return SQLiteConnection(sqlite_conn=connection, max_age=None)


class LogDatastore(SQLiteDatastore):
    """Transactions on the log, with errors of the catalogue."""

    def __init__(self, path: Path, *, busy_seconds_max: float) -> None:
        # The parent would make a pool of its own, with other pragmas, only to have it replaced.
        self.pool = LogConnectionPool(path, busy_seconds_max=busy_seconds_max)
        self.single_row_tracking = True
        self.originator_id_type = "uuid"
        self.path = path
        self._busy_seconds_max = busy_seconds_max
        self._writer = RLock()

    @contextmanager
    def get_connection(self, *, commit: bool) -> Iterator[SQLiteConnection]:
        """Yield a connection of the pool; where it is to `commit`, as the one writer of this process.

        The threads of one process queue here, since SQLite would have them sleep and try again.
        """
        if not commit:
            with self._pooled() as connection:
                yield connection
            return
        with self.turn(), self._pooled() as connection:
            yield connection

    @contextmanager
    def turn(self, *, given_up: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Be the one writer of this process while the block runs.

        Raises `LogBusy` where that takes too long, unless it cannot be `given_up` any more.
        """
        if not self._writer.acquire(timeout=self._busy_seconds_max):
            if given_up():
                raise LogBusy(path=self.path)
            self._writer.acquire()
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        """Yield a cursor in a transaction, which writes from its first statement on if it is to `commit`.

        It is taken back whole if the block raises, or if it cannot be committed.
        """
        with named_errors(self.path), self.get_connection(commit=commit) as connection:
            # The cursor is closed whatever happens: the traceback of an error would keep it, and it the file.
            cursor = connection.cursor()
            with cursor:
                if commit:
                    self._begin_writing(cursor)
                else:
                    cursor.execute("BEGIN")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    connection.rollback()
                    raise

    def _begin_writing(self, cursor: SQLiteCursor) -> None:
        """Begin as the one writer of all processes, waiting for the others.

        SQLite's own wait grows to 0.1 s a try, and loses time and again to a process that appends without a
        pause: one beside it was seen to wait for more than 3 s. With tries at a short, even interval none of
        four such processes waited for more than 0.3 s.
        """
        until = monotonic() + self._busy_seconds_max
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    cursor.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or monotonic() > until:
                        raise
                    sleep(_TRY_SECONDS)
                else:
                    return
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(self._busy_seconds_max * 1000)}")

    def select(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one SELECT, which is a transaction by itself."""
        with (
            named_errors(self.path),
            self.get_connection(commit=False) as connection,
            connection.cursor() as cursor,
        ):
            return cursor.execute(statement, parameters).fetchall()

    @contextmanager
    def _pooled(self) -> Iterator[SQLiteConnection]:
        try:
            connection = self.pool.get_connection()
        except ConnectionUnavailableError as error:
            raise LogBusy(path=self.path) from error
        try:
            yield connection
        finally:
            self.pool.put_connection(connection)


class SqliteChainedRecorder(SQLiteApplicationRecorder, ChainedRecorder):
    """Reads and appends events and their chain."""

    datastore: LogDatastore

    def __init__(self, datastore: LogDatastore) -> None:
        super().__init__(datastore, TABLE)
        self._waiting: list[_Append] = []
        """What threads wait for, until one of them takes all of it in hand."""
        self._list = Lock()
        self.select_max_notification_id_statement = _HEAD

    def construct_create_table_statements(self) -> list[str]:
        """Return the table of the log. It is made with the file (schema.py), never on an open log."""
        return [CREATE_TABLE]

    def insert_chained(self, stored_events: Sequence[StoredEvent]) -> Sequence[Place]:
        """Record all or none, durably. Raises the library's `IntegrityError` where a place is taken.

        What other threads append meanwhile is synced with it: a disk syncs no faster for one event than for eight.
        Raises `LogDamaged`, and records nothing, where the end of the log was cut off: what would be
        appended was decided on a past that is not the whole one.
        """
        mine = _Append(stored_events)
        with self._list:
            self._waiting.append(mine)
        with self.datastore.turn(given_up=lambda: self._is_withdrawn(mine)):
            if not mine.places and self._is_withdrawn(mine):
                self._record_with_others(mine)
            if not mine.places:
                self._record([mine])
        return mine.places

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn to append."""
        return len(self._waiting)

    def _is_withdrawn(self, mine: _Append) -> bool:
        """Take it off the list again; tell whether it was still there, and in nobody's hand."""
        with self._list:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True

    def _record_with_others(self, mine: _Append) -> None:
        """Record what all threads wait for in one transaction, if it can be; what cannot is tried by each alone.

        So each thread is told the error of its own events, and those of the others are recorded.
        """
        with self._list:
            others, self._waiting = self._waiting, []
        if others:
            with suppress(IntegrityError, EventStoreError):
                self._record([mine, *others])

    def _record(self, appends: Sequence[_Append]) -> None:
        try:
            with self.datastore.transaction(commit=True) as cursor:
                places = [self._insert_chained(cursor, each.events) for each in appends]
        except sqlite3.IntegrityError as error:
            raise IntegrityError(error) from error
        for each, found in zip(appends, places, strict=True):
            each.places = found

    def _insert_events(self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        return [place.position for place in self._insert_chained(c, stored_events)]

    def _insert_chained(self, cursor: SQLiteCursor, stored_events: Sequence[StoredEvent]) -> list[Place]:
        cursor.execute(_LAST)
        position, previous = cursor.fetchone() or (0, GENESIS)
        cursor.execute(_ISSUED)
        (issued,) = cursor.fetchone() or (0,)
        if issued > position:
            raise LogDamaged(path=self.datastore.path, why=f"event {position + 1} is missing")
        rows, places = [], []
        for stored in stored_events:
            position += 1
            content = content_of(stored)
            previous = chained(previous, position, content)
            rows.append((position, content.originator_id, content.version, stored.topic, content.state, previous))
            places.append(Place(position, previous))
        cursor.executemany(_INSERT, rows)
        return places

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of one aggregate whose version is above `gt` and at most `lte`."""
        assert isinstance(originator_id, UUID), "the log names aggregates by UUID"
        statement, parameters = _STREAM, [originator_id.bytes]
        statement += " AND originator_version > ?" if gt is not None else ""
        statement += " AND originator_version <= ?" if lte is not None else ""
        statement += " ORDER BY originator_version " + ("DESC" if desc else "ASC")
        statement += " LIMIT ?" if limit is not None else ""
        bounds = [bound for bound in (gt, lte, limit) if bound is not None]
        rows = self.datastore.select(statement, [*parameters, *bounds])
        return [StoredEvent(originator_id, version, tag, state) for version, tag, state in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return at most `limit` events from `start` to `stop`, of certain tags if `topics` names any."""
        behind = 0 if start is None else start - 1 if inclusive_of_start else start
        condition, parameters = "", []
        if stop is not None:
            condition += " AND position <= ?"
            parameters.append(stop)
        if topics:
            condition += f" AND tag IN ({','.join('?' * len(topics))})"
        return list(map(FactMapper.to_notification, self._select(condition, [behind, *parameters, *topics, limit])))

    def select_chained(self, position: int, limit: int) -> Sequence[ChainedRow]:
        """Return at most `limit` events behind `position`, in order."""
        return self._select("", [position, limit])

    def _select(self, condition: str, parameters: Sequence[object]) -> list[ChainedRow]:
        rows = self.datastore.select(f"{_ALL}{condition} ORDER BY position LIMIT ?", parameters)
        return cast("list[ChainedRow]", rows)

    @contextmanager
    def whole_chain(self) -> Iterator[Links]:
        """Yield the chain as it stands now, read row by row from one snapshot."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(_ISSUED)
            (issued,) = cursor.fetchone() or (0,)
            cursor.execute(_LINKS)
            yield Links(issued, map(_link, cursor.sqlite_cursor))

    def assert_sound(self) -> None:
        """Check that pages, table, index and constraints agree; raises `LogDamaged` with what does not."""
        ((finding,),) = self.datastore.select("PRAGMA integrity_check(1)")
        if finding != "ok":
            raise LogDamaged(path=self.datastore.path, why=finding)


def _link(row: tuple[Any, ...]) -> Link:
    position, *values, link = row
    return Link(position, None if None in values else Content(*values), link)


class LogFactory(SQLiteFactory):
    """Makes the recorder of one file."""

    def __init__(self, path: Path, *, busy_seconds_max: float) -> None:
        # The parent reads the name of the file, and more, from the environment.
        super(SQLiteFactory, self).__init__(Environment())
        self.datastore: LogDatastore = LogDatastore(path, busy_seconds_max=busy_seconds_max)

    def application_recorder(self) -> SqliteChainedRecorder:
        """Return the recorder; the table is there since the file is."""
        return SqliteChainedRecorder(self.datastore)
