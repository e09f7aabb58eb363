"""Commands of people and schedules, and the decisions on them: refused by name, or facts to append.

Rule: legality is looked up in the machine; a decision is pure and calls no port.
"""

from __future__ import annotations

from typing import Final, NoReturn
from uuid import UUID

import msgspec

from engine import events as e
from engine.credential import Credential, Version
from engine.errors import IllegalCommand, InGrace, PortError, RotationOpen, StrategyImpossible
from engine.events import CredentialEvent, RotationEvent
from engine.leaving import in_words, rests_for, ways_out
from engine.machine import State, following, rests
from engine.plan import Kind, Plan, Strategy
from engine.policies import can_go_back, is_stuck
from engine.process import EFFECTS
from engine.rollout import RolloutPolicy, at_once, refusal
from engine.rollout_events import PauseKind
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds, Moment

START: Final = "start"
"""The name of the step that a rotation which waits for its turn begins with."""


class StartRotation(msgspec.Struct, frozen=True):
    """Move a credential to a fresh version, or (`to`) back to an earlier one."""

    service: str
    environment: str
    plan: Plan
    logins: tuple[str, ...]
    """The login of the credential; the two of `alternating`."""
    owner: str
    reason: str = ""
    imported: bool = False
    to: Version | None = None
    old: Version | None = None
    """The version that is to be replaced; None where no store holds one."""
    label: str | None = None
    """What the store calls current."""


def opened(
    command: StartRotation,
    credential: Credential,
    rotation_id: UUID,
    *,
    holder: Rotation | None,
    now: Instant,
    until: str,
) -> tuple[list[RotationEvent], list[CredentialEvent]]:
    """Decide on starting: the first facts of the rotation, and what the credential takes down.

    `holder` is what is in the way (`in_the_way`). Raises `RotationOpen` then, or `InGrace` where only a grace period
    (`until`) is left of it.
    """
    if holder is not None:
        refuse_second(holder, now=now, until=until)
    current = command.old
    ordinal = credential.ordinal + 1
    candidate = command.to or Version(f"v{ordinal}-{rotation_id.hex[:6]}", _login(command, current))
    overlap = _overlap(command.plan.strategy, candidate.login, current)
    plan = msgspec.structs.replace(
        command.plan,
        overlap=overlap,
        grace=command.plan.grace if overlap and command.to is None else 0,
        checks=command.plan.checks if command.to is None else (),
        rollout=_rollout(command, overlap=overlap),
    )
    started = e.RotationStarted(
        service=command.service,
        environment=command.environment,
        kind=Kind.ROLLBACK if command.to else Kind.ROTATION,
        plan=plan,
        version=candidate.id,
        login=candidate.login,
        owner=command.owner,
        previous=current.id if current else None,
        previous_login=current.login if current else None,
        label=command.label,
        reason=command.reason,
        imported=command.imported or command.to is not None,
        fences=credential.fences,
        tries=credential.tries,
    )
    noted: list[CredentialEvent] = []
    if current is not None and current != credential.current:
        noted.append(e.VersionAdopted(current.id, current.login))
    noted.append(
        e.RotationOpened(rotation_id, command.service, command.environment, candidate.id, ordinal, candidate.login)
    )
    return [started], noted


def in_the_way(credential: Credential, *, rotation_id: UUID | None = None, urgent: bool = False) -> UUID | None:
    """Return the rotation that has to be over before another one may open; None where there is none.

    That is the open one, and then the one that waits for its turn: not for itself (`rotation_id`), and not for what is
    `urgent`, which going back to an earlier version is.
    """
    if credential.open is not None:
        return credential.open
    return None if urgent or credential.queued == rotation_id else credential.queued


def refuse_second(rotation: Rotation, *, now: Instant, until: str) -> NoReturn:
    """Raise what tells that this rotation of the same credential is not over: which, since when, and whose it is.

    `RotationOpen`, or `InGrace` where only a grace period (`until`) is left of it.
    """
    age = _age(Microseconds(now - rotation.started_at))
    told = {
        "service": rotation.service,
        "environment": rotation.environment,
        "rotation_id": rotation.id,
        "details": f" (step {step_of(rotation)}, begun {age} ago, driven by {rotation.owner or 'nobody'})",
    }
    if rotation.state is State.GRACE:
        raise InGrace(**told, until=until)
    raise RotationOpen(**told, state=rotation.state, advice=in_words(ways_out(rotation)))


def step_of(rotation: Rotation) -> str:
    """Return the name of the step that is outstanding; the state where a person has to decide about that."""
    if rotation.state is State.WAITING:
        return START
    return EFFECTS[rotation.state].value if rotation.state in EFFECTS else rotation.state.value


