"""A reader of the log that dies again and again: it must take each fact once, in order (I12).

Rule: the reader is the real one (projections/feed.py) with a real view beside; only where rows are kept is simulated.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from adapters.simulation.faults import Crash
from adapters.simulation.invariants import Violation
from engine.facts import Recorded
from projections.feed import (
    Condition,
    Folding,
    Kind,
    Page,
    Projection,
    Relation,
    Row,
    Rows,
    Table,
    Tracking,
    Value,
    catch_up,
    rebuild,
)
from projections.status import StatusProjection

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation

DIES: Final = 0.2
"""How often a reader dies where it can."""

_TALLY: Final = Table("tally", (("position", Kind.INTEGER), ("times", Kind.INTEGER), ("turn", Kind.INTEGER)))


class Tally:
    """A view that counts how often it was given each fact, and as the how-manieth."""

    name = "tally"
    schema = 1
    shape = ""
    tables = (_TALLY,)

    def begin(self) -> Folding:
        """Return a fold that remembers nothing."""
        return self

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Count the facts."""
        taken = len(rows.select(_TALLY))
        put: dict[int, Row] = {}
        for turn, recorded in enumerate(facts, start=taken + 1):
            before = put.get(recorded.position) or rows.get(_TALLY, recorded.position)
            times = before[1] if before is not None else 0
            assert isinstance(times, int), "a tally counts"
            put[recorded.position] = (recorded.position, times + 1, turn)
        return {_TALLY: list(put.values())}


class KeptRows:
    """The rows of one view and how far it has got: changed whole, or not at all. Who writes may die at any step."""

    def __init__(self, source: random.Random | None = None) -> None:
        self.rows: dict[str, dict[Value, Row]] = {}
        self.tracking = Tracking()
        self._source = source

    def may_die(self) -> None:
        """Die here, now and then."""
        if self._source is not None and self._source.random() < DIES:
            raise Crash

    def get(self, table: Table, key: Value) -> Row | None:
        """Return the row with this key."""
        return self.rows.get(table.name, {}).get(key)

    def select(
        self, table: Table, conditions: Sequence[Condition] = (), *, last_first: bool = False, limit: int | None = None
    ) -> list[Row]:
        """Return the rows that meet all conditions, in the order of their keys."""
        names = [name for name, _ in table.columns]
        rows = [row for _, row in sorted(self.rows.get(table.name, {}).items(), key=lambda item: str(item[0]))]
        kept = [row for row in rows if all(_meets(row[names.index(c.column)], c) for c in conditions)]
        return (kept[::-1] if last_first else kept)[:limit]

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows."""
        self.may_die()
        self.rows.setdefault(table.name, {}).update({row[0]: row for row in rows})

    def track(self, tracking: Tracking) -> None:
        """Take down how far the view has got."""
        self.may_die()
        self.tracking = tracking

    def clear(self) -> None:
        """Empty the view."""
        self.rows, self.tracking = {}, Tracking()


class KeptViews:
    """Views in memory: a block of changes is kept whole, or not at all."""

    def __init__(self, source: random.Random) -> None:
        self.kept: dict[str, KeptRows] = {}
        self.source: random.Random | None = source

    @contextmanager
    def writing(self, projection: Projection) -> Iterator[Page]:
        """Open a view for changes."""
        page = KeptRows(self.source)
        if projection.name in self.kept:
            page.rows = copy.deepcopy(self.kept[projection.name].rows)
            page.tracking = self.kept[projection.name].tracking
        page.may_die()
        yield page
        page.may_die()
        self.kept[projection.name] = page
        page.may_die()

    @contextmanager
    def reading(self, projection: Projection) -> Iterator[Rows]:
        """Open a view as it is now."""
        yield self.kept.get(projection.name, KeptRows())


class Follower:
    """Follows the log of one world with two views, dying as its seed says."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._source = random.Random(world.seed)
        self._views = KeptViews(self._source)
        self._projections: tuple[Projection, ...] = (Tally(), StatusProjection())
        self.deaths = 0

    def follow(self) -> None:
        """Catch up a little, unless it dies on the way."""
        for projection in self._projections:
            try:
                catch_up(projection, self._world.log, self._views, batch=self._source.randint(1, 4))
            except Crash:
                self.deaths += 1

    def check_end(self) -> None:
        """I12: each fact was taken once and in order, and a view that is made anew is the one that was kept."""
        self._views.source = None
        for projection in self._projections:
            catch_up(projection, self._world.log, self._views)
        tally = self._views.kept["tally"].rows.get("tally", {})
        if sorted(tally.values()) != [(number, 1, number) for number in range(1, self._world.log.head() + 1)]:
            raise Violation("I12: a follower did not take each fact once and in order")
        for projection in self._projections:
            live = self._views.kept[projection.name]
            rebuild(projection, self._world.log, self._views)
            if self._views.kept[projection.name].rows != live.rows:
                raise Violation(f"I12: the view {projection.name} differs from the one that is made anew")


def _meets(value: Value, condition: Condition) -> bool:
    match condition.relation:
        case Relation.AMONG:
            return value in condition.values
        case Relation.AT_LEAST:
            return str(value) >= str(condition.values[0])
        case Relation.AT_MOST:
            return str(value) <= str(condition.values[0])
