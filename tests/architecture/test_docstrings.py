"""Every file opens with what lives there, and every public name says what a caller may rely on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import EVERYTHING, PRODUCT, Source, sources

VAGUE = {"data", "handler", "helper", "helpers", "info", "manager", "misc", "service", "util", "utils"}
"""Words that say nothing of what lives behind them (`service` is a word of the domain, but no file is one)."""


def _public(scope: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.stmt, str | None]]:
    """Yield the public classes and functions of a module: name, node and docstring."""
    for node in scope.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        overloads_or_overrides = {
            decorator.id if isinstance(decorator, ast.Name) else getattr(decorator, "attr", "")
            for decorator in node.decorator_list
        }
        # A property's setter, an overload and an override are documented where they are introduced.
        if not overloads_or_overrides & {"overload", "override", "setter"}:
            yield prefix + node.name, node, ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            yield from _public(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("source", sources(*EVERYTHING), ids=str)
def test_a_file_opens_with_what_lives_there(source: Source) -> None:
    """Its first statement is a docstring whose first line is a sentence."""
    docstring = ast.get_docstring(source.tree)
    assert docstring, f"{source} has no docstring"
    first = docstring.splitlines()[0]
    assert source.tree.body[0].lineno <= 2, f"{source}: something stands before the docstring"
    assert first[0] == first[0].upper()
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":")), f"{source}: {first!r} is no sentence"


@pytest.mark.parametrize("source", sources(*PRODUCT), ids=str)
def test_a_public_name_has_a_docstring(source: Source) -> None:
    """A class, a function or a method that others may call is documented."""
    bare = [f"{source.at(node)} {name}" for name, node, docstring in _public(source.tree) if not docstring]
    assert not bare


@pytest.mark.parametrize("source", sources(*EVERYTHING), ids=str)
def test_no_file_and_no_class_has_a_vague_name(source: Source) -> None:
    """No utils, no Manager: a name says what lives behind it."""
    stem = source.path.rsplit("/", 1)[-1].removesuffix(".py")
    assert not VAGUE & set(stem.split("_")), source
    endings = ("Manager", "Helper", "Handler", "Utils", "Util", "Info", "Data")
    vague = [
        node.name for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef) and node.name.endswith(endings)
    ]
    assert not vague
