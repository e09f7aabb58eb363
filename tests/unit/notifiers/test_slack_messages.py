"""What is rendered for Slack is what Slack takes, whatever the notice holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.notifiers.slack import ADAPTER, Mentions, Slack, SlackOptions
from engine.adapter import NotifierContext, Reference
from engine.credential_events import Cause
from engine.notices import Notice, NoticeKind
from engine.values import Secret
from tests.sinks.slack_schema import mentions, problems_of_message, texts
from tests.unit.notifiers import drawn

WEBHOOK = Reference.parse("env://SLACK_WEBHOOK")
TOKEN = Reference.parse("env://SLACK_TOKEN")
CONTEXT = NotifierContext("slack", "db", "production", Path(), lambda reference: Secret("canary"))
ONCALL = Mentions(on_failure=("@oncall",), on_rollback=("U0123ABCD", "@here"))
IDS = {"@oncall": "S0123ABCD"}


def slack(**options: Any) -> Slack:
    """Return a channel of a webhook, or of what is given."""
    given = options if "token" in options else {"webhook_url": WEBHOOK, **options}
    built = ADAPTER.build(SlackOptions(**given), CONTEXT)
    assert isinstance(built, Slack)
    assert not built.validate()
    return built


BOT = slack(token=TOKEN, channel="#ops", mentions=ONCALL, mention_ids=IDS)
HOOK = slack(mentions=ONCALL, mention_ids=IDS)


def body(channel: Slack, *notices: Notice, dropped: int = 0) -> dict[str, Any]:
    """Return the message of notices, decoded."""
    decoded: dict[str, Any] = msgspec.json.decode(channel.render(notices, key="key", dropped=dropped).content)
    return decoded


def visible(message: dict[str, Any]) -> str:
    """Return all that a person reads in a message."""
    joined = "\n".join(text["text"] for text in texts(message["blocks"]))
    return joined.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.slow
@given(drawn.notices)
def test_a_message_is_always_one_that_slack_takes(notice: Notice) -> None:
    """Within every limit, nothing unescaped, only the mentions that were configured."""
    for channel in (HOOK, BOT):
        outgoing = channel.render([notice], key="key")
        for content in (outgoing.content, *outgoing.further):
            message = msgspec.json.decode(content)
            assert problems_of_message(message) == []
            assert set(mentions(message["blocks"])) <= {"<!subteam^S0123ABCD>", "<@U0123ABCD>", "<!here>"}


@pytest.mark.slow
@given(st.lists(drawn.notices, min_size=1, max_size=60), st.integers(0, 10_000))
def test_a_digest_is_always_one_that_slack_takes(notices: list[Notice], dropped: int) -> None:
    for channel in (HOOK, BOT):
        outgoing = channel.render(notices, key="key", dropped=dropped)
        assert problems_of_message(msgspec.json.decode(outgoing.content)) == []


@pytest.mark.slow
@given(drawn.notices)
def test_the_same_notice_makes_the_same_bytes(notice: Notice) -> None:
    assert BOT.render([notice], key="a") == BOT.render([notice], key="a")


@pytest.mark.slow
@given(drawn.notices)
def test_all_that_people_read_is_told_unescaped(notice: Notice) -> None:
    """What searches for secrets must see the texts as they are, not as they are escaped."""
    outgoing = BOT.render([notice], key="key")
    shown = "\n".join(outgoing.readable)
    for content in (outgoing.content, *outgoing.further):
        assert visible(msgspec.json.decode(content)) in shown


@pytest.mark.parametrize("kind", NoticeKind)
def test_a_sample_of_each_kind_says_what_happened(kind: NoticeKind) -> None:
    notice = drawn.of(kind)
    said = visible(body(HOOK, notice))
    assert notice.rotation_id in said
    assert notice.next_steps[0] in said
    assert notice.reason in said


@pytest.mark.parametrize(
    ("kind", "mentioned"),
    [
        (NoticeKind.STARTED, []),
        (NoticeKind.COMPLETED, []),
        (NoticeKind.WAVE_COMPLETED, []),
        (NoticeKind.PAUSED, []),
        (NoticeKind.RESUMED, []),
        (NoticeKind.WAITING, []),
        (NoticeKind.OVERDUE, []),
        (NoticeKind.FAILED, ["<!subteam^S0123ABCD>"]),
        (NoticeKind.UNDELIVERED, ["<!subteam^S0123ABCD>"]),
        (NoticeKind.ROLLBACK_STARTED, ["<!subteam^S0123ABCD>", "<@U0123ABCD>", "<!here>"]),
        (NoticeKind.ROLLED_BACK, ["<@U0123ABCD>", "<!here>"]),
        (NoticeKind.ROLLBACK_FAILED, ["<!subteam^S0123ABCD>", "<@U0123ABCD>", "<!here>"]),
    ],
)
def test_people_are_mentioned_when_something_failed_or_goes_back(kind: NoticeKind, mentioned: list[str]) -> None:
    """And in no other message, so that a mention means something."""
    assert mentions(body(HOOK, drawn.of(kind))["blocks"]) == mentioned


def test_the_first_message_of_a_thread_mentions_nobody_when_it_is_edited() -> None:
    outgoing = BOT.render([drawn.of(NoticeKind.FAILED)], key="key")
    assert mentions(msgspec.json.decode(outgoing.content)["blocks"])
    assert not mentions(msgspec.json.decode(outgoing.further[0])["blocks"])


def test_a_rollback_that_a_person_asked_for_is_no_failure() -> None:
    asked = replace(drawn.of(NoticeKind.ROLLBACK_STARTED), automatic=False)
    assert mentions(body(HOOK, asked)["blocks"]) == ["<@U0123ABCD>", "<!here>"]


def test_the_cause_is_kept_when_everything_is_too_long() -> None:
    """2,900 characters of it; the details give way."""
    message = "refused: " + "x" * 2_800 + " (end)"
    cause = Cause("verify", "rejected", message, "r" * 90_000)
    notice = replace(drawn.of(NoticeKind.FAILED), cause=cause, reason="y" * 90_000, actor="z" * 90_000)
    content = body(HOOK, notice)
    assert message in visible(content)
    assert problems_of_message(content) == []


@pytest.mark.parametrize("count", [1, 300])
def test_all_texts_at_their_longest_fit_together(count: int) -> None:
    """With as many mentions as are allowed, with the longest ids."""
    everybody = tuple(f"<!subteam^S{number:020d}>" for number in range(20))
    long = "x" * 90_000
    notice = replace(
        drawn.of(NoticeKind.ROLLBACK_FAILED),
        service=long,
        environment=long,
        rotation_id=long,
        strategy=long,
        version=long,
        previous_version=long,
        actor=long,
        reason=long,
        cause=Cause(long, long, long, long),
        next_steps=(long,),
    )
    content = body(slack(mentions=Mentions(on_failure=everybody)), *[notice] * count)
    assert mentions(content["blocks"]) == list(everybody)
    assert problems_of_message(content) == []


def test_a_cause_is_cut_at_a_whole_character() -> None:
    """An escaped sign is never cut in two, and the beginning is what stays."""
    cause = Cause("verify", "rejected", "<" * 90_000)
    said = visible(body(HOOK, replace(drawn.of(NoticeKind.FAILED), cause=cause)))
    assert re.search("```<{500,}…```", said)


def test_markup_in_a_text_stays_what_it_is() -> None:
    """Nobody is mentioned by what a target or a person wrote, and code stays code to its end."""
    cause = Cause("verify", "rejected", "```<!channel> <@U0123ABCD> & <https://x.example|y>")
    notice = replace(drawn.of(NoticeKind.FAILED), cause=cause, reason="<!everyone> *now*")
    content = body(slack(), notice)
    assert mentions(content["blocks"]) == []
    said = visible(content)
    assert "\u02cb\u02cb\u02cb<!channel> <@U0123ABCD> & <https://x.example|y>" in said
    assert "Reason: <!everyone> *now*" in said
    assert {text["type"] for text in texts(content["blocks"]) if "*now*" in text["text"]} == {"plain_text"}


def test_a_digest_names_failures_first_and_counts_what_does_not_fit() -> None:
    many = [replace(drawn.of(NoticeKind.COMPLETED), service=f"service-{number}") for number in range(300)]
    failed = replace(drawn.of(NoticeKind.FAILED), service="the-failed-one")
    content = body(HOOK, *many, failed, dropped=7)
    said = visible(content)
    first, listed = said.index("the-failed-one"), len(re.findall("service-[0-9]+ has", said))
    assert first < said.index("service-0 ")
    assert "301 notifications, and 7 more" in said
    assert f"… and {300 - listed} more" in said
    assert listed > 50
    assert problems_of_message(content) == []


def test_one_notice_that_stands_for_dropped_ones_is_a_digest() -> None:
    assert "and 3 more" in body(HOOK, drawn.of(NoticeKind.STARTED), dropped=3)["text"]


def test_the_fallback_says_what_happened_and_why() -> None:
    """It is what a telephone shows, and what a screen reader reads."""
    text = body(HOOK, drawn.of(NoticeKind.FAILED))["text"]
    assert text == "Rotation of production/db failed: a test: the target refused the new value"


def test_a_webhook_is_told_nothing_that_only_a_bot_may() -> None:
    """An app's webhook has a channel of its own, and refuses to be told another."""
    channel = slack(channel="#ops")
    assert set(body(channel, drawn.of(NoticeKind.FAILED))) == {"text", "blocks", "unfurl_links", "unfurl_media"}
    assert channel.render([drawn.of(NoticeKind.FAILED)], key="key").further == ()


def test_a_bot_says_the_key_so_that_a_message_posted_twice_can_be_told() -> None:
    metadata = body(BOT, drawn.of(NoticeKind.STARTED))["metadata"]
    assert metadata == {"event_type": "keyturn_notification", "event_payload": {"key": "key"}}


def test_what_is_of_no_rotation_has_no_thread() -> None:
    notice = replace(drawn.of(NoticeKind.OVERDUE), rotation_id="")
    assert BOT.render([notice], key="key").further == ()
    assert BOT.render([drawn.of(NoticeKind.STARTED)] * 2, key="key").further == ()
