"""A small deterministic world: virtual time, processes that die, invariants after every call.

Rule: a run is a function of its arguments: strategy, options, faults and seed; nothing else comes in.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from adapters.event_store.memory import MemoryEventLog
from adapters.stores.memory import MemoryStore
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine import rotation as rotations
from engine.credential import Version
from engine.errors import Conflict, IllegalCommand, KeyturnError, Rejected, Unavailable, Uncertain
from engine.facts import Fact, Recorded
from engine.machine import ENDED, State
from engine.operations import Operations
from engine.performance import Binding, World
from engine.plan import Plan, Strategy
from engine.process import Wait
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Moment, Secret
from tests.simulation.faults import WRITES, Crash, Fault, Faulty
from tests.simulation.invariants import Violation, check_end, check_fact, check_world, check_write

SERVICE, ENVIRONMENT, PATH = "app-db", "production", "production/app-db"
GRACE = Microseconds(3600 * SECOND)
PROCESSES_MAX = 60
"""Processes one rotation may take: more means that it does not end."""


def patient(rotation: Rotation, wait: Wait) -> bool:
    """Wait for everything: virtual time costs nothing."""
    return True


class SimulatedClock:
    """Time that passes only when someone waits, and a little with every call; late effects land in it."""

    def __init__(self) -> None:
        self.at = 1_700_000_000 * SECOND
        self._late: list[tuple[int, Callable[[], None]]] = []

    def now(self) -> Moment:
        """Return the virtual time."""
        return Moment(Instant(self.at), "boot", Microseconds(self.at))

    def wait(self, duration: Microseconds) -> None:
        """Let time pass, and what lands late in it land."""
        until = self.at + max(duration, 1)
        while due := sorted((item for item in self._late if item[0] <= until), key=lambda item: item[0])[:1]:
            self._late.remove(due[0])
            self.at = max(self.at, due[0][0])
            due[0][1]()
        self.at = until

    def later(self, after: float, effect: Callable[[], None]) -> None:
        """Let an effect land `after` seconds from now."""
        self._late.append((self.at + int(after * SECOND), effect))

    @property
    def quiet(self) -> bool:
        """Tell whether nothing is still to land."""
        return not self._late


class SeededEntropy:
    """Random bytes of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def draw(self, count: int) -> bytes:
        """Return the next bytes of the seed."""
        return self._random.randbytes(count)


