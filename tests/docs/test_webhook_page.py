"""The page about webhooks: its examples can be configured, its tables are complete, its event is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from adapters.notifiers.webhook_options import WebhookOptions
from adapters.notifiers.webhook_templates import GO_NAMES, NAMES
from engine.adapter import Duration, Reference
from engine.notices import NoticeKind
from projections.notifications.documents import document
from tests.sinks import cloudevents
from tests.unit.notifiers.drawn import of
from tests.unit.notifiers.webhook_bench import webhook

PAGE = (Path(__file__).parents[2] / "docs/how-to/webhook.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of a language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def channels() -> list[dict[str, Any]]:
    """Return every webhook that an example configures."""
    examples = [yaml.safe_load(block) for block in blocks("yaml")]
    return [channel for example in examples for channel in example["notifications"]["webhooks"]]


def read(kind: type, raw: object) -> object:
    """Read what the configuration reads by itself."""
    return Duration.parse(raw) if kind is Duration else Reference.parse(raw)


@pytest.mark.parametrize("channel", channels(), ids=lambda channel: channel["name"])
def test_every_example_can_be_configured_so(channel: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "internal-ca.pem").write_text("certificates")
    options = {name: given for name, given in channel.items() if name not in {"name", "events"}}
    made = msgspec.convert(options, WebhookOptions, dec_hook=read)
    given = {name: getattr(made, name) for name in made.__struct_fields__}
    assert list(webhook(**given, base=tmp_path).validate()) == []


def test_the_event_is_one() -> None:
    (event,) = blocks("json")
    assert cloudevents.problems(event.encode()) == []


@pytest.mark.parametrize("name", [*NAMES, *GO_NAMES, *document(of(NoticeKind.FAILED))])
def test_every_name_is_told(name: str) -> None:
    assert re.search(rf'[`"]{name}[`"]', PAGE)
