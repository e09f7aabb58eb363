"""A string in JSON is replaced where it stands, and everything else stays byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores import json_text
from adapters.stores.text_edit import CannotCarry

NAMES = st.text(alphabet="ab", min_size=1, max_size=2)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


def with_value(tree: Any, names: list[str], value: str) -> Any:
    """Return the tree with the value at the names, made as plainly as can be."""
    return {**tree, names[0]: value if not names[1:] else with_value(tree.get(names[0], {}), names[1:], value)}


def is_in_the_way(tree: Any, names: list[str]) -> bool:
    """Tell whether something that is no object stands on the way, or an object or list at the end of it."""
    for name in names:
        if not isinstance(tree, dict):
            return True
        if name not in tree:
            return False
        tree = tree[name]
    return isinstance(tree, dict | list)


@pytest.mark.slow
@given(
    st.dictionaries(NAMES, TREES, max_size=3),
    st.lists(NAMES, min_size=1, max_size=3),
    st.text(),
    st.sampled_from([None, 2, "\t"]),
)
def test_the_tree_is_the_same_but_for_the_value(
    tree: Any, names: list[str], value: str, indent: int | str | None
) -> None:
    """In any tree and layout, the key reads the value afterwards and nothing else has changed, or it is refused."""
    text = json.dumps(tree, indent=indent)
    try:
        edited = json_text.write(text, ".".join(names), value)
    except CannotCarry:
        assert is_in_the_way(tree, names)
        return
    assert json.loads(edited) == with_value(tree, names, value)
    assert list(json.loads(edited))[: len(tree)] == list(tree)
    assert json_text.read(edited, ".".join(names)) == value


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        ("", "KEY", '{\n  "KEY": "new"\n}\n'),
        ("{}", "KEY", '{"KEY": "new"}'),
        ('{ "A": 1.10 ,\n\n  "KEY" : "old" , "B":1e5}\n', "KEY", '{ "A": 1.10 ,\n\n  "KEY" : "new" , "B":1e5}\n'),
        ('{\n  "A": 1,\n  "B": [1,2]\n}\n', "KEY", '{\n  "A": 1,\n  "B": [1,2],\n  "KEY": "new"\n}\n'),
        ('{"A": 1}', "KEY", '{"A": 1, "KEY": "new"}'),
        ('{"a": {"b": {"c": null}}}', "a.b.c", '{"a": {"b": {"c": "new"}}}'),
        ('{"a": {"x": 1}}', "a.b.c", '{"a": {"x": 1, "b": {"c": "new"}}}'),
        ('{"a.b": "old"}', r"a\.b", '{"a.b": "new"}'),
        ('{"KEY": 5}', "KEY", '{"KEY": "new"}'),
    ],
)
def test_layout_and_order_stay(before: str, key: str, after: str) -> None:
    """Numbers keep their spelling, members their order and spaces; a new member is set like the one before."""
    assert json_text.write(before, key, "new") == after


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[1]", "KEY"),
        ('"canary"', "KEY"),
        ('{"KEY": "canary', "KEY"),
        ('{"KEY": {"a": 1}}', "KEY"),
        ('{"KEY": ["canary"]}', "KEY"),
        ('{"a": "canary"}', "a.b"),
        ('{"a": 1, "a": "canary"}', "a"),
        ('{"a": 1}', "a..b"),
        ("[" * 100_000, "a"),
    ],
)
def test_what_cannot_be_edited_is_refused_without_showing_it(text: str, key: str) -> None:
    """Broken or doubled text is not guessed at, and the reason does not quote it."""
    with pytest.raises(CannotCarry) as refused:
        json_text.write(text, key, "canary-new")
    assert "canary" not in refused.value.reason


def test_only_text_is_a_value() -> None:
    """A number is not the text of its digits."""
    assert json_text.read('{"KEY": 5}', "KEY") is None
    assert json_text.read('{"a": "x"}', "a.b") is None
