"""The instances of a service: what fits together in the file, and what is built of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.config.build import Wiring
from adapters.config.json_schema import json_schema
from adapters.config.planning import plan_for, rollout_of
from adapters.config.show import effective
from adapters.registry import MissingDriver
from engine.errors import StrategyImpossible
from engine.ports import TargetCapabilities
from engine.values import SECOND
from tests.unit.config.reading import only, reads, service

WAYS = "discovery: {type: memory}, distribution: {type: memory}"
LIST = "[{percentage: 10}, {percentage: 100}]"


@pytest.mark.parametrize(
    ("rotation", "key", "words"),
    [
        ("canary: {}", "canary", "there are no instances that waves could be made of"),
        ("canary: false", "canary", "there are no instances"),
        ("rollout: {}", "rollout", "there are no instances that waves could be made of"),
        ("discovery: {type: memory}", "discovery", "nothing says how these instances are given a version"),
        ("distribution: {type: memory}", "distribution", "there are no instances to hand a version to"),
        (f"{WAYS}, canary: {{instance_selector: canary}}", "canary.instance_selector", "a label and its value"),
        (f"{WAYS}, canary: {{instance_selector: 'a='}}", "canary.instance_selector", "a label and its value"),
        (f"{WAYS}, canary: {{instance_selector: ''}}", "canary.instance_selector", "this is empty"),
        (
            f"{WAYS}, rollout: {{waves: [{{percentage: 50}}, {{percentage: 50}}, {{percentage: 100}}]}}",
            "rollout.waves[1].percentage",
            "must be more than the one before",
        ),
        (
            f"{WAYS}, canary: {{rollout_waves: [{{percentage: 50}}, {{percentage: 90}}]}}",
            "canary.rollout_waves[1].percentage",
            "the last wave must be 100",
        ),
        (f"{WAYS}, rollout: {{waves: [{{percentage: 0}}]}}", "rollout.waves[0].percentage", "at least 1"),
        (f"{WAYS}, rollout: {{waves: [{{wait: 1m}}]}}", "rollout.waves[0].percentage", "this key is missing"),
        (f"{WAYS}, rollout: {{waves: [{{percentage: 100, wait: 5}}]}}", "rollout.waves[0].wait", "bare number"),
        (f"{WAYS}, canary: {{health_monitoring_period: 0s}}", "canary.health_monitoring_period", "longer than nothing"),
        (
            "discovery: {type: memory}, distribution: {type: store, key: 'a/{instance}', proof: stored, store: locall}",
            "distribution.store",
            "there is no such store",
        ),
        (f"{WAYS}, rollout: {{interval: 0s}}", "rollout.interval", "longer than nothing"),
        (f"{WAYS}, rollout: {{progress_deadline: 0s}}", "rollout.progress_deadline", "longer than nothing"),
        (
            f"{WAYS}, rollout: {{max_unverified: 2, max_unverified_per_zone: 3}}",
            "rollout.max_unverified_per_zone",
            "not be more than `max_unverified`",
        ),
        (f"{WAYS}, rollout: {{max_unverified: 0}}", "rollout.max_unverified", "at least 1"),
        (f"{WAYS}, canary: 5", "canary", "a mapping or true or false is expected"),
        ("discovery: {type: memory, timeout: 0s}, distribution: {type: memory}", "discovery.timeout", "longer"),
        ("discovery: {type: memory}, distribution: {type: memory, timeout: 0s}", "distribution.timeout", "longer"),
        ("discovery: {type: memry}, distribution: {type: memory}", "discovery.type", "no such way to list instances"),
        ("discovery: {type: memory}, distribution: {type: memry}", "distribution.type", "no such way to hand out"),
        ("discovery: {}, distribution: {type: memory}", "discovery.type", "this key is missing"),
        ("discovery: [a], distribution: {type: memory}", "discovery", "a mapping of keys is expected"),
        ("discovery: {type: memory, cont: 3}, distribution: {type: memory}", "discovery.cont", "no such key"),
        (
            "discovery: {type: explicit, instances: [{id: a}, {id: a}]}, distribution: {type: memory}",
            "discovery",
            "two instances are called 'a'",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_key(rotation: str, key: str, words: str) -> None:
    problem = only(service(rotation=rotation))
    assert problem.key == f"services.app.rotation.{key}"
    assert words in problem.message


@pytest.mark.parametrize("strategy", ["canary", "percentage_rollout"])
def test_a_name_of_dsops_that_means_waves_needs_instances(strategy: str) -> None:
    problem = only(service(strategy=strategy))
    assert (problem.key, "there are no instances" in problem.message) == ("services.app.rotation.strategy", True)


def test_the_strategy_canary_has_a_canary() -> None:
    problem = only(service(strategy="canary", rotation=f"canary: false, {WAYS}"))
    assert problem.key == "services.app.rotation.canary"


def test_a_reference_of_an_option_names_a_store_that_is_there(plugin: Path) -> None:
    for kind in ("discovery", "distribution"):
        ways = WAYS.replace(f"{kind}: {{type: memory", f"{kind}: {{type: telephone, token: 'store://hold/x'")
        problem = only(service(rotation=ways))
        assert (problem.key, problem.hint) == (f"services.app.rotation.{kind}.token", "Did you mean 'held'?")


def test_of_two_lists_of_waves_one_is_told_to_be_left_out() -> None:
    both = f"{WAYS}, health_checks: {{}}, canary: {{rollout_waves: {LIST}}}, rollout: {{waves: {LIST}}}"
    (note,) = reads(service(rotation=both)).problems
    assert note.key == "services.app.rotation.canary.rollout_waves"
    assert "`rollout.waves` goes first" in note.message


@pytest.mark.parametrize("checks", ["", ", health_checks: {enabled: false}"])
def test_waves_that_nothing_looks_at_are_told(checks: str) -> None:
    (note,) = reads(service(rotation=WAYS + checks)).problems
    assert "there are no health checks" in note.message


@pytest.mark.parametrize(
    ("rotation", "key"),
    [("", "rotation.discovery"), (", canary: {}", "rotation.canary"), (", rollout: {}", "rotation.rollout")],
)
def test_waves_are_refused_where_one_version_is_valid_at_a_time(rotation: str, key: str) -> None:
    found = reads(service(strategy="single", rotation=WAYS + rotation)).services["app"]
    with pytest.raises(StrategyImpossible) as raised:
        plan_for(found, TargetCapabilities(values_max=1))
    assert f"strategy single is not possible here: {key} hands it out in waves" in raised.value.message
    assert raised.value.advice == "Use one of: alternating, dual, issue."
    assert raised.value.fields["key"] == key


def test_the_plan_of_a_rotation_holds_the_policy() -> None:
    found = reads(service(rotation=WAYS)).services["app"]
    assert plan_for(found, TargetCapabilities(values_max=None)).rollout == rollout_of(found)
    assert plan_for(reads(service()).services["app"], TargetCapabilities(values_max=None)).rollout is None


def wired(tmp_path: Path, rotation: str) -> Wiring:
    return Wiring(reads(service(rotation=rotation)), tmp_path / "state")


def test_discovery_is_built_as_it_is_configured(tmp_path: Path, plugin: Path) -> None:
    wiring = wired(tmp_path, "discovery: {type: telephone, timeout: 7s, token: env://T}, distribution: {type: memory}")
    assert wiring.discovery("app") is wiring.discovery("app"), "one a service"
    built = cast("Any", wiring.discovery("app"))
    context = built.context
    assert (context.service, context.environment, context.timeout) == ("app", "default", 7 * SECOND)
    assert context.base == Path("/etc/keyturn")
    assert str(built.options.token) == "env://T"


def test_distribution_is_built_as_it_is_configured(tmp_path: Path, plugin: Path) -> None:
    wiring = wired(tmp_path, "discovery: {type: memory}, distribution: {type: telephone, timeout: 7s, parallelism: 6}")
    assert wiring.distributor("app") is wiring.distributor("app"), "one a service"
    built = cast("Any", wiring.distributor("app"))
    context = built.context
    assert (context.service, context.environment, context.timeout) == ("app", "default", 7 * SECOND)
    assert (context.base, context.state) == (Path("/etc/keyturn"), tmp_path / "state")
    assert (context.credential_store, context.credential_path) == ("held", "default/app")
    assert context.store("other") is wiring.store("other")
    policy = rollout_of(wiring.service("app"))
    assert policy is not None
    assert (policy.instance_timeout, policy.parallelism) == (7 * SECOND, 6)


def test_a_secret_of_an_option_is_read_with_those_of_the_target(
    tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation that would find it missing when it hands a version out does not begin."""
    wiring = wired(tmp_path, "discovery: {type: telephone, token: env://TELEPHONE}, distribution: {type: memory}")
    with pytest.raises(Exception, match="TELEPHONE"):
        wiring.read_secrets("app", "held")
    monkeypatch.setenv("TELEPHONE", "canary-token")
    wiring.read_secrets("app", "held")
    built = cast("Any", wiring.discovery("app"))
    assert built.context.secret(built.options.token).reveal() == "canary-token"


