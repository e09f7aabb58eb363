"""Service groups: what each key of them decides, and what is refused by name."""

from __future__ import annotations

import pytest

from adapters.config.model import Group
from engine.group_events import FailurePolicy, PlannedCheck
from engine.values import SECOND
from tests.unit.config.reading import only, problems, reads

SERVICES = """
version: 1
secretStores: {held: {type: memory}}
services:
  a: {type: memory, credential: {username: app, store: held, key: a}, rotation: {strategy: dual}}
  b: {type: memory, credential: {username: app, store: held, key: b}, rotation: {strategy: dual}}
  c:
    type: redis
    nodes: ["localhost:6379"]
    tls: disable
    admin_credentials: {username: keyturn, password: "env://ADMIN"}
    credential: {username: app, store: held, key: c}
    rotation: {strategy: dual}
"""


def text(rotation: str = "", *, services: str = "[a, b, c]", name: str = "cluster", more: str = "") -> str:
    """Return a configuration with one group."""
    return f"{SERVICES}service_groups: [{{name: {name}, services: {services}, rotation: {{{rotation}}}}}{more}]\n"


def group(rotation: str = "", **keys: str) -> Group:
    """Return the group of a configuration that is right."""
    return reads(text(rotation, **keys)).groups["cluster"]


# --- what each key decides --------------------------------------------------------------------------------------------


def test_without_more_the_services_are_rotated_one_after_the_other() -> None:
    found = group()
    assert found.steps == (("a",), ("b",), ("c",))
    assert found.failure_policy is FailurePolicy.ROLLBACK_ALL
    assert found.plan.checks == ()


@pytest.mark.parametrize(
    ("rotation", "steps"),
    [
        ("strategy: sequential", (("a",), ("b",), ("c",))),
        ("strategy: parallel", (("a", "b", "c"),)),
        ("dependency_order: [c, [a, b]]", (("c",), ("a", "b"))),
        ("dependency_order: {a: [b, c], c: [b]}", (("b",), ("c",), ("a",))),
        ("dependency_order: {a: [c], b: [c]}", (("c",), ("a", "b"))),
    ],
)
def test_the_order_is_that_of_the_keys(rotation: str, steps: tuple[tuple[str, ...], ...]) -> None:
    assert group(rotation).steps == steps


@pytest.mark.parametrize("policy", FailurePolicy)
def test_the_failure_policy_is_planned(policy: FailurePolicy) -> None:
    assert group(f"failure_policy: {policy}").plan.failure_policy is policy


def test_a_check_looks_at_every_service_that_it_fits() -> None:
    crossed = "cross_service_verification: {checks: [{type: replication_lag, max_lag_seconds: 10}, {type: connection}]}"
    found = group(crossed)
    assert [look.name for look in found.looks] == [
        "replication_lag/c",
        *(f"connection/{service}" for service in ("a", "b", "c")),
    ]
    assert found.plan.checks[0] == PlannedCheck("replication_lag/c", "c")
    assert getattr(found.looks[0].check.options, "max_lag_seconds", None) == 10


def test_the_times_of_the_checks_are_planned() -> None:
    plan = group("cross_service_verification: {checks: [{type: connection}], timeout: 3m, interval: 7s}").plan
    assert (plan.check_timeout, plan.check_interval) == (180 * SECOND, 7 * SECOND)


def test_a_check_has_its_own_name_and_timeout() -> None:
    crossed = "cross_service_verification: {checks: [{type: connection, name: login, timeout: 3s}]}"
    look = group(crossed).looks[0]
    assert (look.name, look.check.timeout) == ("login/a", 3 * SECOND)


def test_checks_that_are_off_do_not_look() -> None:
    assert group("cross_service_verification: {enabled: false, checks: [{type: connection}]}").looks == ()


def test_scripts_go_by_the_name_of_dsops_as_well() -> None:
    looks = group("cross_service_verification: {checks: [{type: custom_script, script: ./look.sh}]}").looks
    assert {look.check.type for look in looks} == {"script"}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message", "hint"),
    [
        ({"services": "[a, bb]"}, "there is no service 'bb'.", ""),
        ({"services": "[a, b, a]"}, "'a' stands here twice.", ""),
        ({"services": "[]"}, "a group has one service at least.", ""),
        ({"more": ", {name: cluster, services: [a]}"}, "another group is called 'cluster'.", ""),
        ({"rotation": "dependency_order: [a, b]"}, "'c' is missing.", "Each service of the group has one place."),
        ({"rotation": "dependency_order: [a, [b, a], c]"}, "'a' stands here twice.", "has one place"),
        ({"rotation": "dependency_order: [a, b, c, dd]"}, "'dd' is no service of this group.", ""),
        ({"rotation": "dependency_order: [a, [], b, c]"}, "a service is expected here, or a list of services.", ""),
        ({"rotation": "dependency_order: {a: [b], b: [c], c: [a]}"}, "these services wait for one another: ", "circle"),
        ({"rotation": "dependency_order: {a: b}"}, "a list of the services that come before this one", ""),
        ({"rotation": "strategy: parallel, dependency_order: [a, b, c]"}, "this contradicts `strategy: parallel`", ""),
        ({"rotation": "cross_service_verification: {checks: []}"}, "nothing is looked at.", "leave"),
        ({"rotation": "cross_service_verification: {checks: [{type: lag}]}"}, "there is no such check.", ""),
        ({"rotation": "cross_service_verification: {checks: [{type: query_latency}]}"}, "is for no service", "It fits"),
        (
            {"rotation": "cross_service_verification: {checks: [{type: connection}], interval: 2m}"},
            "this must be longer than nothing, and not longer than `timeout`.",
            "",
        ),
        (
            {"rotation": "cross_service_verification: {checks: [{type: connection}, {type: connection}]}"},
            "another check is called 'connection/a'.",
            "Give each a `name`.",
        ),
        ({"rotation": "cross_service_verification: {checks: [{type: connection, tiemout: 3s}]}"}, "no such key", ""),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(keys: dict[str, str], message: str, hint: str) -> None:
    problem = problems(text(**keys))[0]
    assert problem.key.startswith("service_groups[")
    assert message in problem.message
    assert hint in problem.hint


def test_a_group_of_a_service_that_is_wrong_tells_of_the_service_alone() -> None:
    wrong = SERVICES.replace("key: a}, rotation: {strategy: dual}", "key: a}, rotation: {strategy: duel}")
    problem = only(f"{wrong}service_groups: [{{name: cluster, services: [a, b]}}]\n")
    assert problem.key == "services.a.rotation.strategy"


def test_nothing_given_is_no_group() -> None:
    assert reads(SERVICES).groups == {}
