"""The Rotation aggregate: what one run looks like after its facts, and nothing else.

Rule 1: folding is total and never asks the machine; the state is the one that the fact carries.
Rule 2: nothing here decides; decisions are in commands.py and policies.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeGuard, assert_never, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from engine import events as e
from engine import fleet as fleets
from engine.attempts import Attempt, Streak, sampled
from engine.facts import Fact
from engine.fleet import Fleet
from engine.machine import State
from engine.plan import Kind, Plan
from engine.values import Deadline, Instant

_REMARKS: Final = frozenset(get_args(e.PlainRemark))
_OF_FLEET: Final = frozenset(get_args(e.RolloutRemark))
_STATE_CHANGES: Final = frozenset(get_args(e.StateChange))
"""An event is looked up by its class: to ask whether it is one of a union takes a third of the fold."""
_AT_ONCE: Final = Deadline(Instant(0))


class Rotation(msgspec.Struct, frozen=True, gc=False):
    """One run that moves a credential to another version, as of its last fact."""

    id: UUID
    version: int
    """How many facts it has."""
    state: State
    entered: int
    """The fact that entered the state; the idempotency key of the effect is made of it."""
    entered_at: Instant
    service: str
    environment: str
    kind: Kind
    plan: Plan
    candidate: str
    login: str
    previous: str | None
    previous_login: str | None
    owner: str
    actor: str
    started_at: Instant
    reason: str = ""
    imported: bool = False
    epoch: int = 1
    ended_at: Instant | None = None
    label: str | None = None
    """What the store called current when it began."""
    captured: bool = False
    """The previous version is what the target showed of the value in force (a verifier)."""
    vacant: bool = False
    """The candidate's login held no value before."""
    fingerprint: str = ""
    attempts: tuple[Attempt, ...] = ()
    fences: tuple[e.Fence, ...] = ()
    tries: tuple[e.LoginUse, ...] = ()
    probed: bool = False
    """An imported candidate was looked for on the target before the first attempt."""
    failures: int = 0
    """Tries without success since the state was entered."""
    refusals: int = 0
    postponed: Deadline = _AT_ONCE
    """When the next try may be."""
    pausing: bool = False
    """A person wants it to rest when the candidate is verified."""
    published: tuple[str, ...] = ()
    """The places that were written since the state was entered."""
    reached: tuple[str, ...] = ()
    """The places that were seen to have the candidate."""
    promotable: bool = False
    """Promotion has begun at some time, so a store may call the candidate current."""
    grace: Deadline | None = None
    cause: e.Cause | None = None
    """The last thing that went wrong; once it is back, the last one before it began to go back."""
    sent_back: e.Cause | None = None
    """The last thing that went wrong before it began to go back."""
    automatic: bool = False
    """It went back by itself."""
    waves: int = 0
    monitoring: Deadline | None = None
    """Until when the checks after promotion are to pass; None before they began."""
    sampled: Deadline = _AT_ONCE
    """When the checks are to look again."""
    health: tuple[Streak, ...] = ()
    """What each check saw since the state was entered."""
    fleet: Fleet | None = None
    """The instances that are given the candidate; None where there are none, or they were not looked for yet."""
    early: bool = False
    """A person wants the grace period to end as soon as nobody uses the previous version."""

    @property
    def not_before(self) -> Instant:
        """When the next try may be, by the wall clock; 0 for at once."""
        return self.postponed.wall

    @property
    def attempted(self) -> bool:
        """Tell whether the target may hold the candidate, now or later."""
        return any(a.version == self.candidate and a.login and (a.done or not a.closed) for a in self.attempts)

    @property
    def is_replaced(self) -> bool:
        """Tell whether the previous version is gone for good: its login holds the candidate, and takes nothing back."""
        applied = any(a.version == self.candidate and a.login and a.done for a in self.attempts)
        return applied and self.previous is not None and not (self.plan.overlap or self.plan.settable)

    @property
    def changed_nothing(self) -> bool:
        """Tell whether the stores called the candidate current before, and the target was never asked for it.

        Such a rotation sees that the current version works, and publishes it again.
        """
        return self.label == self.candidate and not self.attempted

    @property
    def labelled(self) -> bool:
        """Tell whether the store may call the candidate current, now or later."""
        return any(a.version == self.candidate and not a.login and (a.done or not a.closed) for a in self.attempts)

    @property
    def in_doubt(self) -> Attempt | None:
        """Return the attempt on the candidate whose outcome nobody knows; None where there is none."""
        for attempt in reversed(self.attempts):
            if attempt.version == self.candidate and attempt.login and not attempt.closed and not attempt.settled:
                return attempt
        return None


