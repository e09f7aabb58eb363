"""The page about drift is true: its commands run in order, and print what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_tutorial import blocks, run

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "repair-drift.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_prints_what_it_says(tmp_path: Path) -> None:
    """From a store that is put back to a log that verifies."""
    found = blocks(PAGE)
    assert [bool(block.shown) for block in found] == [False, True, True, True, False]
    for block, printed in zip(found, run(found, tmp_path), strict=True):
        rest = iter(printed)
        missing = [line for line in block.shown if line not in rest]
        assert not missing, f"{block.commands}printed\n{chr(10).join(printed)}"
    assert not (tmp_path / ".local").exists(), "the state stays in the folder of the rehearsal"
