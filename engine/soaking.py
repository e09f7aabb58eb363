"""Soaking: the health checks look at a wave for a while, and all of it is seen to use the candidate still.

Rule 1: silence is not health: a wave whose checks saw nothing never passes by itself.
Rule 2: no wave passes before each of its instances proved once more that it uses the candidate.
"""

from __future__ import annotations

from enum import Enum, auto

from engine import events as e
from engine.attempts import Streak
from engine.events import Cause
from engine.handing import Handover, look_around
from engine.health import CheckResult
from engine.instances import Usage
from engine.monitoring import round_of_checks, subject_of
from engine.performance import Performance
from engine.policies import stop
from engine.process import Effect
from engine.rollout import OnTrouble
from engine.rollout_events import PauseKind
from engine.values import Microseconds, deadline_after
from engine.waves import give_up_or_wait, hand_out, has_stalled, wait_for_lost


class Verdict(Enum):
    """What the checks say of a wave."""

    PASSED = auto()
    """They were well for the whole soak, and at its end."""
    OPEN = auto()
    """They are to look again."""
    STOPPED = auto()
    """They failed, or showed nothing, too often; what follows is recorded."""


def soak(performance: Performance) -> None:
    """Look once with every check; pass the wave, stop, or look again later."""
    fleet, wave = performance.fleet, performance.rotation.waves
    is_let, is_empty = fleet.full or fleet.passed >= wave, not fleet.present(wave)
    if has_stalled(performance, Effect.SOAK):
        return
    verdict = Verdict.PASSED if is_let or is_empty else _watched(performance, wave)
    if verdict is Verdict.STOPPED or (verdict is Verdict.OPEN and not performance.fleet.flight):
        return
    listed = look_around(performance)
    fleet = performance.fleet
    if is_empty and not is_let and fleet.present(wave):
        verdict = Verdict.OPEN  # somebody came back to a wave that nobody was left in: now there is what to watch
    members = [each for each in fleet.present(wave) if each not in fleet.missed]
    trouble = hand_out(performance, Effect.SOAK, _lapsed(performance, members), listed)
    if trouble is not None:
        give_up_or_wait(performance, trouble)
        return
    fleet = performance.fleet
    left = [each for each in fleet.present(wave) if each not in fleet.moved or each in fleet.missed]
    if left:
        wait_for_lost(performance, left)
    if left or verdict is Verdict.OPEN:
        return
    wait = fleet.wave(wave).wait
    until = deadline_after(performance.world.clock.now(), wait) if wait and not fleet.full else None
    performance.record(e.WavePassed(wave, until))


def _lapsed(performance: Performance, members: list[str]) -> list[str]:
    """Return who of a wave does not prove any more that it uses the candidate, or was told again."""
    rotation = performance.rotation
    if not members:
        return []
    handover = Handover(
        performance, Effect.SOAK, version=rotation.candidate, value=performance.candidate(), tries_max=1
    )
    proved = [each for each in members if each in performance.fleet.moved]
    seen = handover.look(proved)
    lapsed = tuple(each for each in proved if seen[each].usage is not Usage.USED)
    if lapsed:
        performance.record(e.InstancesLapsed(lapsed, next((seen[each].detail for each in lapsed), "")))
    return [each for each in members if each not in performance.fleet.moved]


def _watched(performance: Performance, wave: int) -> Verdict:
    """Return what the checks say of a wave by now; they look once more where that is due."""
    rotation, policy = performance.rotation, performance.policy
    length = performance.fleet.wave(wave).soak
    now = performance.world.clock.now()
    if not length:
        return Verdict.PASSED
    begun = performance.fleet.soak
    until = begun or deadline_after(now, length)
    started = [] if begun else [e.SoakStarted(wave, until)]
    names = [check.name for check in performance.checks]
    if not names:
        if started:
            performance.record(*started)
        return Verdict.OPEN if until.remaining(now) else Verdict.PASSED
    if not rotation.sampled.left(now):
        left = until.remaining(now)
        due = deadline_after(now, Microseconds(min(policy.interval, left)) if left else policy.interval)
        round_of_checks(performance, subject_of(performance, *_sides(performance, wave)), due, first=started)
    health = [each for each in performance.rotation.health if each.check in names]
    is_over = not until.remaining(performance.world.clock.now())
    failed = next((each for each in health if each.failures >= policy.failure_threshold), None)
    if failed is not None:
        _stop(performance, failed, policy.on_failure, PauseKind.FAILURE)
        return Verdict.STOPPED
    is_accepted = performance.fleet.accepted >= wave
    blind = next((each for each in health if _sees_nothing(each, policy.inconclusive_threshold, is_over=is_over)), None)
    if blind is not None and not is_accepted:
        _stop(performance, blind, policy.on_inconclusive, PauseKind.INCONCLUSIVE)
        return Verdict.STOPPED
    good = {CheckResult.PASS, CheckResult.WARN, *([CheckResult.UNKNOWN] if is_accepted else [])}
    is_well = {each.check for each in health if each.result in good} >= set(names)
    return Verdict.PASSED if is_over and is_well else Verdict.OPEN


def _sees_nothing(streak: Streak, threshold: int, *, is_over: bool) -> bool:
    """Tell whether a check saw nothing for too long, or for the whole soak."""
    return streak.unknowns >= threshold or (is_over and 0 < streak.looks == streak.unknowns)


def _sides(performance: Performance, wave: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the instances of the wave, and the rest of the fleet that does not have the candidate."""
    fleet = performance.fleet
    new = {each for each in fleet.moved if each not in fleet.gone}
    others = (each for each in fleet.places if each not in new and each not in fleet.gone)
    return tuple(fleet.present(wave)), tuple(others)


def _stop(performance: Performance, streak: Streak, on: OnTrouble, kind: PauseKind) -> None:
    """Record what follows when a check failed, or showed nothing, too often."""
    rotation = performance.rotation
    count = streak.failures if kind is PauseKind.FAILURE else streak.unknowns
    did = "failed" if kind is PauseKind.FAILURE else "saw nothing"
    times = f"{count} time{'' if count == 1 else 's'} in a row"
    message = f"the health check {streak.check} {did} {times}: {streak.text or 'it gave no reason'}"
    name = "unhealthy" if kind is PauseKind.FAILURE else "inconclusive"
    cause = Cause(Effect.SOAK.value, name, message, f"keyturn health {rotation.service} looks again.")
    performance.record(*stop(rotation, cause, on, kind))
