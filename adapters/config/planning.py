"""From the `rotation` of a service to the plan that a rotation is frozen with.

Rule: every key of `rotation` that steers a rotation is mapped here, and nowhere else. (`ttl` decides when one is
due, and `usernames` go to the target: they are no part of a plan.)
"""

from __future__ import annotations

from typing import Final

from adapters.config.checks import OVERLAPPING
from adapters.config.model import Service
from adapters.config.schema import HealthChecks
from adapters.registry import target_adapter
from engine.adapter import Duration
from engine.errors import StrategyImpossible
from engine.plan import Plan, Strategy
from engine.ports import TargetCapabilities
from engine.values import SECOND, Microseconds

GRACE: Final = Duration(24 * 3600 * SECOND)
"""The grace period of a strategy that overlaps, when the configuration gives none."""


def grace_of(service: Service) -> Microseconds:
    """Return how long both versions stay valid; 0 where only one can be."""
    if service.strategy not in OVERLAPPING:
        return Microseconds(0)
    given = service.rotation.grace_period
    return (GRACE if given is None else given).microseconds


def plan_for(service: Service, capabilities: TargetCapabilities) -> Plan:
    """Return the plan; raises `StrategyImpossible` where the target, as configured, cannot do the strategy."""
    _refuse_impossible(service, capabilities)
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
