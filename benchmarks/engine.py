"""Whole rotations, and folding what they leave, against the same work without the engine.

The raw side of a rotation makes the same calls of the same adapters (in memory), or commits the same rows in the
same transactions (on disk), and decides and records nothing. The raw side of folding copies one struct an event,
which is the least that an immutable aggregate costs, behind plain sqlite3 and msgspec where it is read from disk.
"""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import count, islice
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from msgspec.structs import replace

from adapters.event_store.memory import MemoryEventLog
from adapters.event_store.schema import connect
from adapters.event_store.sqlite import SqliteEventLog
from adapters.stores.memory import MemoryStore
from adapters.system import RandomIds, SystemClock, SystemEntropy
from adapters.targets.memory import MemoryTarget
from benchmarks.log import INSERT, STORED, STREAM
from benchmarks.table import Goal, Row, rates
from engine import credential as credentials
from engine import rotation as rotations
from engine.events import (
    Cause,
    CredentialEvent,
    CurrentChanged,
    EffectPostponed,
    RotationClosed,
    RotationOpened,
    VersionDestroyed,
    VersionRetired,
)
from engine.facts import Fact, Recorded, decode, encode, tag_of
from engine.machine import State
from engine.operations import Operations
from engine.performance import Binding, World
from engine.plan import Plan, Strategy
from engine.ports import EventLog, Probe
from engine.runner import Runner
from engine.values import SECOND, CredentialValue, Instant, Secret

ENVIRONMENT: Final = "production"
PATH: Final = "production/app-db"
PLAN: Final = Plan(Strategy.DUAL, overlap=True, store="memory", path=PATH)
"""No grace period: a rotation that waits measures the wait."""

BATCH: Final = 20
"""Rotations that are timed at once, each of a credential of its own, as a fleet has them."""

_CAUSE: Final = Cause("retire", "unavailable", "retiring the old value: no answer in 5 s.")


class Installation:
    """Services on memory adapters, and a log; each service is rotated once."""

    def __init__(self, log: EventLog) -> None:
        self._bindings: dict[str, Binding] = {}
        self.told: list[Sequence[Recorded]] = []
        self.world = World(
            log=log,
            clock=SystemClock(),
            ids=RandomIds(),
            entropy=SystemEntropy(),
            bind=lambda service, environment, plan: self._bindings[service],
            hold=lambda rotation_id: nullcontext(lambda: None),
            owner="benchmark",
            actor="benchmark",
            fingerprint_key=b"benchmark",
            observe=self.told.append,
        )

    def service(self) -> str:
        """Add a service whose store holds a version that works."""
        name = f"service-{len(self._bindings)}"
        target, store = MemoryTarget(strategy=Strategy.DUAL), MemoryStore()
        first = target.apply(value(), tag="before", deadline=_later(self.world))
        store.promote(PATH, "v0", first, expected=None)
        self._bindings[name] = Binding(target, store)
        return name

    def rotate(self, service: str) -> UUID:
        """Rotate a service from start to end, and return the rotation's id."""
        rotation_id = Operations(self.world).start(service, ENVIRONMENT, PLAN, logins=("app",))
        ended = Runner(self.world).drive(rotation_id)
        assert ended.state is State.COMPLETED, ended
        return rotation_id

    def ask(self, service: str) -> bool:
        """Ask the adapters what a rotation asks them, and nothing more; tell whether all was as it should be."""
        binding = self._bindings[service]
        target, store = binding.target, binding.store
        old = store.read(PATH, "current")
        assert old is not None
        deadline = _later(self.world)
        store.stage(PATH, "v1", value())
        new = store.read(PATH, "v1")
        assert new is not None
        target.apply(new, tag="a1", deadline=deadline)
        verified = target.verify(new, control=Secret("wrong")).query
        store.promote(PATH, "v1", new, expected="v0")
        target.retire(old, keep=new, tag="r1", deadline=deadline)
        return verified and (target.probe(old).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)


def rows() -> Iterator[Row]:
    """Yield the figures; takes a few seconds."""
    yield memory_rotation_row()
    with tempfile.TemporaryDirectory() as folder:
        yield disk_rotation_row(Path(folder))
        for length in (100, 10_000):
            yield from fold_rows(Path(folder, f"{length}.db"), length)
    yield credential_row()
    yield memory_row()


def value() -> CredentialValue:
    """Return a fresh value."""
    return CredentialValue("app", Secret(SystemEntropy().draw(24).hex()))


def _later(world: World) -> Instant:
    return Instant(world.clock.now().wall + 3600 * SECOND)


def memory_rotation_row() -> Row:
    """Measure whole rotations in memory: what deciding and recording cost beside the adapters."""
    with MemoryEventLog() as log:
        installation = Installation(log)
        services = iter([installation.service() for _ in range(2 * 7 * BATCH)])
        ours, raw = rates(
            BATCH,
            lambda: [installation.rotate(service) for service in islice(services, BATCH)],
            lambda: [installation.ask(service) for service in islice(services, BATCH)],
            rounds=7,
        )
    return Row("whole rotations, log in memory", "1/s", ours, raw)


