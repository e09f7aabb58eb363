"""The feed: batches, tracking, rebuilding, and the event that a view cannot take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.views import SqliteViews
from engine import events as e
from engine.errors import UnsupportedEvent
from engine.facts import Recorded, tag_of
from projections.feed import (
    BATCH,
    Folding,
    Kind,
    NewerView,
    Page,
    PoisonEvent,
    Projection,
    Row,
    Rows,
    Table,
    Tracking,
    Views,
    catch_up,
    rebuild,
    shape_of,
)
from projections.history import HISTORY
from projections.status import STATUS
from tests.histories import ListedLog, histories, walk

COUNTS = Table("tags", (("tag", Kind.TEXT), ("times", Kind.INTEGER)))


class Counting(Folding):
    """Counts events by tag; `CandidateVerified` may be poison to it."""

    def __init__(self, *, poisoned: bool = False) -> None:
        self.poisoned = poisoned

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return the new counts of the tags that are among the facts."""
        counts: dict[str, int] = {}
        for recorded in facts:
            if self.poisoned and isinstance(recorded.fact.body, e.CandidateVerified):
                raise ValueError("it is not welcome")
            tag = tag_of(recorded.fact.body)
            if tag not in counts:
                row = rows.get(COUNTS, tag)
                counts[tag] = int(str(row[1])) if row else 0
            counts[tag] += 1
        return {COUNTS: list(counts.items())}


class Tags(Projection):
    """A small view of our own, to see the feed without what else is folded."""

    name = "tags"
    tables = (COUNTS,)

    def __init__(self, *, schema: int = 1, shape: str = "", poisoned: bool = False) -> None:
        self._schema = schema
        self._shape = shape
        self.poisoned = poisoned

    @property
    def schema(self) -> int:
        """The one that the test asked for."""
        return self._schema

    @property
    def shape(self) -> str:
        """The one that the test asked for."""
        return self._shape

    def begin(self) -> Counting:
        """Return a fresh fold."""
        return Counting(poisoned=self.poisoned)


def contents(views: SqliteViews, projection: Projection) -> dict[str, list[Row]]:
    """Return all rows of a view, by table."""
    with views.reading(projection) as rows:
        return {table.name: rows.select(table) for table in projection.tables}


def reached(views: SqliteViews, projection: Projection) -> Tracking:
    """Return how far a view says it has got."""
    with views.writing(projection) as page:
        return page.tracking


