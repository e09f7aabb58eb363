"""What comes next: the one outstanding effect of a rotation, looked up from its state and the time.

Rule 1: `next_effect` is pure; a crash is recovered from by calling it again.
Rule 2: waiting is a time in the log; nothing here sleeps, and nothing here performs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from engine.events import Fence, LoginUse
from engine.fleet import Fleet
from engine.machine import State
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.rotation import Rotation
from engine.values import Instant, Microseconds, Moment


class Effect(StrEnum):
    """Work on the outside; its value is the name of the step for people."""

    STAGE = "stage"
    PROBE = "probe"
    """Look whether the target accepts the candidate already: an answer was lost, or the value was given."""
    APPLY = "apply"
    VERIFY = "verify"
    DISTRIBUTE = "distribute"
    SOAK = "soak"
    PROMOTE = "promote"
    MONITOR = "monitor"
    END_GRACE = "end_grace"
    RETIRE = "retire"
    RECALL = "recall"
    """Have the instances that were told the candidate use the previous version again."""
    RESTORE = "restore"
    VERIFY_ROLLBACK = "verify_rollback"


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do before `until`, and why."""

    until: Instant
    why: str


EFFECTS: Final[dict[State, Effect]] = {
    State.STAGING: Effect.STAGE,
    State.APPLYING: Effect.APPLY,
    State.VERIFYING: Effect.VERIFY,
    State.DISTRIBUTING: Effect.DISTRIBUTE,
    State.SOAKING: Effect.SOAK,
    State.PROMOTING: Effect.PROMOTE,
    State.MONITORING: Effect.MONITOR,
    State.GRACE: Effect.END_GRACE,
    State.RETIRING: Effect.RETIRE,
    State.ROLLING_BACK: Effect.RESTORE,
    State.VERIFYING_ROLLBACK: Effect.VERIFY_ROLLBACK,
}
"""The work each state stands for; a state without an entry rests."""


_OF_INSTANCES: Final = (Effect.DISTRIBUTE, Effect.SOAK, Effect.END_GRACE, Effect.RETIRE, Effect.RECALL)


def next_effect(rotation: Rotation, now: Moment) -> Effect | Wait | None:
    """Return the one outstanding effect, the time to wait for, or None where the rotation rests."""
    if rotation.state not in EFFECTS:
        return None
    if left := rotation.postponed.left(now):
        return Wait(Instant(now.wall + left), "trying again")
    effect = EFFECTS[rotation.state]
    if effect is Effect.APPLY and _must_look(rotation):
        effect = Effect.PROBE
    if effect is Effect.RESTORE and must_recall(rotation):
        effect = Effect.RECALL
    return _hindrance(rotation, effect, now) or effect


def must_recall(rotation: Rotation, *, anew: bool = False) -> bool:
    """Tell whether instances are still to be given the previous version; without one they keep what they have.

    With `anew`: whether there can be any at all.
    """
    if rotation.fleet is None or rotation.previous is None or rotation.captured:
        return False
    return anew or bool(rotation.fleet.to_return(promoted=rotation.promotable))


def _must_look(rotation: Rotation) -> bool:
    """Tell whether the candidate may be accepted already, so that looking comes before applying.

    A look that showed nothing clear (nodes disagree, half of the change was made) is followed by applying again
    where that is harmless; then by another look.
    """
    if rotation.in_doubt is None:
        return rotation.imported and not rotation.probed
    looked = rotation.failures > 0 and rotation.cause is not None and rotation.cause.step == Effect.PROBE
    return not (looked and rotation.plan.retry is RetryClass.IDEMPOTENT and not rotation.plan.issues_value)


def _hindrance(rotation: Rotation, effect: Effect, now: Moment) -> Wait | None:
    """Return what the effect has to wait for; None where it may be performed."""
    if rotation.fleet is not None and (wait := _for_instances(rotation, rotation.fleet, effect, now)):
        return wait
    if effect is Effect.END_GRACE and rotation.grace is not None and not rotation.early:
        left = rotation.grace.remaining(now)
        return Wait(Instant(now.wall + left), "grace period") if left else None
    if effect is Effect.MONITOR and (left := rotation.sampled.left(now)):
        return Wait(Instant(now.wall + left), "the next health check")
    if effect is Effect.PROBE:
        return _before_looking(rotation, now) or _budget(rotation, effect, now)
    if left := fence(rotation, effect, now):
        return Wait(Instant(now.wall + left), "an earlier attempt may still take effect")
    return _budget(rotation, effect, now)


