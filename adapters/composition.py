"""Where everything is put together: from a configuration and a state folder to operations and a runner.

Rule 1: the only file that knows both the engine's world and the adapters it is made of.
Rule 2: every port passes through `wrap` once, so that a test can put something around any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, cast
from uuid import UUID

from adapters.config.build import Wiring
from adapters.config.model import Configuration, Service
from adapters.event_store.sqlite import SqliteEventLog
from adapters.ownership import FileOwnership
from adapters.quick_status import LOG_FILE
from adapters.schedule import opens_at
from adapters.system import (
    FINGERPRINT_KEY,
    RandomIds,
    SystemClock,
    SystemEntropy,
    at_once,
    installation_key,
    own_folder,
)
from engine import credential as credentials
from engine.credential import credential_id
from engine.errors import ExitCode, KeyturnError, NoSuchService
from engine.facts import Fact, Recorded
from engine.health import HealthCheck
from engine.instances import Discovery, Distributor
from engine.operations import Operations
from engine.performance import Binding, World
from engine.plan import Plan
from engine.ports import EventLog, Place, SecretStore, Target
from engine.runner import Runner
from engine.values import SECOND, Instant, Microseconds

_LOCKS: Final = "locks"
_A_DAY: Final = Microseconds(24 * 3600 * SECOND)
_SLICE: Final = Microseconds(SECOND // 2)
"""How often a rotation that waits looks whether somebody decided something: a rollback starts within 5 s."""

Wrap: TypeAlias = Callable[[str, object], object]
"""Given the name of a port and the port, returns what is used in its place.

The names: "target", "store", "place", "check", "discovery", "distributor", "log".
"""


class PlanUnmet(KeyturnError):
    """Since rotation {rotation_id} of {service} began, the configuration was changed: {what} any more."""

    exit_code = ExitCode.USAGE
    hint = "It is in the plan of that rotation; put it back until the rotation has ended: keyturn show {rotation_id}."


def unwrapped(name: str, port: object) -> object:
    """Use the port itself."""
    return port


@dataclass(frozen=True, slots=True)
class Installation:
    """A configuration and its state, ready for use."""

    configuration: Configuration
    state: Path
    wiring: Wiring
    log: SqliteEventLog
    """The log itself, for reading and for audits; what is appended goes through `world`."""
    world: World
    operations: Operations
    runner: Runner
    observers: list[Callable[[Sequence[Recorded]], None]] = field(default_factory=list)
    """Told of every append by this process, after it is durable."""

    def service(self, name: str) -> Service:
        """Return a service of the configuration; raises `NoSuchService`."""
        return self.wiring.service(name)

    def binding(self, service: Service) -> Binding:
        """Return what a service is bound to; raises what its adapters raise."""
        return self.world.bind(service.name, service.environment, None)

    def plan(self, service: Service) -> Plan:
        """Return the plan of a rotation of the service; raises `StrategyImpossible`."""
        return self.wiring.plan_for(service.name, self.binding(service).target.capabilities)


def establish(state: Path) -> None:
    """Make the state folder with an empty log and the key of fingerprints; what is there stays as it is."""
    own_folder(state)
    SqliteEventLog.create(state / LOG_FILE)
    installation_key(state / FINGERPRINT_KEY)


def compose(
    configuration: Configuration,
    state: Path,
    *,
    actor: str,
    spell: Callable[[Instant], str] = str,
    wrap: Wrap = unwrapped,
    before_append: Callable[[], None] | None = None,
    log: SqliteEventLog | None = None,
) -> Installation:
    """Put an installation together. `spell` writes a time for people; `wrap` is for tests.

    `before_append` is called once, before the first fact is appended. `log` is one that is open, of another thread.

    Opens the log, which must be there (`establish` makes it), and nothing else: stores and targets are built when they
    are used. Raises the errors of the event store and of the state folder.
    """
    log = log or SqliteEventLog(state / LOG_FILE, must_exist=True)
    own_folder(state)
    wiring = Wiring(configuration, state)
    clock = SystemClock()
    ownership = FileOwnership(state / _LOCKS, lease=configuration.lease, clock=clock)
    observers: list[Callable[[Sequence[Recorded]], None]] = []

    def observe(recorded: Sequence[Recorded]) -> None:
        for observer in observers:
            observer(recorded)

    world = World(
        log=cast("EventLog", wrap("log", log if before_append is None else _Announced(log, before_append))),
        clock=clock,
        ids=RandomIds(),
        entropy=SystemEntropy(),
        bind=_Binder(wiring, wrap, log).bind,
        hold=ownership.hold,
        owner=ownership.owner,
        actor=actor,
        fingerprint_key=installation_key(state / FINGERPRINT_KEY),
        observe=observe,
        parallel=at_once,
    )
    operations = Operations(world, spell=spell)
    return Installation(
        configuration, state, wiring, log, world, operations, Runner(world, wait_longest=_SLICE), observers
    )


def _opens(service: Service, now: Instant) -> Instant:
    """Return when the next wave of a service may begin: in its windows, as a rotation does."""
    found = opens_at(service.timetable, now)
    return Instant(now + _A_DAY) if found is None else found  # none within a year: it is looked at again


@dataclass(slots=True)
class _Announced:
    """The log, with something that is done before the first fact is appended."""

    log: EventLog
    first: Callable[[], None]
    _begun: bool = False

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append, as the log does."""
        if not self._begun:
            self._begun = True
            self.first()
        return self.log.append(facts)

    def stream(self, originator_id: UUID) -> Sequence[Fact]:
        """Return the facts of one aggregate."""
        return self.log.stream(originator_id)

    def after(self, position: int, *, limit: int = 500) -> Sequence[Recorded]:
        """Return the facts behind a position."""
        return self.log.after(position, limit=limit)

    def head(self) -> int:
        """Return the last position."""
        return self.log.head()


