"""The fake Slack refuses what Slack refuses: one wrong message for each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sinks.slack_schema import problems_of_message


def plain(text: str = "x", **more: Any) -> dict[str, Any]:
    """Return a text object."""
    return {"type": "plain_text", "text": text, **more}


def markup(text: str = "x", **more: Any) -> dict[str, Any]:
    """Return a text object with markup."""
    return {"type": "mrkdwn", "text": text, **more}


def section(**parts: Any) -> dict[str, Any]:
    """Return a section."""
    return {"type": "section", **parts}


HEADER = {"type": "header", "text": plain()}


@pytest.mark.parametrize(
    "blocks",
    [
        [HEADER],
        [{"type": "header", "text": plain("x" * 150, emoji=True), "block_id": "b" * 255}],
        [section(text=markup("x" * 3_000, verbatim=True))],
        [section(fields=[markup("x" * 1_000)] * 10)],
        [section(text=markup("<!here> <@U0123ABCD> <!subteam^S0123ABCD> &lt;&gt;&amp;"))],
        [{"type": "context", "elements": [markup(), plain()]}],
        [{"type": "divider"}] * 50,
    ],
)
def test_what_is_within_the_limits_is_taken(blocks: list[dict[str, Any]]) -> None:
    assert problems_of_message({"text": "x", "blocks": blocks}) == []


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ("x", "no list"),
        (["x"], "no list"),
        ([], "0 blocks"),
        ([HEADER] * 51, "51 blocks"),
        ([{"type": "image"}], "unknown type"),
        ([{"text": plain()}], "unknown type"),
        ([{**HEADER, "colour": "red"}], "unknown field"),
        ([{**HEADER, "block_id": ""}], "block_id"),
        ([{**HEADER, "block_id": "b" * 256}], "block_id"),
        ([{**HEADER, "block_id": "b"}] * 2, "stands twice"),
        ([{"type": "header", "text": plain("x" * 151)}], "a text of 151"),
        ([{"type": "header", "text": plain("🔑" * 76)}], "a text of 152"),
        ([{"type": "header", "text": markup()}], "plain_text"),
        ([{"type": "header", "text": "x"}], "missing"),
        ([{"type": "header"}], "missing"),
        ([section()], "text or fields"),
        ([section(text=markup("x" * 3_001))], "a text of 3001"),
        ([section(text=markup(""))], "empty"),
        ([section(text={"type": "mrkdwn"})], "empty"),
        ([section(text={"type": "markdown", "text": "x"})], "type 'markdown'"),
        ([section(text=markup(emoji=True))], "unknown field"),
        ([section(text=plain(verbatim=True))], "unknown field"),
        ([section(text=plain(emoji="yes"))], "true or false"),
        ([section(text=markup("a & b"))], "unescaped"),
        ([section(text=markup("a < b"))], "unescaped"),
        ([section(text=markup("a > b"))], "unescaped"),
        ([section(text=markup("&quot;"))], "unescaped"),
        ([section(text=markup("<https://x.example|y>"))], "unescaped"),
        ([section(text=markup("<!subteam^S0123ABCD|x>"))], "unescaped"),
        ([section(text=plain("<!here>"))], "notifies nobody"),
        ([section(text=plain("\x00"))], "control"),
        ([section(fields=[])], "1 to 10"),
        ([section(fields=[markup()] * 11)], "1 to 10"),
        ([section(fields=[markup("x" * 2_001)])], "a text of 2001"),
        ([{"type": "context", "elements": []}], "1 to 10"),
        ([{"type": "context", "elements": [plain()] * 11}], "1 to 10"),
        ([{"type": "divider", "text": plain()}], "unknown field"),
        ([section(text=plain("x" * 3_000))] * 4, "msg_blocks_too_long"),
    ],
)
def test_a_wrong_block_is_refused(blocks: object, said: str) -> None:
    assert said in "\n".join(problems_of_message({"text": "x", "blocks": blocks}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no_text"),
        ("", "no_text"),
        ("<b>", "unescaped"),
        ("\x1b", "control"),
        ("x" * 4_001, "msg_too_long"),
    ],
)
def test_a_wrong_fallback_is_refused(text: object, said: str) -> None:
    assert said in "\n".join(problems_of_message({"text": text, "blocks": [HEADER]}))
