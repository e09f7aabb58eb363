"""The bytes of facts: what was once written is read for ever.

`golden_facts.jsonl` holds a line for every tag that was ever released, with the bytes as they were written
then. Lines are added, and never changed or removed.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from engine.errors import UnsupportedEvent
from engine.events import CandidateStaged, Event, RotationEvent, RotationStarted
from engine.facts import UPCASTERS, Fact, RotationStarted1, decode, encode, tag_of
from engine.machine import State
from engine.plan import Kind, Plan, Strategy
from engine.values import Instant

GOLDEN = Path(__file__).with_name("golden_facts.jsonl")
ROTATION = UUID("018f4e6a-7b1c-7def-8a90-123456789abc")
AT = Instant(1_767_225_600_000_001)


class GoldenLine(msgspec.Struct, frozen=True):
    """The bytes of a fact under a tag, and the fact that they mean today."""

    tag: str
    bytes: str
    fact: Fact

    def decoded(self) -> Fact:
        """Return the fact that the bytes are read as."""
        return decode(
            self.tag,
            base64.b64decode(self.bytes),
            originator_id=self.fact.originator_id,
            originator_version=self.fact.originator_version,
        )


LINES = [msgspec.json.decode(line, type=GoldenLine) for line in GOLDEN.read_text().splitlines()]


# --- values of any type that events are made of ---------------------------------------------------------


def _values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Return all values that a field of this type can hold."""
    match kind:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return st.integers(-(2**63), 2**63 - 1)
        case inspect.FloatType():
            return st.floats(allow_nan=False)
        case inspect.StrType(min_length=shortest, max_length=longest):
            return st.text(min_size=shortest or 0, max_size=longest)
        case inspect.UUIDType():
            return st.uuids()
        case inspect.EnumType(cls=enum):
            return st.sampled_from(enum)
        case inspect.UnionType(types=types):
            return st.one_of(*map(_values, types))
        case inspect.VarTupleType(item_type=item):
            return st.lists(_values(item), max_size=3).map(tuple)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=3)
        case inspect.StructType(cls=struct, fields=fields):
            return st.builds(struct, **{field.name: _values(field.type) for field in fields})
        case _:
            raise AssertionError(f"no event had a {kind} so far: say here what it can hold")


EVENTS = st.sampled_from(get_args(Event)).flatmap(lambda event: _values(inspect.type_info(event)))
FACTS = st.builds(
    Fact,
    originator_id=st.uuids(),
    originator_version=st.integers(1, 2**31),
    at=st.integers(0, 2**62),
    actor=st.text(),
    body=EVENTS,
    state=st.none() | st.sampled_from(State),
)


def _example(kind: inspect.Type, name: str = "") -> Any:
    """Return a value with every field set, the same each time: what a golden line is made of."""
    match kind:
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 1_000_000 + len(name)
        case inspect.FloatType():
            return 0.25
        case inspect.StrType():
            return f"the {name}"
        case inspect.UUIDType():
            return ROTATION
        case inspect.EnumType(cls=enum):
            return list(enum)[-1]
        case inspect.UnionType(types=types):
            return _example(next(each for each in types if not isinstance(each, inspect.NoneType)), name)
        case inspect.VarTupleType(item_type=item):
            return (_example(item, name),)
        case inspect.DictType(key_type=key, value_type=value):
            return {_example(key, f"key of {name}"): _example(value, f"value of {name}")}
        case inspect.StructType(cls=struct, fields=fields):
            return struct(**{field.name: _example(field.type, field.name) for field in fields})
        case _:
            raise AssertionError(f"no event had a {kind} so far: give an example of it")


def golden_line(event: type[msgspec.Struct]) -> str:
    """Return the line that is to be added for a new event."""
    state = State.VERIFYING if event in get_args(RotationEvent) else None
    written = Fact(ROTATION, 7, AT, "alice", _example(inspect.type_info(event)), state)
    stored, tag = encode(written), tag_of(written.body)
    read = decode(tag, stored, originator_id=ROTATION, originator_version=7)
    return msgspec.json.encode(GoldenLine(tag, base64.b64encode(stored).decode(), read)).decode()


