"""The conditions of a Prometheus query, three-valued, and what is read of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.health.looking import NotSeen
from adapters.health.prometheus import PrometheusOptions, condition, values, verdict
from engine.health import CheckResult

PASS, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.FAIL, CheckResult.UNKNOWN


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [
        ("< 0.01", 0.009, 0.01),
        ("<= 1e-2", 0.01, 0.011),
        (">5", 5.1, 5),
        (" >= -.5 ", -0.5, -0.6),
        ("== 1", 1, 2),
        ("!= 1.", 2, 1),
    ],
)
def test_a_condition_compares_with_a_number(text: str, holds: float, fails: float) -> None:
    assert condition(text)(holds)
    assert not condition(text)(fails)


@pytest.mark.parametrize("text", ["", "0.01", "< x", "=< 1", "< 1 or > 2", "< 1e", "< nan", "result[0] < 1"])
def test_anything_else_is_no_condition(text: str) -> None:
    with pytest.raises(ValueError, match="comparison with a number"):
        condition(text)


@pytest.mark.parametrize(
    ("success", "failure", "value", "result"),
    [
        ("< 1", "", 0.5, PASS),
        ("< 1", "", 1.5, FAIL),
        ("", "> 2", 1.5, PASS),
        ("", "> 2", 2.5, FAIL),
        ("< 1", "> 2", 0.5, PASS),
        ("< 1", "> 2", 1.5, UNKNOWN),
        ("< 1", "> 2", 2.5, FAIL),
        ("< 5", "> 2", 3, FAIL),
    ],
)
def test_what_is_neither_is_unknown(success: str, failure: str, value: float, result: CheckResult) -> None:
    """With both conditions; with one alone, the other is its opposite. Failure comes first."""
    assert verdict(value, success=success, failure=failure) is result


def answer(kind: str, result: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def test_the_numbers_of_an_answer_are_read() -> None:
    vector = [{"metric": {}, "value": [1, "0.25"]}, {"metric": {}, "value": [1, "NaN"]}, {"value": [1, "+Inf"]}]
    assert values(answer("vector", vector)) == [0.25, float("inf")]
    assert values(answer("scalar", [1, "7"])) == [7.0]


@pytest.mark.parametrize(
    "body",
    [
        answer("vector", []),
        answer("vector", [{"value": [1, "NaN"]}]),
        answer("scalar", [1, "NaN"]),
        answer("matrix", []),
        answer("string", [1, "x"]),
        answer("vector", [{"histogram": []}]),
        answer("vector", 5),
        b"",
        b"<html>",
        b"[]",
        b"[" * 60_000,
        answer("vector", [{"value": [1, "1"]}])[:-5],
    ],
)
def test_what_gives_no_number_shows_nothing(body: bytes) -> None:
    with pytest.raises(NotSeen):
        values(body)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"success": "< 1", "query": " "}, "PromQL"),
        ({}, "is expected"),
        ({"success": "< 1", "failure": "much"}, "comparison"),
        ({"success": "< 1", "url": "prometheus:9090"}, "begins with"),
    ],
)
def test_options_that_judge_nothing_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PrometheusOptions(**{"url": "http://prometheus:9090", "query": "up", **given})