class SeededIds:
    """Ids of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def new(self) -> UUID:
        """Return the next id of the seed."""
        return UUID(bytes=self._random.randbytes(16), version=4)


class RememberedPlace:
    """A further place: it remembers the last value."""

    name = "dotenv:PASSWORD"

    def __init__(self) -> None:
        self.value: CredentialValue | None = None

    def publish(self, value: CredentialValue, *, version: str) -> None:
        """Remember the value."""
        self.value = value


class Simulation:
    """One world with one service; rotations run in it under faults, and every invariant is watched."""

    path = PATH

    def __init__(
        self,
        strategy: Strategy,
        faults: Sequence[Fault] = (),
        *,
        seed: int = 0,
        takeover: bool = False,
        fresh: bool = False,
        options: MemoryOptions | None = None,
        automatic: bool = True,
    ) -> None:
        self.strategy = strategy
        self.faults: list[Fault] = list(faults)
        self.seed = seed
        self.takeover = takeover
        self.fresh = fresh
        self.automatic = automatic
        self.clock = SimulatedClock()
        self.entropy = SeededEntropy(seed)
        self.log = MemoryEventLog()
        self.store = MemoryStore()
        self.place = RememberedPlace()
        self.logins = ("app_a", "app_b") if strategy is Strategy.ALTERNATING else ("app",)
        self.target = MemoryTarget(
            strategy=strategy,
            username="app",
            usernames=self.logins,
            options=options,
            entropy=self.entropy,
            now=lambda: self.clock.now().wall,
        )
        self.capabilities = self.target.capabilities
        self.calls: Counter[str] = Counter()
        self.used: set[Fault] = set()
        self.story: list[str] = []
        self.pairs: set[tuple[State, str]] = set()
        self.seen_values: dict[str, CredentialValue] = {}
        self.gone: set[str] = set()
        self.fold: dict[UUID, Rotation] = {}
        self.ended_early = False
        self.calm = False
        self._processes = 0
        self._wrong: list[int] = []
        self.initial = None if fresh else self._begin()

    def _begin(self) -> CredentialValue:
        """Set up what is there before the first rotation: a login that works, known to the store or not.

        `fresh` is a login that holds no value yet.
        """
        secret = None if self.capabilities.issues_value else Secret("canary-initial-0123456789abcdef")
        wanted = CredentialValue(self.logins[0], secret)
        value = self.target.apply(wanted, tag="before", deadline=Instant(self.clock.at + 10**12))
        if not self.takeover:
            self.store.stage(PATH, "v0-initial", value)
            self.store.promote(PATH, "v0-initial", value, expected=None)
        return value

    # --- what the invariants look at -----------------------------------------------------------------------

    def value(self, version: str | None) -> CredentialValue | None:
        """Return what the store holds under a version."""
        return self.store.read(PATH, version) if version else None

    def values_in_force(self) -> int:
        """Return how many values the target accepts."""
        return len(self.target.strangers([]))

    def wrong_logins(self) -> int:
        """Return the most wrong logins that the target counts against one login now."""
        return max((self.target.wrong_logins(login) for login in self.logins), default=0)

    # --- the watcher of the ports --------------------------------------------------------------------------

    def enter(self, call: str, args: tuple[Any, ...]) -> Fault | None:
        """Count a call, check what must hold before it, and return the fault planned for it."""
        self.clock.wait(Microseconds(1000))
        self.calls[call] += 1
        check_write(self, call, args)
        for fault in () if self.calm else self.faults:
            if fault.call == call and fault.nth == self.calls[call]:
                self.used.add(fault)
                self.story.append(f"{call}: {fault.kind}")
                return fault
        return None

    def leave(self) -> None:
        """Check what must hold between any two calls."""
        check_world(self)

    def later(self, after: float, effect: Callable[[], Any]) -> None:
        """Let an effect of a port land later, and check what must hold then."""

        def land() -> None:
            try:
                effect()
            except (Unavailable, Rejected, Uncertain) as refusal:
                self.story.append(f"a late effect was refused: {refusal.message}")
            else:
                self.story.append("a late effect landed")
            check_world(self)

        self.clock.later(after, land)

    def observe(self, recorded: Sequence[Recorded]) -> None:
        """Fold facts as they are appended, and check what they claim."""
        for item in recorded:
            self._note(item.fact)

    def _note(self, fact: Fact) -> None:
        if fact.state is not None:
            before = self.fold.get(fact.originator_id)
            name = type(fact.body).__name__
            self.pairs.add((before.state if before else State.WAITING, name))
            self.fold[fact.originator_id] = rotations.evolve(before, fact) if before else rotations.start(fact)
            self.story.append(f"{name} -> {fact.state}")
        check_fact(self, fact)

    def abort(self) -> None:
        """An operator in another process takes the open rotation back, just before an append."""
        operations = Operations(self._world("operator", faulty=False))
        rotation = operations.open_rotation(SERVICE, ENVIRONMENT)
        if rotation is not None:
            try:
                operations.go_back(rotation.id, command="abort", reason="simulated operator")
            except (IllegalCommand, Conflict) as refusal:
                self.story.append(refusal.message)

    # --- processes ---------------------------------------------------------------------------------------------

    def world(self) -> World:
        """Return the world as a fresh process sees it."""
        self._processes += 1
        return self._world(f"process-{self._processes}", faulty=True)

    def _world(self, owner: str, *, faulty: bool) -> World:
        def port(name: str, real: Any) -> Any:
            return Faulty(self, name, real) if faulty else real

        places = [port("place", self.place)]
        binding = Binding(port("target", self.target), port("store", self.store), places)
        return World(
            log=port("log", self.log),
            clock=self.clock,
            ids=SeededIds(self.seed * 1000 + self._processes),
            entropy=self.entropy,
            bind=lambda service, environment, plan: binding,
            hold=_hold,
            owner=owner,
            actor="simulation",
            fingerprint_key=b"canary-key",
            observe=self.observe,
        )

    def plan(self) -> Plan:
        """Return the plan of a rotation here."""
        overlap = self.strategy in (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
        return Plan(
            strategy=self.strategy,
            overlap=overlap,
            store="memory",
            path=PATH,
            places=(self.place.name,),
            retry=self.capabilities.retry,
            issues_value=self.capabilities.issues_value,
            settable=self.capabilities.settable,
            login_budget=self.capabilities.login_budget,
            grace=GRACE if overlap else Microseconds(0),
            rollback_automatic=self.automatic,
            versions_kept=3,
        )

    def rotate(self, *, to: Version | None = None) -> Rotation:
        """Rotate once (back `to` a version where one is given), with a new process after every death."""
        begun: UUID | None = None
        for _ in range(PROCESSES_MAX):
            try:
                world = self.world()
                operations = Operations(world)
                rotation = operations.open_rotation(SERVICE, ENVIRONMENT)
                if rotation is None and begun in self.fold:
                    return self.fold[begun]
                if rotation is None:
                    begun = self._start(operations, to)
                    rotation = operations.rotation(begun)
                begun = rotation.id
                if rotation.state is State.ROLLBACK_FAILED:
                    operations.retry(rotation.id, reason="simulated operator")
                ended = Runner(world).drive(rotation.id, patience=patient)
                if ended.state in ENDED:
                    return ended
            except Crash:
                self.story.append("the process died")
            except KeyturnError as error:
                self.story.append(f"the process ended: {error.message}")
        raise Violation(f"L1: no end after {PROCESSES_MAX} processes: {self.story[-12:]}")

    def _start(self, operations: Operations, to: Version | None) -> UUID:
        before = set(self.fold)
        try:
            return operations.start(SERVICE, ENVIRONMENT, self.plan(), logins=self.logins, to=to)
        except Crash:
            if len(self.fold) > len(before):
                self.story.append("the process died after it had begun")
            raise

    def settle(self) -> None:
        """With no more faults, everything unfinished ends, and a second pass does nothing (L1)."""
        self.calm = True
        self.clock.wait(Microseconds(60 * SECOND))
        credential = self.world().credential(SERVICE, ENVIRONMENT)
        if credential.open is not None:
            self.rotate()
        if credential.last is not None:
            self._check_second_pass(credential.last)
        check_end(self)

    def _check_second_pass(self, rotation_id: UUID) -> None:
        head, calls = self.log.head(), self.calls.copy()
        Runner(self.world()).drive(rotation_id, patience=patient)
        if self.log.head() != head or any(self.calls[call] != calls[call] for call in WRITES):
            raise Violation("L1: a second resume did something")


@contextmanager
def _hold(rotation_id: UUID) -> Iterator[None]:
    """One process at a time runs here, so holding is free."""
    yield


def run(strategy: Strategy, faults: Sequence[Fault] = (), *, rotations_wanted: int = 2, **options: Any) -> Simulation:
    """Rotate some times under faults, settle, and return the world for a closer look."""
    simulation = Simulation(strategy, faults, **options)
    for _ in range(rotations_wanted):
        simulation.rotate()
    simulation.settle()
    return simulation
