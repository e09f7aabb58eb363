"""Monitoring: the health checks after promotion, a round at a time, and what follows from them.

Rule 1: what was seen is recorded before anything follows from it; the time of the next round stands in the log.
Rule 2: silence is not health: a check that saw nothing passes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine import events as e
from engine.attempts import Streak
from engine.credential_events import Cause
from engine.health import CheckResult, Sample, Subject
from engine.performance import Performance
from engine.policies import give_up, has_passed, is_breached
from engine.process import Effect
from engine.rotation import Rotation
from engine.values import Deadline, Microseconds, deadline_after


def monitor(performance: Performance) -> None:
    """Look once with every check; go back, go on, or look again later.

    Without checks it is passed at once, and the grace period begins; none where nobody had a value.
    """
    if not any(True for _ in performance.checks):
        performance.record(_passed(performance))
        return
    rotation = performance.rotation
    now = performance.world.clock.now()
    begins = deadline_after(now, rotation.plan.monitoring_period)
    started = [e.MonitoringStarted(begins)] if rotation.monitoring is None else []
    due = deadline_after(now, rotation.plan.monitoring_interval)
    samples = round_of_checks(performance, subject_of(performance), due, first=started)
    breach = is_breached(performance.rotation)
    if breach is not None:
        performance.record(*_given_up(performance.rotation, breach))
    elif has_passed(performance.rotation, checks=samples, now=performance.world.clock.now()):
        performance.record(_passed(performance))


def round_of_checks(
    performance: Performance, subject: Subject, due: Deadline, *, first: Sequence[e.RotationEvent]
) -> dict[str, Sample]:
    """Look once with every check, and record what each saw, behind `first`; `due` is when the next round is."""
    samples = {check.name: check.look(subject) for check in performance.checks}
    if any(sample.result is CheckResult.FAIL for sample in samples.values()):
        performance.spend_login(performance.rotation.login)  # a check that logs in may have been refused
    performance.record(*first, *(_sampled(name, sample, due) for name, sample in samples.items()))
    return samples


def subject_of(performance: Performance, instances: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> Subject:
    """Return what the checks look at: the versions, and the instances of a wave beside the others."""
    rotation = performance.rotation
    old = performance.read(rotation.previous) if rotation.plan.overlap and not rotation.captured else None
    return Subject(
        service=rotation.service,
        environment=rotation.environment,
        strategy=rotation.plan.strategy.value,
        rotation_id=str(rotation.id),
        new_version=rotation.candidate,
        old_version=rotation.previous or "",
        new=performance.candidate(),
        old=old,
        old_works=None if old is None else True,
        instances=instances,
        others=others,
    )


def _sampled(name: str, sample: Sample, due: Deadline) -> e.HealthSampled:
    return e.HealthSampled(
        name, sample.result, due, sample.value, sample.unit, Microseconds(sample.duration), sample.text
    )


def _given_up(rotation: Rotation, streak: Streak) -> list[e.RotationEvent]:
    """Decide what follows when a check failed too often: one line says which, how often, and what it saw."""
    times = f"{streak.failures} time{'' if streak.failures == 1 else 's'} in a row"
    message = f"the health check {streak.check} failed {times}: {streak.text or 'it gave no reason'}"
    hint = f"keyturn health {rotation.service} looks again."
    cause = Cause(Effect.MONITOR.value, "unhealthy", message, hint)
    return give_up(rotation, cause)


def _passed(performance: Performance) -> e.MonitoringPassed:
    now = performance.world.clock.now()
    grace = Microseconds(0) if performance.rotation.vacant else performance.rotation.plan.grace
    return e.MonitoringPassed(deadline_after(now, grace))