def _for_instances(rotation: Rotation, fleet: Fleet, effect: Effect, now: Moment) -> Wait | None:
    """Return what handing and soaking have to wait for."""
    if effect in _OF_INSTANCES and (left := fleet.due.left(now)):
        return Wait(Instant(now.wall + left), "instances are to prove what they use")
    if effect is Effect.DISTRIBUTE and (left := fleet.hold.left(now)):
        return Wait(Instant(now.wall + left), fleet.why)
    if effect is not Effect.SOAK or fleet.soak is None or fleet.flight or is_let_pass(rotation, fleet):
        return None
    if rotation.health:
        left = rotation.sampled.left(now)
        return Wait(Instant(now.wall + left), "the next health check") if left else None
    left = fleet.soak.remaining(now)
    return Wait(Instant(now.wall + left), "the wave soaks") if left else None


def is_let_pass(rotation: Rotation, fleet: Fleet) -> bool:
    """Tell whether a person let the soak of the wave at hand pass."""
    return fleet.full or fleet.passed >= rotation.waves


def _before_looking(rotation: Rotation, now: Moment) -> Wait | None:
    """Where a repeat is not harmless, what a lost attempt did is judged when it can do nothing more."""
    attempt = rotation.in_doubt
    left = attempt.limit.later(rotation.plan.propagation).left(now) if attempt else 0
    if not left or (rotation.plan.retry is RetryClass.IDEMPOTENT and not rotation.plan.issues_value):
        return None
    return Wait(Instant(now.wall + left), "an attempt without an answer may still take effect")


def fence(rotation: Rotation, effect: Effect, now: Moment) -> Microseconds:
    """Return how long another attempt on what the effect writes may still take effect; 0 for none.

    An attempt that does what the effect does, or what it leaves alone, is not waited for: landing late, it changes
    nothing. Restoring writes the login of the previous version and the candidate's, and what stores call current;
    promoting writes the latter alone (the login "").
    """
    logins: tuple[str, ...]
    same: str | None
    match effect:
        case Effect.APPLY:
            logins, same = (rotation.login,), rotation.candidate
        case Effect.PROMOTE:
            logins, same = ("",), rotation.candidate
        case Effect.RECALL if rotation.plan.overlap:
            return Microseconds(0)  # nothing is written but the instances
        case Effect.RESTORE | Effect.RECALL:
            logins, same = ("", rotation.login, rotation.previous_login or rotation.login), rotation.previous
        case Effect.RETIRE:
            logins, same = (rotation.previous_login or rotation.login,), rotation.candidate
        case _:
            return Microseconds(0)
    others = [f for f in (*_unanswered(rotation), *rotation.fences) if f.login in logins and f.version != same]
    if effect is Effect.RETIRE:
        others = [f for f in others if not f.version.startswith("-")]  # taking away twice is taking away once
    return max((f.limit.left(now) for f in others), default=Microseconds(0))


def _unanswered(rotation: Rotation) -> list[Fence]:
    return [attempt.fence for attempt in rotation.attempts if not attempt.closed]


def _budget(rotation: Rotation, effect: Effect, now: Moment) -> Wait | None:
    """Return the wait until the wrong logins that the effect may cost are within the target's budget."""
    budget = rotation.plan.login_budget
    if budget is None:
        return None
    costs = Counter(_refusable(rotation, effect))
    waits = [until_free(rotation.tries, login, budget, min(cost, budget.tries), now) for login, cost in costs.items()]
    longest = max(waits, default=0)
    return Wait(Instant(now.wall + longest), "wrong logins of this window are used up") if longest else None


def _refusable(rotation: Rotation, effect: Effect) -> list[str]:
    """Return the logins that may be refused in one performance of the effect, once for each time."""
    before = rotation.previous_login or rotation.login
    match effect:
        case Effect.PROBE:
            return [rotation.login]
        case Effect.VERIFY:
            return [rotation.login, rotation.login]
        case Effect.MONITOR | Effect.SOAK if rotation.plan.checks:
            return [rotation.login]
        case Effect.RETIRE:
            # The current version was verified; once a try has failed, it may be what the target refuses.
            return [before, rotation.login] if rotation.failures else [before]
        case Effect.RECALL if rotation.plan.overlap:
            return [before]
        case Effect.RESTORE if rotation.plan.overlap and (rotation.promotable or not rotation.plan.settable):
            return [before]
        case Effect.VERIFY_ROLLBACK:
            beside = [rotation.login] if rotation.plan.strategy in (Strategy.DUAL, Strategy.ISSUE) else []
            return [before, *beside] if rotation.attempted and not rotation.captured else []
        case _:
            return []


def until_free(tries: Sequence[LoginUse], login: str, budget: LoginBudget, cost: int, now: Moment) -> Microseconds:
    """Return how long it is until `cost` more refusals of `login` stay within the budget; 0 for at once."""
    window = Microseconds(budget.window + 1)
    lefts = sorted(use.counts_until(window).left(now) for use in tries if use.login == login)
    surplus = len(lefts) + cost - budget.tries
    return lefts[surplus - 1] if surplus > 0 else Microseconds(0)
