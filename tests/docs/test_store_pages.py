"""The examples on the pages about stores are accepted by the stores that they configure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from adapters.stores import encrypted_file, env_file, refusals
from engine.adapter import Reference
from engine.errors import OwnLoginRejected, Rejected

DOCS = Path(__file__).parents[2] / "docs"
ADAPTERS = {adapter.name: adapter for adapter in (encrypted_file.ADAPTER, env_file.ADAPTER)}


def examples(page: str) -> list[dict[str, Any]]:
    """Return the YAML blocks of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def is_ours(cause: type[Rejected]) -> bool:
    """Tell whether a class stands in the file of the refusals."""
    return cause.__module__ == refusals.__name__


@pytest.mark.parametrize("page", ["how-to/encrypted-file-store.md", "how-to/publish-to-a-file.md"])
def test_every_store_of_an_example_can_be_configured_so(page: str) -> None:
    """Each option is one that the store has."""
    stores = [store for example in examples(page) for store in example["secretStores"].values()]
    assert stores
    for store in stores:
        options = {name: given for name, given in store.items() if name != "type"}
        msgspec.convert(options, ADAPTERS[store["type"]].options, dec_hook=lambda _, raw: Reference.parse(raw))


def test_the_page_tells_every_refusal() -> None:
    """Each cause has its row, under the name that the program gives it."""
    text = (DOCS / "how-to/encrypted-file-store.md").read_text(encoding="utf-8")
    named = [cause.kind for cause in Rejected.__subclasses__() + OwnLoginRejected.__subclasses__() if is_ours(cause)]
    assert len(named) == 5
    assert [kind for kind in named if f"| `{kind}` |" not in text] == []
