"""The views in an SQLite file of their own: the port `Views` of projections/feed.py.

Rule 1: what is here can be deleted at any time: it is folded again from the log.
Rule 2: names of tables and columns come from the tables of projections, values are always bound.
"""

# ruff: noqa: S608  # statements are put together of the names of Rule 2, and of nothing else

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from adapters import quick_status
from engine.errors import ExitCode, KeyturnError
from projections.feed import Condition, NewerView, Projection, Relation, Row, Table, Tracking, Value

BUSY_SECONDS_MAX: Final = 30.0
"""How long one process waits for the others that fold the same facts, a batch of which takes milliseconds."""

_APPLICATION_ID: Final = int.from_bytes(b"keyv")
_FORMAT: Final = 2
"""The format of the file beside the tables of the projections, kept in `PRAGMA user_version`."""

_CHECKPOINT_PAGES: Final = 8_000
"""Pages of 4 KiB before the write-ahead log is synced and copied: at the usual 1,000, a rebuild does little else."""

_TRACKING: Final = """
    CREATE TABLE tracking (
        view TEXT PRIMARY KEY,
        schema INTEGER NOT NULL,
        shape TEXT NOT NULL,
        position INTEGER NOT NULL,
        hash BLOB NOT NULL,
        tables TEXT NOT NULL
    ) WITHOUT ROWID
"""

_OPERATORS: Final = {Relation.AT_LEAST: ">=", Relation.AT_MOST: "<="}


