"""The fake Slack answers as Slack does: one wrong call for each rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.sinks.slack import CHANNEL, CHANNEL_ID, TOKEN, FakeSlack, fake_slack

BLOCKS = [{"type": "divider"}]
GOOD = {"channel": CHANNEL, "text": "x", "blocks": BLOCKS}


@pytest.fixture
def fake() -> Iterator[FakeSlack]:
    """A workspace."""
    with fake_slack() as slack:
        yield slack


def call(fake: FakeSlack, method: str, body: object, **headers: str) -> dict[str, Any]:
    """Call a method, as a bot that may."""
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json; charset=utf-8", **headers}
    said: dict[str, Any] = httpx.post(f"{fake.api_url}/{method}", json=body, headers=sent).json()
    return said


def test_a_message_is_posted_answered_and_edited(fake: FakeSlack) -> None:
    posted = call(fake, "chat.postMessage", GOOD)
    assert posted["channel"] == CHANNEL_ID
    answer = call(fake, "chat.postMessage", {**GOOD, "thread_ts": posted["ts"], "reply_broadcast": True})
    edit = {"channel": CHANNEL_ID, "ts": posted["ts"], "text": "y", "blocks": BLOCKS}
    assert call(fake, "chat.update", edit)["ok"]
    assert [(each.ts, each.thread, each.edits) for each in fake.messages] == [
        (posted["ts"], "", 1),
        (answer["ts"], posted["ts"], 0),
    ]
    assert fake.calls == ["chat.postMessage", "chat.postMessage", "chat.update"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"channel": "#nowhere"}, "channel_not_found"),
        ({"channel": None}, "channel_not_found"),
        ({"text": ""}, "no_text"),
        ({"blocks": []}, "invalid_blocks"),
        ({"username": "keyturn"}, "invalid_arguments"),
        ({"unfurl_links": "no"}, "invalid_arguments"),
        ({"metadata": {"event_type": "x"}}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "x y", "event_payload": {}}}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "x", "event_payload": {"a": None}}}, "invalid_metadata_format"),
        ({"thread_ts": "yesterday"}, "invalid_thread_ts"),
        ({"thread_ts": "1790000000.000001"}, "thread_not_found"),
        ({"reply_broadcast": True}, "invalid_arguments"),
    ],
)
def test_a_wrong_message_is_refused(fake: FakeSlack, change: dict[str, Any], error: str) -> None:
    """With HTTP 200, as every error of the Web API but one."""
    assert call(fake, "chat.postMessage", {**GOOD, **change})["error"] == error
    assert fake.messages == []


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Authorization": ""}, "not_authed"),
        ({"Authorization": "Bearer xoxb-other"}, "invalid_auth"),
        ({"Content-Type": "application/json"}, "invalid_post_type"),
    ],
)
def test_a_wrong_call_is_refused(fake: FakeSlack, headers: dict[str, str], error: str) -> None:
    assert call(fake, "chat.postMessage", GOOD, **headers)["error"] == error


def test_an_unknown_method_and_a_body_that_is_no_object_are_refused(fake: FakeSlack) -> None:
    assert call(fake, "chat.shout", GOOD)["error"] == "unknown_method"
    assert call(fake, "chat.postMessage", [])["error"] == "invalid_json"


def test_only_a_message_that_is_there_is_edited(fake: FakeSlack) -> None:
    """By the id of its channel, and with no argument that only posting has."""
    ts = call(fake, "chat.postMessage", GOOD)["ts"]
    edit = {"channel": CHANNEL_ID, "ts": ts, "text": "y", "blocks": BLOCKS}
    assert call(fake, "chat.update", {**edit, "ts": "1.000000"})["error"] == "message_not_found"
    assert call(fake, "chat.update", {**edit, "channel": CHANNEL})["error"] == "channel_not_found"
    assert call(fake, "chat.update", {**edit, "unfurl_links": False})["error"] == "invalid_arguments"
    fake.delete(ts)
    assert call(fake, "chat.update", edit)["error"] == "message_not_found"


def test_a_locked_thread_takes_no_answer(fake: FakeSlack) -> None:
    ts = call(fake, "chat.postMessage", GOOD)["ts"]
    fake.locked_threads.add(ts)
    assert call(fake, "chat.postMessage", {**GOOD, "thread_ts": ts})["error"] == "restricted_action_thread_locked"


def test_a_channel_takes_one_message_a_second(fake: FakeSlack) -> None:
    """Where it is switched on: HTTP 429, and how long to wait."""
    now = [100.0]
    fake.is_limited, fake.clock = True, lambda: now[0]
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json; charset=utf-8"}
    answers = []
    for now[0] in (100.0, 100.9, 101.0):
        answers.append(httpx.post(f"{fake.api_url}/chat.postMessage", json=GOOD, headers=headers))
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[1].headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"text": "x", "blocks": BLOCKS, "unfurl_links": False}, 200, "ok"),
        ({"text": "x", "blocks": BLOCKS, "channel": CHANNEL}, 400, "invalid_payload"),
        ({"text": "x", "blocks": BLOCKS, "unfurl_links": 0}, 400, "invalid_payload"),
        ({"blocks": BLOCKS}, 400, "no_text"),
        ({"text": "x", "blocks": []}, 400, "invalid_blocks"),
        ([], 400, "invalid_payload"),
    ],
)
def test_a_webhook_answers_with_a_word(fake: FakeSlack, body: object, status: int, said: str) -> None:
    answer = httpx.post(fake.webhook_url, json=body)
    assert (answer.status_code, answer.text) == (status, said)


def test_a_webhook_takes_json_alone_and_only_at_its_own_url(fake: FakeSlack) -> None:
    assert httpx.post(fake.webhook_url, content=b"payload").text == "invalid_payload"
    assert httpx.post(f"{fake.webhook_url}-no", json=GOOD).text == "no_service"
