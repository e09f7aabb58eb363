"""The keys of `metrics`: what is read, and which labels are refused."""

from __future__ import annotations

import pytest

from adapters.config.schema import Metrics
from adapters.config.show import effective
from tests.unit.config.reading import only, problems, reads


def metrics(text: str) -> str:
    """Return a configuration with these `metrics`."""
    return f"version: 1\nmetrics: {text}\n"


def test_labels_and_the_names_of_dsops_are_read() -> None:
    """Without the key there are neither."""
    read = reads(metrics("{prometheus: {labels: {team: platform}}, compat: dsops}")).metrics
    assert (read.prometheus.labels, read.compat) == ({"team": "platform"}, "dsops")
    assert reads("version: 1\n").metrics == Metrics()


def test_the_effective_configuration_shows_them() -> None:
    shown = effective(reads(metrics("{prometheus: {labels: {team: platform}}}")))
    assert shown["metrics"] == {
        "prometheus": {"enabled": True, "port": 9090, "path": "/metrics", "labels": {"team": "platform"}},
        "compat": None,
    }


@pytest.mark.parametrize("name", ["a-b", "1st", "", "__name__", "team name", "tëam"])
def test_a_label_is_named_as_prometheus_wants_it(name: str) -> None:
    assert (
        only(metrics(f'{{prometheus: {{labels: {{"{name}": x}}}}}}')).message == "this cannot be the name of a label."
    )


@pytest.mark.parametrize("name", ["service", "env", "strategy", "outcome", "state", "channel", "le", "job", "instance"])
def test_a_label_that_a_metric_has_cannot_be_given(name: str) -> None:
    """It would say something else in its place."""
    assert only(metrics(f"{{prometheus: {{labels: {{{name}: x}}}}}}")).message == "metrics have a label of this name."


def test_the_labels_of_dsops_are_taken_only_where_its_names_are_exposed() -> None:
    labels = "prometheus: {labels: {environment: production}}"
    assert reads(metrics(f"{{{labels}}}")).metrics.prometheus.labels == {"environment": "production"}
    assert only(metrics(f"{{{labels}, compat: dsops}}")).key == "metrics.prometheus.labels.environment"


@pytest.mark.parametrize("value", ["''", "a" * 129, '"a\\nb"'])
def test_a_value_is_a_short_line(value: str) -> None:
    assert "printable characters" in only(metrics(f"{{prometheus: {{labels: {{team: {value}}}}}}}")).message


def test_there_is_a_limit_to_labels() -> None:
    labels = ", ".join(f"l{number}: x" for number in range(17))
    assert "16 labels at most" in only(metrics(f"{{prometheus: {{labels: {{{labels}}}}}}}")).message


@pytest.mark.parametrize("text", ["true", "{prometheus: 1}", "{compat: yes}", "{prometheus: {labels: [a]}}"])
def test_a_wrong_form_is_refused(text: str) -> None:
    assert problems(metrics(text))
