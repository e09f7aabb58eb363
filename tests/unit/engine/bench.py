"""A bench for the engine: one service on memory adapters, whose ports can be told to go wrong at a call.

The real adapters are wrapped and never replaced; time moves when somebody waits, and jumps when a test says so.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from msgspec.structs import replace

from adapters.discovery.memory import MemoryDiscovery
from adapters.distributors.memory import MemoryDistributor
from adapters.distributors.memory import MemoryOptions as FleetOptions
from adapters.event_store.memory import MemoryEventLog
from adapters.stores.memory import MemoryStore
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.credential import Credential, Version
from engine.errors import Rejected, Unavailable, Uncertain
from engine.facts import Fact, Recorded
from engine.health import HealthCheck
from engine.instances import Instance
from engine.operations import Operations
from engine.performance import Binding, Performance, World
from engine.plan import Plan, Strategy
from engine.ports import Holdings
from engine.process import Wait
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret
from tests.unit.engine.surroundings import BEGAN, Clock, Place, Seeded

SERVICE: Final = "app-db"
ENVIRONMENT: Final = "production"
PATH: Final = "production/app-db"
FIRST: Final = "v0-initial"
HOUR: Final = Microseconds(3600 * SECOND)
CALLS_MAX: Final = 2_000
"""Calls of ports in one test, at most: a rotation that makes no progress fails it, and hangs nothing."""

T = TypeVar("T", bound=e.Event)
Step: TypeAlias = Callable[[Callable[[], Any]], Any]
"""What happens at one call: it is given the real effect, and may do it or not."""


class Patience:
    """Waits for everything, but not for ever: fails the test where a rotation is driven and never comes to rest."""

    def __init__(self, waits_max: int = 100) -> None:
        self._left = waits_max

    def __call__(self, rotation: Rotation, wait: Wait) -> bool:
        """Wait once more."""
        self._left -= 1
        assert self._left >= 0, f"it is still {rotation.state}, and waits on: {wait.why}"
        return True


class Died(BaseException):
    """The process ends here; the engine must not catch it."""


def fails(error: type[Unavailable | Rejected | Uncertain] = Unavailable) -> Step:
    """Raise, and do nothing."""

    def step(effect: Callable[[], Any]) -> Any:
        raise error(what="asking", why="as planned")

    return step


def lost(effect: Callable[[], Any]) -> Any:
    """Do it, and lose the answer."""
    effect()
    raise Uncertain(what="asking", why="the answer was lost as planned")


def dies(effect: Callable[[], Any]) -> Any:
    """End the process before anything is done."""
    raise Died


def dies_after(effect: Callable[[], Any]) -> Any:
    """Do it, and end the process."""
    effect()
    raise Died


def works(effect: Callable[[], Any]) -> Any:
    """Do it."""
    return effect()


def answers(answer: Any) -> Step:
    """Answer so, and do nothing."""
    return lambda effect: answer


def after(action: Callable[[], object]) -> Step:
    """Let something happen first, then do it."""

    def step(effect: Callable[[], Any]) -> Any:
        action()
        return effect()

    return step


@dataclass(frozen=True)
class Call:
    """One call of a port that was made."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    at: Instant


class _Port:
    """A port whose calls are counted, and go as planned."""

    def __init__(self, bench: Bench, name: str, real: Any) -> None:
        self._bench, self._name, self._real = bench, name, real

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._real, method)
        if not callable(real):
            return real
        call = f"{self._name}.{method}"

        def asked(*args: Any, **kwargs: Any) -> Any:
            assert len(self._bench.calls) < CALLS_MAX, "it does the same again and again"
            self._bench.calls.append(Call(call, args, kwargs, Instant(self._bench.clock.wall)))
            steps = self._bench.steps[call]
            step = steps.popleft() if steps else works
            return step(lambda: real(*args, **kwargs))

        return asked