def start(fact: Fact) -> Rotation:
    """Return the rotation that its first fact makes: that it began, or that it waits for its turn."""
    body = fact.body
    if not isinstance(body, e.RotationRequested | e.RotationStarted):
        raise TypeError(f"a rotation begins with RotationStarted, not with {type(body).__name__}")
    waiting = Rotation(
        id=fact.originator_id,
        version=fact.originator_version,
        state=fact.state or State.WAITING,
        entered=fact.originator_version,
        entered_at=fact.at,
        service=body.service,
        environment=body.environment,
        kind=Kind.ROTATION,
        plan=body.plan,
        candidate="",
        login="",
        previous=None,
        previous_login=None,
        owner=body.owner,
        actor=fact.actor,
        started_at=fact.at,
        reason=body.reason,
    )
    if isinstance(body, e.RotationRequested):
        return waiting
    return replace(
        waiting,
        state=fact.state or State.STAGING,
        kind=body.kind,
        candidate=body.version,
        login=body.login,
        previous=body.previous,
        previous_login=body.previous_login,
        label=body.label,
        imported=body.imported,
        fences=body.fences,
        tries=body.tries,
    )


def evolve(rotation: Rotation, fact: Fact) -> Rotation:
    """Return the rotation after one more fact."""
    body = fact.body
    if _is_remark(body):
        return _remark(replace(rotation, version=fact.originator_version), body, fact.at)
    if _is_of_fleet(body):
        return _in_fleet(replace(rotation, version=fact.originator_version), body, fact.at)
    if _is_state_change(body):
        return _change(rotation, body, fact)
    raise TypeError(f"{type(body).__name__} is not an event of a rotation")


def _is_remark(body: e.Event) -> TypeGuard[e.PlainRemark]:
    return type(body) in _REMARKS


def _is_state_change(body: e.Event) -> TypeGuard[e.StateChange]:
    return type(body) in _STATE_CHANGES


def _is_of_fleet(body: e.Event) -> TypeGuard[e.RolloutRemark]:
    return type(body) in _OF_FLEET


def _change(rotation: Rotation, body: e.StateChange, fact: Fact) -> Rotation:
    """Fold a fact that changed the state."""
    if isinstance(body, e.RotationStarted):
        return replace(start(fact), actor=rotation.actor)  # it waited for its turn; who asked for it stays
    state = fact.state or rotation.state
    entered = replace(
        rotation,
        version=fact.originator_version,
        state=state,
        entered=fact.originator_version,
        entered_at=fact.at,
        failures=0,
        refusals=0,
        postponed=_AT_ONCE,
        published=(),
        sampled=_AT_ONCE,
        health=(),
        promotable=rotation.promotable or state is State.PROMOTING,
        fleet=_fleet(rotation, body, fact.at),
    )
    return _enter(entered, body, fact.at)


def _enter(rotation: Rotation, body: e.StateChange, at: Instant) -> Rotation:
    """Fold what an event that changed the state carries; the events of every rotation are looked for first."""
    match body:
        case (
            e.CandidateVerified()
            | e.WaveDistributed()
            | e.RolloutCompleted()
            | e.Promoted()
            | e.GraceEnded()
            | e.RotationStarted()
            | e.CandidateReserved()
        ):
            return rotation
        case e.CandidateStaged():
            return replace(rotation, fingerprint=body.fingerprint, vacant=body.vacant)
        case e.CandidateApplied():
            marked = _mark(rotation, body.attempt, settled=True, done=True)
            return replace(marked, fingerprint=body.fingerprint or rotation.fingerprint)
        case e.WavePassed():
            return replace(rotation, waves=body.wave + 1)
        case e.MonitoringPassed():
            return replace(rotation, grace=body.grace)
        case e.RollbackStarted():
            cause = body.cause or rotation.cause
            return replace(rotation, automatic=body.automatic, cause=cause, sent_back=cause, ended_at=None)
        case e.RollbackRetried() | e.PreviousRestored() | e.RollbackVerified():
            ended = at if isinstance(body, e.RollbackVerified) else None
            return replace(rotation, cause=rotation.sent_back, ended_at=ended)  # what went wrong on the way is over
        case e.RollbackFailed():
            return replace(rotation, cause=body.cause)
        case e.RotationFailed():
            return replace(rotation, cause=body.cause, ended_at=at)
        case e.RolloutPaused() | e.RolloutResumed():
            return _rested(rotation, body)
        case e.PreviousRetired() | e.RollbackAbandoned() | e.RotationCancelled():
            return replace(rotation, ended_at=at)
        case _:
            assert_never(body)


def _fleet(rotation: Rotation, body: e.StateChange, at: Instant) -> Fleet | None:
    if rotation.plan.rollout is None:
        return None
    return fleets.changed(rotation.fleet or Fleet(), body, rotation.waves, at)


