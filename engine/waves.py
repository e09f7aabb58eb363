"""Distributing: the waves are decided once, and the instances of one after the other get the candidate.

Rule 1: the plan is recorded before anybody is told anything, and is never changed.
Rule 2: a wave begins when its window is open, its time has come and a person let it begin; one that has begun goes on.
"""

from __future__ import annotations

from engine import events as e
from engine.events import Cause
from engine.fleet import is_stalled, next_look
from engine.forward import jitter
from engine.handing import Handover, Trouble, list_instances, look_around, named, seed
from engine.instances import Instance
from engine.performance import Performance
from engine.plan import Kind
from engine.policies import postponed, stop
from engine.process import Effect
from engine.rollout import plan_waves
from engine.rollout_events import PauseKind
from engine.values import SECOND, Microseconds, deadline_after


def distribute(performance: Performance) -> None:
    """Have the instances of the wave at hand use the candidate, as far as it can be done now."""
    rotation = performance.rotation
    if rotation.plan.rollout is None:
        performance.record(e.RolloutCompleted(rotation.waves))
        return
    if has_stalled(performance, Effect.DISTRIBUTE):
        return
    listed = look_around(performance) if performance.fleet.is_planned else _decide(performance)
    fleet, wave = performance.fleet, performance.rotation.waves
    if not any(fleet.present(each) for each in range(fleet.size)) and fleet.accepted < wave and not fleet.full:
        _rest_unseen(performance)
        return
    earlier = fleet.outstanding(wave - 1)  # who came to a wave that has passed, and gets the candidate now
    if not earlier and wave < fleet.size and not fleet.has_begun(wave) and _holds(performance, wave):
        return
    wanted = earlier or fleet.outstanding(wave)
    trouble = hand_out(performance, Effect.DISTRIBUTE, [each for each in wanted if each not in fleet.missed], listed)
    if trouble is not None:
        give_up_or_wait(performance, trouble)
        return
    fleet = performance.fleet
    left = fleet.outstanding(wave - 1) if earlier else fleet.outstanding(wave)
    if left:
        wait_for_lost(performance, left)
    elif not earlier:
        performance.record(e.WaveDistributed(wave) if wave < fleet.size else e.RolloutCompleted(fleet.size))


def _decide(performance: Performance) -> dict[str, Instance]:
    """List the instances, and record the waves."""
    listed = list_instances(performance)
    found = tuple(listed[each] for each in sorted(listed))
    waves = plan_waves(found, performance.policy, seed(performance.rotation))
    performance.record(e.RolloutPlanned(waves, found))
    return listed


def _rest_unseen(performance: Performance) -> None:
    """Rest where nobody is listed: an empty list is what a wrong selector shows as well."""
    hint = f"See who is listed: keyturn discover {performance.rotation.service}."
    cause = Cause(Effect.DISTRIBUTE.value, "no_instances", "discovery lists no instance", hint)
    performance.record(e.RolloutPaused(kind=PauseKind.INCONCLUSIVE, cause=cause))


def _holds(performance: Performance, wave: int) -> bool:
    """Tell whether a wave may not begin yet, and record why."""
    fleet, policy = performance.fleet, performance.policy
    if fleet.full or not fleet.present(wave):
        return False
    if policy.approval and wave > 0 and fleet.let < wave:
        performance.record(e.RolloutPaused(kind=PauseKind.APPROVAL))
        return True
    if fleet.hurried >= wave or performance.rotation.kind is Kind.ROLLBACK:
        return False
    now = performance.world.clock.now()
    opens = performance.opens(now.wall)
    if opens > now.wall:
        performance.record(e.WaveHeld(wave, deadline_after(now, Microseconds(opens - now.wall)), "the window opens"))
        return True
    return False


def hand_out(
    performance: Performance, effect: Effect, wanted: list[str], listed: dict[str, Instance]
) -> Trouble | None:
    """Have instances use the candidate, as far as it can be done now; return what went wrong."""
    if not wanted and not performance.fleet.flight:
        return None
    rotation = performance.rotation
    handover = Handover(
        performance,
        effect,
        version=rotation.candidate,
        value=performance.candidate(),
        tries_max=rotation.plan.effect_attempts,
        listed=listed,
    )
    return handover.bring(wanted)


def give_up_or_wait(performance: Performance, trouble: Trouble) -> None:
    """Record what follows when instances do not use the candidate: another try, or what the policy says."""
    if trouble.is_final:
        policy = performance.policy
        performance.record(*stop(performance.rotation, trouble.cause, policy.on_failure, PauseKind.FAILURE))
    else:
        try_later(performance, trouble.cause)


def try_later(performance: Performance, cause: Cause) -> None:
    """Record that the effect is tried again after a while."""
    now = performance.world.clock.now()
    performance.record(postponed(performance.rotation, cause, now=now, jitter=jitter(performance)))


def wait_for_lost(performance: Performance, outstanding: list[str]) -> None:
    """Where only instances are left that are not listed any more, have their list looked at again later."""
    fleet, now = performance.fleet, performance.world.clock.now()
    if not outstanding or fleet.due.left(now):
        return
    some = tuple(outstanding[: performance.policy.parallelism])
    if all(each in fleet.missed for each in outstanding) and fleet.relook.left(now):
        performance.record(e.InstancesUnproved(some, fleet.relook, "discovery does not list them"))
    else:
        due = next_look(now, fleet.looks, performance.policy.interval)
        performance.record(e.InstancesUnproved(some, due, "nobody else may be told now"))


def has_stalled(performance: Performance, effect: Effect) -> bool:
    """Tell whether nothing moved on for as long as the policy allows, and have it rest then."""
    rotation, fleet, policy = performance.rotation, performance.fleet, performance.policy
    if not is_stalled(fleet, policy, rotation.entered_at, performance.world.clock.now()):
        return False
    left = fleet.outstanding(rotation.waves)
    waits = f": {named(left)} did not prove to use {rotation.candidate}" if left else ""
    last = f" ({rotation.cause.message})" if rotation.cause and rotation.failures else ""
    message = f"nothing moved on for {policy.progress_deadline // SECOND} s{waits}{last}"
    performance.record(e.RolloutPaused(kind=PauseKind.STALLED, cause=Cause(effect.value, "stalled", message)))
    return True
