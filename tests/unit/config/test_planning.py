"""Every key that steers a rotation reaches its plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from adapters.config import describe
from adapters.config.convert import structure
from adapters.config.planning import plan_for
from adapters.config.schema import Rotation
from engine.errors import StrategyImpossible
from engine.plan import LoginBudget, Plan, RetryClass, Strategy
from engine.ports import TargetCapabilities
from engine.values import SECOND, Microseconds
from tests.unit.config.reading import reads, service

MANY = TargetCapabilities(values_max=None, issues_value=True)
HOUR = 3600 * SECOND

KEYS: list[tuple[str, str, str, Any]] = [
    ("grace_period", "grace_period: 2h", "grace", 2 * HOUR),
    ("password.length", "password: {length: 40}", "password_length", 40),
    ("password.alphabet", "password: {length: 40, alphabet: hex}", "password_alphabet", "0123456789abcdef"),
    (
        "password.alphabet.characters",
        "password: {length: 50, alphabet: {characters: abcdefg}}",
        "password_alphabet",
        "abcdefg",
    ),
    ("password.allow_weak_reason", "password: {length: 8, allow_weak_reason: old}", "password_length", 8),
    ("verification.timeout", "verification: {timeout: 7s}", "verification_timeout", 7 * SECOND),
    ("verification.attempts", "verification: {attempts: 7}", "verification_attempts", 7),
    ("rollback.automatic", "rollback: {automatic: false}", "rollback_automatic", False),
    (
        "rollback.on_verification_failure",
        "rollback: {on_verification_failure: false}",
        "rollback_on_verification_failure",
        False,
    ),
    ("rollback.timeout", "rollback: {timeout: 7s}", "rollback_timeout", 7 * SECOND),
    ("rollback.max_retries", "rollback: {max_retries: 7}", "rollback_retries", 7),
    ("retry.attempts", "retry: {attempts: 7}", "effect_attempts", 7),
    ("retry.first", "retry: {first: 7s}", "retry_first", 7 * SECOND),
    ("retry.longest", "retry: {longest: 7s}", "retry_longest", 7 * SECOND),
    (
        "rollback.on_health_check_failure",
        "rollback: {on_health_check_failure: false}",
        "rollback_on_health_failure",
        False,
    ),
    (
        "health_checks.monitoring_period",
        "health_checks: {monitoring_period: 7m}",
        "monitoring_period",
        420 * SECOND,
    ),
    ("health_checks.interval", "health_checks: {interval: 7s}", "monitoring_interval", 7 * SECOND),
    ("health_checks.failure_threshold", "health_checks: {failure_threshold: 7}", "monitoring_failures", 7),
    ("health_checks.inconclusive_threshold", "health_checks: {inconclusive_threshold: 7}", "monitoring_unknowns", 7),
    (
        "health_checks.checks",
        "health_checks: {checks: [{type: connection, name: a}, {type: connection, name: b}]}",
        "checks",
        ("a", "b"),
    ),
    (
        "health_checks.custom_scripts",
        "health_checks: {custom_scripts: [{name: cache, script: ./check-cache.sh}]}",
        "checks",
        ("cache",),
    ),
    ("keep_versions", "keep_versions: 7", "versions_kept", 7),
    ("attempt_window", "attempt_window: 7s", "attempt_window", 7 * SECOND),
]

WAVES = "tests/unit/config/test_rollout_keys.py"

WINDOW = ("times", "weekdays", "days_of_month", "months", "location")

ELSEWHERE = {
    "strategy": "test_the_strategy_decides_whether_both_versions_are_valid",
    "usernames": "test_build.py: the target is told",
    "ttl": "test_the_interval_is_kept_for_who_asks_what_is_due",
    "notifications": "test_channels.py",
    "discovery": WAVES,
    "distribution": WAVES,
    "health_checks.enabled": "test_checks_that_are_off_are_not_planned",
    "schedule": "tests/unit/adapters/test_schedule.py",
    "timezone": "tests/unit/adapters/test_schedule.py",
    **{
        f"windows.{kind}.{key}": "tests/unit/adapters/test_schedule.py"
        for kind in ("allowed", "blocked")
        for key in WINDOW
    },
}
"""The keys of `rotation` that are no single field of the plan, and where they are tested."""


def planned(text: str, capabilities: TargetCapabilities = MANY) -> Plan:
    """Return the plan of the service of a configuration."""
    return plan_for(reads(text).services["app"], capabilities)


@pytest.mark.parametrize(("key", "rotation", "field", "value"), KEYS, ids=[row[0] for row in KEYS])
def test_a_key_of_rotation_is_in_the_plan(key: str, rotation: str, field: str, value: object) -> None:
    """It changes what it is about, and what it is about was something else before."""
    assert getattr(planned(service()), field) != value
    assert getattr(planned(service(rotation=rotation)), field) == value


def leaves(cls: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Yield every key of a section that has no keys below it, and those that may have."""
    for field in structure(cls).fields:
        inner = list(describe.nested(field.type))
        if field.encode_name == "alphabet" or not inner:
            yield prefix + field.encode_name
        for each in inner:
            yield from leaves(each, f"{prefix}{field.encode_name}.")


