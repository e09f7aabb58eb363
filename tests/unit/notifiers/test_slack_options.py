"""The options of the channel slack: what is refused before anything is sent, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.notifiers.slack import ADAPTER, SlackOptions, markup_of
from engine.adapter import Duration, NotifierContext, Reference
from engine.values import SECOND, Secret

WEBHOOK = Reference.parse("store://local/slack")
CONTEXT = NotifierContext("slack", "db", "production", Path(), lambda reference: Secret("canary"))


def options(**given: Any) -> SlackOptions:
    """Read options as the configuration does."""
    return msgspec.convert(given, SlackOptions, dec_hook=lambda kind, value: kind.parse(value))


def problems(**given: Any) -> str:
    """Return what is wrong with options, in one text."""
    return "\n".join(ADAPTER.build(options(**given), CONTEXT).validate())


@pytest.mark.parametrize(
    "given",
    [
        {"webhook_url": "env://HOOK"},
        {"webhook_url": "env://HOOK", "channel": "#ops"},
        {"token": "env://TOKEN", "channel": "#ops"},
        {"token": "env://TOKEN", "channel": "C0123ABCD", "api_url": "https://slack-gov.com/api"},
        {"webhook_url": "env://HOOK", "mentions": {"on_failure": ["@here", "@channel"]}},
        {
            "webhook_url": "env://HOOK",
            "mentions": {"on_rollback": ["U0123ABCD", "<@W0123ABCD>", "<!subteam^S0123ABCD>"]},
        },
        {"webhook_url": "env://HOOK", "mentions": {"on_failure": ["@oncall"]}, "mention_ids": {"@oncall": "S0123ABCD"}},
    ],
)
def test_what_can_be_meant_is_taken(given: dict[str, Any]) -> None:
    assert problems(**given) == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either `webhook_url` or `token`"),
        ({"webhook_url": "env://HOOK", "token": "env://TOKEN", "channel": "#ops"}, "not both"),
        ({"token": "env://TOKEN"}, "`channel` is missing"),
        ({"token": "env://TOKEN", "channel": "ops"}, "#name"),
        ({"token": "env://TOKEN", "channel": "#a b"}, "#name"),
        ({"webhook_url": "env://HOOK", "api_url": "http://slack.example/api"}, "https://"),
        ({"webhook_url": "env://HOOK", "timeout": "0s"}, "`timeout`"),
        ({"webhook_url": "env://HOOK", "timeout": "2m"}, "`timeout`"),
        ({"webhook_url": "env://HOOK", "mentions": {"on_failure": ["@oncall"]}}, "mention_ids"),
        ({"webhook_url": "env://HOOK", "mentions": {"on_rollback": ["@everyone"]}}, "mention_ids"),
        ({"webhook_url": "env://HOOK", "mentions": {"on_failure": ["<!subteam^S0123ABCD|x>"]}}, "mention_ids"),
        ({"webhook_url": "env://HOOK", "mention_ids": {"@oncall": "oncall"}}, "copied from its profile"),
        (
            {"webhook_url": "env://HOOK", "mentions": {"on_failure": [f"U{n:08d}" for n in range(21)]}},
            "mention a group",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(given: dict[str, Any], said: str) -> None:
    assert said in problems(**given)


@pytest.mark.parametrize("given", [{"webhok_url": "env://HOOK"}, {"webhook_url": "https://hooks.slack.com/canary"}])
def test_an_unknown_option_and_a_secret_in_the_configuration_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        options(**given)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("mention", "markup"),
    [
        ("@here", "<!here>"),
        ("@channel", "<!channel>"),
        ("U0123ABCD", "<@U0123ABCD>"),
        ("W0123ABCD", "<@W0123ABCD>"),
        ("S0123ABCD", "<!subteam^S0123ABCD>"),
        ("<@U0123ABCD>", "<@U0123ABCD>"),
        ("<!subteam^S0123ABCD>", "<!subteam^S0123ABCD>"),
        ("@db", "<@U0999ZZZZ>"),
        ("@unknown", ""),
        ("<@U0123ABCD", ""),
        ("U0123ABCD>", ""),
        ("<!subteam^U0123ABCD>", ""),
        ("<@S0123ABCD>", ""),
        ("U0123ABCD\n", ""),
        ("SRE", ""),
        ("", ""),
    ],
)
def test_a_mention_is_an_id_or_stands_for_one(mention: str, markup: str) -> None:
    assert markup_of(mention, {"@db": "U0999ZZZZ"}) == markup


def test_a_sink_is_told_by_references_and_never_by_a_secret() -> None:
    """Services with the same webhook, or the same bot and channel, share a queue; others do not."""
    sinks = {
        ADAPTER.sink(options(**given))
        for given in (
            {"webhook_url": "env://HOOK"},
            {"webhook_url": "env://HOOK", "channel": "#shown"},
            {"webhook_url": "env://OTHER"},
            {"token": "env://TOKEN", "channel": "#ops"},
            {"token": "env://TOKEN", "channel": "#dev"},
        )
    }
    assert len(sinks) == 4
    assert any("env://HOOK" in sink for sink in sinks)


def test_messages_go_out_once_a_second() -> None:
    pace = ADAPTER.build(options(webhook_url="env://HOOK"), CONTEXT).pace
    assert (pace.per_second, pace.burst) == (1.0, 1)


def test_a_timeout_has_a_default() -> None:
    assert options(webhook_url="env://HOOK").timeout == Duration(10 * SECOND)