def test_a_service_without_instances_has_neither(tmp_path: Path) -> None:
    wiring = wired(tmp_path, "")
    assert (wiring.discovery("app"), wiring.distributor("app")) == (None, None)


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path, plugin: Path) -> None:
    wiring = wired(tmp_path, "discovery: {type: driverless}, distribution: {type: driverless}")
    for build in (wiring.discovery, wiring.distributor):
        with pytest.raises(MissingDriver, match="a_driver_that_nobody_has"):
            build("app")


def test_the_effective_configuration_has_each_thing_where_it_counts_and_is_read_as_the_same() -> None:
    both = f"{WAYS}, canary: {{failure_threshold: 3, rollout_waves: {LIST}}}, rollout: {{max_unverified: 2}}"
    for strategy, rotation in (("dual", both), ("percentage_rollout", WAYS), ("canary", WAYS)):
        configuration = reads(service(strategy=strategy, rotation=rotation))
        shown = effective(configuration)
        again = reads(json.dumps(shown))
        assert rollout_of(again.services["app"]) == rollout_of(configuration.services["app"])
        assert effective(again) == shown
    rotation = effective(reads(service(rotation=both)))["services"]["app"]["rotation"]
    assert rotation["rollout"]["failure_threshold"] == 3
    assert rotation["rollout"]["waves"][0] == {"percentage": 10, "health_monitoring": "5m", "wait": "0s"}
    assert rotation["discovery"] == {"type": "memory", "timeout": "30s", "count": 3, "zones": 1, "faults": []}


def test_the_schema_has_the_options_of_each_way() -> None:
    kinds = json_schema()["properties"]["services"]["additionalProperties"]["oneOf"]
    rotation = kinds[0]["properties"]["rotation"]["properties"]
    explicit = next(each for each in rotation["discovery"]["anyOf"] if each.get("title") == "explicit")
    assert {"type", "timeout", "instances"} == set(explicit["properties"])
    assert explicit["required"] == ["type", "instances"]
    assert any("parallelism" in each.get("properties", {}) for each in rotation["distribution"]["anyOf"])
    assert {"type": "boolean"} in rotation["canary"]["anyOf"]