class Bench:
    """One service: `known`, the store holds its first version; else the target alone does."""

    def __init__(
        self,
        strategy: Strategy = Strategy.SINGLE,
        *,
        known: bool = True,
        vacant: bool = False,
        options: MemoryOptions | None = None,
        places: Sequence[str] = (),
        instances: Sequence[Instance] = (),
        behaviour: FleetOptions | None = None,
        **plan: Any,
    ) -> None:
        self.strategy = strategy
        self.clock, self.random, self.log, self.store = Clock(), Seeded(), MemoryEventLog(), MemoryStore()
        self.logins = ("app_a", "app_b") if strategy is Strategy.ALTERNATING else ("app",)
        self.target = MemoryTarget(
            strategy=strategy,
            usernames=self.logins,
            options=options,
            entropy=self.random,
            now=lambda: self.clock.now().wall,
        )
        self.discovery = MemoryDiscovery(instances)
        self.distributor = MemoryDistributor(options=behaviour, now=lambda: self.clock.now().wall)
        self.opens: Callable[[Instant], Instant] = lambda now: now
        """When the next wave may begin."""
        self.places = [Place(name) for name in places]
        self.checks: list[HealthCheck] = []
        """The health checks that are configured."""
        self.calls: list[Call] = []
        self.steps: dict[str, deque[Step]] = defaultdict(deque)
        self.observed: list[Recorded] = []
        self.held_by: list[UUID] = []
        self.bound: list[Plan | None] = []
        """The plans that ports were asked for by."""
        self.ask: Callable[[], None] = lambda: None
        """What is asked before every call: raises `Fenced` once another process took the rotation over."""
        self._plan = {"places": tuple(places), **plan}
        self.initial = None if vacant else self._begin(known=known)

    def _begin(self, *, known: bool) -> CredentialValue:
        secret = None if self.target.capabilities.issues_value else Secret("canary-initial-0123456789abcdef")
        wanted = CredentialValue(self.logins[0], secret)
        value = self.target.apply(wanted, tag="before", deadline=Instant(BEGAN + HOUR))
        if known:
            self.store.stage(PATH, FIRST, value)
            self.store.promote(PATH, FIRST, value, expected=None)
            for each in self.discovery.instances():
                self.distributor.hand(each, value, version=FIRST, deadline=Instant(BEGAN + HOUR))
        return value

    # --- what is asked for ----------------------------------------------------------------------------------

    def at(self, call: str, *steps: Step) -> None:
        """Plan what happens at the next calls of a port, one after the other."""
        self.steps[call].extend(steps)

    def plan(self, **changes: Any) -> Plan:
        """Return the plan of the service."""
        capabilities = self.target.capabilities
        overlap = self.strategy in (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
        plan = Plan(
            strategy=self.strategy,
            overlap=overlap,
            store="local",
            path=PATH,
            retry=capabilities.retry,
            issues_value=capabilities.issues_value,
            settable=capabilities.settable,
            login_budget=capabilities.login_budget,
            propagation=capabilities.propagation,
            grace=HOUR if overlap else Microseconds(0),
        )
        return replace(plan, **{**self._plan, **changes})

    def world(self, owner: str = "process-1") -> World:
        """Return the world as a process sees it."""
        places = [_Port(self, "place", place) for place in self.places]
        binding = Binding(
            self._port("target", self.target),
            self._port("store", self.store),
            places,
            self.checks,
            discovery=self._port("discovery", self.discovery),
            distributor=self._port("distributor", self.distributor),
            opens=lambda now: self.opens(now),  # noqa: PLW0108 - a test may replace it
        )
        return World(
            log=self._port("log", self.log),
            clock=self.clock,
            ids=self.random,
            entropy=self.random,
            bind=lambda service, environment, plan: self._bind(service, environment, plan, binding),
            hold=self._hold,
            owner=owner,
            actor="ada",
            fingerprint_key=b"canary-key",
            observe=self.observed.extend,
        )

    def _port(self, name: str, real: Any) -> Any:
        return _Port(self, name, real)

    def _bind(self, service: str, environment: str, plan: Plan | None, binding: Binding) -> Binding:
        assert (service, environment) == (SERVICE, ENVIRONMENT), "there is no such service"
        self.bound.append(plan)
        return binding

    @contextmanager
    def _hold(self, rotation_id: UUID) -> Iterator[Callable[[], None]]:
        self.held_by.append(rotation_id)
        yield lambda: self.ask()  # noqa: PLW0108 - a test may replace it while it is held

    def operations(self, owner: str = "process-1") -> Operations:
        """Return the operations of a process."""
        return Operations(self.world(owner), spell=lambda at: f"at {at}")

    def start(
        self, *, owner: str = "process-1", to: Version | None = None, imported: bool = False, **plan: Any
    ) -> UUID:
        """Record that a rotation begins."""
        return self.operations(owner).start(
            SERVICE, ENVIRONMENT, self.plan(**plan), logins=self.logins, reason="asked", imported=imported, to=to
        )

    def drive(
        self,
        rotation_id: UUID,
        *,
        owner: str = "process-1",
        patience: Callable[[Rotation, Wait], bool] | None = None,
        given: Secret | None = None,
    ) -> Rotation:
        """Drive a rotation, waiting for everything."""
        return Runner(self.world(owner)).drive(rotation_id, patience=patience or Patience(), given=given)

    def rotate(self, *, given: Secret | None = None, **start: Any) -> Rotation:
        """Start and drive a rotation to its end."""
        return self.drive(self.start(imported=given is not None, **start), given=given)

    def until(self, state: str, rotation_id: UUID) -> Rotation:
        """Drive a rotation until it stands in a state, by letting the process die at the next append."""

        def die_there(effect: Callable[[], Any]) -> Any:
            recorded = effect()
            if recorded[-1].fact.state == state or any(r.fact.state == state for r in recorded):
                raise Died
            self.at("log.append", die_there)
            return recorded

        self.at("log.append", die_there)
        try:
            self.drive(rotation_id)
        except Died:
            return self.rotation(rotation_id)
        raise AssertionError(f"it never came to {state}")

    def performance(self, rotation_id: UUID, *, given: Secret | None = None, owner: str = "process-1") -> Performance:
        """Return a performance of whatever is next, to be performed by hand."""
        return Performance(self.world(owner), self.rotation(rotation_id), given=given)

    # --- what came of it --------------------------------------------------------------------------------------

    def rotation(self, rotation_id: UUID) -> Rotation:
        """Return a rotation as of the log."""
        rotation = self.world().load(rotation_id)
        assert rotation is not None
        return rotation

    @property
    def credential(self) -> Credential:
        """The credential as of the log."""
        return self.world().credential(SERVICE, ENVIRONMENT)

    @property
    def held(self) -> Holdings:
        """What the store holds."""
        return self.store.versions(PATH)

    def value(self, version: str | None) -> CredentialValue:
        """Return what the store holds under a version or a label."""
        value = self.store.read(PATH, version) if version else None
        assert value is not None, f"the store does not hold {version}"
        return value

    def accepts(self, version: str | None) -> bool:
        """Tell whether the target accepts a version, without a login."""
        return self.target.accepts(self.value(version))

    def facts(self, rotation_id: UUID) -> Sequence[Fact]:
        """Return the facts of a rotation."""
        return self.log.stream(rotation_id)

    def names(self, rotation_id: UUID) -> list[str]:
        """Return the names of the events of a rotation."""
        return [type(fact.body).__name__ for fact in self.facts(rotation_id)]

    def bodies(self, rotation_id: UUID, kind: type[T]) -> list[T]:
        """Return the events of one kind of a rotation."""
        return [fact.body for fact in self.facts(rotation_id) if isinstance(fact.body, kind)]

    def noted(self, kind: type[T]) -> list[T]:
        """Return the events of one kind of the credential."""
        return [fact.body for fact in self.log.stream(self.credential.id) if isinstance(fact.body, kind)]

    def asked(self, *prefixes: str) -> list[str]:
        """Return the calls that were made, of the ports (or methods) that are named."""
        return [call.name for call in self.calls if call.name.startswith(prefixes)]

    def call(self, name: str, nth: int = -1) -> Call:
        """Return one call that was made, the last one by default."""
        return [call for call in self.calls if call.name == name][nth]
