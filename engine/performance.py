"""One performance of an effect: the rotation, what it is bound to, and the pen that writes the log.

Rule 1: every change of the log goes through `record`, which asks the machine and appends atomically, the
credential together with the rotation.
Rule 2: an attempt on the target is recorded here before the target is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol, TypeVar
from uuid import UUID

from engine import credential as credentials
from engine import events as e
from engine import rotation as rotations
from engine.commands import closing
from engine.credential import Credential, credential_id
from engine.credential_events import LATENESS_MAX
from engine.errors import Conflict, Rejected, Unavailable
from engine.events import CredentialEvent, RotationEvent
from engine.facts import Fact, Recorded
from engine.fleet import Fleet
from engine.health import HealthCheck
from engine.instances import Discovery, Distributor
from engine.machine import ENDED, State, following
from engine.plan import Plan
from engine.ports import Clock, Entropy, EventLog, Ids, Place, SecretStore, Target
from engine.process import until_free
from engine.rollout import RolloutPolicy
from engine.rotation import Rotation
from engine.values import CredentialValue, Instant, Microseconds, Secret, deadline_after, fingerprint

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Binding:
    """What one service is bound to on the outside."""

    target: Target
    store: SecretStore
    places: Sequence[Place] = ()
    checks: Sequence[HealthCheck] = ()
    discovery: Discovery | None = None
    """Who uses the credential; None where that is not configured."""
    distributor: Distributor | None = None
    """How each of them is given a version; None where that is not configured."""
    opens: Callable[[Instant], Instant] = lambda now: now
    """Return when the next wave may begin, which is `now` where it may at once."""


class Parallel(Protocol):
    """How the same is done with several instances."""

    def __call__(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Return what `work` returns of each item, in their order; it is done at once where threads are to be had."""
        ...