def _age(passed: Microseconds) -> str:
    """Return how long ago something was, as people say it: 95s, 3m, 26h, 4d."""
    seconds = max(passed, 0) // SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def withdrawn(rotation: Rotation, *, command: str, reason: str) -> tuple[list[RotationEvent], list[CredentialEvent]]:
    """Decide on taking a request back before its turn has come; raises `IllegalCommand` where it has begun."""
    _require(rotation, "RotationCancelled", command)
    return [e.RotationCancelled(reason)], [e.RotationClosed(rotation.id, State.CANCELLED)]


def refused(rotation: Rotation, error: PortError) -> tuple[list[RotationEvent], list[CredentialEvent]]:
    """Decide on a request whose turn has come, and which cannot begin: it has failed, and nothing was done."""
    cause = e.Cause(step=START, kind=error.kind, message=error.message, hint=error.advice)
    return [e.RotationFailed(cause)], [e.RotationClosed(rotation.id, State.FAILED)]


def making_room(
    holder: Rotation | None, waiting: Rotation | None, credential: Credential, *, reason: str
) -> tuple[list[tuple[Rotation, list[RotationEvent]]], list[CredentialEvent]]:
    """Decide on what a new rotation is to replace: the open one goes back, and the one that waits is withdrawn.

    An open one that goes back already, or is past the point of no return, is only to be driven to its end. One that
    could not go back rests: a person has to see to that first, so nothing is decided. Raises `IllegalCommand` where
    there is no way back.
    """
    changes: list[tuple[Rotation, list[RotationEvent]]] = []
    noted: list[CredentialEvent] = []
    if holder is not None:
        if following(holder.state, "RollbackStarted") is not None:
            events, noted = go_back(holder, credential, command="replacing it", reason=reason)
            changes.append((holder, events))
        elif rests(holder.state):
            return [], []
    if waiting is not None:
        events, said = withdrawn(waiting, command="replacing it", reason=reason)
        changes.append((waiting, events))
        noted = [*noted, *said]
    return changes, noted


def _login(command: StartRotation, current: Version | None) -> str:
    """Return who is to log in with the candidate: of two logins, the one that is not in use."""
    if len(command.logins) == 1 or current is None:
        return command.logins[0]
    return next(login for login in command.logins if login != current.login)


def _overlap(strategy: Strategy, login: str, current: Version | None) -> bool:
    """Tell whether old and new can be valid at once: not in one login that holds one value."""
    if strategy in (Strategy.DUAL, Strategy.ISSUE):
        return True
    return strategy is Strategy.ALTERNATING and current is not None and current.login != login


_TWO_VALID: Final = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)


def _rollout(command: StartRotation, *, overlap: bool) -> RolloutPolicy | None:
    """Return how instances are given the candidate: at once where it goes back, or where nothing else is valid.

    Raises `StrategyImpossible` where a strategy never has two valid versions: the instances would all change at once.
    """
    policy, strategy = command.plan.rollout, command.plan.strategy
    if policy is None:
        return None
    refused = refusal(overlap=strategy in _TWO_VALID, able=_TWO_VALID)
    if refused is not None:
        why, advice = refused
        raise StrategyImpossible(service=command.service, strategy=strategy.value, why=why, advice=advice)
    return policy if overlap and command.to is None else at_once(policy)


def _require(rotation: Rotation, event: str, command: str) -> None:
    if following(rotation.state, event) is None:
        raise IllegalCommand(command=command, state=rotation.state, rotation_id=rotation.id)


def go_back(
    rotation: Rotation, credential: Credential, *, command: str, reason: str
) -> tuple[list[RotationEvent], list[CredentialEvent]]:
    """Decide on taking an open (or failed) rotation back.

    Raises `IllegalCommand` where it is past the point of no return, has nothing to go back to, or another
    rotation was opened since.
    """
    _require(rotation, "RollbackStarted", command)
    if not can_go_back(rotation):
        why = "and the target takes no earlier version back" if rotation.is_replaced else "with no earlier version"
        raise IllegalCommand(command=command, state=f"{rotation.state}, {why}", rotation_id=rotation.id)
    noted: list[CredentialEvent] = []
    if credential.open != rotation.id:
        if credential.open is not None or credential.last != rotation.id:
            raise IllegalCommand(
                command=command, state=f"{rotation.state} and a later one exists", rotation_id=rotation.id
            )
        current = credential.current
        if current is not None and current.id not in (rotation.candidate, rotation.previous):
            raise IllegalCommand(
                command=command, state=f"{rotation.state}, and {current.id} is current since", rotation_id=rotation.id
            )
        noted.append(
            e.RotationOpened(
                rotation.id,
                rotation.service,
                rotation.environment,
                rotation.candidate,
                credential.ordinal,
                rotation.login,
            )
        )
    return [e.RollbackStarted(automatic=False, reason=reason)], noted