# --- golden lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.tag)
def test_what_was_once_written_is_read_for_ever(line: GoldenLine) -> None:
    """The bytes of then are the fact of today."""
    assert line.decoded() == line.fact


@pytest.mark.parametrize("event", [*get_args(Event), *UPCASTERS], ids=lambda event: event.__struct_config__.tag)
def test_every_tag_has_a_golden_line(event: type[msgspec.Struct]) -> None:
    """An event that is written today, or ever was, stands in the file."""
    tag = event.__struct_config__.tag
    assert tag in {line.tag for line in LINES}, f"add this line to {GOLDEN.name}:\n{golden_line(event)}"


def test_every_golden_line_is_there_once() -> None:
    assert len({line.bytes for line in LINES}) == len(LINES)


def test_the_bytes_name_no_python_class() -> None:
    """Classes and modules can be moved and renamed; the log knows tags alone."""
    for line in LINES:
        stored = base64.b64decode(line.bytes)
        assert line.tag.encode() in stored
        assert type(line.decoded().body).__name__.encode() not in stored
        assert b"engine" not in stored


def test_the_bytes_are_plain_msgpack() -> None:
    """Any reader of msgpack can read the log: time, actor, event, and the state that follows."""
    fact = Fact(ROTATION, 3, AT, "alice", CandidateStaged("f0"), State.APPLYING)
    stored = msgspec.msgpack.decode(encode(fact))
    assert stored == [AT, "alice", {"type": "candidate-staged.1", "fingerprint": "f0"}, "applying"]


# --- upcasting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "kind"), [(False, Kind.ROTATION), (True, Kind.ROLLBACK)])
def test_an_old_start_becomes_a_start_of_today(*, flag: bool, kind: Kind) -> None:
    """What was told by a flag is told by the kind, and nobody owned a rotation then."""
    old = RotationStarted1(
        service="app-db",
        environment="production",
        rollback=flag,
        plan=Plan(strategy=Strategy.SINGLE, overlap=False),
        version="v2",
        login="app",
        previous="v1",
    )
    stored = msgspec.msgpack.encode([AT, "alice", old])
    fact = decode("rotation-started.1", stored, originator_id=ROTATION, originator_version=1)
    assert fact == Fact(
        ROTATION,
        1,
        AT,
        "alice",
        RotationStarted(
            service="app-db",
            environment="production",
            kind=kind,
            plan=Plan(strategy=Strategy.SINGLE, overlap=False),
            version="v2",
            login="app",
            owner="",
            previous="v1",
        ),
    )
    assert tag_of(fact.body) == "rotation-started.2"


# --- reading and writing -------------------------------------------------------------------------------------


@pytest.mark.slow
@given(FACTS)
def test_a_fact_is_read_as_it_was_written(fact: Fact) -> None:
    """For any event and any values in it."""
    place: dict[str, Any] = {
        "originator_id": fact.originator_id,
        "originator_version": fact.originator_version,
    }
    assert decode(tag_of(fact.body), encode(fact), **place) == fact


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    """A newer keyturn may have written more than this one knows, as long as the tag is the same."""
    stored = msgspec.msgpack.encode([AT, "alice", {"type": "candidate-staged.1", "fingerprint": "f0", "new": 1}])
    fact = decode("candidate-staged.1", stored, originator_id=ROTATION, originator_version=3)
    assert fact.body == CandidateStaged("f0")


@pytest.mark.parametrize(
    "stored",
    [
        msgspec.msgpack.encode([AT, "alice", {"type": "candidate-teleported.1"}]),
        msgspec.msgpack.encode([AT, "alice", {"type": "candidate-staged.1"}]),
        b"canary-not-msgpack",
        b"",
    ],
    ids=["unknown tag", "missing field", "other bytes", "nothing"],
)
def test_what_is_not_known_is_refused_by_its_tag(stored: bytes) -> None:
    """The message names the tag, and quotes nothing of what is stored."""
    with pytest.raises(UnsupportedEvent) as caught:
        decode("candidate-teleported.1", stored, originator_id=ROTATION, originator_version=1)
    assert "candidate-teleported.1" in caught.value.message
    assert "canary" not in caught.value.message