def one_by_one(work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
    """Do it with one item after the other."""
    return [work(item) for item in items]


@dataclass(frozen=True, slots=True)
class World:
    """All that the engine is given from outside."""

    log: EventLog
    clock: Clock
    ids: Ids
    entropy: Entropy
    bind: Callable[[str, str, Plan | None], Binding]
    """Return what a service in an environment is bound to by a plan; without one, as it is configured now."""
    hold: Callable[[UUID], AbstractContextManager[Callable[[], None]]]
    """Hold a rotation while it is driven (`Ownership.hold`)."""
    owner: str
    actor: str
    fingerprint_key: bytes = field(repr=False)
    observe: Callable[[Sequence[Recorded]], None] = lambda recorded: None
    """Told of every append, after it is durable."""
    parallel: Parallel = one_by_one

    def load(self, rotation_id: UUID) -> Rotation | None:
        """Return a rotation as of now; None where there is none."""
        return rotations.fold(self.log.stream(rotation_id))

    def credential(self, service: str, environment: str) -> Credential:
        """Return a credential as of now."""
        facts = self.log.stream(credential_id(service, environment))
        return credentials.fold(service, environment, facts)

    def append(self, facts: Sequence[Fact]) -> None:
        """Append facts and tell the observer."""
        self.observe(self.log.append(facts))


def facts_of(
    rotation_id: UUID,
    version: int,
    state: State,
    events: Sequence[RotationEvent],
    *,
    at: Instant,
    actor: str,
) -> list[Fact]:
    """Return the facts that events make from `state` on; an illegal one is a mistake of ours."""
    facts: list[Fact] = []
    for number, event in enumerate(events, start=version + 1):
        to = following(state, type(event).__name__)
        assert to is not None, f"{type(event).__name__} is illegal while the rotation is {state}"
        facts.append(Fact(rotation_id, number, at, actor, event, to))
        state = to
    return facts


def noted_facts(credential: Credential, events: Sequence[CredentialEvent], *, at: Instant, actor: str) -> list[Fact]:
    """Return the facts that events make on a credential."""
    return [
        Fact(credential.id, number, at, actor, event)
        for number, event in enumerate(events, start=credential.version + 1)
    ]


class Performance:
    """An effect being performed on one rotation; `rotation` is always as of the last record."""

    def __init__(
        self, world: World, rotation: Rotation, *, given: Secret | None = None, held: Callable[[], None] = lambda: None
    ) -> None:
        self.world = world
        self.rotation = rotation
        self.given = given
        """The value that the user gave for the candidate, in this process only."""
        self.attempt: int | None = None
        """The attempt that the target, or the stores, are being asked about right now."""
        self.path = rotation.plan.path
        self._held = held
        self._binding = world.bind(rotation.service, rotation.environment, rotation.plan)

    @property
    def target(self) -> Target:
        """The target, to be asked right now."""
        self._may_ask()
        return self._binding.target

    @property
    def store(self) -> SecretStore:
        """The store, to be asked right now."""
        self._may_ask()
        return self._binding.store

    @property
    def places(self) -> Iterator[Place]:
        """The further places, each to be written right now."""
        for place in self._binding.places:
            self._may_ask()
            yield place

    @property
    def checks(self) -> Iterator[HealthCheck]:
        """The health checks of the plan that are still configured, each to look right now."""
        for check in self._binding.checks:
            if check.name in self.rotation.plan.checks:
                self._may_ask()
                yield check

    @property
    def discovery(self) -> Discovery:
        """Who lists the instances, to be asked right now. Raises `Rejected` where it is not configured any more."""
        self._may_ask()
        if self._binding.discovery is None:
            raise self._unconfigured("discovery")
        return self._binding.discovery

    @property
    def distributor(self) -> Distributor:
        """Who hands a version to instances, to be asked right now. Raises `Rejected` likewise."""
        self._may_ask()
        if self._binding.distributor is None:
            raise self._unconfigured("distribution")
        return self._binding.distributor

    def _unconfigured(self, what: str) -> Rejected:
        why = f"rotation.{what} is not configured any more, and the rotation began with it"
        return Rejected(what="reaching the instances", why=why, advice=f"Put rotation.{what} back until it has ended.")

    @property
    def opens(self) -> Callable[[Instant], Instant]:
        """When the next wave may begin."""
        return self._binding.opens

    @property
    def fleet(self) -> Fleet:
        """The instances as of the last record; none before they were looked for."""
        return self.rotation.fleet or Fleet()

    @property
    def policy(self) -> RolloutPolicy:
        """How the candidate is handed out; asking a rotation without instances is a mistake of ours."""
        policy = self.rotation.plan.rollout
        assert policy is not None, "this rotation has no instances"
        return policy

    def _may_ask(self) -> None:
        """See that this process may still ask; it may have stood still since it was decided.

        Raises `Fenced` where another process took the rotation over, and `Unavailable` where the attempt's time is
        over: another value may be written there already.
        """
        self._held()
        if self.attempt is None:
            return
        attempt = next(a for a in self.rotation.attempts if a.number == self.attempt)
        if not attempt.limit.left(self.world.clock.now()):
            raise Unavailable(what="asking for a change", why="its time was over before it was sent")

    @property
    def tag(self) -> str:
        """The idempotency key of the effect: the rotation, and the fact that entered the state."""
        return f"{self.rotation.id.hex[:12]}-{self.rotation.entered}"

    def attempt_tag(self, number: int) -> str:
        """Return the tag of an attempt: what a target makes under it is found by it."""
        return f"{self.rotation.id.hex[:12]}-a{number}"

    def record(self, *events: RotationEvent, noted: Sequence[CredentialEvent] = ()) -> None:
        """Append events, and what the credential notes of them, all or none.

        Raises `Conflict` where another process appended to the rotation first. What others append to the credential
        meanwhile (a rotation that waits for its turn) is no hindrance: one rotation is open, and this is it.
        """
        rotation, world = self.rotation, self.world
        now = world.clock.now()
        at = now.wall
        facts = facts_of(rotation.id, rotation.version, rotation.state, events, at=at, actor=world.actor)
        for fact in facts:
            rotation = rotations.evolve(rotation, fact)
        if rotation.state in ENDED:
            noted = [*noted, closing(rotation, rotation.state, now=now)]
        self._append(facts, noted, at=at)
        self.rotation = rotation

    def note(self, events: Sequence[CredentialEvent]) -> None:
        """Append what only the credential takes down."""
        self._append([], events, at=self.world.clock.now().wall)

    def _append(self, facts: Sequence[Fact], noted: Sequence[CredentialEvent], *, at: Instant) -> None:
        """Append facts and what is noted of them, behind whatever the credential has by now."""
        rotation, world = self.rotation, self.world
        while True:
            credential = world.credential(rotation.service, rotation.environment) if noted else None
            said = noted_facts(credential, noted, at=at, actor=world.actor) if credential else []
            # What is current changes first, so that at the position of `promoted` it is the promoted version.
            first = len(list(takewhile(lambda fact: isinstance(fact.body, e.CurrentChanged), said)))
            try:
                world.append([*said[:first], *facts, *said[first:]])
            except Conflict:
                if credential is None or credential == world.credential(rotation.service, rotation.environment):
                    raise  # it is the rotation that went on without this process
            else:
                return

    def begin_attempt(
        self, version: str, login: str, *, longest: Microseconds | None = None, after: Sequence[RotationEvent] = ()
    ) -> Instant:
        """Record that the target is about to be asked to accept `version`; return the deadline of it.

        Without a login it is the stores, and what they call current. `after` are what is recorded before it, at once.
        """
        number = max((a.number for a in self.rotation.attempts), default=0) + 1
        window = self.rotation.plan.attempt_window
        until = deadline_after(self.world.clock.now(), min(window, longest or window))
        self.record(*after, e.AttemptStarted(number, version, login, until.wall, until.boot, until.uptime))
        self.attempt = number
        return until.wall

    def end_attempt(self) -> e.AttemptClosed:
        """Return the fact that the attempt took effect; from here an error is not the target's any more."""
        assert self.attempt is not None, "no attempt was begun"
        closed = e.AttemptClosed(self.attempt, done=True)
        self.attempt = None
        return closed

    def revoke(self, attempt: int, *, keep: CredentialValue | None) -> None:
        """Revoke what the target made under an attempt: nobody holds it.

        Not an attempt itself: whenever it lands, it takes away nothing but what carries the tag.
        """
        deadline = Instant(self.world.clock.now().wall + self.rotation.plan.attempt_window)
        self.target.retire(None, keep=keep, tag=self.attempt_tag(attempt), deadline=deadline)

    def spend_login(self, login: str) -> None:
        """Record that a login which may be refused is about to be tried, where the target counts them."""
        if self.rotation.plan.login_budget is not None:
            now = self.world.clock.now()
            self.record(e.LoginTried(login, now.boot, now.uptime))
            if not deadline_after(now, LATENESS_MAX).left(self.world.clock.now()):
                raise Unavailable(what="trying a login", why="recording it took too long to count it by its record")

    def can_spend_login(self, login: str) -> bool:
        """Tell whether one more refused login is within the target's budget."""
        budget = self.rotation.plan.login_budget
        return budget is None or not until_free(self.rotation.tries, login, budget, 1, self.world.clock.now())

    def read(self, version: str | None) -> CredentialValue | None:
        """Return what the store holds under a version; None for no version, or where it holds none."""
        return None if version is None else self.store.read(self.path, version)

    def candidate(self) -> CredentialValue:
        """Return the value of the candidate; `Rejected` where the store lost it."""
        return self._wanted(self.rotation.candidate)

    def previous(self) -> CredentialValue | None:
        """Return the value of the previous version; None where there is none, `Rejected` where it is lost."""
        return self._wanted(self.rotation.previous) if self.rotation.previous else None

    def _wanted(self, version: str) -> CredentialValue:
        value = self.store.read(self.path, version)
        if value is None:
            raise Rejected(
                what=f"reading version {version}",
                why=f"the store {self.rotation.plan.store!r} does not hold it at {self.path!r}",
                advice=f"Put store {self.rotation.plan.store} back from a backup that holds it.",
            )
        return value

    def fingerprint(self, value: CredentialValue) -> str:
        """Return the keyed fingerprint of a value of this credential."""
        name = f"{self.rotation.environment}/{self.rotation.service}"
        return fingerprint(value, credential=name, key=self.world.fingerprint_key)
