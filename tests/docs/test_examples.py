"""The examples can be used as they stand, and the pages on waves and on groups tell of them and of every key."""

from __future__ import annotations

import re

import pytest

from adapters.config.build import Wiring
from adapters.config.load import load, parse
from adapters.config.planning import rollout_of
from adapters.config.rollout_keys import Canary, Rollout
from adapters.config.schema import CrossChecks, GroupRotation, ServiceGroup
from engine.rollout import OnTrouble, RolloutPolicy, Wave, plan_waves
from tests.architecture.source import ROOT

FOLDER = ROOT / "docs" / "examples"
GROUP = "group.yaml"
PAGE = (ROOT / "docs" / "how-to" / "roll-out-in-waves.md").read_text(encoding="utf-8")


def planned(name: str) -> tuple[RolloutPolicy, tuple[Wave, ...]]:
    """Return policy and waves of the service of an example."""
    configuration = load(FOLDER / name)
    assert not configuration.problems
    policy = rollout_of(configuration.services["app-db"])
    discovery = Wiring(configuration, FOLDER).discovery("app-db")
    assert policy is not None
    assert discovery is not None
    return policy, plan_waves(discovery.instances(), policy, "seed")


def test_a_canary() -> None:
    policy, waves = planned("canary.yaml")
    assert (waves[0].instances, waves[0].canary) == (("web-1",), True)
    assert [len(wave.instances) for wave in waves] == [1, 2, 2, 1]
    assert policy.canary_soak == 600_000_000


def test_percentages() -> None:
    policy, waves = planned("percentages.yaml")
    assert [(len(wave.instances), wave.canary) for wave in waves] == [(2, False), (8, False), (10, False), (20, False)]
    assert policy.on_failure is OnTrouble.PAUSE


def test_limits_and_zones() -> None:
    _, waves = planned("zones.yaml")
    assert max(len(wave.instances) for wave in waves) == 4
    assert len(waves) == 8


def test_approval() -> None:
    policy, waves = planned("approval.yaml")
    assert (policy.approval, [len(wave.instances) for wave in waves]) == (True, [1, 4, 5])


def test_a_group() -> None:
    """Its page shows a longer one; this one runs as it stands."""
    configuration = load(FOLDER / GROUP)
    assert not configuration.problems
    (group,) = configuration.groups.values()
    assert group.steps == (("orders-primary",), ("orders-replica-1", "orders-replica-2"))
    assert {look.service for look in group.looks} == set(configuration.services)
    assert f"(../examples/{GROUP})" in (ROOT / "docs" / "how-to" / "rotate-a-group.md").read_text(encoding="utf-8")


def test_every_key_of_a_group_is_told_of() -> None:
    page = (ROOT / "docs" / "how-to" / "rotate-a-group.md").read_text(encoding="utf-8")
    for section in (ServiceGroup, GroupRotation, CrossChecks):
        told = [name for name in section.__struct_fields__ if not re.search(rf"\b{name}\b", page)]
        assert told == [], section


def test_every_example_is_tested_and_told_of() -> None:
    names = {path.name for path in FOLDER.glob("*.yaml")} - {GROUP}
    assert set(re.findall(r"\(\.\./examples/([\w.-]+)\)", PAGE)) == names
    source = (ROOT / "tests" / "docs" / "test_examples.py").read_text(encoding="utf-8")
    assert set(re.findall(r'planned\("([\w.-]+)"\)', source)) == names


def test_the_example_of_the_page_is_taken() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    configuration = parse(example.encode(), path=FOLDER / "keyturn.yaml", shown="page")
    assert not configuration.problems
    policy = rollout_of(configuration.services["app-db"])
    assert policy is not None
    assert (policy.selector, policy.max_unverified) == ("role=canary", 2)


@pytest.mark.parametrize("section", [Canary, Rollout])
def test_the_table_of_the_page_has_every_key(section: type[Canary | Rollout]) -> None:
    table = "\n".join(re.findall(r"^\| `.*", PAGE, re.MULTILINE))
    assert [key for key in section.__struct_encode_fields__ if key not in table] == []
