"""The reference pages that are made from the code say what the code says."""

from __future__ import annotations

import pytest

from tests.docs.generate import PAGES, ROOT


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_up_to_date(path: str) -> None:
    """`make docs` would change nothing."""
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path](), "run: make docs"