def disk_rotation_row(folder: Path) -> Row:
    """Measure whole rotations on disk: each append is one commit that is synced."""
    with (
        SqliteEventLog(folder / "ours.db") as log,
        SqliteEventLog(folder / "raw.db") as other,
        closing(connect(other.path, busy_seconds_max=5)) as connection,
    ):
        installation = Installation(log)
        services = iter([installation.service() for _ in range(5 * BATCH)])
        commits = commits_of(installation)

        def commit() -> None:
            for _ in range(BATCH):
                stream = uuid4().bytes
                for facts in commits:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(INSERT, [(stream, *row) for row in facts])
                    connection.execute("COMMIT")

        ours, raw = rates(BATCH, lambda: [installation.rotate(service) for service in islice(services, BATCH)], commit)
    name = f"whole rotations, log on disk, {len(commits)} synced commits each"
    return Row(name, "1/s", ours, raw, Goal(at_least=0.25, of_ratio=True))


def commits_of(installation: Installation) -> list[list[tuple[int, str, bytes]]]:
    """Return what a rotation commits: rows of one stream, their id left out, one list a commit."""
    told = len(installation.told)
    installation.rotate(installation.service())
    versions = count(1)
    return [
        [(next(versions), tag_of(each.fact.body), encode(each.fact)) for each in recorded]
        for recorded in installation.told[told:]
    ]


def fold_rows(path: Path, length: int) -> Iterator[Row]:
    """Measure folding one rotation of so many events, from memory and from disk."""
    facts = long_rotation(length)
    repeats = max(10_000 // length, 1)
    ours, raw = fold_rates(facts, rotations.fold, repeats)
    yield Row(f"fold a rotation of {length:,} events in memory", "events/s", ours, raw)
    with SqliteEventLog(path) as log, closing(connect(path, busy_seconds_max=5)) as connection:
        log.append(facts)
        stream = facts[0].originator_id

        def load() -> None:
            for _ in range(repeats):
                rotation = rotations.fold(log.stream(stream))
                assert rotation is not None
                assert rotation.version == length

        def load_raw() -> None:
            for _ in range(repeats):
                found = connection.execute(STREAM, [stream.bytes]).fetchall()
                assert len([STORED.decode(state) for _, _, state in found]) == length

        ours, raw = rates(repeats * length, load, load_raw)
    goal = Goal(at_least=200_000) if length >= 10_000 else None
    yield Row(f"fold a rotation of {length:,} events from disk", "events/s", ours, raw, goal)


def fold_rates(facts: Sequence[Fact], fold: Callable[[Sequence[Fact]], object], repeats: int) -> list[float]:
    """Return how many events a second are folded, and how many copies of one struct are made."""
    copied = rotations.start(long_rotation(1)[0])

    def ours() -> None:
        for _ in range(repeats):
            fold(facts)

    def raw() -> None:
        for _ in range(repeats):
            for fact in facts:
                replace(copied, version=fact.originator_version)

    return rates(repeats * len(facts), ours, raw)


def long_rotation(length: int) -> list[Fact]:
    """Return a rotation that waits for its target for very long: tries of an effect, and nothing else."""
    with MemoryEventLog() as log:
        installation = Installation(log)
        rotation_id = installation.rotate(installation.service())
        first = log.stream(rotation_id)[0]
    later = [
        Fact(rotation_id, version, first.at, "benchmark", EffectPostponed(_CAUSE, first.at), State.STAGING)
        for version in range(2, length + 1)
    ]
    return [first, *later]


def credential_row() -> Row:
    """Measure folding the credential of a thousand rotations: what every rotation of it begins with."""
    facts: list[Fact] = []
    for number in range(1, 1_001):
        rotation_id, made = UUID(int=number), f"v{number}"
        bodies: tuple[CredentialEvent, ...] = (
            RotationOpened(rotation_id, "app-db", ENVIRONMENT, made, number, "app"),
            CurrentChanged(rotation_id, made, "app"),
            VersionRetired(f"v{number - 1}"),
            *([VersionDestroyed(f"v{number - 10}")] if number > 10 else []),
            RotationClosed(rotation_id, State.COMPLETED),
        )
        facts += [
            Fact(UUID(int=0), version, Instant(number), "benchmark", body)
            for version, body in enumerate(bodies, start=len(facts) + 1)
        ]
    ours, raw = fold_rates(facts, lambda facts: credentials.fold("app-db", ENVIRONMENT, facts), 1)
    return Row("fold a credential of 1,000 rotations in memory", "events/s", ours, raw)


def memory_row() -> Row:
    """Measure what ten thousand rotations hold that were loaded, each from bytes of its own."""
    (fact,) = long_rotation(1)
    tag, stored = tag_of(fact.body), encode(fact)
    tracemalloc.start()
    loaded = [
        rotations.fold([decode(tag, stored, originator_id=UUID(int=number), originator_version=1)])
        for number in range(10_000)
    ]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(loaded) == 10_000
    return Row("memory of 10,000 loaded rotations", "MiB", held / 2**20, goal=Goal(at_most=100))
