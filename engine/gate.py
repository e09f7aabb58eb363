"""The gates before a version is made unusable: nobody uses it any more, as far as anybody can see.

Rule: who cannot be asked uses it; the gate waits, and going back stays free.
"""

from __future__ import annotations

from engine import events as e
from engine.errors import StillInUse
from engine.events import Cause
from engine.handing import Handover, look_around, named
from engine.instances import Usage, Witness
from engine.performance import Performance
from engine.process import Effect, must_recall
from engine.values import CredentialValue

_WARNINGS = (95, 80, 50)
"""Per cent of the time until the old version should be gone, at which people are told that it is still used."""


def is_unused(performance: Performance, effect: Effect) -> bool:
    """Tell whether every instance proved just now that it uses the candidate, and the target saw no other session.

    Whoever lacks the candidate is handed it. False where one was, and is to be looked at again; raises `StillInUse`,
    naming what uses the old version, and what `look_around` raises.
    """
    if performance.rotation.plan.rollout is None:
        return True
    try:
        return _is_unused(performance, effect)
    except StillInUse as error:
        _warn(performance, effect, error)
        raise


def _is_unused(performance: Performance, effect: Effect) -> bool:
    rotation = performance.rotation
    listed = look_around(performance)
    fleet = performance.fleet
    everybody = [each for number in range(fleet.size) for each in fleet.present(number)]
    if not everybody and effect is Effect.END_GRACE and not rotation.early and fleet.accepted < 0 and not fleet.full:
        raise _used(performance, "discovery lists no instance, which a wrong selector shows as well", ways="retire")
    handover = Handover(
        performance,
        effect,
        version=rotation.candidate,
        value=performance.candidate(),
        tries_max=rotation.plan.effect_attempts,
        listed=listed,
    )
    seen = handover.look([each for each in everybody if each in fleet.moved and each not in fleet.missed])
    if lapsed := tuple(each for each, proof in seen.items() if proof.usage is not Usage.USED):
        performance.record(e.InstancesLapsed(lapsed, next((seen[each].detail for each in lapsed), "")))
    wanted = [each for each in everybody if each not in performance.fleet.moved and each not in fleet.missed]
    trouble = handover.bring(wanted)
    fleet = performance.fleet
    if trouble is not None:
        raise _used(performance, trouble.cause.message)
    if fleet.flight:
        return False
    lost = [each for each in everybody if each in fleet.missed or each not in fleet.moved]
    if lost:
        raise _used(performance, f"{named(lost)} cannot be asked: discovery does not list them any more")
    _see_no_sessions(performance)
    return True


def is_back(performance: Performance, previous: CredentialValue) -> bool:
    """Tell whether everybody who may have the candidate proves to use the previous version, now that it is current.

    Whoever started between being called back and that has what was current then. Looked for anew where the candidate
    was current; raises what `look_around` raises, since the candidate is still valid, and nobody is in a hurry.
    """
    rotation = performance.rotation
    if rotation.fleet is None or not rotation.promotable or not must_recall(rotation, anew=True):
        return True
    listed = look_around(performance)
    handover = Handover(
        performance, Effect.RESTORE, version=rotation.previous or "", value=previous, tries_max=1, listed=listed
    )
    fleet = performance.fleet
    seen = handover.look([each for each in fleet.returned if each not in fleet.gone and each not in fleet.missed])
    if lapsed := tuple(sorted(each for each, proof in seen.items() if proof.usage is not Usage.USED)):
        performance.record(e.InstancesLapsed(lapsed, next((seen[each].detail for each in lapsed), "")))
    return not must_recall(performance.rotation)


def _see_no_sessions(performance: Performance) -> None:
    """See that the target has no session that was opened with the old version, where it can tell."""
    old = performance.read(performance.rotation.previous)
    target = performance.target
    if old is None or not isinstance(target, Witness):
        return
    count = target.sessions(old)
    if count:
        sessions = "a session is" if count == 1 else f"{count} sessions are"
        raise _used(performance, f"{sessions} open at the target as {old.username}")


def _used(performance: Performance, why: str, *, ways: str = "") -> StillInUse:
    rotation = performance.rotation
    advice = f"keyturn show {rotation.id} names who was seen; keyturn abort {rotation.id} goes back."
    if ways:
        advice = f"Where nobody is left, keyturn {ways} {rotation.id} says so; keyturn abort {rotation.id} goes back."
    return StillInUse(what=f"seeing that nobody uses {rotation.previous}", why=why, advice=advice)


def _warn(performance: Performance, effect: Effect, error: StillInUse) -> None:
    """Take down that much of the time of the old version is over, once for each threshold."""
    rotation = performance.rotation
    lifetime = rotation.plan.lifetime
    if not lifetime:
        return
    over = 100 * (performance.world.clock.now().wall - rotation.started_at) // lifetime
    percent = next((each for each in _WARNINGS if over >= each), 0)
    if percent > performance.fleet.warned and effect is Effect.END_GRACE:
        cause = Cause(effect.value, error.kind, error.message, error.advice)
        performance.record(e.OverlapWarned(percent, type(rotation.started_at)(rotation.started_at + lifetime), cause))


def end_grace(performance: Performance) -> None:
    """Take down that the grace period is over, once nobody uses the old version any more."""
    if is_unused(performance, Effect.END_GRACE):
        performance.record(e.GraceEnded(early=performance.rotation.early))
