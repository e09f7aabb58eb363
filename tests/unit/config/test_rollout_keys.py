"""Every key of a gradual rollout reaches who acts by it: which test shows that stands here, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.config.planning import rollout_of
from adapters.config.rollout_keys import Canary, DiscoveryKeys, DistributionKeys, Rollout
from adapters.discovery.explicit import ExplicitOptions
from engine.rollout import OnTrouble, RolloutPolicy, Stage
from engine.values import SECOND, Microseconds
from tests.architecture.source import ROOT
from tests.unit.config.reading import reads, service
from tests.unit.config.test_planning import leaves

MINUTE = Microseconds(60 * SECOND)
USUAL = Microseconds(5 * MINUTE)
INSTANCES = "discovery: {type: memory}"
HANDED = "distribution: {type: memory}"


def stages(*steps: tuple[int, int, int]) -> tuple[Stage, ...]:
    """Return stages of per cent, minutes of soak and minutes of wait."""
    return tuple(Stage(percentage, Microseconds(s * MINUTE), Microseconds(w * MINUTE)) for percentage, s, w in steps)


KEYS: list[tuple[str, str, str, Any]] = [
    ("canary", "canary: false", "canary", False),
    ("canary.instance_selector", "canary: {instance_selector: role=first}", "selector", "role=first"),
    ("canary.health_monitoring_period", "canary: {health_monitoring_period: 7m}", "canary_soak", 7 * MINUTE),
    ("canary.failure_threshold", "canary: {failure_threshold: 7}", "failure_threshold", 7),
    (
        "canary.rollout_waves.percentage",
        "canary: {rollout_waves: [{percentage: 7}, {percentage: 100}]}",
        "stages",
        stages((7, 5, 0), (100, 5, 0)),
    ),
    (
        "canary.rollout_waves.health_monitoring",
        "canary: {rollout_waves: [{percentage: 100, health_monitoring: 7m}]}",
        "stages",
        stages((100, 7, 0)),
    ),
    (
        "canary.rollout_waves.wait",
        "canary: {rollout_waves: [{percentage: 100, wait: 7m}]}",
        "stages",
        stages((100, 5, 7)),
    ),
    (
        "rollout.waves.percentage",
        "rollout: {waves: [{percentage: 7}, {percentage: 100}]}",
        "stages",
        stages((7, 5, 0), (100, 5, 0)),
    ),
    (
        "rollout.waves.health_monitoring",
        "rollout: {waves: [{percentage: 100, health_monitoring: 0s}]}",
        "stages",
        stages((100, 0, 0)),
    ),
    ("rollout.waves.wait", "rollout: {waves: [{percentage: 100, wait: 7m}]}", "stages", stages((100, 5, 7))),
    ("rollout.pause_on_failure", "rollout: {pause_on_failure: true}", "on_failure", OnTrouble.PAUSE),
    ("rollout.failure_threshold", "rollout: {failure_threshold: 7}", "failure_threshold", 7),
    ("rollout.interval", "rollout: {interval: 7s}", "interval", 7 * SECOND),
    ("rollout.inconclusive_threshold", "rollout: {inconclusive_threshold: 7}", "inconclusive_threshold", 7),
    ("rollout.on_inconclusive", "rollout: {on_inconclusive: abort}", "on_inconclusive", OnTrouble.ABORT),
    ("rollout.require_approval", "rollout: {require_approval: true}", "approval", True),
    ("rollout.max_unverified", "rollout: {max_unverified: 7}", "max_unverified", 7),
    ("rollout.max_unverified_per_zone", "rollout: {max_unverified_per_zone: 7}", "max_unverified_zone", 7),
    ("rollout.progress_deadline", "rollout: {progress_deadline: 7m}", "progress_deadline", 7 * MINUTE),
    ("rollout.missed_looks", "rollout: {missed_looks: 7}", "missed_looks", 7),
]
"""Key, how it is written, the field of the policy, and what it says then."""

_BUILT = "tests/unit/config/test_instances.py"
_LISTED = "tests/unit/discovery/test_explicit.py"

ELSEWHERE = {
    "discovery.type": f"{_BUILT}::test_discovery_is_built_as_it_is_configured",
    "discovery.timeout": f"{_BUILT}::test_discovery_is_built_as_it_is_configured",
    "distribution.type": f"{_BUILT}::test_distribution_is_built_as_it_is_configured",
    "distribution.timeout": f"{_BUILT}::test_distribution_is_built_as_it_is_configured",
    "distribution.parallelism": f"{_BUILT}::test_distribution_is_built_as_it_is_configured",
    **{
        f"discovery.explicit.{key}": f"{_LISTED}::test_each_is_listed_as_it_is_written"
        for key in leaves(ExplicitOptions)
    },
}
"""The keys that are no single field of the policy, and the test of each."""


def policy(rotation: str = "", *, strategy: str = "dual") -> RolloutPolicy:
    """Return how the instances of a service are given a version."""
    text = service(strategy=strategy, rotation=", ".join(filter(None, [INSTANCES, HANDED, rotation])))
    found = rollout_of(reads(text).services["app"])
    assert found is not None
    return found


@pytest.mark.parametrize(("key", "rotation", "field", "value"), KEYS, ids=[row[0] for row in KEYS])
def test_a_key_is_in_the_policy(key: str, rotation: str, field: str, value: object) -> None:
    """It changes what it is about, and what it is about was something else before."""
    assert getattr(policy(), field) != value
    assert getattr(policy(rotation), field) == value


def test_no_key_is_without_its_test() -> None:
    sections: dict[str, type[msgspec.Struct]] = {
        "canary": Canary,
        "rollout": Rollout,
        "discovery": DiscoveryKeys,
        "distribution": DistributionKeys,
    }
    every = {f"{name}.{key}" for name, section in sections.items() for key in leaves(section)}
    every |= {f"discovery.explicit.{key}" for key in leaves(ExplicitOptions)} | {"canary"}
    assert {row[0] for row in KEYS} | set(ELSEWHERE) == every


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_the_tests_of_keys_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert name in [
        each.name for each in ast.parse(Path(ROOT, file).read_text()).body if isinstance(each, ast.FunctionDef)
    ]


def test_without_a_key_the_policy_has_the_documented_default() -> None:
    assert policy() == RolloutPolicy(
        stages=stages((5, 5, 0), (25, 5, 0), (50, 5, 0), (100, 5, 0)),
        canary=True,
        canary_soak=USUAL,
        failure_threshold=2,
        inconclusive_threshold=10,
        on_failure=OnTrouble.ABORT,
        on_inconclusive=OnTrouble.PAUSE,
        interval=Microseconds(30 * SECOND),
        parallelism=10,
        instance_timeout=Microseconds(30 * SECOND),
        progress_deadline=Microseconds(10 * MINUTE),
        missed_looks=3,
    )
    assert policy("canary: true") == policy()


def test_without_instances_there_is_no_policy() -> None:
    assert rollout_of(reads(service()).services["app"]) is None


def test_what_a_wave_says_nothing_of_is_as_for_the_canary_and_the_health_checks() -> None:
    made = policy(
        "canary: {health_monitoring_period: 7m}, health_checks: {interval: 8s, inconclusive_threshold: 9},"
        " rollout: {waves: [{percentage: 50}, {percentage: 100, health_monitoring: 1m}]}"
    )
    assert made.stages == stages((50, 7, 0), (100, 1, 0))
    assert (made.interval, made.inconclusive_threshold) == (8 * SECOND, 9)


def test_of_canary_and_rollout_the_second_goes_first() -> None:
    made = policy(
        "canary: {failure_threshold: 3, rollout_waves: [{percentage: 10}, {percentage: 100}]},"
        " rollout: {failure_threshold: 4, waves: [{percentage: 20}, {percentage: 100}]}"
    )
    assert ([stage.percentage for stage in made.stages], made.failure_threshold, made.canary) == ([20, 100], 4, True)


@pytest.mark.parametrize(
    ("strategy", "rotation", "has_canary"),
    [
        ("canary", "", True),
        ("percentage_rollout", "", False),
        ("percentage_rollout", "canary: {}", True),
        ("dual", "rollout: {waves: [{percentage: 100}]}", True),
    ],
)
def test_the_names_of_dsops_mean_waves(strategy: str, rotation: str, *, has_canary: bool) -> None:
    assert policy(rotation, strategy=strategy).canary is has_canary
