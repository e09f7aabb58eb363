"""The page on rehearsing works as it stands: its commands are run, and print what the page says they print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_tutorial import ROOT, Block, blocks, run

PAGE = ROOT / "docs" / "how-to" / "rehearse-before-you-trust.md"
_COUNTS = re.compile(r"^(runs|rotations|transitions covered|faults covered|violations|violated in) .*")


def same(lines: list[str]) -> list[str]:
    """Return the lines with what differs taken out: how fast the machine is, and what a change of the engine counts."""
    return [re.sub(r"[0-9.]+", "N", line) if _COUNTS.match(line) else line for line in lines]


def configured(text: str) -> Block:
    """Return what writes the page's configuration."""
    (configuration,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return Block(f"cat > keyturn.yaml <<'END'\n{configuration}END\n", [])


@pytest.mark.slow
def test_the_mistake_is_caught_as_the_page_says(tmp_path: Path) -> None:
    """Every line, in order; and once the grace period is long enough nothing is violated."""
    text = PAGE.read_text(encoding="utf-8")
    found = [configured(text), *blocks(text)]
    assert sum(bool(block.shown) for block in found) == 3
    printed = run(found, tmp_path)
    for block, lines in zip(found, printed, strict=True):
        if block.shown:
            assert same(lines) == same(block.shown)
    shown = "\n".join(line for block in found for line in block.shown)
    assert "exit code 3" in shown
    assert not (tmp_path / ".local").exists(), "nothing is written"
