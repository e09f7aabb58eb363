"""The source of the project as the tests of its architecture see it: files, and their syntax trees."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("engine", "projections", "adapters", "keyturn.py")
EVERYTHING = (*PRODUCT, "tests", "benchmarks")


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    def __str__(self) -> str:
        return self.path

    def at(self, node: ast.stmt | ast.expr | ast.excepthandler) -> str:
        """Return where a node stands, as `path:line`."""
        return f"{self.path}:{node.lineno}"


@cache
def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(path.relative_to(ROOT).as_posix(), text, ast.parse(text))


def sources(*places: str) -> list[Source]:
    """Return the Python files in the folders (or the files) that are named from the root, in order of path."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert found, f"no Python file in {places}"
    return [_read(path) for path in found]


def project_files() -> list[Path]:
    """Return every file of the project, leaving out what tools make (environments, caches, builds)."""
    found: list[Path] = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not _is_made(name))
        found += [Path(folder, name) for name in sorted(files) if not name.endswith((".pyc", ".coverage"))]
    return found


def _is_made(folder: str) -> bool:
    made = folder in {"__pycache__", "build", "dist", "htmlcov", "venv"} or folder.endswith(".egg-info")
    return made or (folder.startswith(".") and folder != ".ci")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module, or name of a module, that is imported anywhere in the tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for such an expression, the last names where what precedes is no name, and "" for others."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return ""
