"""The tail is capped: what separates code that is loved from code that is dreaded are its longest parts."""

from __future__ import annotations

import ast

from tests.architecture.source import EVERYTHING, sources

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def test_no_file_is_longer_than_400_lines() -> None:
    """A file that does not fit has two subjects."""
    lengths = sorted(((len(source.text.splitlines()), str(source)) for source in sources(*EVERYTHING)), reverse=True)
    assert lengths[0][0] <= FILE_LINES_MAX, f"too long: {[each for each in lengths if each[0] > FILE_LINES_MAX]}"


def test_no_function_is_longer_than_60_lines() -> None:
    """Decorators and docstring count, for they are read too."""
    lengths = sorted(
        (
            (
                (node.end_lineno or 0) - min([node.lineno, *(d.lineno for d in node.decorator_list)]) + 1,
                source.at(node),
                node.name,
            )
            for source in sources(*EVERYTHING)
            for node in ast.walk(source.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
        reverse=True,
    )
    assert lengths[0][0] <= FUNCTION_LINES_MAX, (
        f"too long: {[each for each in lengths if each[0] > FUNCTION_LINES_MAX]}"
    )