@dataclass(slots=True)
class _Binder:
    """Looks up what a service is bound to: by the plan of a rotation, or as it is configured now.

    Every port is wrapped once, however many plans lead to it.
    """

    wiring: Wiring
    wrap: Wrap
    log: EventLog
    _ports: dict[tuple[str, ...], object] = field(default_factory=dict)

    def bind(self, name: str, environment: str, plan: Plan | None) -> Binding:
        """Return the binding; raises `NoSuchService`, `PlanUnmet` and what the adapters raise."""
        wiring, service = self.wiring, self.wiring.service(name)
        if service.environment != environment:
            raise NoSuchService(service=f"{name} ({environment})", suggestion=f" It is in {service.environment} now.")
        stored = plan.store if plan is not None and plan.store else service.credential.store
        if plan is None or stored == service.credential.store:
            held_in = wiring.held_in(name)
        else:
            held_in = self._store_of(plan, service)
        configured = {place.name: place for place in wiring.places(name)}
        wanted = tuple(configured) if plan is None else plan.places
        for each in wanted:
            if each not in configured:
                raise self._unmet(f"the place {each} is not published to", service)
        return Binding(
            target=cast("Target", self._wrapped("target", wiring.target(name), name)),
            store=cast("SecretStore", self._wrapped("store", held_in, stored)),
            checks=[
                cast("HealthCheck", self._wrapped("check", check, name, check.name)) for check in wiring.checks(name)
            ],
            places=[cast("Place", self._wrapped("place", configured[each], name, each)) for each in wanted],
            discovery=cast("Discovery | None", self._wrapped_if("discovery", wiring.discovery(name), name)),
            distributor=cast("Distributor | None", self._wrapped_if("distributor", wiring.distributor(name), name)),
            opens=partial(_opens, service),
        )

    def _store_of(self, plan: Plan, service: Service) -> SecretStore:
        """Return the store of a plan that was made when another one was configured."""
        if plan.store not in self.wiring.configuration.stores:
            raise self._unmet(f"the store {plan.store} is not configured", service)
        store = self.wiring.store(plan.store)
        if not (store.capabilities.versioned and store.capabilities.readable):
            raise self._unmet(f"the store {plan.store} keeps no versions", service)
        return store

    def _unmet(self, what: str, service: Service) -> PlanUnmet:
        name, environment = service.name, service.environment
        credential = credentials.fold(name, environment, self.log.stream(credential_id(name, environment)))
        return PlanUnmet(what=what, service=name, rotation_id=credential.open or credential.last)

    def _wrapped_if(self, kind: str, port: object | None, *name: str) -> object | None:
        return None if port is None else self._wrapped(kind, port, *name)

    def _wrapped(self, kind: str, port: object, *name: str) -> object:
        if (kind, *name) not in self._ports:
            self._ports[kind, *name] = self.wrap(kind, port)
        return self._ports[kind, *name]
