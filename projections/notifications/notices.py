"""From facts to notices: which of them people are told of, and what.

Rule: pure; the rotation after the fact, and whether the credential was in trouble before, are given.
"""

from __future__ import annotations

from typing import Final

from engine import events as e
from engine.channel_events import ChannelDisabled, CredentialOverdue, NotificationBlocked, NotificationGivenUp
from engine.facts import Fact
from engine.leaving import Way, ways_out
from engine.machine import State
from engine.notices import Notice, NoticeKind
from engine.plan import Kind
from engine.policies import is_stuck
from engine.rotation import Rotation
from engine.values import Instant, Microseconds

TROUBLING: Final = frozenset({NoticeKind.FAILED, NoticeKind.ROLLBACK_FAILED, NoticeKind.OVERDUE})
"""The kinds after which a credential is in trouble, until a rotation of it succeeds."""


def of_rotation(fact: Fact, rotation: Rotation, *, position: int, in_trouble: bool) -> Notice | None:
    """Return what people are told of a fact of a rotation; None where it is of no interest to them.

    `rotation` is as of the fact. A rotation that keeps the old version for a grace period is told as completed when
    that begins; any other when its old version is gone.
    """
    kind = _kind(fact.body, rotation)
    if kind is None:
        return None
    body, completes = fact.body, kind is NoticeKind.COMPLETED
    by_itself = rotation.automatic and not isinstance(body, e.RollbackRetried)  # that a person tries is no failure
    is_asked = kind in (NoticeKind.ROLLBACK_STARTED, NoticeKind.ROLLED_BACK) and not by_itself
    shows_cause = kind in _WITH_CAUSE and not is_asked  # what only went wrong on the way back that a person wanted
    ways = () if kind in _NOTHING_TO_DO else _ways(kind, rotation)
    return Notice(
        position=position,
        kind=kind,
        at=fact.at,
        service=rotation.service,
        environment=rotation.environment,
        rotation_id=str(rotation.id),
        is_rollback=rotation.kind is Kind.ROLLBACK,
        strategy=rotation.plan.strategy.value,
        state=rotation.state.value,
        version=rotation.candidate or None,
        previous_version=rotation.previous,
        actor=fact.actor,
        reason=getattr(body, "reason", "") or (rotation.reason if kind in _WITH_REASON_OF_START else ""),
        automatic=by_itself and kind in _WITH_CAUSE,
        started_at=rotation.started_at,
        duration=Microseconds(fact.at - rotation.started_at),
        cause=rotation.cause if shows_cause else None,
        next_steps=tuple(map(str, ways)),
        wave=_wave(body, rotation),
        until=_until(body, rotation),
        ends_failure=completes and in_trouble,
    )


def of_overdue(fact: Fact, body: CredentialOverdue, *, position: int) -> Notice:
    """Return the notice of a version that should not be current any more."""
    return Notice(
        position=position,
        kind=NoticeKind.OVERDUE,
        at=fact.at,
        service=body.service,
        environment=body.environment,
        version=body.version,
        next_steps=(f"keyturn rotate {body.service} rotates it now",),
        until=body.due_at,
    )


def of_trouble(
    fact: Fact,
    body: ChannelDisabled | NotificationGivenUp | NotificationBlocked,
    about: Notice | None,
    *,
    position: int,
) -> Notice:
    """Return the notice that a channel did not deliver; `about` is what it should have told."""
    if isinstance(body, ChannelDisabled):
        step = f"keyturn notify test {body.channel} enables it again, once the cause is gone"
    else:
        step = "keyturn notify outbox lists what was not delivered, and sends it with --replay"
    return Notice(
        position=position,
        kind=NoticeKind.UNDELIVERED,
        at=fact.at,
        service=about.service if about else "",
        environment=about.environment if about else "",
        rotation_id=about.rotation_id if about else "",
        cause=body.cause,
        next_steps=(step,),
        channel=body.channel,
    )


