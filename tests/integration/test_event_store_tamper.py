"""Tampering with the file of the log: whatever is done to it, `verify` names the first bad position."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from adapters.event_store.sqlite import SqliteEventLog
from engine.chain import Anchor, Reason
from tests.integration.event_store_process import fact

LENGTH = 12
STREAMS = (UUID(int=1), UUID(int=2))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    """A log of two streams that holds."""
    with SqliteEventLog(tmp_path / "events.db") as opened:
        for number in range(LENGTH):
            opened.append([fact(STREAMS[number % 2], number // 2 + 1, f"mark-{number}")])
        assert opened.verify().ok
        yield opened


def _tamper(log: SqliteEventLog, *statements: str) -> tuple[int | None, Reason | None]:
    """Do what a person with the file and a shell could do; return what `verify` then says."""
    with closing(sqlite3.connect(log.path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)
    verdict = log.verify()
    return verdict.first_bad_position, verdict.reason


def _flip(log: SqliteEventLog, column: str, position: int, *, bit: int) -> tuple[int | None, Reason | None]:
    """Flip one bit of a value that is a text or a blob, and leave its type as it is."""
    with closing(sqlite3.connect(log.path)) as connection, connection:
        connection.text_factory = bytes
        row = connection.execute(
            f"SELECT {column}, typeof({column}) FROM events WHERE position = {position}"
        ).fetchone()
        value = bytearray(row[0])
        value[bit // 8 % len(value)] ^= 1 << bit % 8
        as_before = "CAST(? AS TEXT)" if row[1] == b"text" else "?"
        connection.execute(f"UPDATE events SET {column} = {as_before} WHERE position = {position}", [bytes(value)])
    verdict = log.verify()
    return verdict.first_bad_position, verdict.reason


@pytest.mark.parametrize("position", [1, 6, LENGTH])
@pytest.mark.parametrize("bit", [0, 5, 7, 60])
@pytest.mark.parametrize("column", ["originator_id", "tag", "state", "hash"])
def test_a_flipped_bit_is_named(log: SqliteEventLog, column: str, bit: int, position: int) -> None:
    assert _flip(log, column, position, bit=bit) == (position, Reason.CHANGED)


@pytest.mark.parametrize("position", [1, 6, LENGTH])
@pytest.mark.parametrize("bit", [16, 40, 62])
def test_a_flipped_bit_of_a_version_is_named(log: SqliteEventLog, bit: int, position: int) -> None:
    statement = f"UPDATE events SET originator_version = originator_version + {1 << bit} WHERE position = {position}"
    assert _tamper(log, statement) == (position, Reason.CHANGED)


@pytest.mark.parametrize("bit", [0, 1, 2, 3, 40])
def test_a_flipped_bit_of_a_position_is_named(log: SqliteEventLog, bit: int) -> None:
    """The event is missing where it was; where it went to, it is in the way of none, or of another."""
    statement = f"UPDATE OR REPLACE events SET position = {LENGTH ^ (1 << bit)} WHERE position = {LENGTH}"
    first_bad, _ = _tamper(log, statement)
    assert first_bad == min(LENGTH, LENGTH ^ (1 << bit))


@pytest.mark.parametrize("value", ["5.5", "'5x'", "X'05'"])
@pytest.mark.parametrize("column", ["originator_id", "originator_version", "tag", "state", "hash"])
def test_a_value_of_another_type_is_named(log: SqliteEventLog, column: str, value: str) -> None:
    """SQLite holds any type in any column."""
    assert _tamper(log, f"UPDATE events SET {column} = {value} WHERE position = 6") == (6, Reason.CHANGED)


@pytest.mark.parametrize("position", [1, 6, LENGTH - 1])
def test_a_deleted_event_is_named(log: SqliteEventLog, position: int) -> None:
    assert _tamper(log, f"DELETE FROM events WHERE position = {position}") == (position, Reason.MISSING)


@pytest.mark.parametrize("position", [1, 6, LENGTH - 2])
def test_a_deleted_event_is_named_after_renumbering(log: SqliteEventLog, position: int) -> None:
    statements = [f"DELETE FROM events WHERE position = {position}", *_renumber(position + 1, by=-1)]
    assert _tamper(log, *statements) == (position, Reason.MISSING)


@pytest.mark.parametrize("position", [1, 6, LENGTH])
def test_an_inserted_event_is_named(log: SqliteEventLog, position: int) -> None:
    """With all behind it moved up by one, as somebody would who wants it to look right."""
    insert = f"INSERT INTO events SELECT {position}, X'{'ab' * 16}', 1, tag, state, hash FROM events WHERE position = 3"
    assert _tamper(log, *_renumber(position, by=1), insert) == (position, Reason.ADDED)


def test_an_event_added_at_the_end_is_named(log: SqliteEventLog) -> None:
    """Without the right hash it follows nothing."""
    insert = f"INSERT INTO events SELECT NULL, X'{'ab' * 16}', 1, tag, state, hash FROM events WHERE position = 3"
    first_bad, _ = _tamper(log, insert)
    assert first_bad == LENGTH + 1


@pytest.mark.parametrize(("one", "other"), [(1, 2), (6, 7), (4, 9), (1, LENGTH)])
def test_swapped_events_are_named(log: SqliteEventLog, one: int, other: int) -> None:
    swap = [
        f"UPDATE events SET position = 1000 WHERE position = {one}",
        f"UPDATE events SET position = {one} WHERE position = {other}",
        f"UPDATE events SET position = {other} WHERE position = 1000",
    ]
    assert _tamper(log, *swap) == (one, Reason.REORDERED)


@pytest.mark.parametrize("last", [0, 1, 6, LENGTH - 1])
def test_a_log_that_was_cut_off_is_named(log: SqliteEventLog, last: int) -> None:
    """AUTOINCREMENT remembers how many positions were given out."""
    assert _tamper(log, f"DELETE FROM events WHERE position > {last}") == (last + 1, Reason.MISSING)


def test_a_log_that_was_cut_off_and_made_to_forget_meets_no_anchor(log: SqliteEventLog) -> None:
    """Who also resets the counter is told by a hash that was kept elsewhere."""
    anchor = Anchor(LENGTH, log.verify().head_hash)
    cut = ["DELETE FROM events WHERE position > 5", "UPDATE sqlite_sequence SET seq = 5"]
    assert _tamper(log, *cut) == (None, None)
    assert log.verify(anchor=anchor).first_bad_position == 6


def test_a_renumbered_log_is_named(log: SqliteEventLog) -> None:
    """Order alone is not enough: each event is chained to its position."""
    assert _tamper(log, *_renumber(7, by=10)) == (7, Reason.MISSING)


def test_a_check_goes_on_while_others_append(log: SqliteEventLog) -> None:
    """It reads one snapshot, and holds nobody up."""
    with log.recorder.whole_chain() as (issued, links):
        first = next(iter(links))
        log.append([fact(STREAMS[0], 100)])
        assert (first.position, issued, len([first, *links])) == (1, LENGTH, LENGTH)
    assert log.verify().events == LENGTH + 1


def _renumber(first: int, *, by: int) -> list[str]:
    """Return the statements that move all positions from `first` on, by way of places where none is."""
    return [
        f"UPDATE events SET position = position + 1000000 WHERE position >= {first}",
        f"UPDATE events SET position = position - 1000000 + {by} WHERE position >= 1000000",
        "UPDATE sqlite_sequence SET seq = (SELECT MAX(position) FROM events)",
    ]
