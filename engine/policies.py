"""Policies: what follows a failure, how long to wait, what a verification means, which versions may go.

Rule: each is a pure function with a reason; the empty case is decided.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from engine import events as e
from engine.attempts import Streak
from engine.credential import Credential
from engine.errors import PortError, Rejected, Unavailable
from engine.events import Cause, RotationEvent
from engine.health import CheckResult
from engine.machine import State
from engine.plan import Kind, Plan, Strategy
from engine.ports import Holdings, Probe, Verification
from engine.process import Effect
from engine.rollout import OnTrouble
from engine.rollout_events import PauseKind
from engine.rotation import Rotation
from engine.values import CredentialValue, Form, Microseconds, Moment, deadline_after


def delay(plan: Plan, failures: int, *, jitter: float) -> Microseconds:
    """Return the wait after the `failures`-th failure: doubling from the first to the longest, full jitter.

    `jitter` is a random number from 0 up to 1. Full jitter spreads best: AWS Architecture Blog,
    "Exponential Backoff And Jitter", 2015. At least a tenth of the step, so that a retry is never at once.
    """
    step = min(plan.retry_first * 2 ** min(failures - 1, 30), plan.retry_longest)
    return Microseconds(int(step * (0.1 + 0.9 * jitter)))


def can_go_back(rotation: Rotation) -> bool:
    """Tell whether there is something to go back to.

    Where the store called nothing current before, a rotation can be undone until the store may call the candidate
    current: then there is nothing else to call current. Without an earlier version, and where a login holds one
    value, it can be undone until that may have been replaced: a candidate that is taken away then leaves nothing
    that works. The same goes for an earlier version that was set again: it was somebody's before; and for any where the
    store calls another current that nobody can go back to: that one was seen not to work. And where the candidate has
    replaced the previous version at a target that takes no value a second time, the candidate is all that is left.
    """
    if rotation.is_replaced:
        return False
    is_alone = rotation.previous is None or rotation.captured
    if is_alone and rotation.fleet is not None and any(rotation.fleet.holding()):
        return False  # nobody has the value that these instances used before
    if rotation.promotable and (rotation.labelled if rotation.label is None else is_alone):
        return False
    adds = rotation.plan.strategy in (Strategy.DUAL, Strategy.ISSUE) or rotation.vacant
    undoable = adds and rotation.kind is Kind.ROTATION and rotation.label is None
    return rotation.previous is not None or undoable or not rotation.attempted


def is_stuck(rotation: Rotation) -> bool:
    """Tell whether retiring has had its tries: it goes on for as long as it is driven, and a person should look."""
    return rotation.state is State.RETIRING and rotation.failures >= rotation.plan.effect_attempts


def cause_of(effect: Effect, error: PortError) -> Cause:
    """Return the cause that an error of a port makes, for the log."""
    return Cause(step=effect.value, kind=error.kind, message=error.message, hint=error.advice)


_SHOWN_LATE: Final = frozenset({Effect.RETIRE, Effect.VERIFY_ROLLBACK})
"""The effects that see a change that was made before; verifying is judged by `judge`."""


def is_early(rotation: Rotation, *, now: Moment) -> bool:
    """Tell whether the target may still answer as before the change that led to this state.

    A clock that was set back tells nothing; what is seen then counts, and the worst that follows is going back.
    """
    return 0 <= now.wall - rotation.entered_at < rotation.plan.propagation


def after_failure(
    rotation: Rotation, effect: Effect, error: PortError, *, now: Moment, jitter: float
) -> list[RotationEvent]:
    """Decide what follows when an effect had no success: another try later, or giving up."""
    cause = cause_of(effect, error)
    if effect in _SHOWN_LATE and isinstance(error, Unavailable) and is_early(rotation, now=now):
        later = deadline_after(now, delay(rotation.plan, 1, jitter=jitter))
        return [e.EffectPostponed(cause, later.wall, later.boot, later.uptime, early=True)]
    tries = rotation.failures + 1
    final = isinstance(error, Rejected) or tries >= _tries_max(rotation, effect)
    if effect in _HANDING and rotation.plan.rollout is not None:
        # How long nothing may move on has a limit of its own (`progress_deadline`).
        if isinstance(error, Rejected):
            return stop(rotation, cause, rotation.plan.rollout.on_failure, PauseKind.FAILURE)
    # Behind the point of no return the only way is forward, and before it nobody is hurried.
    elif final and effect not in (Effect.RETIRE, Effect.END_GRACE):
        return give_up(rotation, cause)
    return [postponed(rotation, cause, now=now, jitter=jitter)]


_HANDING: Final = (Effect.DISTRIBUTE, Effect.SOAK)


def postponed(rotation: Rotation, cause: Cause, *, now: Moment, jitter: float) -> e.EffectPostponed:
    """Return the fact that an effect is tried again later."""
    later = deadline_after(now, delay(rotation.plan, rotation.failures + 1, jitter=jitter))
    return e.EffectPostponed(cause, later.wall, later.boot, later.uptime)


def stop(rotation: Rotation, cause: Cause, on: OnTrouble, kind: PauseKind) -> list[RotationEvent]:
    """Decide what follows when a wave fails or shows nothing: back where it is wanted and possible, else it rests."""
    if on is OnTrouble.ABORT and rotation.plan.rollback_automatic and can_go_back(rotation):
        return [e.RollbackStarted(automatic=True, cause=cause)]
    return [e.RolloutPaused(kind=kind, cause=cause)]


def _tries_max(rotation: Rotation, effect: Effect) -> int:
    if effect in (Effect.RECALL, Effect.RESTORE, Effect.VERIFY_ROLLBACK):
        return rotation.plan.rollback_retries + 1
    if effect is Effect.VERIFY:
        return rotation.plan.verification_attempts
    return rotation.plan.effect_attempts


def give_up(rotation: Rotation, cause: Cause) -> list[RotationEvent]:
    """Decide how a rotation ends that cannot go forward: back, or failed where nothing is to be undone."""
    if rotation.state in (State.ROLLING_BACK, State.VERIFYING_ROLLBACK):
        return [e.RollbackFailed(cause)]
    if not (rotation.attempted or rotation.promotable) or not can_go_back(rotation):
        return [e.RotationFailed(cause)]
    plan = rotation.plan
    allowed = {
        State.VERIFYING: plan.rollback_on_verification_failure,
        State.MONITORING: plan.rollback_on_health_failure,
    }
    wanted = plan.rollback_automatic and allowed.get(rotation.state, True)
    return [e.RollbackStarted(automatic=True, cause=cause)] if wanted else [e.RotationFailed(cause)]


def judge(rotation: Rotation, seen: Verification, *, now: Moment, jitter: float) -> list[RotationEvent]:
    """Judge one verification of the candidate: verified, tried again, or given up."""
    trouble = _trouble(seen)
    if trouble is None:
        return [e.CandidateVerified()]
    refused = seen.candidate is Probe.REFUSED
    undiscriminating = seen.control in (Probe.ACCEPTED, Probe.UNUSABLE)
    cause = Cause(Effect.VERIFY.value, *trouble)
    if refused and is_early(rotation, now=now):
        later = deadline_after(now, delay(rotation.plan, 1, jitter=jitter))
        return [e.VerificationFailed(cause, refused, later.wall, later.boot, later.uptime, early=True)]
    tries = rotation.failures + 1
    later = deadline_after(now, delay(rotation.plan, tries, jitter=jitter))
    failed = e.VerificationFailed(cause, refused, later.wall, later.boot, later.uptime)
    out_of_tries = tries >= rotation.plan.verification_attempts
    out_of_refusals = rotation.refusals + refused >= rotation.plan.refusals
    if undiscriminating or out_of_tries or (refused and out_of_refusals):
        return [failed, *give_up(rotation, cause)]
    return [failed]


def is_breached(rotation: Rotation) -> Streak | None:
    """Return the check that failed too often in a row; None where none did."""
    return next((each for each in rotation.health if each.failures >= rotation.plan.monitoring_failures), None)


def is_inconclusive(rotation: Rotation) -> bool:
    """Tell whether a check sees nothing for so long that a person should: it goes on for as long as it is driven."""
    limit = rotation.plan.monitoring_unknowns
    return rotation.state is State.MONITORING and any(each.unknowns >= limit for each in rotation.health)


def has_passed(rotation: Rotation, *, checks: Collection[str], now: Moment) -> bool:
    """Tell whether monitoring is passed: its time is over, and the last look of every check was well.

    `checks` are the names of those that look; a check that never looked has not passed.
    """
    if rotation.monitoring is None or rotation.monitoring.remaining(now):
        return False
    well = {each.check for each in rotation.health if each.result in (CheckResult.PASS, CheckResult.WARN)}
    return well >= set(checks)


_UNCLEAR: Final = "See whether the target is there, and answers logins: keyturn doctor."


def _trouble(seen: Verification) -> tuple[str, str, str] | None:
    """Return kind, message and hint of what is wrong with a verification; None where all is well."""
    detail = f" ({seen.detail})" if seen.detail else ""
    if seen.candidate is Probe.REFUSED:
        hint = "See whether something else answers in place of the target, or changes it: keyturn doctor."
        return ("refused", f"the target refuses the new version{detail}", hint)
    if seen.candidate is Probe.UNUSABLE:
        hint = "Check what the login may do: connection limit, database, permission to log in."
        return ("unusable", f"the target accepts the new version but not the login{detail}", hint)
    if seen.candidate is Probe.UNKNOWN:
        return ("unknown", f"the target gave no clear answer to a login with the new version{detail}", _UNCLEAR)
    if seen.control in (Probe.ACCEPTED, Probe.UNUSABLE):
        hint = "The target does not check the secret (trust authentication, nopass): a login there proves nothing."
        return ("undiscriminating", "the target accepts a random wrong value as well", hint)
    if seen.control is Probe.UNKNOWN:
        return ("unknown", f"the target gave no clear answer to the wrong control value{detail}", _UNCLEAR)
    if not seen.query:
        hint = "Check what the login may do: the query runs as the new version of it."
        return ("query", f"the login works, but the verification query does not{detail}", hint)
    return None


def destroyable(rotation: Rotation, credential: Credential, held: Holdings, *, now: Moment) -> list[str]:
    """Return the versions that the store may forget, oldest first.

    Only versions that were current once and that the target was seen to refuse since, that no label points
    at, whose last attempt is past its deadline, and with two newer generations at least; the newest
    `versions_kept` always stay. A version that failed was never current: it is quarantined, and stays.
    """
    kept = max(rotation.plan.versions_kept, 3)
    generations = [v.id for v in credential.known if v.id in held.versions]
    in_use = {held.current, held.previous, held.pending, rotation.candidate, rotation.previous}
    in_use |= {stray.id for stray in credential.strays}
    in_flight = {f.version for f in rotation.fences if f.limit.left(now)}
    in_flight |= {a.version for a in rotation.attempts if a.limit.left(now)}
    return [v for v in generations[: max(len(generations) - kept, 0)] if v not in in_use | in_flight]


def unreachable(value: CredentialValue | None, *, settable: bool) -> str:
    """Return why a rollback cannot go to a version of which the store holds `value`; empty where it can.

    `settable` is what the target of its service can do (`Plan.settable`).
    """
    if value is None:
        return "no store holds that version any more"
    if value.form is Form.VERIFIER:
        return "only its verifier is held, which nobody can log in with"
    return "" if settable else "the target cannot be set back to a known value"
