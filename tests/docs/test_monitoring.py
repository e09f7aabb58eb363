"""The dashboard, the alerts and their page: valid for Prometheus and Grafana, and about metrics that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from adapters.config.load import parse
from engine.machine import State
from projections.metrics import catalogue
from tests.promtool import promtool

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "monitoring"
DASHBOARD: Final[dict[str, Any]] = json.loads((FOLDER / "keyturn-dashboard.json").read_text(encoding="utf-8"))
GROUPS: Final = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
RULES: Final[list[dict[str, Any]]] = [rule for group in GROUPS for rule in group["rules"]]
TESTS: Final = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
PAGE: Final = (ROOT / "docs" / "how-to" / "monitor-with-prometheus.md").read_text(encoding="utf-8")

EXPECTED_ALERTS: Final = {
    "RotationOverdue",
    "RotationFailed",
    "RollbackFailed",
    "RotationPausedTooLong",
    "RotationStuck",
    "OverlapTooLong",
    "OutboxStuck",
    "DeadLetters",
    "KeyturnAbsent",
    "KeyturnStale",
}

VARIABLES: Final = {"$__rate_interval": "5m", "$__range": "7d", "$service": ".*", "$env": ".*"}
"""What Grafana puts into a query before it is sent."""

PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    """Yield every query of the dashboard as Prometheus gets it."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for expression in [*asked, *(each["expr"] for each in DASHBOARD["annotations"]["list"])]:
        for name, meant in VARIABLES.items():
            expression = expression.replace(name, meant)  # noqa: PLW2901 - one after the other
        yield expression


EXPRESSIONS: Final = [*queries(), *(rule["expr"] for rule in RULES)]


def labels_of(name: str) -> set[str] | None:
    """Return the labels of a series; None where no metric has it."""
    found = {metric.name: metric for metric in catalogue.METRICS}
    if name in found:
        return set(found[name].labels)
    metric = found.get(name.removesuffix("_bucket"))
    return {*metric.labels, "le"} if metric and metric.form is catalogue.Form.HISTOGRAM else None


# --- queries ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_asks_for_metrics_and_labels_that_exist(expression: str) -> None:
    """A query for anything else is silent for ever, and looks like good news."""
    names = re.findall(r"\bkeyturn_\w+", expression)
    assert names
    for name, selector in re.findall(r"\b(keyturn_\w+)(?:\{([^}]*)\})?", expression):
        known = labels_of(name)
        assert known is not None, name
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= known, name
    known = set.union(*(labels_of(name) or set() for name in names))
    for grouping in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in grouping.split(",")} <= known


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_asks_for_states_and_outcomes_that_exist(expression: str) -> None:
    words = re.findall(r'\b(?:state|outcome)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', expression)
    named = {word for text in words for word in text.split("|")}
    assert named <= {state.value for state in State}


def test_every_query_of_the_dashboard_can_be_parsed(tmp_path: Path) -> None:
    """As rules, which is how promtool reads expressions."""
    rules = [{"record": f"dashboard:query:{number}", "expr": each} for number, each in enumerate(queries())]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "rules.yaml", cwd=tmp_path)


def test_a_query_that_cannot_be_parsed_is_found(tmp_path: Path) -> None:
    """The tool is asked in a way in which it can say no."""
    rules = [{"record": "dashboard:query:0", "expr": "sum(by (a) x"}]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    with pytest.raises(AssertionError, match="parse expression"):
        promtool("check", "rules", "rules.yaml", cwd=tmp_path)


# --- alerts ----------------------------------------------------------------------------------------------


def test_the_alerts_are_valid_and_fire_when_they_should() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yaml", cwd=FOLDER)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml", cwd=FOLDER)


def test_every_alert_is_tried_both_firing_and_silent() -> None:
    cases = [case for test in TESTS for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert {rule["alert"] for rule in RULES} == EXPECTED_ALERTS == firing == silent


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    """The page has a section for it, under the address that the alert gives."""
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (ROOT / page).read_text(encoding="utf-8") == PAGE
    assert anchor == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in PAGE


def test_the_page_has_no_section_about_an_alert_that_is_gone() -> None:
    section = PAGE[PAGE.index("## The alerts") : PAGE.index("## What is not there")]
    assert set(re.findall(r"^### (\w+)$", section, re.MULTILINE)) == EXPECTED_ALERTS


def test_the_links_of_the_page_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", PAGE) if "://" not in link]
    assert len(links) > 4
    assert not [link for link in links if not (ROOT / "docs" / "how-to" / link).exists()]


def test_the_configuration_on_the_page_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    read = parse(f"version: 1\n{block}".encode(), path=ROOT / "keyturn.yaml").metrics
    assert (read.prometheus.labels, read.compat) == ({"team": "platform"}, "dsops")


# --- the dashboard ---------------------------------------------------------------------------------------


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """No id of an installation, and a data source that is asked for."""
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"] == "keyturn"
    (asked,) = DASHBOARD["__inputs"]
    assert (asked["type"], asked["pluginId"]) == ("datasource", "prometheus")
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "env", "service"]
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["current"]["value"] == f"${{{asked['name']}}}"
    assert {each["query"]["query"].split("(")[0] for each in list(variables.values())[1:]} == {"label_values"}
    required = {each["id"] for each in DASHBOARD["__requires"] if each["type"] == "panel"}
    assert required == {panel["type"] for panel in PANELS}


def test_every_data_source_is_the_variable() -> None:
    """Also of targets, variables and annotations."""

    def sources(node: Any) -> Iterator[Any]:
        if isinstance(node, dict):
            for key, each in node.items():
                if key == "datasource":
                    yield each
                else:
                    yield from sources(each)
        elif isinstance(node, list):
            for each in node:
                yield from sources(each)

    found = list(sources(DASHBOARD))
    assert len(found) > 2 * len(PANELS)
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in found)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_is_whole(panel: dict[str, Any]) -> None:
    """It says what it shows, asks something, and each question has a letter of its own."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in {"s", "short"}
    letters = [target["refId"] for target in panel["targets"]]
    assert letters
    assert letters == sorted(set(letters))
    assert all({"expr", "legendFormat", "range"} <= set(target) for target in panel["targets"])


def test_panels_have_ids_and_places_of_their_own() -> None:
    """Within the 24 columns, none over another."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] >= 0 and place["w"] > 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_every_metric_of_the_log_is_shown_or_alerted_on() -> None:
    """But for those that others say more precisely: they are there for questions that nobody foresaw."""
    asked = {name.removesuffix("_bucket") for each in EXPRESSIONS for name in re.findall(r"\bkeyturn_\w+", each)}
    unasked = {metric.name for metric in catalogue.METRICS} - asked
    assert unasked == {
        "keyturn_rotations_started_total",
        "keyturn_rotation_duration_seconds",
        "keyturn_notifications_dropped_total",
    }


# --- the picture -----------------------------------------------------------------------------------------


def test_the_picture_shows_every_panel_and_none_that_is_gone() -> None:
    """A panel that is added is not in it until `python -m tests.docs.dashboard_picture` is run again."""
    assert "](../monitoring/dashboard.svg)" in PAGE
    picture = (FOLDER / "dashboard.svg").read_text(encoding="utf-8")
    titles = re.findall(r'<text style="font-weight: 700;[^>]*>([^<]*)</text>', picture)
    assert sorted(map(unescape, titles)) == sorted(panel["title"] for panel in PANELS)
