"""The event log, whatever it is kept in: one suite for the file, for memory and for the simulator's list."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent

from adapters.event_store.application import FactApplication
from adapters.event_store.memory import MemoryEventLog
from adapters.event_store.sqlite import SqliteEventLog
from adapters.simulation.log import SimulatedLog
from engine.chain import GENESIS, Anchor, Content, Reason, chained
from engine.errors import Conflict, UnsupportedEvent
from engine.events import CandidateStaged
from engine.facts import Fact, RotationStarted1
from engine.machine import State
from engine.plan import Plan, Strategy
from engine.ports import EventLog
from engine.values import Instant
from tests.integration.event_store_process import fact

ONE = UUID(int=1)
OTHER = UUID(int=2)


@pytest.fixture(params=["file", "memory", "list"])
def any_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FactApplication | SimulatedLog]:
    """An empty log: what the engine asks of it, and the check of its chain."""
    if request.param == "list":
        yield SimulatedLog()
        return
    opened = SqliteEventLog(tmp_path / "events.db") if request.param == "file" else MemoryEventLog()
    with opened:
        yield opened


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FactApplication]:
    """An empty log that is kept: an application of the library, with what an audit asks besides."""
    opened = SqliteEventLog(tmp_path / "events.db") if request.param == "file" else MemoryEventLog()
    with opened:
        yield opened


def test_an_empty_log_holds_nothing(any_log: FactApplication | SimulatedLog) -> None:
    assert any_log.head() == 0
    assert any_log.after(0) == []
    assert any_log.stream(ONE) == []
    assert any_log.append([]) == []
    assert any_log.verify().ok


def test_an_empty_log_is_exported_as_nothing(log: FactApplication) -> None:
    assert list(log.export()) == []


def test_facts_come_back_as_they_were_appended(any_log: FactApplication | SimulatedLog) -> None:
    """With positions from 1 without gaps, over all streams, in the order of appending."""
    facts = [fact(ONE, 1), fact(OTHER, 1), fact(ONE, 2)]
    first = any_log.append(facts[:2])
    second = any_log.append(facts[2:])
    assert [(each.position, each.fact) for each in [*first, *second]] == list(enumerate(facts, start=1))
    assert any_log.after(0) == [*first, *second]
    assert any_log.head() == 3


def test_a_log_is_the_port_of_the_engine(any_log: FactApplication | SimulatedLog) -> None:
    """The type checker holds the signatures equal."""
    port: EventLog = any_log
    assert port.head() == 0


def test_a_stream_holds_the_facts_of_one_aggregate(any_log: FactApplication | SimulatedLog) -> None:
    mine = [fact(ONE, version) for version in range(1, 4)]
    any_log.append([mine[0], fact(OTHER, 1), mine[1], mine[2]])
    assert any_log.stream(ONE) == mine


def test_a_reader_goes_on_from_where_it_was(any_log: FactApplication | SimulatedLog) -> None:
    """At most `limit` at a time, none twice and none left out."""
    any_log.append([fact(ONE, version) for version in range(1, 11)])
    seen: list[int] = []
    while batch := any_log.after(seen[-1] if seen else 0, limit=3):
        assert len(batch) <= 3
        seen += [each.position for each in batch]
    assert seen == list(range(1, 11))


def test_a_place_is_taken_once(any_log: FactApplication | SimulatedLog) -> None:
    """Who comes second is told so, by the name of the stream."""
    any_log.append([fact(ONE, 1, "first")])
    with pytest.raises(Conflict, match=str(ONE)):
        any_log.append([fact(ONE, 1, "second")])
    assert any_log.stream(ONE) == [fact(ONE, 1, "first")]


def test_one_append_cannot_take_a_place_twice(any_log: FactApplication | SimulatedLog) -> None:
    with pytest.raises(Conflict, match=str(ONE)):
        any_log.append([fact(ONE, 1), fact(ONE, 1)])
    assert any_log.head() == 0


def test_all_is_appended_or_nothing(any_log: FactApplication | SimulatedLog) -> None:
    """Where one of several streams has moved on, none of them moves, and no position is lost."""
    any_log.append([fact(OTHER, 1)])
    before = (any_log.after(0), any_log.verify())
    with pytest.raises(Conflict, match=f"^Another process appended to {OTHER} first"):
        any_log.append([fact(ONE, 1), fact(OTHER, 1), fact(ONE, 2)])
    assert (any_log.after(0), any_log.verify()) == before
    assert any_log.append([fact(ONE, 1)])[0].position == 2


def test_each_fact_is_chained_to_the_one_before(any_log: FactApplication | SimulatedLog) -> None:
    """The hashes that `append` returns are those that are read, and the check meets the last."""
    recorded = [*any_log.append([fact(ONE, 1), fact(ONE, 2)]), *any_log.append([fact(OTHER, 1)])]
    assert [each.hash for each in any_log.after(0)] == [each.hash for each in recorded]
    assert len({GENESIS, *(each.hash for each in recorded)}) == 4
    verdict = any_log.verify(anchor=Anchor(2, recorded[1].hash))
    assert (verdict.events, verdict.ok, verdict.head_hash) == (3, True, recorded[2].hash)


def test_an_anchor_that_is_not_met_is_named(any_log: FactApplication | SimulatedLog) -> None:
    any_log.append([fact(ONE, 1), fact(ONE, 2)])
    verdict = any_log.verify(anchor=Anchor(1, bytes(32)))
    assert (verdict.first_bad_position, verdict.reason) == (1, Reason.CHANGED)


def test_every_log_says_the_same(tmp_path: Path) -> None:
    """The same facts have the same bytes and hashes in all of them."""
    facts = [fact(ONE, 1), fact(OTHER, 1), fact(ONE, 2)]
    with MemoryEventLog() as memory, SqliteEventLog(tmp_path / "events.db") as file:
        assert memory.append(facts) == file.append(facts) == SimulatedLog().append(facts)
        assert list(memory.export()) == list(file.export())


def test_an_export_can_be_checked_by_anybody(log: FactApplication) -> None:
    """JSON and SHA-256 are enough to follow the chain from the first event to the last."""
    log.append([fact(ONE, 1), fact(OTHER, 1), fact(ONE, 2)])
    previous = GENESIS
    documents = [json.loads(json.dumps(document)) for document in log.export()]
    for document in documents:
        content = Content(
            UUID(document["id"]).bytes,
            document["version"],
            document["tag"].encode(),
            base64.b64decode(document["bytes"]),
        )
        previous = chained(previous, document["position"], content)
        assert document["hash"] == previous.hex()
    assert documents[-1]["position"] == 3


def test_an_export_can_be_read(log: FactApplication) -> None:
    """Time in UTC, actor, the state that follows, and the fields of the event; from any position on."""
    log.append([fact(ONE, 1), Fact(ONE, 2, Instant(1_000_001), "bob", CandidateStaged("f0"), State.APPLYING)])
    (document,) = log.export(after=1)
    document.pop("bytes")
    document.pop("hash")
    assert document == {
        "position": 2,
        "id": str(ONE),
        "version": 2,
        "at": "1970-01-01T00:00:01.000001Z",
        "actor": "bob",
        "tag": "candidate-staged.1",
        "state": "applying",
        "data": {"fingerprint": "f0"},
    }


def test_an_old_event_is_read_as_one_of_today_and_exported_as_it_was(log: FactApplication) -> None:
    """The audit shows what was written then."""
    plan = Plan(strategy=Strategy.SINGLE, overlap=False)
    old = RotationStarted1("app-db", "production", rollback=False, plan=plan, version="v1", login="app")
    state = msgspec.msgpack.encode([1, "alice", old])
    log.recorder.insert_events([StoredEvent(ONE, 1, "rotation-started.1", state)])
    assert type(log.stream(ONE)[0].body).__name__ == "RotationStarted"
    (document,) = log.export()
    assert (document["tag"], document["data"]["rollback"], document["state"]) == ("rotation-started.1", False, None)
    assert log.verify().ok


def test_an_event_of_a_newer_keyturn_is_refused_by_name(log: FactApplication) -> None:
    """Reading over it would be deciding on half a past."""
    state = msgspec.msgpack.encode([1, "alice", {"type": "candidate-teleported.1"}])
    log.recorder.insert_events([StoredEvent(ONE, 1, "candidate-teleported.1", state)])
    with pytest.raises(UnsupportedEvent, match=r"candidate-teleported\.1"):
        log.after(0)
    assert log.verify().ok, "the check looks at bytes alone"


def test_the_ways_of_the_library_lead_to_the_same_chain(log: FactApplication) -> None:
    """`save`, the event store and the notification log are those of any eventsourcing application."""
    log.save(fact(ONE, 1), fact(ONE, 2))
    log.events.put([fact(OTHER, 1), fact(ONE, 3)])
    assert [each.fact for each in log.after(0)] == [fact(ONE, 1), fact(ONE, 2), fact(OTHER, 1), fact(ONE, 3)]
    assert list(log.events.get(ONE, gt=1, lte=3, desc=True, limit=1)) == [fact(ONE, 3)]
    assert [each.id for each in log.notification_log.select(start=2, limit=10, stop=3)] == [2, 3]
    assert [each.id for each in log.notification_log.select(start=2, limit=1, inclusive_of_start=False)] == [3]
    selected = log.recorder.select_notifications(None, 10, topics=["candidate-staged.1"])
    assert [each.topic for each in selected] == ["candidate-staged.1"] * 4
    assert log.recorder.select_notifications(None, 10, topics=["promoted.1"]) == []
    assert log.verify().events == 4


STRAY = {
    "MAPPER_TOPIC": "nowhere:Mapper",
    "TRANSCODER_TOPIC": "nowhere:Transcoder",
    "COMPRESSOR_TOPIC": "zlib",
    "CIPHER_KEY": "canary-key",
    "CIPHER_TOPIC": "nowhere:Cipher",
    "PERSISTENCE_MODULE": "eventsourcing.popo",
    "APPLICATION_RECORDER_TOPIC": "nowhere:Recorder",
    "SQLITE_DBNAME": "elsewhere.db",
    "SQLITE_LOCK_TIMEOUT": "soon",
    "ORIGINATOR_ID_TYPE": "neither",
    "CREATE_TABLE": "no",
    "IS_SNAPSHOTTING_ENABLED": "yes",
    "AGGREGATE_CACHE_MAXSIZE": "many",
}


@pytest.mark.parametrize("prefix", ["", "SQLITEEVENTLOG_", "MEMORYEVENTLOG_", "FACTAPPLICATION_"])
def test_no_stray_variable_changes_how_a_log_is_written(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would read all of these from the environment."""
    with SqliteEventLog(tmp_path / "calm.db") as log:
        calm = log.append([fact(ONE, 1)])
    for name, value in STRAY.items():
        monkeypatch.setenv(prefix + name, value)
    with SqliteEventLog(tmp_path / "stormy.db") as log, MemoryEventLog() as memory:
        assert log.append([fact(ONE, 1)]) == calm == memory.append([fact(ONE, 1)])
    with SqliteEventLog(tmp_path / "calm.db") as log:
        assert log.after(0) == calm


def test_naming_the_package_loads_nothing() -> None:
    """`status` must start fast: neither the package nor its errors import the library."""
    script = (
        "import sys, adapters.event_store, adapters.event_store.errors\n"
        "sys.exit('eventsourcing' in sys.modules or 'msgspec' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": "."})
    assert ran.returncode == 0


def test_a_long_stream_is_read_whole(any_log: FactApplication | SimulatedLog) -> None:
    """Any number of facts, in one piece or in batches."""
    facts = [fact(ONE, version) for version in range(1, 5_001)]
    any_log.append(facts)
    assert any_log.stream(ONE) == facts
    position = batches = 0
    while batch := any_log.after(position):
        assert batch[0].position == position + 1
        position, batches = batch[-1].position, batches + 1
    assert (position, batches) == (5_000, 10)