def _rested(rotation: Rotation, body: e.RolloutPaused | e.RolloutResumed) -> Rotation:
    """Fold that it rests, or goes on: what it rested for is settled then."""
    if isinstance(body, e.RolloutPaused):
        return replace(rotation, pausing=False, cause=body.cause or rotation.cause)
    return replace(rotation, cause=None)


def _remark(rotation: Rotation, body: e.PlainRemark, at: Instant) -> Rotation:
    """Fold a fact that left the state as it was; attempts are the most of them, and are looked for first."""
    match body:
        case e.AttemptStarted() | e.AttemptClosed() | e.AttemptSettled() | e.OrphanRevoked():
            return _attempted(rotation, body)
        case e.RotationRequested():
            return rotation  # its first fact, which `start` folds
        case e.PauseRequested():
            return replace(rotation, pausing=True)
        case e.OwnerChanged():
            return replace(rotation, owner=body.owner, epoch=body.epoch)
        case e.EffectPostponed():
            counts = not body.early
            return replace(rotation, failures=rotation.failures + counts, postponed=body.limit, cause=body.cause)
        case e.VerificationFailed():
            counts = not body.early
            return replace(
                rotation,
                failures=rotation.failures + counts,
                refusals=rotation.refusals + (body.refused and counts),
                postponed=body.limit,
                cause=body.cause,
            )
        case e.PreviousCaptured():
            return replace(rotation, previous=body.version, previous_login=body.login, captured=True)
        case e.LoginTried():
            return replace(rotation, tries=(*rotation.tries, e.LoginUse(body.login, at, body.boot, body.uptime)))
        case e.MonitoringStarted() | e.HealthSampled():
            return _monitored(rotation, body, at)
        case e.Published():
            reached = (*rotation.reached, body.place) if body.version == rotation.candidate else rotation.reached
            return replace(rotation, published=(*rotation.published, body.place), reached=reached)
        case _:
            assert_never(body)


def _in_fleet(rotation: Rotation, body: e.RolloutRemark, at: Instant) -> Rotation:
    """Fold what happened to the instances; whatever moves on makes tries without success undone."""
    fleet = fleets.evolve(rotation.fleet or Fleet(), body, at)
    match body:
        case e.InstancesMoved() | e.InstancesReturned():
            return replace(rotation, fleet=fleet, failures=0)
        case e.RolloutAdvanced():
            return replace(rotation, fleet=fleets.advance(fleet, rotation.waves))
        case e.RetirementRequested():
            return replace(rotation, fleet=fleet, early=True, failures=0, postponed=_AT_ONCE)
        case _:
            return replace(rotation, fleet=fleet)


def _attempted(
    rotation: Rotation, body: e.AttemptStarted | e.AttemptClosed | e.AttemptSettled | e.OrphanRevoked
) -> Rotation:
    """Fold what became of an attempt."""
    match body:
        case e.AttemptStarted():
            attempt = Attempt(body.attempt, body.version, body.login, body.deadline, boot=body.boot, uptime=body.uptime)
            return replace(rotation, attempts=(*rotation.attempts, attempt))
        case e.AttemptClosed():
            return _mark(rotation, body.attempt, closed=True, done=body.done)
        case e.AttemptSettled() | e.OrphanRevoked():
            probed = rotation.probed or isinstance(body, e.AttemptSettled)
            return _mark(replace(rotation, probed=probed), body.attempt, settled=True)
        case _:
            assert_never(body)


def _monitored(rotation: Rotation, body: e.MonitoringStarted | e.HealthSampled, at: Instant) -> Rotation:
    """Fold what the checks after promotion saw."""
    match body:
        case e.MonitoringStarted():
            return replace(rotation, monitoring=body.until)
        case e.HealthSampled():
            return replace(rotation, sampled=body.due, health=sampled(rotation.health, body, at))
        case _:
            assert_never(body)


def _mark(
    rotation: Rotation, number: int, *, closed: bool = False, settled: bool = False, done: bool = False
) -> Rotation:
    """Return the rotation with one attempt marked; marks are never taken off."""
    return replace(
        rotation,
        attempts=tuple(
            replace(a, closed=a.closed or closed, settled=a.settled or settled, done=a.done or done)
            if a.number == number
            else a
            for a in rotation.attempts
        ),
    )


def fold(facts: Iterable[Fact], *, since: Rotation | None = None) -> Rotation | None:
    """Return the rotation after all `facts`, oldest first; None where there are none.

    `since` is what the facts before them led to.
    """
    rotation = since
    for fact in facts:
        if rotation is None:
            rotation = start(fact)
        else:
            rotation = evolve(rotation, fact)
    return rotation
