"""A small deterministic world: virtual time, ports that fail as planned, invariants after every call.

Rule 1: a run is a function of its arguments: strategy, options, faults and seed; nothing else comes in.
Rule 2: here is what there is. What is watched of it stands in watch.py, how processes live and die in processes.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from adapters.simulation import processes
from adapters.simulation.consumers import Consumers
from adapters.simulation.faults import Fault
from adapters.simulation.follower import Follower
from adapters.simulation.hands import Backup, Deed, back_up
from adapters.simulation.invariants import check_log
from adapters.simulation.log import SimulatedLog, SimulatedWorld
from adapters.simulation.nodes import Nodes, SameSalt, SimulatedAccounts
from adapters.simulation.ports import Faulty
from adapters.simulation.shelves import STORES, RememberedPlace, StoreKind
from adapters.simulation.surroundings import Process, SeededEntropy, SeededIds, SimulatedClock
from adapters.simulation.trace import Happening, Step
from adapters.simulation.watch import Watch
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_accounts import Held
from adapters.targets.memory_options import MemoryOptions
from engine.credential import Version
from engine.facts import Recorded
from engine.machine import ENDED, State
from engine.performance import Binding, World
from engine.plan import Plan, Strategy
from engine.rotation import Rotation
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret

SERVICE, ENVIRONMENT, PATH = "app-db", "production", "production/app-db"
GRACE = Microseconds(3600 * SECOND)


class Simulation:
    """One world with one service; rotations run in it under faults, and every invariant is watched."""

    path = PATH
    names = (SERVICE, ENVIRONMENT)

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
        policy: Plan | None = None,
        around: Callable[[Any], Any] = lambda target: target,
        nodes: int = 1,
        store: StoreKind = StoreKind.FULL,
        consumers: Sequence[Microseconds] = (),
        follows: bool = False,
    ) -> None:
        self.strategy = strategy
        self.faults: list[Fault] = list(faults)
        self.deeds: list[Deed] = list(deeds)
        self.seed = seed
        self.takeover = takeover
        self.fresh = fresh
        self.policy = policy
        """The policy of every rotation; None is `plan`'s own."""
        self.automatic = policy.rollback_automatic and policy.rollback_on_verification_failure if policy else automatic
        self.clock = SimulatedClock()
        self.entropy = SeededEntropy(seed)
        self.log = SimulatedLog()
        self.store_kind = store
        self.store = STORES[store](now=lambda: Instant(self.clock.at))
        self.place = RememberedPlace()
        self.logins = ("app_a", "app_b") if strategy is Strategy.ALTERNATING else ("app",)
        self.accounts: list[SimulatedAccounts] = []
        self.target = self._build_target(options, max(nodes, 2 if _is_partial(faults) else 1))
        self.around = around
        """What is put around the target, as the engine sees it."""
        self.capabilities = self.target.capabilities
        can_capture = self.capabilities.values_max == 1 and self.capabilities.settable
        self.shows = options is not None and options.shows_restorable and can_capture
        """What is replaced at the target can be captured before, and set back."""
        self.is_eventual = self.capabilities.propagation > 0
        self._begin_notes()
        self.watch = Watch(self)
        self._worlds = 0
        self.initial = None if fresh else self._begin()
        self.backups.append(back_up(self))
        self.consumers = Consumers(self, consumers) if consumers else None
        """How often each of those reads who use the credential, where there are any."""
        self.clock.passing = self.consumers.advance if self.consumers else None
        self.follower = Follower(self) if follows else None

    def _begin_notes(self) -> None:
        """Begin to note what is done and seen: nothing was yet."""
        self.by_hand: list[CredentialValue] = []
        self.lost: dict[str, CredentialValue] = {}
        self.touched = False
        """Somebody did something by hand, so that only what the engine does is judged."""
        self.works = True
        """Something that somebody knows is accepted; noted in a world that was touched."""
        self.is_unseen = False
        """It was done between a look and what follows it."""
        self.backups: list[Backup] = []
        self.dead_end = False
        self.given_up = 0
        self.faultable: Counter[str] = Counter()
        """The calls that were made while faults may happen."""
        self.calls: Counter[str] = Counter()
        self.used: dict[Fault, Counter[str]] = {}
        """The faults that happened, and the calls that had been made by then, each one's own among them."""
        self.onlookers: list[Callable[[Sequence[Recorded]], None]] = []
        """Told of every append, after it was folded and checked."""
        self.story: list[str] = []
        self.trace: list[Step] = []
        self.pairs: set[tuple[State, str]] = set()
        self.seen_values: dict[str, CredentialValue] = {}
        self.gone: set[str] = set()
        self.judged: object = None
        """What was there when the world was judged last."""
        self.fold: dict[UUID, Rotation] = {}
        self.ended_early: set[UUID] = set()
        self.places_before: dict[UUID, CredentialValue | None] = {}
        """What the further place had when each rotation began."""
        self.retries: Counter[UUID] = Counter()
        """How often a person had the rollback of a rotation tried again."""
        self.forgot_orphan = False
        """The target forgot to revoke what it had made under an attempt without an answer."""
        self.calm = False
        self.born = 0
        """How many processes there were."""
        self.changes = 0
        """How many changes of state were recorded."""

    def _build_target(self, options: MemoryOptions | None, nodes: int) -> MemoryTarget | Nodes:
        """Return the target, of several nodes where that is wanted; one that makes its values has one."""
        made: list[MemoryTarget] = []
        makes = self.strategy is Strategy.ISSUE or (options is not None and options.mode == "issue")
        nodes = 1 if makes else nodes
        for _ in range(nodes):
            self.accounts.append(SimulatedAccounts())
            target = MemoryTarget(
                strategy=self.strategy,
                username="app",
                usernames=self.logins,
                options=options,
                entropy=self.entropy if nodes == 1 else SameSalt(),
                now=lambda: Instant(self.clock.at),
                keeping=self.accounts[-1],
            )
            made.append(target)
        return made[0] if len(made) == 1 else Nodes(made)

    def _begin(self) -> CredentialValue:
        """Set up what is there before the first rotation: a login that works, known to the store or not.

        `fresh` is a login that holds no value yet.
        """
        secret = None if self.capabilities.issues_value else Secret("canary-initial-0123456789abcdef")
        wanted = CredentialValue(self.logins[0], secret)
        value = self.target.apply(wanted, tag="before", deadline=Instant(self.clock.at + 10**12))
        for accounts in self.accounts:
            for login in accounts.accounts.logins.values():
                login.behind_until = 0  # that was long ago: everybody sees it
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
        for rotation in self.fold.values():
            if rotation.state not in ENDED:
                return rotation
        return None

    @property
    def kept_unseen(self) -> bool:
        """The target forgot to take away a value of before: nobody knows it, so that nobody could see it."""
        return self.forgot_orphan or (
            self.takeover and any(f.call == "target.retire" and f.kind == "forgotten" for f in self.used)
        )

    @property
    def is_misled(self) -> bool:
        """A stale answer was given since the last change of state, so that what was observed is not what is there.

        Or a target that shows changes late forgot one: it shows and says what is not so.
        """
        forgot = self.is_eventual and any(fault.kind == "forgotten" for fault in self.used)
        return self.watch.stale_since == self.changes or forgot

    def accepts(self, value: CredentialValue) -> bool:
        """Tell whether a consumer can log in with a value, whichever node it comes to."""
        return self.target.accepts_everywhere(value) if isinstance(self.target, Nodes) else self.target.accepts(value)

    def anything_works(self) -> bool:
        """Tell whether the target accepts a value that anybody knows, whether a store holds it or not."""
        known = [*([self.initial] if self.initial else []), *self.seen_values.values(), *self.by_hand]
        return any(self.target.accepts(value) for value in reversed(known))  # the newest is what works, mostly

    def in_force(self) -> list[Held]:
        """Return every value that the target accepts, on any node."""
        logins = [login for accounts in self.accounts for login in accounts.accounts.logins.values()]
        return [held for login in logins for held in login.values]

    def values_in_force(self) -> int:
        """Return how many values the target accepts, on the node that accepts most."""
        return max(sum(len(login.values) for login in accounts.accounts.logins.values()) for accounts in self.accounts)

    def wrong_logins(self) -> int:
        """Return the most wrong logins that the target counts against one login now."""
        return max((self.target.wrong_logins(login) for login in self.logins), default=0)

    def happened(
        self, kind: Happening, name: str, *, state: str | None = None, owner: str = "", call: str = "", detail: str = ""
    ) -> None:
        """Take down what happened."""
        if state is None:
            rotation = self.open
            state = rotation.state if rotation is not None else ""
        self.trace.append(Step(self.clock.at, kind, name, state, owner, call, detail))

    # --- processes ---------------------------------------------------------------------------------------------

    def world(self) -> World:
        """Return the world as a fresh process sees it."""
        self.born += 1
        return self.seen_by(Process(f"process-{self.born}"))

    def undisturbed(self, owner: str) -> World:
        """Return the world as somebody sees it whose calls never fail."""
        binding = Binding(self.around(self.target), self.store, [self.place])
        return self._world(owner, self.log, lambda service, environment, plan: binding)

    def seen_by(
        self,
        process: Process,
        *,
        clock: Any = None,
        hold: Callable[[UUID], AbstractContextManager[Callable[[], None]]] | None = None,
    ) -> World:
        """Return the world as a process sees it, whose calls fail as planned."""
        target = Faulty(self.watch, "target", lambda: self.around(self.target), process)
        store = Faulty(self.watch, "store", lambda: self.store, process)
        binding = Binding(target, store, [Faulty(self.watch, "place", lambda: self.place, process)])

        def bind(service: str, environment: str, plan: Plan | None) -> Binding:
            process.rotation, process.since = self.open, self.clock.now()
            return binding

        log = Faulty(self.watch, "log", lambda: self.log, process)
        return self._world(process.owner, log, bind, clock=clock, hold=hold)

    def _world(
        self,
        owner: str,
        log: Any,
        bind: Callable[[str, str, Plan | None], Binding],
        *,
        clock: Any = None,
        hold: Callable[[UUID], AbstractContextManager[Callable[[], None]]] | None = None,
    ) -> World:
        self._worlds += 1
        return SimulatedWorld(
            kept=self.log,
            log=log,
            clock=clock or self.clock,
            ids=SeededIds(self.seed * 1000 + self._worlds),
            entropy=self.entropy,
            bind=bind,
            hold=hold or _hold,
            owner=owner,
            actor="simulation",
            fingerprint_key=b"canary-key",
            observe=self.watch.observe,
        )

    def plan(self) -> Plan:
        """Return the plan of a rotation here."""
        if self.policy is not None:
            places = (self.place.name,) if self.policy.places else ()
            return replace(self.policy, store="memory", path=PATH, places=places)
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
            propagation=self.capabilities.propagation,
            grace=GRACE if overlap else Microseconds(0),
            rollback_automatic=self.automatic,
            versions_kept=3,
        )

    def rotate(self, *, to: Version | None = None) -> Rotation:
        """Rotate once (back `to` a version where one is given), with a new process after every death."""
        return processes.rotate(self, to=to)

    def settle(self) -> None:
        """With no more faults, everything unfinished ends, and a second pass does nothing (L1)."""
        processes.settle(self)

    def lead_on(self) -> None:
        """With no more faults and nobody about, one more rotation completes: no history is a dead end (L2)."""
        processes.lead_on(self)
        check_log(self)


def _is_partial(faults: Sequence[Fault]) -> bool:
    return any(fault.kind == "partial" for fault in faults)


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
