"""A small deterministic world: virtual time, processes that die, invariants after every call.

Rule: a run is a function of its arguments: strategy, options, faults and seed; nothing else comes in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from adapters.event_store.memory import MemoryEventLog
from adapters.simulation.faults import WRITES, Crash, Fault, Faulty
from adapters.simulation.hands import Deed, act, is_dead_end, put_right
from adapters.simulation.invariants import Violation, check_end, check_fact, check_world, check_write
from adapters.simulation.surroundings import RememberedPlace, SeededEntropy, SeededIds, SimulatedClock
from adapters.stores.memory import MemoryStore
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
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
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret

SERVICE, ENVIRONMENT, PATH = "app-db", "production", "production/app-db"
GRACE = Microseconds(3600 * SECOND)
PROCESSES_MAX = 60
"""Processes one rotation may take: more means that it does not end."""
FAILURES_MAX = 8
"""Tries after which a person looks, where somebody did something by hand: retiring is tried for ever."""


def patient(rotation: Rotation, wait: Wait) -> bool:
    """Wait for everything: virtual time costs nothing."""
    return True


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
        deeds: Sequence[Deed] = (),
        around: Callable[[MemoryTarget], Any] = lambda target: target,
    ) -> None:
        self.strategy = strategy
        self.faults: list[Fault] = list(faults)
        self.deeds: list[Deed] = list(deeds)
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
        self.around = around
        """What is put around the target, as the engine sees it."""
        self.capabilities = self.target.capabilities
        self.shows = options is not None and options.shows_restorable and self.capabilities.values_max == 1
        """What is replaced at the target can be captured before."""
        self.by_hand: list[CredentialValue] = []
        self.lost: dict[str, CredentialValue] = {}
        self.touched = False
        """Somebody did something by hand, so that only what the engine does is judged."""
        self.works = True
        """Something that somebody knows is accepted; noted in a world that was touched."""
        self.given_up = 0
        self.faultable: Counter[str] = Counter()
        """The calls that were made while faults may happen."""
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
        self._changes = 0
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

    @property
    def open(self) -> Rotation | None:
        """The rotation that has not ended."""
        return next((rotation for rotation in self.fold.values() if rotation.state not in ENDED), None)

    @property
    def kept_unseen(self) -> bool:
        """The target forgot to take away a value of before: nobody knows it, so that nobody could see it."""
        return self.takeover and any(f.call == "target.retire" and f.kind == "forgotten" for f in self.used)

    def anything_works(self) -> bool:
        """Tell whether the target accepts a value that anybody knows, whether a store holds it or not."""
        known = [*self.seen_values.values(), *self.by_hand, *([self.initial] if self.initial else [])]
        return any(self.target.accepts(value) for value in known)

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
        self.faultable[call] += not self.calm
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
        if any(isinstance(item.fact.body, e.StateChange) for item in recorded):
            self._changes += 1
            self._do_by_hand()

    def _do_by_hand(self) -> None:
        """Do what is to be done by hand when a state is entered, unless a lost call may still land."""
        for deed in [deed for deed in self.deeds if deed.nth <= self._changes and self.clock.quiet and not self.calm]:
            self.deeds.remove(deed)
            self.touched = True
            act(self, deed.hand)
            self.works = self.anything_works()

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

        def bind(service: str, environment: str, plan: Plan | None) -> Binding:
            target = port("target", self.around(self.target))
            return Binding(target, port("store", self.store), [port("place", self.place)])

        return World(
            log=port("log", self.log),
            clock=self.clock,
            ids=SeededIds(self.seed * 1000 + self._processes),
            entropy=self.entropy,
            bind=bind,
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
                ended = Runner(world).drive(rotation.id, patience=self._until_a_person_looks(rotation))
                if ended.state in ENDED:
                    return ended
                if self.touched:
                    put_right(self, ended)
                    if is_dead_end(self, ended):
                        operations.abandon(ended.id, reason="simulated operator")
                        self.given_up += 1
            except Crash:
                self.story.append("the process died")
            except KeyturnError as error:
                self.story.append(f"the process ended: {error.message}")
        raise Violation(f"L1: no end after {PROCESSES_MAX} processes: {self.story[-12:]}")

    def _until_a_person_looks(self, begun: Rotation) -> Callable[[Rotation, Wait], bool]:
        """Return the patience of a process: where people did something by hand, one looks after some tries."""
        return lambda rotation, wait: not self.touched or rotation.failures < begun.failures + FAILURES_MAX

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

    def lead_on(self) -> None:
        """With no more faults and nobody about, one more rotation completes: no history is a dead end (L2).

        A wait for wrong logins of before is waited out. What a person turned off, or did, is a person's to undo: see
        `_has_no_room`.
        """
        self.calm = True
        if self._has_no_room():
            return
        ended = self.rotate()
        if ended.state is not State.COMPLETED:
            why = ended.cause.message if ended.cause else "nothing"
            raise Violation(f"L2: one more rotation is {ended.state}: {why} {self.story[-12:]}")
        check_end(self, led_on=True)

    def _has_no_room(self) -> bool:
        """Tell whether a login holds as many values as it may, of which only a person can take one away.

        Going back by itself is off, or somebody did something by hand; or the answer to a promotion was lost where
        the store called nothing current, so that there was nothing to go back to; or the target kept what nobody
        could see.
        """
        if self.strategy is not Strategy.DUAL or self.values_in_force() < 2:
            return False
        stuck = any(r.state is State.FAILED and r.labelled and r.label is None for r in self.fold.values())
        return self.touched or not self.automatic or stuck or self.kept_unseen

    def _check_second_pass(self, rotation_id: UUID) -> None:
        head, calls = self.log.head(), self.calls.copy()
        Runner(self.world()).drive(rotation_id, patience=patient)
        if self.log.head() != head or any(self.calls[call] != calls[call] for call in WRITES):
            raise Violation("L1: a second resume did something")


@contextmanager
def _hold(rotation_id: UUID) -> Iterator[Callable[[], None]]:
    """One process at a time runs here, so holding is free, and nobody takes anything over."""
    yield lambda: None


def run(strategy: Strategy, faults: Sequence[Fault] = (), *, rotations_wanted: int = 2, **options: Any) -> Simulation:
    """Rotate some times under faults, settle, rotate once more, and return the world for a closer look."""
    simulation = Simulation(strategy, faults, **options)
    for _ in range(rotations_wanted):
        simulation.rotate()
    simulation.settle()
    simulation.lead_on()
    return simulation