@pytest.fixture
def views(tmp_path: Path) -> Iterator[SqliteViews]:
    with SqliteViews(tmp_path / "views.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def facts() -> list[Recorded]:
    """Some hundred facts of three services."""
    return walk(Random(7), steps=300)


@pytest.mark.slow
@pytest.mark.parametrize("projection", [STATUS, HISTORY], ids=["status", "history"])
@given(facts=histories(), data=st.data())
def test_a_view_rebuilt_equals_the_one_kept_live(
    projection: Projection, facts: list[Recorded], data: st.DataObject
) -> None:
    """Wherever the log was cut into batches and processes began anew, the rows are the same (I12)."""
    with tempfile.TemporaryDirectory() as folder, SqliteViews(Path(folder, "views.db")) as views:
        cuts = data.draw(st.lists(st.integers(0, len(facts)), max_size=5))
        for cut in sorted({*cuts, len(facts)}):
            batch = data.draw(st.integers(1, 12))
            assert catch_up(projection, ListedLog(facts[:cut]), views, batch=batch) == cut
        live = contents(views, projection)
        assert rebuild(projection, ListedLog(facts), views) == len(facts)
        assert contents(views, projection) == live


def test_an_empty_log_makes_an_empty_view(views: SqliteViews) -> None:
    """And the view says that it has seen nothing."""
    assert catch_up(Tags(), ListedLog([]), views) == 0
    assert contents(views, Tags()) == {"tags": []}


def test_each_fact_is_folded_once(views: SqliteViews, facts: list[Recorded]) -> None:
    """Catching up twice counts nothing twice."""
    for _ in range(2):
        assert catch_up(Tags(), ListedLog(facts), views, batch=7) == len(facts)
    assert sum(int(str(row[1])) for row in contents(views, Tags())["tags"]) == len(facts)


def test_the_log_is_read_in_batches(views: SqliteViews, facts: list[Recorded]) -> None:
    """No more facts than a batch, and the tracked one, are ever in memory."""
    limits: list[int] = []

    class Measured(ListedLog):
        def after(self, position: int, *, limit: int = 500) -> list[Recorded]:
            limits.append(limit)
            return super().after(position, limit=limit)

    catch_up(Tags(), Measured(facts), views)
    assert len(limits) == len(facts) // BATCH + 1
    assert max(limits) <= BATCH + 1


def test_the_hash_of_the_last_fact_is_tracked(views: SqliteViews, facts: list[Recorded]) -> None:
    catch_up(Tags(), ListedLog(facts), views)
    assert reached(views, Tags()) == Tracking(facts[-1].position, facts[-1].hash)


def test_a_log_that_was_put_back_from_a_backup_is_folded_anew(views: SqliteViews, facts: list[Recorded]) -> None:
    """A view that is ahead of the log knows what never happened."""
    catch_up(Tags(), ListedLog(facts), views)
    assert catch_up(Tags(), ListedLog(facts[:50]), views) == 50
    assert sum(int(str(row[1])) for row in contents(views, Tags())["tags"]) == 50


def test_another_log_of_the_same_length_is_folded_anew(views: SqliteViews, facts: list[Recorded]) -> None:
    """The position alone would not tell; the hash does."""
    catch_up(STATUS, ListedLog(facts), views)
    other = walk(Random(8), steps=400)[: len(facts)]
    assert catch_up(STATUS, ListedLog(other), views) == len(facts)
    anew = contents(views, STATUS)
    rebuild(STATUS, ListedLog(other), views)
    assert contents(views, STATUS) == anew


def test_a_poison_event_is_named_and_the_view_stays_before_it(views: SqliteViews, facts: list[Recorded]) -> None:
    """All before it is folded; nothing behind it is."""
    position = next(each.position for each in facts if isinstance(each.fact.body, e.CandidateVerified))
    for _ in range(2):
        with pytest.raises(PoisonEvent, match=f"cannot take event {position} of the log: it is not welcome"):
            catch_up(Tags(poisoned=True), ListedLog(facts), views)
        assert reached(views, Tags()).position == position - 1


def test_a_view_goes_on_when_the_poison_is_understood(views: SqliteViews, facts: list[Recorded]) -> None:
    """A newer version of the program takes up where the old one stopped."""
    with pytest.raises(PoisonEvent):
        catch_up(Tags(poisoned=True), ListedLog(facts), views)
    assert catch_up(Tags(), ListedLog(facts), views) == len(facts)
    assert sum(int(str(row[1])) for row in contents(views, Tags())["tags"]) == len(facts)


def test_one_poisoned_view_does_not_stop_another(views: SqliteViews, facts: list[Recorded]) -> None:
    with pytest.raises(PoisonEvent):
        catch_up(Tags(poisoned=True), ListedLog(facts), views)
    assert catch_up(STATUS, ListedLog(facts), views) == len(facts)


def test_an_event_that_cannot_be_read_is_poison_too(views: SqliteViews, facts: list[Recorded]) -> None:
    """The log refuses a whole batch for one event of a newer version; the position is found all the same."""

    class FromTheFuture(ListedLog):
        def after(self, position: int, *, limit: int = 500) -> list[Recorded]:
            found = super().after(position, limit=limit)
            if any(each.position == 33 for each in found):
                raise UnsupportedEvent(tag="teleported.1")
            return found

    with pytest.raises(PoisonEvent, match=r"event 33 of the log: .*teleported\.1"):
        catch_up(Tags(), FromTheFuture(facts), views)
    assert reached(views, Tags()).position == 32


@pytest.mark.parametrize("projection", [STATUS, HISTORY], ids=["status", "history"])
def test_facts_of_a_rotation_that_never_started_are_poison(
    views: SqliteViews, facts: list[Recorded], projection: Projection
) -> None:
    """They are told, not left out: a view without them would lie."""
    with pytest.raises(PoisonEvent, match="a rotation that never started"):
        catch_up(projection, ListedLog([each for each in facts if each.fact.originator_version > 1]), views)


@pytest.mark.parametrize("newer", [Tags(schema=2), Tags(shape="another")], ids=["schema", "shape"])
def test_a_view_of_an_older_schema_is_folded_anew(views: SqliteViews, facts: list[Recorded], newer: Projection) -> None:
    """With all facts, into tables of the new shape."""
    catch_up(Tags(), ListedLog(facts), views)
    assert contents(views, newer) == {"tags": []}
    assert reached(views, newer) == Tracking()
    catch_up(newer, ListedLog(facts), views)
    assert sum(int(str(row[1])) for row in contents(views, newer)["tags"]) == len(facts)


def test_structures_that_differ_have_another_shape() -> None:
    """A field more, or another type of one, is enough, however deep it is."""
    first = msgspec.defstruct("Inner", [("name", str)])
    second = msgspec.defstruct("Inner", [("name", str), ("size", int, 0)])
    outer = [msgspec.defstruct("Outer", [("inner", inner)]) for inner in (first, second, first)]
    assert shape_of(outer[0]) == shape_of(outer[2]) != shape_of(outer[1])


def test_a_view_of_a_newer_schema_is_left_alone(views: SqliteViews, facts: list[Recorded]) -> None:
    """The version that wrote it goes on with it; the older one says what to do."""
    catch_up(Tags(schema=2), ListedLog(facts), views)
    before = contents(views, Tags(schema=2))
    for opening in (views.writing, views.reading):
        with pytest.raises(NewerView, match="schema 2; this version of keyturn knows schemas up to 1"):
            opening(Tags(schema=1)).__enter__()
    assert contents(views, Tags(schema=2)) == before


def test_what_another_process_folded_in_between_is_seen(tmp_path: Path, facts: list[Recorded]) -> None:
    """A fold remembers its rows from batch to batch, but not when somebody else has written."""
    path = tmp_path / "views.db"
    with SqliteViews(path) as ours, SqliteViews(path) as theirs:

        class Interrupted(Views):
            """Our views; before the third batch another process folds the sixty first facts."""

            batches = 0

            def reading(self, projection: Projection) -> AbstractContextManager[Rows]:
                raise AssertionError("nothing is read while a view catches up")

            def writing(self, projection: Projection) -> AbstractContextManager[Page]:
                self.batches += 1
                if self.batches == 3:
                    assert catch_up(STATUS, ListedLog(facts[:60]), theirs) == 60
                return ours.writing(projection)

        assert catch_up(STATUS, ListedLog(facts), Interrupted(), batch=20) == len(facts)
        live = contents(theirs, STATUS)
        rebuild(STATUS, ListedLog(facts), theirs)
        assert contents(theirs, STATUS) == live
