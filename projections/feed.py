"""The feed: how a view follows the log, in batches, each fact once, from where it was.

Rule 1: a projection is pure: it is given facts, may read its own rows, and returns the rows to put.
Rule 2: how far a view has got is saved with its rows in one transaction, so that no crash can part them.
Rule 3: a view is never repaired; what does not fit the log any more is folded again from the first event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol, TypeAlias

import msgspec

from engine.errors import ExitCode, KeyturnError, UnsupportedEvent
from engine.facts import Recorded

BATCH: Final = 500
"""Facts folded in one transaction: more make a rebuild no faster, and keep other processes waiting longer."""

UNFIT: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, UnsupportedEvent)
"""What reading or folding an event that does not fit may raise; an AssertionError is a bug and passes."""


class PoisonEvent(KeyturnError):
    """The view {view} cannot take event {position} of the log: {why}."""

    exit_code = ExitCode.PERSON_NEEDED
    hint = "keyturn audit verify tells whether the log is damaged; a newer version of keyturn may know the event."


class NewerView(KeyturnError):
    """The view {view} in {path} has schema {found}; this version of keyturn knows schemas up to {known}."""

    exit_code = ExitCode.USAGE
    hint = "Use the version of keyturn that wrote it, or delete {path}: it is made again from the log."


class Kind(StrEnum):
    """What a column holds."""

    INTEGER = "integer"
    TEXT = "text"
    BLOB = "blob"


Value: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Value, ...]
"""One value a column, in the order of the table's columns."""


class Table(msgspec.Struct, frozen=True):
    """A table of a view: its columns in order, the first of them the key, and what rows are looked up by."""

    name: str
    columns: tuple[tuple[str, Kind], ...]
    indexes: tuple[tuple[str, ...], ...] = ()


class Relation(StrEnum):
    """How a column's value stands to the given ones."""

    AMONG = "among"
    """It is one of them."""
    AT_LEAST = "at_least"
    """It is the first of them or more."""
    AT_MOST = "at_most"
    """It is the first of them or less."""


class Condition(msgspec.Struct, frozen=True):
    """What a row must meet to be selected."""

    column: str
    relation: Relation
    values: tuple[Value, ...]


class Tracking(msgspec.Struct, frozen=True):
    """How far a view has got: the position, and the hash that stood there. Position 0 is before the first event."""

    position: int = 0
    hash: bytes = b""


class Source(Protocol):
    """The reading half of the port `EventLog`: all that a view needs of the log."""

    def after(self, position: int, *, limit: int = 500) -> Sequence[Recorded]:
        """Return at most `limit` facts of all aggregates behind `position`, in order."""
        ...


class Rows(Protocol):
    """The rows of one view, as of one moment."""

    def get(self, table: Table, key: Value) -> Row | None:
        """Return the row with this key; None where there is none."""
        ...

    def select(
        self, table: Table, conditions: Sequence[Condition] = (), *, last_first: bool = False, limit: int | None = None
    ) -> list[Row]:
        """Return the rows that meet all conditions, in the order of their keys, at most `limit`."""
        ...


def shape_of(*structures: type[msgspec.Struct]) -> str:
    """Return a checksum over the fields and types of structures, those within them included.

    A field that somebody adds to an aggregate would be missing in rows of before, so such rows are not read.
    """
    _, components = msgspec.json.schema_components(structures)
    return sha256(msgspec.json.encode(components, order="deterministic")).hexdigest()[:16]


class Folding(Protocol):
    """A fold on its way through the log."""

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return the rows to put, a row replacing the one with its key.

        However the log is cut into batches, the rows in the end are the same. It may keep what it read and
        returned for the batch behind this one; a fresh one reads it again. Raises one of `UNFIT` for an event
        that it cannot take, and is not used any more then.
        """
        ...


class Projection(Protocol):
    """A view that is folded from the log."""

    @property
    def name(self) -> str:
        """The name of the view."""
        ...

    @property
    def schema(self) -> int:
        """Goes up with every change of what the rows mean."""
        ...

    @property
    def shape(self) -> str:
        """Differs wherever the structures that are kept in rows differ (`shape_of`)."""
        ...

    @property
    def tables(self) -> Sequence[Table]:
        """The tables of the view; no two views share one."""
        ...

    def begin(self) -> Folding:
        """Return a fold that goes on from whatever the rows hold."""
        ...


class Page(Rows, Protocol):
    """The rows of one view while this process alone may change them."""

    @property
    def tracking(self) -> Tracking:
        """How far the view has got, this transaction included."""
        ...

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows, each replacing the one with its key."""
        ...

    def track(self, tracking: Tracking) -> None:
        """Take down how far the view has got."""
        ...

    def clear(self) -> None:
        """Empty the view; it has seen nothing."""
        ...


class Views(Protocol):
    """The place that views are kept in."""

    def writing(self, projection: Projection) -> AbstractContextManager[Page]:
        """Open the view for changes: all of the block or none, and no other process meanwhile.

        A view of an older schema or another shape, or none, is opened empty. Raises `NewerView` for one of a
        newer schema.
        """
        ...

    def reading(self, projection: Projection) -> AbstractContextManager[Rows]:
        """Open the view as it is now; the block sees no change of others. Raises `NewerView`."""
        ...


def catch_up(projection: Projection, log: Source, views: Views, *, batch: int = BATCH) -> int:
    """Fold all that the view has not seen; return the position it has reached.

    Any number of processes may do so at once. A view of another log, or of one that was put back from a
    backup, is folded from the first event. Raises `PoisonEvent` at an event that the projection cannot take:
    all before it is folded, and the view stays there.
    """
    follower = _Follower(projection, log)
    limit = batch
    while True:
        with views.writing(projection) as page:
            try:
                count = follower.advance(page, limit)
            except UNFIT as error:
                if limit == 1:
                    raise PoisonEvent(view=projection.name, position=page.tracking.position + 1, why=error) from error
                # Fact by fact from here: all that come before the bad one are taken, and it is named.
                follower, limit = _Follower(projection, log), 1
                continue
            reached = page.tracking.position
        if count < limit:
            return reached


def rebuild(projection: Projection, log: Source, views: Views, *, batch: int = BATCH) -> int:
    """Empty the view and fold it from the first event; return the position it has reached.

    Who reads it meanwhile sees it grow. Raises `PoisonEvent`.
    """
    with views.writing(projection) as page:
        page.clear()
    return catch_up(projection, log, views, batch=batch)


class _Follower:
    """One process on its way through the log."""

    def __init__(self, projection: Projection, log: Source) -> None:
        self._projection = projection
        self._log = log
        self._folding = projection.begin()
        self._left = Tracking()

    def advance(self, page: Page, limit: int) -> int:
        """Fold at most `limit` facts that the view has not seen; return how many there were."""
        facts = self._unseen(page, limit)
        if page.tracking != self._left:
            # Another process was here in between, so what this fold remembers of the rows is not the latest.
            self._folding = self._projection.begin()
        if facts:
            for table, rows in self._folding.fold(facts, page).items():
                page.put(table, rows)
            page.track(Tracking(facts[-1].position, facts[-1].hash))
        self._left = page.tracking
        return len(facts)

    def _unseen(self, page: Page, limit: int) -> Sequence[Recorded]:
        """Return the facts behind the tracked one, which is read as well: it tells whether this is the same log."""
        tracked = page.tracking
        if tracked.position:
            facts = self._log.after(tracked.position - 1, limit=limit + 1)
            if facts and facts[0].position == tracked.position and facts[0].hash == tracked.hash:
                return facts[1:]
            page.clear()
        return self._log.after(0, limit=limit)
