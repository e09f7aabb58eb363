"""A notice gets to Slack, into its thread, and every answer is judged: against a strict fake."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.notifiers.slack import ADAPTER, Mentions, SlackOptions
from engine.adapter import Duration, NotifierContext, Reference
from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain
from engine.notices import Notice, NoticeKind
from engine.notifier import Notifier
from engine.values import SECOND, Secret
from tests.sinks.slack import CHANNEL, CHANNEL_ID, TOKEN, FakeSlack, fake_slack
from tests.sinks.slack_schema import mentions
from tests.sinks.vendor_server import Fault, Reply
from tests.unit.notifiers import drawn

HOOK, BOT = Reference.parse("env://HOOK"), Reference.parse("env://TOKEN")
STARTED = drawn.of(NoticeKind.STARTED)
FAILED = drawn.of(NoticeKind.FAILED)
COMPLETED = drawn.of(NoticeKind.COMPLETED)


@pytest.fixture
def fake() -> Iterator[FakeSlack]:
    """A workspace."""
    with fake_slack() as slack:
        yield slack


def notifier(fake: FakeSlack, reference: Reference, *, token: str = TOKEN, url: str = "", **options: Any) -> Notifier:
    """Return a channel that reads its secrets from here."""
    secrets = {str(HOOK): url or fake.webhook_url, str(BOT): token}
    context = NotifierContext("slack", "db", "production", Path(), lambda given: Secret(secrets[str(given)]))
    given: dict[str, Any] = {"webhook_url": HOOK} if reference is HOOK else {"token": BOT, "channel": CHANNEL}
    given |= {"api_url": fake.api_url, "mentions": Mentions(on_failure=("@here",)), **options}
    built = ADAPTER.build(SlackOptions(**given), context)
    assert not built.validate()
    return built


def tell(channel: Notifier, *notices: Notice, key: str = "key", thread: str = "") -> str:
    """Render and send; return the receipt."""
    return channel.send(channel.render(notices, key=key), key=key, thread=thread)


def titles(fake: FakeSlack) -> list[str]:
    """Return the headers of what stands in the channel."""
    return [message.body["blocks"][0]["text"]["text"] for message in fake.messages]


def test_a_webhook_posts(fake: FakeSlack) -> None:
    assert tell(notifier(fake, HOOK), FAILED) == ""
    assert titles(fake) == ["❌ Rotation of production/db failed"]
    assert mentions(fake.messages[0].body["blocks"]) == ["<!here>"]


@pytest.mark.parametrize("reference", [HOOK, BOT], ids=["webhook", "bot"])
@pytest.mark.parametrize("kind", NoticeKind)
def test_slack_takes_a_notice_of_every_kind(fake: FakeSlack, reference: Reference, kind: NoticeKind) -> None:
    channel = notifier(fake, reference)
    first = tell(channel, drawn.of(kind))
    tell(channel, drawn.of(kind), thread=first)
    assert len(fake.messages) == 2


def test_a_bot_keeps_one_thread_a_rotation_and_its_first_message_up_to_date(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED, key="1")
    assert root == f"{CHANNEL_ID}:{fake.messages[0].ts}"
    tell(channel, FAILED, key="2", thread=root)
    tell(channel, COMPLETED, key="3", thread=root)
    assert titles(fake) == [
        "✅ production/db has a new credential",
        "❌ Rotation of production/db failed",
        "✅ production/db has a new credential",
    ]
    assert [message.thread for message in fake.messages] == ["", fake.messages[0].ts, fake.messages[0].ts]
    assert fake.messages[0].edits == 2


def test_a_failure_in_a_thread_is_shown_in_the_channel_as_well(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    tell(channel, FAILED, thread=root)
    tell(channel, COMPLETED, thread=root)
    assert [message.body.get("reply_broadcast") for message in fake.messages] == [None, True, False]


def test_each_message_of_a_bot_carries_its_key_and_an_edit_keeps_that_of_the_first(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED, key="first")
    tell(channel, COMPLETED, key="second", thread=root)
    keys = [message.body["metadata"]["event_payload"]["key"] for message in fake.messages]
    assert keys == ["first", "second"]


def test_a_digest_joins_a_thread_without_editing_its_first_message(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    tell(channel, COMPLETED, replace(COMPLETED, service="other"), thread=root)
    assert fake.messages[0].edits == 0


@pytest.mark.parametrize("word", ["message_not_found", "cant_update_message", "edit_window_closed"])
def test_a_first_message_that_cannot_be_edited_stays_as_it_is(fake: FakeSlack, word: str) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    fake.refuse(word)
    tell(channel, FAILED, thread=root)
    assert [message.thread != "" for message in fake.messages] == [False, True]


def test_where_a_thread_was_deleted_or_locked_a_message_is_posted_on_its_own(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    fake.delete(fake.messages[0].ts)
    tell(channel, FAILED, thread=root)
    second = tell(channel, STARTED)
    fake.locked_threads.add(fake.messages[-1].ts)
    tell(channel, FAILED, thread=second)
    assert [message.thread for message in fake.messages] == ["", "", ""]


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.HALF_AN_ANSWER])
def test_an_edit_whose_answer_is_lost_is_tried_again_and_nothing_is_posted_twice(fake: FakeSlack, fault: Fault) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    fake.lose(fault)
    with pytest.raises(Unavailable):
        tell(channel, FAILED, thread=root)
    tell(channel, FAILED, thread=root)
    assert len(fake.messages) == 2


def test_an_edit_that_has_to_wait_is_waited_for_before_anything_is_posted(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    fake.refuse("ratelimited")
    with pytest.raises(Throttled) as caught:
        tell(channel, FAILED, thread=root)
    assert caught.value.after == 7 * SECOND
    assert len(fake.messages) == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ratelimited", Throttled),
        ("rate_limited", Throttled),
        ("service_unavailable", Unavailable),
        ("team_added_to_org", Unavailable),
        ("internal_error", Uncertain),
        ("fatal_error", Uncertain),
        ("invalid_blocks", Rejected),
        ("msg_too_long", Rejected),
        ("something_new", Rejected),
        ("Not A Word: canary", Rejected),
        ("channel_not_found", SinkGone),
        ("is_archived", SinkGone),
        ("not_in_channel", SinkGone),
        ("invalid_auth", SinkGone),
        ("token_revoked", SinkGone),
        ("token_expired", SinkGone),
        ("account_inactive", SinkGone),
        ("missing_scope", SinkGone),
        ("restricted_action", SinkGone),
    ],
)
def test_an_error_of_the_web_api_comes_with_http_200_and_is_judged_by_its_word(
    fake: FakeSlack, word: str, expected: type[PortError]
) -> None:
    fake.refuse(word)
    with pytest.raises(PortError) as caught:
        tell(notifier(fake, BOT), FAILED)
    assert type(caught.value) is expected
    assert "canary" not in str(caught.value)
    assert fake.messages == []


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b"invalid_payload", Rejected),
        (400, b"invalid_blocks", Rejected),
        (403, b"action_prohibited", SinkGone),
        (403, b"invalid_token", SinkGone),
        (404, b"channel_not_found", SinkGone),
        (404, b"no_service", SinkGone),
        (410, b"channel_is_archived", SinkGone),
        (410, b"", SinkGone),
        (429, b"rate_limited", Throttled),
        (500, b"rollup_error", Unavailable),
        (503, b"<html>canary</html>", Unavailable),
        (302, b"", Rejected),
        (418, b"Canary was here", Rejected),
    ],
)
def test_an_error_of_a_webhook_is_judged_by_its_word_and_its_status(
    fake: FakeSlack, status: int, body: bytes, expected: type[PortError]
) -> None:
    fake.server.order(Reply(status, body, {"Location": "/elsewhere"}))
    with pytest.raises(PortError) as caught:
        tell(notifier(fake, HOOK), FAILED)
    assert type(caught.value) is expected
    assert "anary" not in str(caught.value)
    assert len(fake.server.requests) == 1, "no redirect is followed, and nothing is tried again"


def test_what_slack_asks_to_wait_is_passed_on(fake: FakeSlack) -> None:
    fake.server.order(Reply(429, b"rate_limited", {"Retry-After": "30"}))
    with pytest.raises(Throttled) as caught:
        tell(notifier(fake, HOOK), FAILED)
    assert caught.value.after == 30 * SECOND


@pytest.mark.parametrize("reference", [HOOK, BOT], ids=["webhook", "bot"])
@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.SILENCE])
def test_without_an_answer_nobody_knows(fake: FakeSlack, reference: Reference, fault: Fault) -> None:
    fake.lose(fault)
    with pytest.raises(Uncertain):
        tell(notifier(fake, reference, timeout=Duration(SECOND // 10)), FAILED)


@pytest.mark.slow
def test_a_timeout_is_kept_to(fake: FakeSlack) -> None:
    """Which is 10 s where nothing else is said."""
    fake.lose(Fault.SILENCE)
    began = time.monotonic()
    with pytest.raises(Uncertain):
        tell(notifier(fake, HOOK, timeout=Duration(SECOND // 10)), FAILED)
    assert time.monotonic() - began < 5


def test_a_webhook_needs_no_more_than_the_status_but_a_bot_reads_the_answer(fake: FakeSlack) -> None:
    fake.lose(Fault.HALF_AN_ANSWER)
    with pytest.raises(Uncertain):
        tell(notifier(fake, BOT), FAILED)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, b"<html>a proxy</html>"), Uncertain),
        (Reply(200, b"[]"), Uncertain),
        (Reply(200, b"{}"), Uncertain),
        (Reply(200, b'{"ok": "yes"}'), Uncertain),
        (Reply(404, b"<html>no such page</html>"), Rejected),
        (Reply(502, b"<html>bad gateway</html>"), Unavailable),
        (Reply(302, b"", {"Location": "/elsewhere"}), Rejected),
    ],
)
def test_an_answer_that_is_none_of_the_web_api_is_judged(
    fake: FakeSlack, reply: Reply, expected: type[PortError]
) -> None:
    """Only `ok: true` says that a message was taken."""
    fake.server.order(reply)
    with pytest.raises(PortError) as caught:
        tell(notifier(fake, BOT), FAILED)
    assert type(caught.value) is expected


def test_where_slack_does_not_tell_the_place_there_is_no_receipt(fake: FakeSlack) -> None:
    """The message was taken, and what follows begins a thread of its own."""
    fake.server.order(Reply(200, b'{"ok": true}'))
    assert tell(notifier(fake, BOT), FAILED) == ""


def test_everything_that_is_selected_is_told(fake: FakeSlack) -> None:
    channel = notifier(fake, HOOK)
    for kind in NoticeKind:
        assert channel.supports(drawn.of(kind), selected=True)
        assert not channel.supports(drawn.of(kind), selected=False)


def test_a_channel_at_its_limit_asks_to_wait(fake: FakeSlack) -> None:
    now = [100.0]
    fake.is_limited, fake.clock = True, lambda: now[0]
    channel = notifier(fake, BOT)
    tell(channel, FAILED)
    with pytest.raises(Throttled) as caught:
        tell(channel, FAILED)
    assert caught.value.after == SECOND
    now[0] += 1.0
    tell(channel, FAILED)
    assert len(fake.messages) == 2


def test_a_server_that_is_not_there_is_unavailable(fake: FakeSlack) -> None:
    with pytest.raises(Unavailable):
        tell(notifier(fake, HOOK, url="http://127.0.0.1:1/services/canary"), FAILED)


@pytest.mark.parametrize("url", ["http://hooks.slack.example/canary", "canary", "ftp://canary/", "https://[canary", ""])
def test_a_webhook_url_that_would_be_sent_unprotected_is_not_used(fake: FakeSlack, url: str) -> None:
    with pytest.raises(Rejected) as caught:
        tell(notifier(fake, HOOK, url=url or " "), FAILED)
    assert "canary" not in str(caught.value)


def no_secret(act: Callable[[], object], *secrets: str) -> None:
    """Do what fails, and see that no secret is in what is said of it."""
    with pytest.raises(PortError) as caught:
        act()
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.fields)
    for secret in secrets:
        assert secret not in told


def test_no_error_shows_the_webhook_url_or_the_token(fake: FakeSlack) -> None:
    """Whatever goes wrong: the answer, the connection, or the secret itself."""
    hook, path = notifier(fake, HOOK), "canary-webhook-path"
    fake.server.order(Reply(500), Reply(302, b"", {"Location": fake.webhook_url}), Reply(404, b"no_service"))
    fake.lose(Fault.LOSE_REQUEST)
    for _ in range(4):
        no_secret(partial(tell, hook, FAILED), path)
    bot = notifier(fake, BOT)
    fake.refuse("invalid_auth", "internal_error", TOKEN)
    fake.lose(Fault.LOSE_REQUEST)
    for _ in range(4):
        no_secret(partial(tell, bot, FAILED), TOKEN)
    for ending in ("\nX-Header: x", "-ключ", "\x00"):
        bad = notifier(fake, BOT, token=TOKEN + ending)
        no_secret(partial(tell, bad, FAILED), TOKEN)
    assert fake.messages == []


def test_the_token_goes_into_the_header_alone(fake: FakeSlack) -> None:
    channel = notifier(fake, BOT)
    root = tell(channel, STARTED)
    tell(channel, FAILED, thread=root)
    for request in fake.server.requests:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN.encode() not in request.body


def test_a_receipt_that_is_none_begins_no_thread(fake: FakeSlack) -> None:
    """Such as one that another channel gave: the message is posted on its own."""
    tell(notifier(fake, BOT), FAILED, thread="<message-id@example>")
    assert [message.thread for message in fake.messages] == [""]