def test_checks_that_are_off_are_not_planned() -> None:
    checks = "checks: [{type: connection}]"
    assert planned(service(rotation=f"health_checks: {{{checks}}}")).checks == ("connection",)
    assert planned(service(rotation=f"health_checks: {{enabled: false, {checks}}}")).checks == ()


def test_no_key_of_rotation_is_without_its_test() -> None:
    """A key that is added to the schema fails here until somebody shows that it is honoured.

    Those of waves have their table in test_rollout_keys.py.
    """
    every = {key for key in leaves(Rotation) if not key.startswith(("canary.", "rollout."))}
    assert every == {row[0] for row in KEYS} | set(ELSEWHERE)


def test_without_a_key_the_plan_has_the_documented_default() -> None:
    plan = planned(service())
    assert plan == Plan(
        strategy=Strategy.DUAL,
        overlap=True,
        store="held",
        path="default/app",
        issues_value=True,
        grace=Microseconds(24 * HOUR),
        attempt_window=Microseconds(5 * SECOND),
        effect_attempts=5,
        verification_timeout=Microseconds(30 * SECOND),
        verification_attempts=3,
        retry_first=SECOND,
        retry_longest=Microseconds(60 * SECOND),
        rollback_automatic=True,
        rollback_on_verification_failure=True,
        rollback_timeout=Microseconds(30 * SECOND),
        rollback_retries=2,
        password_length=32,
        password_alphabet=plan.password_alphabet,
        versions_kept=10,
    )
    assert len(plan.password_alphabet) == 64


@pytest.mark.parametrize(
    ("strategy", "rotation", "overlap", "grace"),
    [
        ("single", "", False, 0),
        ("script", "", False, 0),
        ("dual", "", True, 24 * HOUR),
        ("issue", "", True, 24 * HOUR),
        ("alternating", "usernames: [a, b]", True, 24 * HOUR),
        ("dual", "grace_period: 0s", True, 0),
    ],
)
def test_the_strategy_decides_whether_both_versions_are_valid(
    strategy: str, rotation: str, *, overlap: bool, grace: int
) -> None:
    plan = planned(service(strategy=strategy, rotation=rotation))
    assert (plan.strategy, plan.overlap, plan.grace) == (Strategy(strategy), overlap, grace)


def test_the_plan_names_where_the_credential_is_held_and_published() -> None:
    plan = planned(service(keys="publish: [{store: plain, key: APP}, {store: other, key: x/y}]"))
    assert (plan.store, plan.path, plan.places) == ("held", "default/app", ("plain:APP", "other:x/y"))


def test_the_plan_keeps_what_the_target_can_do() -> None:
    budget = LoginBudget(2, Microseconds(5))
    able = TargetCapabilities(
        2, settable=False, retry=RetryClass.NEVER_REPEAT, login_budget=budget, propagation=Microseconds(7)
    )
    plan = planned(service(), able)
    assert plan.propagation == 7
    assert (plan.issues_value, plan.settable, plan.retry, plan.login_budget) == (False, False, able.retry, budget)


@pytest.mark.parametrize(
    ("strategy", "able"), [("dual", TargetCapabilities(values_max=1)), ("issue", TargetCapabilities(values_max=2))]
)
def test_what_the_target_cannot_do_is_refused(strategy: str, able: TargetCapabilities) -> None:
    with pytest.raises(StrategyImpossible) as raised:
        planned(service(strategy=strategy), able)
    assert strategy not in raised.value.advice
    assert "single" in raised.value.advice


def test_the_interval_is_kept_for_who_asks_what_is_due() -> None:
    ttl = reads(service(rotation="ttl: 30d")).services["app"].rotation.ttl
    assert ttl is not None
    assert ttl.microseconds == 30 * 24 * HOUR
    assert reads(service()).services["app"].rotation.ttl is None


def test_the_interval_is_also_how_long_the_old_version_is_needed_at_most() -> None:
    """By then the next rotation is due."""
    assert planned(service(rotation="ttl: 30d")).lifetime == 30 * 24 * HOUR
    assert planned(service()).lifetime == 0