_WITH_CAUSE: Final = frozenset(
    {
        NoticeKind.FAILED,
        NoticeKind.ROLLBACK_STARTED,
        NoticeKind.ROLLED_BACK,
        NoticeKind.ROLLBACK_FAILED,
        NoticeKind.WAITING,
        NoticeKind.PAUSED,
    }
)
_WITH_REASON_OF_START: Final = frozenset({NoticeKind.STARTED, NoticeKind.COMPLETED, NoticeKind.WAITING})
_NOTHING_TO_DO: Final = frozenset(
    {NoticeKind.STARTED, NoticeKind.RESUMED, NoticeKind.WAVE_COMPLETED, NoticeKind.ROLLBACK_STARTED}
)
"""What goes on by itself, so that nobody has to do anything."""


def _ways(kind: NoticeKind, rotation: Rotation) -> tuple[Way, ...]:
    """Return what a person may do: after a failure that was taken back, what was wanted is still to be done."""
    if kind is NoticeKind.ROLLED_BACK and rotation.automatic:
        return (
            Way(f"keyturn rotate {rotation.service}", "tries again, once the cause is gone"),
            Way(f"keyturn show {rotation.id}", "tells how it came to be there"),
        )
    return ways_out(rotation)


def _kind(body: e.Event, rotation: Rotation) -> NoticeKind | None:
    is_rollback = rotation.kind is Kind.ROLLBACK
    done = NoticeKind.ROLLED_BACK if is_rollback else NoticeKind.COMPLETED
    match body:
        case e.RotationRequested():
            return NoticeKind.WAITING
        case e.RotationStarted():
            return NoticeKind.ROLLBACK_STARTED if is_rollback else NoticeKind.STARTED
        case e.MonitoringPassed():
            return done if _keeps_previous(rotation) else None
        case e.PreviousRetired():
            return None if _keeps_previous(rotation) else done
        case e.EffectPostponed():
            return NoticeKind.WAITING if _has_just_stuck(rotation) or _is_just_used(rotation) else None
        case e.OverlapWarned():
            return NoticeKind.WAITING
        case e.HealthSampled():
            return NoticeKind.WAITING if _sees_nothing_now(rotation, body) else None
        case _:
            return _PLAIN.get(type(body))


_PLAIN: Final[dict[type, NoticeKind]] = {
    e.WavePassed: NoticeKind.WAVE_COMPLETED,
    e.RolloutPaused: NoticeKind.PAUSED,
    e.RolloutResumed: NoticeKind.RESUMED,
    e.RollbackStarted: NoticeKind.ROLLBACK_STARTED,
    e.RollbackRetried: NoticeKind.ROLLBACK_STARTED,
    e.RollbackVerified: NoticeKind.ROLLED_BACK,
    e.RollbackFailed: NoticeKind.ROLLBACK_FAILED,
    e.RollbackAbandoned: NoticeKind.FAILED,
    e.RotationFailed: NoticeKind.FAILED,
}


def _keeps_previous(rotation: Rotation) -> bool:
    """Tell whether there is a grace period: none where nobody had a value before."""
    return rotation.plan.grace > 0 and not rotation.vacant


def _has_just_stuck(rotation: Rotation) -> bool:
    return is_stuck(rotation) and rotation.failures == rotation.plan.effect_attempts


def _is_just_used(rotation: Rotation) -> bool:
    """Tell whether it was just seen for the first time that the old version is used beyond its grace period."""
    return rotation.state is State.GRACE and rotation.failures == 1


def _sees_nothing_now(rotation: Rotation, body: e.HealthSampled) -> bool:
    """Tell whether a check has just seen nothing for so long that a person should look."""
    limit = rotation.plan.monitoring_unknowns
    return any(each.check == body.check and each.unknowns == limit for each in rotation.health)


def _wave(body: e.Event, rotation: Rotation) -> int | None:
    if isinstance(body, e.WavePassed):
        return body.wave
    is_paused = isinstance(body, e.RolloutPaused) and rotation.fleet is not None and rotation.fleet.is_planned
    return rotation.waves if is_paused else None


def _until(body: e.Event, rotation: Rotation) -> Instant | None:
    match body:
        case e.MonitoringPassed():
            return body.grace.wall
        case e.EffectPostponed():
            return body.not_before
        case e.OverlapWarned():
            return body.until
        case _:
            return None
