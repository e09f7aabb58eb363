"""Rollouts in the simulated world: a fleet on memory adapters, things that go wrong, and people who decide meanwhile.

Rule 1: a run is a function of its seed; the engine is the real one, and so are its runner and its operations.
Rule 2: what must hold is judged by predicates (fleet_invariants.py) on what instances have, and not on the log alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

from adapters.discovery.memory import MemoryDiscovery, numbered
from adapters.distributors.memory import Fault, MemoryDistributor
from adapters.simulation.faults import Crash
from adapters.simulation.fleet_history import ACTIONS, PEOPLE, Check, Port, drawn_policy
from adapters.simulation.fleet_invariants import Violation, check_call, check_facts, check_fleet, check_fleet_end
from adapters.simulation.log import SimulatedLog, SimulatedWorld
from adapters.simulation.surroundings import SeededEntropy, SeededIds, SimulatedClock
from adapters.stores.memory import MemoryStore
from adapters.targets.memory import MemoryTarget
from engine import events as e
from engine import rotation as rotations
from engine.errors import Conflict, IllegalCommand, KeyturnError, PortError, Rejected, Unavailable, Uncertain
from engine.facts import Recorded
from engine.health import CheckResult
from engine.instances import Instance
from engine.machine import ENDED, State, rests
from engine.operations import Operations
from engine.performance import Binding, Performance, World
from engine.plan import Plan, Strategy
from engine.process import Wait
from engine.rollout import RolloutPolicy
from engine.rollout_events import PauseKind
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret

SERVICE, ENVIRONMENT, PATH, FIRST = "app-db", "production", "production/app-db", "v0-initial"
STEPS_MAX: Final = 30
CALLS_MAX: Final = 8_000
PROCESSES_MAX: Final = 200
OVERLAPPING: Final = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)


class RolloutRun:
    """One fleet and one rotation of its credential, under a history of up to `steps_max` things that happen.

    `script` are actions by the number of the call, in place of random ones. Without `judged`, predicates are looked at
    only where something is recorded, and aggregates are folded from their whole streams, as they are outside: so it
    is as slow as it is.
    """

    def __init__(
        self,
        seed: int,
        *,
        steps_max: int = STEPS_MAX,
        script: dict[int, str] | None = None,
        count: int | None = None,
        strategy: Strategy | None = None,
        policy: RolloutPolicy | None = None,
        judged: bool = True,
    ) -> None:
        self.random = random.Random(seed)
        self.seed, self.script, self.judged = seed, script, judged
        self.left = self.random.randint(0, steps_max) if script is None else 0
        self.strategy = strategy or self.random.choice(OVERLAPPING)
        self.clock, self.log, self.entropy = SimulatedClock(), SimulatedLog(), SeededEntropy(seed)
        self.logins = ("app_a", "app_b") if self.strategy is Strategy.ALTERNATING else ("app",)
        self.store = MemoryStore(now=self.now)
        self.target = MemoryTarget(strategy=self.strategy, usernames=self.logins, entropy=self.entropy, now=self.now)
        self.size = count or self.random.randint(1, 8)
        self.discovery = MemoryDiscovery(numbered(self.size, zones=self.random.randint(1, 3)))
        self.distributor = MemoryDistributor(now=self.now)
        self.check = Check()
        self.policy = policy or drawn_policy(self.random)
        self.has_windows = script is None and self.random.random() < 0.3
        self.away: dict[str, Instance] = {}
        self.rotation: Rotation | None = None
        self.pairs: Counter[tuple[State, str]] = Counter()
        self.calls = self.worlds = self.processes = self.told = 0
        self.handed: Counter[tuple[str, str]] = Counter()
        self.story: list[str] = []
        self.done: Counter[str] = Counter()
        self.most_unverified = 0
        self._latest: Counter[str] = Counter()
        self._spoiling: str | None = None
        self._begin()

    def now(self) -> Instant:
        """Return the time."""
        return Instant(self.clock.at)

    def _begin(self) -> None:
        secret = None if self.strategy is Strategy.ISSUE else Secret("canary-initial-0123456789abcdef")
        wanted = CredentialValue(self.logins[0], secret)
        value = self.target.apply(wanted, tag="before", deadline=Instant(self.clock.at + 10**12))
        self.store.stage(PATH, FIRST, value)
        self.store.promote(PATH, FIRST, value, expected=None)
        for instance in self.discovery.there.values():
            self._start(instance)

    def _start(self, instance: Instance) -> None:
        """Have an instance start: it reads what the store calls current."""
        current = self.store.versions(PATH).current or FIRST
        value = self.value(current)
        assert value is not None, "the store holds what it calls current"
        self._latest[instance.id] += 1
        self.distributor.faults.pop(instance.id, None)
        self.distributor.hand(instance, value, version=current, deadline=Instant(self.clock.at + 1))

    def value(self, version: str | None) -> CredentialValue | None:
        """Return what the store holds under a version."""
        return self.store.read(PATH, version) if version else None

    def plan(self) -> Plan:
        """Return the plan of the rotation."""
        capabilities = self.target.capabilities
        return Plan(
            strategy=self.strategy,
            overlap=True,
            store="memory",
            path=PATH,
            retry=capabilities.retry,
            issues_value=capabilities.issues_value,
            settable=capabilities.settable,
            grace=Microseconds(600 * SECOND),
            checks=("connection",),
            monitoring_period=Microseconds(60 * SECOND),
            rollout=self.policy,
            lifetime=Microseconds(1200 * SECOND),
        )

    # --- what happens at a call -------------------------------------------------------------------------------------

    def at_call(self, call: str, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Let something happen, do what is asked, and judge what is there then."""
        self.calls += 1
        if self.calls > CALLS_MAX + 20 * self.size:
            raise Violation(f"L1: no end after {CALLS_MAX} calls {self.story[-12:]}")
        self.clock.wait(Microseconds(1000))
        action = self._action()
        if action is not None:
            self.story.append(f"{call} {self.calls}: {action}")
            self.done[action] += 1
            self._act(action, call)
        check_call(self, call, args)
        if call == "distributor.hand":
            self.handed[args[0].id, kwargs["version"]] += 1
            real = partial(self._hand, real)
            args, kwargs = (args, kwargs), {}
        result = real(*args, **kwargs)
        if call == "log.append":
            self._observe(result)  # it stands in the log, whoever dies now
        if self.judged or call == "log.append":
            check_fleet(self)
        if action == "crash_after":
            raise Crash
        return result

    def _action(self) -> str | None:
        if self.script is not None:
            return self.script.get(self.calls)
        if self.left <= 0 or self.random.random() > 0.06:
            return None
        self.left -= 1
        return self.random.choice(ACTIONS)

    def _act(self, action: str, call: str) -> None:
        there = sorted(self.discovery.there)
        match action:
            case "crash_before":
                raise Crash
            case "other_first":
                self._come_first()
            case "join" | "leave" | "come_back" | "restart":
                self._change_fleet(action, there)
            case "fault" if there:
                self.distributor.faults[self.random.choice(there)] = frozenset({self.random.choice(list(Fault))})
            case "mend":
                self.mend()
            case "unlisted":
                self.discovery.faults = {self.random.choice(["unavailable", "reject"])}  # type: ignore[arg-type]
            case "check_fails" | "check_sees_nothing":
                result = CheckResult.FAIL if action == "check_fails" else CheckResult.UNKNOWN
                self.check.spoiled += [result] * self.random.randint(1, 5)
            case "hand_lost" | "hand_late" | "hand_refused":
                self._spoiling = action
            case _ if action in PEOPLE:
                self._decide(PEOPLE[action])
            case _:
                assert action in ("crash_after", "fault"), action

    def _change_fleet(self, action: str, there: list[str]) -> None:
        if action == "join":
            self.size += 1
            fresh = Instance(f"joined-{self.size:02}", zone=f"zone-{self.size % 2 + 1}")
            self._start(fresh)
            self.discovery.there[fresh.id] = fresh
        elif action == "leave" and there:
            gone = self.random.choice(there)
            self.away[gone] = self.discovery.there.pop(gone)
            self.distributor.forget(gone)
        elif action == "come_back" and self.away:
            back = self.random.choice(sorted(self.away))
            self.discovery.there[back] = self.away.pop(back)
            self._start(self.discovery.there[back])
        elif action == "restart" and there:
            self._start(self.discovery.there[self.random.choice(there)])

    def mend(self) -> None:
        """Let everything work again."""
        self.distributor.faults.clear()
        self.discovery.faults.clear()
        self.check.spoiled.clear()
        self._spoiling = None

    def _come_first(self) -> None:
        rotation = self.rotation
        if rotation is not None and not rests(rotation.state) and rotation.state is not State.WAITING:
            Performance(self._world("other", watched=False), rotation).record(
                e.OwnerChanged("other", rotation.epoch + 1)
            )

    def _decide(self, decision: Callable[[Operations, UUID], object]) -> None:
        if self.rotation is None:
            return
        try:
            decision(Operations(self._world("operator", watched=False)), self.rotation.id)
        except (IllegalCommand, Conflict) as refusal:
            self.story.append(f"refused: {refusal.message}")

    def _hand(self, real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hand a version over; it may be lost, or land late: unless something was told later."""
        instance, kind = args[0].id, self._spoiling
        self._spoiling = None
        self._latest[instance] += 1
        number = self._latest[instance]
        if kind is None:
            real(*args, **kwargs)
            return
        if kind == "hand_refused":
            raise self.random.choice([Unavailable, Unavailable, Rejected])(what="handing", why="as planned")

        def land() -> None:
            if self._latest[instance] == number and instance in self.discovery.there:
                try:
                    real(*args, **kwargs)
                except PortError as refusal:
                    self.story.append(f"a late hand was refused: {refusal.message}")
                check_fleet(self)

        if kind == "hand_late":
            self.clock.later(self.random.randrange(1, 40) * SECOND, land)
        raise Uncertain(what="handing", why="no answer, as planned")

    # --- processes and people -----------------------------------------------------------------------------------------

    def _world(self, owner: str, *, watched: bool = True) -> World:
        self.worlds += 1
        wrap = (lambda name, port: Port(self, name, port)) if watched else (lambda name, port: port)
        binding = Binding(
            wrap("target", self.target),
            wrap("store", self.store),
            checks=[self.check],
            discovery=wrap("discovery", self.discovery),
            distributor=wrap("distributor", self.distributor),
            opens=self._opens,
        )
        kind = partial(SimulatedWorld, kept=self.log) if self.judged else World
        return kind(
            log=wrap("log", self.log),
            clock=self.clock,
            ids=SeededIds(self.seed * 1000 + self.worlds),
            entropy=self.entropy,
            bind=lambda service, environment, plan: binding,
            hold=_hold,
            owner=owner,
            actor="simulation",
            fingerprint_key=b"canary-key",
            observe=(lambda recorded: None) if watched else self._observe,
        )

    def _opens(self, now: Instant) -> Instant:
        """Return when the next wave may begin: in two of three slices of five minutes, where there are windows."""
        length = 300 * SECOND
        closed = self.has_windows and now // length % 3 == 0
        return Instant((now // length + 1) * length) if closed else now

    def _observe(self, recorded: Sequence[Recorded]) -> None:
        for fact in (each.fact for each in recorded):
            if fact.state is None:
                continue
            before = self.rotation
            self.pairs[before.state if before else State.WAITING, type(fact.body).__name__] += 1
            self.rotation = rotations.evolve(before, fact) if before else rotations.start(fact)
            self.story.append(f"{type(fact.body).__name__} -> {fact.state}")
            check_facts(self, before, fact.body)

    def play(self) -> Rotation:
        """Rotate once, with a new process after every death, and with people who decide where it rests."""
        for _ in range(PROCESSES_MAX):
            self.processes += 1
            try:
                ended = self._live()
            except Crash:
                self.story.append("the process died")
            except KeyturnError as error:
                self.story.append(f"the process ended: {error.message}")
            else:
                if ended is not None:
                    check_fleet_end(self, ended)
                    return ended
        raise Violation(f"L1: no end after {PROCESSES_MAX} processes {self.story[-12:]}")

    def _live(self) -> Rotation | None:
        world = self._world(f"process-{self.processes}")
        operations = Operations(world)
        if self.rotation is None:
            operations.start(SERVICE, ENVIRONMENT, self.plan(), logins=self.logins)
        assert self.rotation is not None, "it was started"
        waits = 0

        def patience(rotation: Rotation, wait: Wait) -> bool:
            nonlocal waits
            waits += 1
            return waits < 120

        ended = Runner(world).drive(self.rotation.id, patience=patience)
        if ended.state in ENDED:
            return ended
        self.left -= 5  # A person came: things quieten down.
        self.mend()
        self._set_going(ended)
        return None

    def _set_going(self, rotation: Rotation) -> None:
        """Be the person whom a resting rotation waits for."""
        self.told += 1
        if rotation.state is State.GRACE and not self.discovery.there:
            self._decide(PEOPLE["retire"])
        elif rotation.state is State.ROLLBACK_FAILED:
            self._decide(PEOPLE["retry"])
        elif rotation.state is State.PAUSED:
            kind = rotation.fleet.pause if rotation.fleet else None
            ways = {PauseKind.INCONCLUSIVE: ["accept", "retry"], PauseKind.FAILURE: ["retry", "promote"]}
            usual = ways.get(kind or PauseKind.OPERATOR, ["continue"])
            self._decide(PEOPLE[self.random.choice([*usual, *usual, "abort", "promote", "promote_full"])])


@contextmanager
def _hold(rotation_id: UUID) -> Iterator[Callable[[], None]]:
    """One process at a time runs here, so holding is free, and nobody takes anything over."""
    yield lambda: None
