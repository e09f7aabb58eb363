"""The page of stories tells every story that is tested, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "when-things-break.md").read_text(encoding="utf-8")


def _told_by_tests() -> list[str]:
    """Return the names of the stories, in the order of the tests."""
    names = []
    for file in ("test_stories.py", "test_stories_outside.py"):
        tree = ast.parse((ROOT / "tests" / "integration" / file).read_text(encoding="utf-8"))
        names += [
            node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
    return [name.removeprefix("test_").replace("_", " ") for name in names]


def test_every_story_has_its_paragraph() -> None:
    """Under the name of its test."""
    told = [heading.lower().replace("-", " ") for heading in re.findall(r"^### (.*)$", PAGE, re.MULTILINE)]
    assert told == _told_by_tests()


def test_who_is_called_is_told_what_to_run() -> None:
    """What ends with "going back failed" on the page is followed by the command that goes on."""
    assert PAGE.count("keyturn: going back failed") == PAGE.count("next:  keyturn retry") > 0