class ViewsUnusable(KeyturnError):
    """The views in {path} cannot be used: {why}."""

    exit_code = ExitCode.PERSON_NEEDED
    hint = "Check the disk and its permissions. {path} holds nothing of its own: deleted, it is made again."


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what SQLite raises in the block into an error of the catalogue."""
    try:
        yield
    except sqlite3.Error as error:
        raise ViewsUnusable(path=path, why=error) from error


class SqliteViews:
    """The port `Views` on a file (0600), for any number of processes at once; one object serves one thread.

    Every method raises `ViewsUnusable` where the file cannot be used. A commit is not synced to the disk: what
    a power cut takes with it is folded again.
    """

    def __init__(self, path: Path, *, busy_seconds_max: float = BUSY_SECONDS_MAX) -> None:
        """Open the file; make it where there is none."""
        self.path = path
        with _named(path):
            try:
                if not path.exists():
                    _create(path)
            except OSError as error:
                raise ViewsUnusable(path=path, why=error.strerror) from error
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy_seconds_max, isolation_level=None
            )
            try:
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                self._assert_ours()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def writing(self, projection: Projection) -> Iterator[SqlitePage]:
        """Open the view for changes: all of the block or none, and no other process meanwhile."""
        with _named(self.path), self._transaction("BEGIN IMMEDIATE"):
            yield self._page(projection)

    @contextmanager
    def reading(self, projection: Projection) -> Iterator[SqlitePage]:
        """Open the view as it is now; the block sees no change of others."""
        if not self._is_prepared(projection):
            with self.writing(projection):
                pass
        with _named(self.path), self._transaction("BEGIN"):
            yield self._page(projection)

    def remember(
        self,
        config: Path,
        services: Sequence[tuple[str, str, int | None, int | None]],
        *,
        mark: tuple[str, int, int] | None = None,
    ) -> None:
        """Keep for quick_status.py of each configured service: name, environment, last rotated and due (microseconds).

        They hold until the configuration file is touched. `mark` is its `quick_status.stamp` from before it
        was read; a command that runs for long must give it, since the file may be another by now. A file that
        is gone meanwhile is not remembered.
        """
        try:
            name, mtime, size = mark or quick_status.stamp(str(config))
        except OSError:
            return
        with _named(self.path), self._transaction("BEGIN IMMEDIATE"):
            self._connection.execute("DELETE FROM configured WHERE config = ?", (name,))
            self._connection.executemany(
                "INSERT INTO configured VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(name, number, mtime, size, *service) for number, service in enumerate(services)],
            )

    def unheard(self) -> dict[str, int]:
        """Return the credentials of which a critical notice reached nobody, as `quick_status.unheard` does."""
        with _named(self.path):
            return quick_status.unheard(self._connection)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _assert_ours(self) -> None:
        found = [
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        ]
        if found[0] != _APPLICATION_ID:
            raise ViewsUnusable(path=self.path, why="it is a database of another program")
        if found[1] != _FORMAT:
            raise ViewsUnusable(
                path=self.path, why=f"it has format {found[1]}; this version of keyturn knows {_FORMAT}"
            )

    def _is_prepared(self, projection: Projection) -> bool:
        with _named(self.path):
            found = self._connection.execute(
                "SELECT schema FROM tracking WHERE view = ?", (projection.name,)
            ).fetchone()
        return found is not None and found[0] == projection.schema

    def _page(self, projection: Projection) -> SqlitePage:
        """Return the page of a view, its tables made anew where they are of an older schema or another shape."""
        row = self._connection.execute(
            "SELECT schema, shape, position, hash, tables FROM tracking WHERE view = ?", (projection.name,)
        ).fetchone()
        if row is not None and row[0] > projection.schema:
            raise NewerView(view=projection.name, path=self.path, found=row[0], known=projection.schema)
        if row is not None and row[:2] == (projection.schema, projection.shape):
            return SqlitePage(self._connection, projection, Tracking(*row[2:4]))
        for name in row[4].split() if row is not None else ():
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")
        for table in projection.tables:
            self._make(table)
        page = SqlitePage(self._connection, projection, Tracking())
        page.track(page.tracking)
        return page

    def _make(self, table: Table) -> None:
        columns = ", ".join(
            f"{name} {kind.value}{'' if number else ' PRIMARY KEY'}"
            for number, (name, kind) in enumerate(table.columns)
        )
        self._connection.execute(f"CREATE TABLE {table.name} ({columns})")
        for number, index in enumerate(table.indexes):
            self._connection.execute(f"CREATE INDEX {table.name}_{number} ON {table.name} ({', '.join(index)})")


class SqlitePage:
    """The rows of one view within a transaction: the ports `Rows` and `Page`."""

    def __init__(self, connection: sqlite3.Connection, projection: Projection, tracking: Tracking) -> None:
        self._connection = connection
        self._projection = projection
        self._tracking = tracking

    @property
    def tracking(self) -> Tracking:
        """How far the view has got."""
        return self._tracking

    def get(self, table: Table, key: Value) -> Row | None:
        """Return the row with this key; None where there is none."""
        row: Row | None = self._connection.execute(
            f"SELECT * FROM {table.name} WHERE {table.columns[0][0]} = ?",
            (key,),
        ).fetchone()
        return row

    def select(
        self, table: Table, conditions: Sequence[Condition] = (), *, last_first: bool = False, limit: int | None = None
    ) -> list[Row]:
        """Return the rows that meet all conditions, in the order of their keys."""
        clauses = " AND ".join(map(_clause, conditions)) or "TRUE"
        direction = "DESC" if last_first else "ASC"
        statement = f"SELECT * FROM {table.name} WHERE {clauses} ORDER BY {table.columns[0][0]} {direction} LIMIT ?"
        values = [value for condition in conditions for value in condition.values]
        return self._connection.execute(statement, (*values, -1 if limit is None else limit)).fetchall()

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows, each replacing the one with its key."""
        places = ", ".join("?" * len(table.columns))
        self._connection.executemany(f"REPLACE INTO {table.name} VALUES ({places})", rows)

    def track(self, tracking: Tracking) -> None:
        """Take down how far the view has got."""
        projection = self._projection
        names = " ".join(table.name for table in projection.tables)
        self._connection.execute(
            "REPLACE INTO tracking VALUES (?, ?, ?, ?, ?, ?)",
            (projection.name, projection.schema, projection.shape, tracking.position, tracking.hash, names),
        )
        self._tracking = tracking

    def clear(self) -> None:
        """Empty the view; it has seen nothing."""
        for table in self._projection.tables:
            self._connection.execute(f"DELETE FROM {table.name}")
        self.track(Tracking())


def _clause(condition: Condition) -> str:
    if condition.relation is Relation.AMONG:
        return f"{condition.column} IN ({', '.join('?' * len(condition.values))})"
    return f"{condition.column} {_OPERATORS[condition.relation]} ?"


def _create(path: Path) -> None:
    """Make the file under another name and link it to its own when it is complete; processes at once agree.

    Switching a file to the write-ahead log while others open it fails in some of them, so it is done before.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TRACKING)
            connection.execute(quick_status.CREATE_TABLE)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        with suppress(FileExistsError):  # Another process was first, and its file is complete.
            os.link(draft, path)
    finally:
        draft.unlink()
