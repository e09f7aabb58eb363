"""The examples on the pages of the channels `email` and `apprise` are accepted by the channels."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec.inspect as mi
import pytest
import yaml

from adapters.config.convert import convert
from adapters.config.problems import Report
from adapters.notifiers import apprise, plain_text, smtp
from adapters.notifiers.smtp import Tls

DOCS = Path(__file__).parents[3] / "docs" / "how-to"
ADAPTERS = {adapter.name: adapter for adapter in (smtp.ADAPTER, apprise.ADAPTER)}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_example_can_be_configured_so(name: str) -> None:
    """Each option is one that the channel has; `events` is an option of all channels."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    (example,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    options = example["notifications"][name]
    assert options.pop("events")
    report = Report("keyturn.yaml", {})
    convert(options, mi.type_info(ADAPTERS[name].options), (), report, {})
    assert report.errors == []


def test_the_page_tells_what_the_program_does() -> None:
    """Every way of TLS, and how many notifications a digest tells."""
    text = (DOCS / "email.md").read_text(encoding="utf-8")
    assert [way for way in Tls if f"| `{way}`" not in text] == []
    assert f"up to {plain_text.ROWS_MAX} notifications" in text
