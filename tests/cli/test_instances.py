"""Who gets a version in which wave, as people are shown it before anything happens."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.composition import compose
from adapters.config.load import load
from engine.rollout import plan_waves, seed_of
from tests.cli.program import Folder

WAYS = """\
      discovery:
        type: explicit
        instances:
{instances}      distribution: {{type: memory}}
"""


def ways(count: int, *, zones: int = 1, marked: int | None = None, backwards: bool = False) -> str:
    """Return instances `web-1` and so on, their zones in turn, in the order of the file or the other way round."""
    rows = [
        f"          - {{id: web-{number}, zone: eu-{number % zones}, labels: {{role: web}}"
        f"{', canary: true' if number == marked else ''}}}\n"
        for number in range(1, count + 1)
    ]
    return WAYS.format(instances="".join(reversed(rows) if backwards else rows))


def plan(folder: Folder, more: str) -> dict[str, Any]:
    """Return the plan of the service with this below its `rotation`."""
    folder.configure("app-db", more=more)
    return folder.ok("plan", "app-db", "--json").document


def test_the_plan_shows_each_wave_with_who_is_in_it_and_what_it_puts_at_stake(folder: Folder) -> None:
    shown = plan(folder, ways(8, zones=2, marked=3) + "      rollout: {max_unverified: 2}\n")
    assert [(wave["index"], len(wave["instances"]), wave["percentage"]) for wave in shown["waves"]] == [
        (0, 1, 13),
        (1, 1, 25),
        (2, 2, 50),
        (3, 2, 75),
        (4, 2, 100),
    ]
    first, *_, last = shown["waves"]
    assert (first["instances"], first["canary"], last["canary"]) == (["web-3"], True, False)
    assert (last["soak_seconds"], last["wait_seconds"]) == (300.0, 0.0)
    assert first["blast_radius"] == {
        "instances": 1,
        "of": 8,
        "percentage": 12.5,
        "zones": {"eu-1": {"instances": 1, "of": 4, "percentage": 25.0}},
    }
    assert set(last["blast_radius"]["zones"]) == {"eu-0", "eu-1"}
    assert shown["blast_radius"]["instances"] == 8
    assert shown["blast_radius"]["unverified_max"] == {"instances": 2, "of": 8, "percentage": 25.0}
    effects = [step["effect"] for step in shown["steps"]]
    assert effects[2:6] == ["verify", "distribute", "soak", "promote"]


def test_a_person_reads_the_same(folder: Folder) -> None:
    waves = "[{percentage: 50, health_monitoring: 2m, wait: 3m}, {percentage: 100, health_monitoring: 0s}]"
    rollout = f"      rollout: {{require_approval: true, waves: {waves}}}\n"
    plan(folder, ways(20, zones=2) + rollout)
    out = folder.ok("plan", "app-db").out
    for line in (
        "  20 instances in 2 zones\n",
        "  unverified at once: 10 at most (50 %), joining ones aside\n",
        "  wave 1 (canary): 1 of 20 (5 %); ",
        "; up to 5 %; checked for 5m\n",
        "  wave 2: 9 of 20 (45 %); ",
        "; up to 50 %; checked for 2m, then 3m of waiting, after an approval\n",
        "; up to 100 %; not checked before the next, after an approval\n",
        "and 5 more\n",
        "  takes 10m at least, besides handing out\n",
    ):
        assert line in out
    assert folder.ok("rotate", "app-db", "--dry-run").out == out


def test_a_plan_is_the_same_bytes_again_and_in_whatever_order_instances_are_listed(folder: Folder) -> None:
    folder.configure("app-db", more=ways(30, zones=3))
    first = folder.ok("plan", "app-db", "--json").out
    assert folder.ok("plan", "app-db", "--json").out == first
    folder.configure("app-db", more=ways(30, zones=3, backwards=True))
    assert folder.ok("plan", "app-db", "--json").out == first


def test_the_next_version_goes_to_others_first(folder: Folder) -> None:
    """The order is drawn with the version that is replaced, so that it is known before the rotation begins."""
    folder.configure("app-db")
    before = plan(folder, ways(30))["waves"]
    folder.configure("app-db")
    folder.settled("app-db")
    after = plan(folder, ways(30))["waves"]
    assert after != before
    installation = compose(load(folder.config), folder.state, actor="test")
    service = installation.service("app-db")
    discovery, policy = installation.binding(service).discovery, installation.plan(service).rollout
    assert discovery is not None
    assert policy is not None
    current = installation.world.credential("app-db", "default").current
    assert current is not None
    waves = plan_waves(discovery.instances(), policy, seed_of("app-db", "default", current.id))
    assert [wave["instances"] for wave in after] == [list(wave.instances) for wave in waves]
    assert installation.binding(service).distributor is not None


def test_without_a_log_a_plan_is_that_of_the_first_version(folder: Folder) -> None:
    expected = plan(folder, ways(9))
    assert folder.run("plan", "app-db", "--json", KEYTURN_STATE=str(folder.path / "none")).document == expected


def test_discover_lists_who_there_is_and_the_wave_of_each(folder: Folder) -> None:
    waves = plan(folder, ways(5, zones=2, marked=4))["waves"]
    listed = folder.ok("discover", "app-db", "--json").document
    assert (listed["schema"], listed["service"], listed["remarks"]) == ("keyturn.instances/1", "app-db", [])
    assert [each["id"] for each in listed["instances"]] == [f"web-{number}" for number in range(1, 6)]
    assert listed["instances"][3] == {
        "id": "web-4",
        "zone": "eu-0",
        "endpoint": "",
        "labels": {"role": "web"},
        "canary": True,
        "wave": 0,
    }
    for each in listed["instances"]:
        assert each["id"] in waves[each["wave"]]["instances"]
    heads, *rows = folder.ok("discover", "app-db").out.splitlines()
    assert heads.split() == ["ID", "ZONE", "ENDPOINT", "LABELS", "CANARY", "WAVE"]
    assert rows[3].split() == ["web-4", "eu-0", "-", "role=web", "yes", "1", "(canary)"]


def test_discover_of_a_service_without_instances_says_what_is_missing(folder: Folder) -> None:
    folder.run("discover", "app-db").refused(2, "app-db has no instances", "rotation.discovery")
    folder.run("discover", "app-bd").refused(2, "Did you mean 'app-db'")


@pytest.mark.parametrize(
    ("more", "remark"),
    [
        (ways(3) + "      canary: {instance_selector: role=canary}\n", "no instance has the label role=canary"),
        (ways(3) + "      canary: {instance_selector: role=web}\n", "every instance is in the canary"),
        (
            "      discovery: {type: explicit, instances: []}\n      distribution: {type: memory}\n",
            "discovery lists no instance",
        ),
    ],
)
def test_what_is_probably_not_meant_is_told_and_hinders_nothing(folder: Folder, more: str, remark: str) -> None:
    folder.configure("app-db", more=more)
    assert f"note: {remark}" in folder.ok("plan", "app-db").err
    assert f"note: {remark}" in folder.ok("discover", "app-db").err
    (told,) = folder.ok("discover", "app-db", "--json").document["remarks"]
    assert remark in told
    findings = folder.ok("doctor", "--json").document["findings"]
    warned = [each for each in findings if each["severity"] == "warn" and "discovery" in each["subject"]]
    assert [remark in each["message"] for each in warned] == [True]


def test_doctor_says_how_many_there_are_and_that_distribution_is_configured(folder: Folder) -> None:
    folder.configure("app-db", more=ways(4, zones=2))
    out = folder.ok("doctor").out
    assert "ok    service app-db, discovery: it lists 4 instances in 2 zones" in out
    assert "ok    service app-db, distribution: " in out
    folder.configure("app-db")
    assert "discovery" not in folder.ok("doctor").out


UNREACHABLE = "      discovery: {type: memory, faults: [unavailable]}\n      distribution: {type: memory}\n"


def test_discovery_that_cannot_be_asked_is_told_and_nothing_is_planned(folder: Folder) -> None:
    folder.configure("app-db", more=UNREACHABLE)
    for command in ("plan", "discover"):
        folder.run(command, "app-db").refused(4, "listing the instances", "service app-db")
    done = folder.run("doctor", "--json")
    assert done.code == 4
    (failed,) = [each for each in done.document["findings"] if each["severity"] == "fail"]
    assert "listing the instances" in failed["message"]


def test_waves_are_refused_where_all_would_change_at_once_with_the_strategies_that_could(folder: Folder) -> None:
    """By `plan`, `rotate` and `config check`, and of this service alone."""
    folder.configure("app-db", "other", strategy="single", more=ways(4) + "      canary: {}\n")
    text = folder.config.read_text()
    head, _, _ = text.rpartition("      discovery:")
    folder.config.write_text(head)
    done = folder.run("plan", "app-db", "--json")
    done.refused(2, "strategy single is not possible", "rotation.canary", "Use one of: alternating, dual, issue")
    assert "a wave is everybody" in done.document["refused"]
    assert "alternating, dual, issue" in done.document["refused"]
    assert (done.document["waves"], done.document["overlap"]) == ([], False)
    folder.run("rotate", "app-db").refused(2, "rotation.canary hands it out in waves")
    folder.ok("plan", "other")
    checked = folder.run("config", "check", "--json")
    (problem,) = checked.document["problems"]
    assert (checked.code, problem["key"]) == (2, "services.app-db.rotation.canary")


def test_what_there_is_to_find_and_reach_instances_with_is_listed(folder: Folder) -> None:
    listed = folder.ok("adapters", "--json").document["adapters"]
    assert {"discovery", "distribution"} <= {each["kind"] for each in listed}
    assert ("discovery", "explicit") in [(each["kind"], each["type"]) for each in listed]
