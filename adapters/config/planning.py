"""From the `rotation` of a service to the plan that a rotation is frozen with.

Rule: every key of `rotation` that steers a rotation is mapped here, and nowhere else. (`ttl` decides when one is
due as well, and `usernames` go to the target: they are no part of a plan.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.config.checks import OVERLAPPING
from adapters.config.model import Service
from adapters.config.rollout_keys import PERCENTAGES, Canary, Rollout, Step
from adapters.config.schema import HealthChecks
from adapters.registry import target_adapter
from engine.adapter import Duration
from engine.errors import StrategyImpossible
from engine.plan import Plan, Strategy
from engine.ports import TargetCapabilities
from engine.rollout import OnTrouble, RolloutPolicy, Stage, refusal
from engine.values import SECOND, Microseconds

GRACE: Final = Duration(24 * 3600 * SECOND)
"""The grace period of a strategy that overlaps, when the configuration gives none."""


def grace_of(service: Service) -> Microseconds:
    """Return how long both versions stay valid; 0 where only one can be."""
    if service.strategy not in OVERLAPPING:
        return Microseconds(0)
    given = service.rotation.grace_period
    return (GRACE if given is None else given).microseconds


def rollout_of(service: Service) -> RolloutPolicy | None:
    """Return how the instances of a service are given a version; None where it has none."""
    rotation, handed = service.rotation, service.distribution
    if service.discovery is None or handed is None:
        return None
    given, rollout = rotation.canary, rotation.rollout or Rollout()
    canary = given if isinstance(given, Canary) else Canary()
    looks = rotation.health_checks or HealthChecks()
    steps = rollout.waves or canary.rollout_waves or [Step(percentage=each) for each in PERCENTAGES]
    return RolloutPolicy(
        stages=_stages(steps, canary),
        canary=rotation.strategy != "percentage_rollout" if given is None else given is not False,
        selector=canary.instance_selector or "",
        canary_soak=canary.health_monitoring_period.microseconds,
        failure_threshold=rollout.failure_threshold or canary.failure_threshold,
        inconclusive_threshold=rollout.inconclusive_threshold or looks.inconclusive_threshold,
        on_failure=OnTrouble.PAUSE if rollout.pause_on_failure else OnTrouble.ABORT,
        on_inconclusive=rollout.on_inconclusive,
        interval=(rollout.interval or looks.interval).microseconds,
        approval=rollout.require_approval,
        max_unverified=rollout.max_unverified,
        max_unverified_zone=rollout.max_unverified_per_zone,
        parallelism=handed.parallelism,
        instance_timeout=handed.timeout,
        progress_deadline=rollout.progress_deadline.microseconds,
        missed_looks=rollout.missed_looks,
    )


def _stages(steps: Sequence[Step], canary: Canary) -> tuple[Stage, ...]:
    usual = canary.health_monitoring_period
    return tuple(
        Stage(
            step.percentage,
            (usual if step.health_monitoring is None else step.health_monitoring).microseconds,
            step.wait.microseconds,
        )
        for step in steps
    )


def plan_for(service: Service, capabilities: TargetCapabilities) -> Plan:
    """Return the plan; raises `StrategyImpossible` where the target, as configured, cannot do the strategy.

    So it does where the strategy cannot hand a version out in waves; the field `key` is the key that asks for that.
    """
    _refuse_impossible(service, capabilities)
    _refuse_waves(service)
    rotation = service.rotation
    looks = rotation.health_checks or HealthChecks()
    return Plan(
        strategy=service.strategy,
        overlap=service.strategy in OVERLAPPING,
        store=service.credential.store,
        path=service.credential.key,
        places=tuple(place.name for place in service.publish),
        retry=capabilities.retry,
        issues_value=capabilities.issues_value,
        settable=capabilities.settable,
        login_budget=capabilities.login_budget,
        propagation=capabilities.propagation,
        grace=grace_of(service),
        attempt_window=rotation.attempt_window.microseconds,
        effect_attempts=rotation.retry.attempts,
        verification_timeout=rotation.verification.timeout.microseconds,
        verification_attempts=rotation.verification.attempts,
        retry_first=rotation.retry.first.microseconds,
        retry_longest=rotation.retry.longest.microseconds,
        rollback_automatic=rotation.rollback.automatic,
        rollback_on_verification_failure=rotation.rollback.on_verification_failure,
        rollback_timeout=rotation.rollback.timeout.microseconds,
        rollback_retries=rotation.rollback.max_retries,
        password_length=rotation.password.rule.length,
        password_alphabet=rotation.password.rule.characters,
        versions_kept=rotation.keep_versions,
        checks=tuple(check.name for check in service.checks),
        monitoring_period=looks.monitoring_period.microseconds,
        monitoring_interval=looks.interval.microseconds,
        monitoring_failures=looks.failure_threshold,
        monitoring_unknowns=looks.inconclusive_threshold,
        rollback_on_health_failure=rotation.rollback.on_health_check_failure,
        rollout=rollout_of(service),
        lifetime=Microseconds(0) if rotation.ttl is None else rotation.ttl.microseconds,
    )


def _refuse_impossible(service: Service, capabilities: TargetCapabilities) -> None:
    why = ""
    if service.strategy is Strategy.DUAL and capabilities.values_max == 1:
        why = "the target holds one value a login"
    if service.strategy is Strategy.ISSUE and not capabilities.issues_value:
        why = "the target does not make the value itself"
    if why:
        able = target_adapter(service.type).strategies - {service.strategy}
        possible = ", ".join(strategy for strategy in Strategy if strategy in able)
        raise StrategyImpossible(service=service.name, strategy=service.strategy.value, why=why, possible=possible)


def _refuse_waves(service: Service) -> None:
    if service.discovery is None:
        return
    able = [each for each in Strategy if each in OVERLAPPING & target_adapter(service.type).strategies]
    refused = refusal(overlap=service.strategy in OVERLAPPING, able=able)
    if refused is not None:
        asking = next((key for key in ("canary", "rollout") if getattr(service.rotation, key)), "discovery")
        raise StrategyImpossible(
            service=service.name,
            strategy=service.strategy.value,
            why=f"rotation.{asking} hands it out in waves, and {refused.why}",
            advice=refused.advice,
            key=f"rotation.{asking}",
        )
