"""The fake PagerDuty answers as PagerDuty does: one wrong event for each rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sinks.pagerduty import ROUTING_KEY, FakePagerDuty, fake_pagerduty, problems_of_event

PAYLOAD: dict[str, Any] = {"summary": "x", "source": "production/db", "severity": "error"}
TRIGGER: dict[str, Any] = {
    "routing_key": ROUTING_KEY,
    "event_action": "trigger",
    "dedup_key": "k",
    "payload": PAYLOAD,
}
CHANGE: dict[str, Any] = {"routing_key": ROUTING_KEY, "payload": {"summary": "x"}}


@pytest.fixture
def fake() -> Iterator[FakePagerDuty]:
    """A service."""
    with fake_pagerduty() as pagerduty:
        yield pagerduty


def send(fake: FakePagerDuty, event: object, path: str = "/v2/enqueue") -> httpx.Response:
    """Send an event."""
    return httpx.post(fake.server.url + path, json=event)


def test_an_alert_is_opened_updated_and_resolved(fake: FakePagerDuty) -> None:
    answer = send(fake, TRIGGER)
    assert (answer.status_code, answer.json()["dedup_key"]) == (202, "k")
    send(fake, {**TRIGGER, "payload": {**PAYLOAD, "severity": "warning"}})
    send(fake, {**TRIGGER, "event_action": "acknowledge"})
    assert (fake.open["k"].severity, fake.open["k"].is_acknowledged) == ("warning", True)
    send(fake, {"routing_key": ROUTING_KEY, "event_action": "resolve", "dedup_key": "k"})
    assert fake.open == {}


def test_after_a_resolve_a_trigger_opens_another_alert(fake: FakePagerDuty) -> None:
    for action in ("trigger", "resolve", "trigger"):
        send(fake, {**TRIGGER, "event_action": action})
    assert [alert.is_open for alert in fake.alerts] == [False, True]


def test_a_resolve_without_an_alert_is_accepted_and_dropped(fake: FakePagerDuty) -> None:
    assert send(fake, {**TRIGGER, "event_action": "resolve"}).status_code == 202
    assert fake.alerts == []
    assert len(fake.dropped) == 1


def test_a_change_opens_nothing(fake: FakePagerDuty) -> None:
    assert send(fake, CHANGE, "/v2/change/enqueue").status_code == 202
    assert (fake.alerts, len(fake.changes)) == ([], 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "unknown field"),
        ({"routing_key": None}, "'routing_key' is missing"),
        ({"routing_key": "x" * 31}, "Length of 'routing_key'"),
        ({"routing_key": "-" * 32}, "non-alphanumeric"),
        ({"event_action": "open"}, "'event_action'"),
        ({"dedup_key": "k" * 256}, "at most 255"),
        ({"dedup_key": ""}, "at most 255"),
        ({"event_action": "resolve", "dedup_key": None}, "'dedup_key' is missing"),
        ({"payload": None}, "'payload' is missing"),
        ({"payload": {**PAYLOAD, "colour": "red"}}, "unknown field"),
        ({"payload": {**PAYLOAD, "summary": " "}}, "'payload.summary' is missing"),
        ({"payload": {**PAYLOAD, "summary": "x" * 1_025}}, "longer than 1024"),
        ({"payload": {"summary": "x", "severity": "error"}}, "'payload.source' is missing"),
        ({"payload": {**PAYLOAD, "source": ""}}, "'payload.source' is no text"),
        ({"payload": {**PAYLOAD, "component": 1}}, "'payload.component' is no text"),
        ({"payload": {**PAYLOAD, "severity": "bad"}}, "'payload.severity'"),
        ({"payload": {**PAYLOAD, "timestamp": "yesterday"}}, "'payload.timestamp'"),
        ({"payload": {**PAYLOAD, "custom_details": "x"}}, "'payload.custom_details'"),
        ({"links": [{"text": "x"}]}, "'links'"),
        ({"links": "x"}, "'links'"),
        ({"images": [{"href": "x"}]}, "'images'"),
        ({"client": 1}, "'client'"),
    ],
)
def test_a_wrong_event_is_refused(fake: FakePagerDuty, change: dict[str, Any], said: str) -> None:
    answer = send(fake, {**TRIGGER, **change})
    assert answer.status_code == 400
    assert said in "\n".join(answer.json()["errors"])
    assert fake.alerts == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"event_action": "trigger"}, "unknown field"),
        ({"client": "x"}, "unknown field"),
        ({"images": []}, "unknown field"),
        ({"payload": {"summary": "x", "severity": "info"}}, "unknown field"),
        ({"payload": {}}, "'payload.summary'"),
        ({"routing_key": "x"}, "Length"),
    ],
)
def test_a_wrong_change_is_refused(change: dict[str, Any], said: str) -> None:
    assert said in "\n".join(problems_of_event({**CHANGE, **change}, is_change=True))


def test_an_unknown_key_a_body_that_is_no_json_and_one_that_is_too_large_are_refused(fake: FakePagerDuty) -> None:
    unknown = send(fake, {**TRIGGER, "routing_key": "x" * 32})
    assert (unknown.status_code, unknown.json()["message"]) == (400, "Invalid routing key")
    assert httpx.post(f"{fake.server.url}/v2/enqueue", content=b"{").status_code == 400
    assert httpx.post(f"{fake.server.url}/v2/enqueue", json=TRIGGER, headers={"Content-Type": "text/x"}).is_error
    large = {**TRIGGER, "payload": {**PAYLOAD, "custom_details": {"x": "x" * 512_000}}}
    assert "512 KB" in send(fake, large).text
    assert send(fake, TRIGGER, "/v2/elsewhere").status_code == 404


@pytest.mark.slow
def test_there_are_120_calls_a_minute(fake: FakePagerDuty) -> None:
    """Counted back from now, where it is switched on."""
    now = [0.0]
    fake.is_limited, fake.clock = True, lambda: now[0]
    statuses = []
    for number in range(122):
        now[0] = number / 10
        statuses.append(send(fake, TRIGGER).status_code)
    assert statuses == [202] * 120 + [429] * 2
    now[0] = 60.0
    assert send(fake, TRIGGER).status_code == 202