def retry(rotation: Rotation, *, reason: str) -> list[RotationEvent]:
    """Decide on trying again what failed: going back, or the wave that a rollout rests for.

    Raises `IllegalCommand` in any other state, and where it rests for nothing that failed.
    """
    if rotation.state is State.PAUSED and rests_for(rotation) in _FAILED:
        return [e.RolloutResumed(reason=reason)]
    _require(rotation, "RollbackRetried", "retry")
    return [e.RollbackRetried(reason=reason)]


def pause(rotation: Rotation, *, reason: str) -> list[RotationEvent]:
    """Decide on resting before anybody is given the candidate; nothing where it rests, or is about to.

    Before the candidate is verified it is only asked for. Raises `IllegalCommand` where it is too late.
    """
    if rotation.state is State.PAUSED or rotation.pausing:
        return []
    if following(rotation.state, "PauseRequested") is not None:
        return [e.PauseRequested(reason=reason)]
    _require(rotation, "RolloutPaused", "pause")
    return [e.RolloutPaused(reason=reason)]


def let_go_on(rotation: Rotation, *, reason: str) -> list[RotationEvent]:
    """Decide on letting a paused rotation go on; raises `IllegalCommand` in any other state."""
    if rotation.pausing:
        raise IllegalCommand(
            command="continue",
            state=f"{rotation.state}: a pause is only requested",
            rotation_id=rotation.id,
            advice=f"It rests when the candidate is verified; keyturn resume {rotation.id} drives it there.",
        )
    _require(rotation, "RolloutResumed", "continue")
    return [e.RolloutResumed(reason=reason)]


_FAILED: Final = (PauseKind.FAILURE, PauseKind.INCONCLUSIVE, PauseKind.STALLED)


def promote(rotation: Rotation, *, reason: str, full: bool = False) -> list[RotationEvent]:
    """Decide on passing what the rollout waits for: the soak of a wave, its wait, its window, or an approval.

    With `full`, all that would be waited for later as well. Raises `IllegalCommand` where nothing is rolled out.
    """
    if rotation.plan.rollout is None:
        state = f"{rotation.state}, and has no instances to hand a version to"
        raise IllegalCommand(command="promote", state=state, rotation_id=rotation.id)
    if rotation.state is State.PAUSED:
        return [e.RolloutResumed(reason=reason, advance=True, full=full)]
    _require(rotation, "RolloutAdvanced", "promote")
    return [e.RolloutAdvanced(full=full, reason=reason)]


def accept_inconclusive(rotation: Rotation, *, reason: str) -> list[RotationEvent]:
    """Decide on going on although the checks see nothing; raises `IllegalCommand` where that is not asked."""
    if rotation.state is not State.PAUSED or rests_for(rotation) is not PauseKind.INCONCLUSIVE:
        state = f"{rotation.state}, and not because something was not seen"
        raise IllegalCommand(command="accept-inconclusive", state=state, rotation_id=rotation.id)
    return [e.RolloutResumed(reason=reason, accept=True)]


def abandon(rotation: Rotation, *, reason: str, now: Moment) -> tuple[list[RotationEvent], list[CredentialEvent]]:
    """Decide on giving up what cannot go on: going back that failed, or retiring that has had its tries.

    The rotation is over, its credential free, and nothing is changed outside. Raises `IllegalCommand` elsewhere.
    """
    if is_stuck(rotation) and rotation.cause is not None:
        events: list[RotationEvent] = [e.RotationFailed(cause=rotation.cause, reason=reason)]
    else:
        _require(rotation, "RollbackAbandoned", "giving up")
        events = [e.RollbackAbandoned(reason=reason)]
    return events, [closing(rotation, State.FAILED, now=now)]


def end_grace(rotation: Rotation, *, reason: str = "") -> list[RotationEvent]:
    """Decide on ending a grace period now; raises `IllegalCommand` in any other state.

    Where there are instances, it ends once nobody uses the old version, which only a look can tell.
    """
    _require(rotation, "GraceEnded", "retire")
    if rotation.plan.rollout is not None:
        return [e.RetirementRequested(reason=reason)]
    return [e.GraceEnded(early=True, reason=reason)]


def closing(rotation: Rotation, outcome: State, *, now: Moment) -> e.RotationClosed:
    """Return what a rotation that ends leaves to its credential: attempts and logins that still count."""
    open_attempts = [attempt.fence for attempt in rotation.attempts if not attempt.closed]
    budget = rotation.plan.login_budget
    return e.RotationClosed(
        rotation_id=rotation.id,
        outcome=outcome,
        fences=tuple(f for f in (*rotation.fences, *open_attempts) if f.limit.left(now)),
        tries=tuple(use for use in rotation.tries if budget and use.counts_until(budget.window).left(now)),
    )
