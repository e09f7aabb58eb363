"""The examples on the pages about Slack and PagerDuty can be configured so, and the pages name every option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from adapters.notifiers import pagerduty, slack
from adapters.notifiers.pagerduty_events import is_change, severity_of
from adapters.notifiers.slack_answers import GONE
from engine.adapter import NotifierAdapter, NotifierContext
from engine.notices import EVENT_WORDS, NoticeKind, Urgency
from engine.values import Secret
from tests.unit.notifiers import drawn

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
ADAPTERS = [slack.ADAPTER, pagerduty.ADAPTER]


def page(name: str) -> str:
    """Return the text of a page."""
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def channels(name: str) -> list[dict[str, Any]]:
    """Return what the examples of a page give their channel."""
    examples = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page(name), re.DOTALL)]
    return [service["notifications"][name] for example in examples for service in example["services"].values()]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_every_example_is_taken(adapter: NotifierAdapter) -> None:
    found = channels(adapter.name)
    assert found
    context = NotifierContext(adapter.name, "db", "production", PAGES, lambda reference: Secret("canary"))
    for given in found:
        assert set(given.pop("events")) <= set(EVENT_WORDS)
        options = msgspec.convert(given, adapter.options, dec_hook=lambda kind, raw: kind.parse(raw))
        assert not adapter.build(options, context).validate()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_every_option_has_its_row(adapter: NotifierAdapter) -> None:
    rows = "\n".join(re.findall(r"^\| (`.*?) \|", page(adapter.name), re.MULTILINE))
    assert [name for name in adapter.options.__struct_fields__ if f"`{name}`" not in rows] == []


def test_the_words_of_slack_that_disable_a_channel_are_ones_that_do() -> None:
    rows = re.findall(
        r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", page("slack").split("## When nothing arrives")[1], re.MULTILINE
    )
    named = [word for row in rows for word in re.findall(r"`([a-z_]+)`", row)]
    assert len(named) > 8
    assert [word for word in named if word not in GONE] == ["ratelimited"]


def test_the_page_of_pagerduty_leaves_no_kind_of_notice_out() -> None:
    """What opens an alert, what is a change, and what is not told at all: as the code has it."""
    told = {kind for kind in NoticeKind if severity_of(drawn.of(kind), failure=Urgency.ERROR)}
    changes = {kind for kind in NoticeKind if is_change(drawn.of(kind), failure=Urgency.ERROR)}
    silent = re.search(r"^\| (started, .*?) \| nothing", page("pagerduty"), re.MULTILINE)
    assert silent
    words = {
        NoticeKind.STARTED: "started",
        NoticeKind.WAVE_COMPLETED: "a wave passed",
        NoticeKind.PAUSED: "paused",
        NoticeKind.RESUMED: "resumed",
        NoticeKind.WAITING: "waiting",
    }
    assert set(NoticeKind) - told - changes == set(words)
    assert all(word in silent[1] for word in words.values())
