"""A scalar in YAML is replaced where it stands; comments, order and all other values stay."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores import yaml_text
from adapters.stores.text_edit import CannotCarry

NAMES = st.text(alphabet="ab", min_size=1, max_size=2)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(alphabet="ab\n#: '\"-|>é", max_size=8)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@pytest.mark.slow
@given(
    st.dictionaries(NAMES, TREES, max_size=3),
    st.lists(NAMES, min_size=1, max_size=3),
    st.text(),
    st.sampled_from(["block", "flow", "mixed"]),
)
def test_the_tree_is_the_same_but_for_the_value(tree: Any, names: list[str], value: str, layout: str) -> None:
    """In any tree and layout, the key reads the value afterwards and nothing else has changed, or it is refused."""
    flow = {"block": False, "flow": True, "mixed": None}[layout]
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True)
    key = ".".join(names)
    try:
        edited = yaml_text.write(text, key, value)
    except CannotCarry:
        return
    expected = node = yaml.safe_load(text)
    for name in names[:-1]:
        node = node.setdefault(name, {})
    node[names[-1]] = value
    assert yaml.safe_load(edited) == expected
    assert yaml_text.read(edited, key) == value


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        ("", "KEY", 'KEY: "new"\n'),
        ("# only a comment\n", "KEY", '# only a comment\nKEY: "new"\n'),
        ("---\n", "KEY", '---\nKEY: "new"\n'),
        ("KEY: old # note\nB: 1\n", "KEY", 'KEY: "new" # note\nB: 1\n'),
        ("KEY: 'old'", "KEY", 'KEY: "new"'),
        ("KEY:\nB: 1\n", "KEY", 'KEY: "new"\nB: 1\n'),
        ("KEY: # note\nB: 1\n", "KEY", 'KEY: "new" # note\nB: 1\n'),
        ("# top\nA: 1 # one\n\n# end\n", "KEY", '# top\nA: 1 # one\nKEY: "new"\n\n# end\n'),
        ("A: 1", "KEY", 'A: 1\nKEY: "new"\n'),
        ("A: 1\r\nB: 2\r\n", "KEY", 'A: 1\r\nB: 2\r\nKEY: "new"\r\n'),
        ("KEY: |\n  old\n  text\n\n# note\nB: 1\n", "KEY", 'KEY: "new"\n\n# note\nB: 1\n'),
        ("A: |\n  text\nB:\n  - 1\n  - 2 # two\n", "KEY", 'A: |\n  text\nB:\n  - 1\n  - 2 # two\nKEY: "new"\n'),
        (
            "db:\n    user: app # who\n    pass: old\nx: 1\n",
            "db.pass",
            'db:\n    user: app # who\n    pass: "new"\nx: 1\n',
        ),
        ("db:\n    user: app # who\nx: 1\n", "db.pass", 'db:\n    user: app # who\n    pass: "new"\nx: 1\n'),
        ("db:\n    user: app\n", "db.tls.key", 'db:\n    user: app\n    tls:\n      key: "new"\n'),
        ("{a: 1, KEY: old}\n", "KEY", '{a: 1, KEY: "new"}\n'),
        ("db: {user: app} # flow\n", "db.tls.key", 'db: {user: app, tls: {key: "new"}} # flow\n'),
        ("db: {}\n", "db.pass", 'db: {pass: "new"}\n'),
        ("a: &x 1\nb: *x\n", "KEY", 'a: &x 1\nb: *x\nKEY: "new"\n'),
        ("a.b: old\n", r"a\.b", 'a.b: "new"\n'),
        ("A: 1\n", "yes", 'A: 1\n"yes": "new"\n'),
        ("KEY: 5\n", "KEY", 'KEY: "new"\n'),
        ("%YAML 1.2\n---\nKEY: old\n", "KEY", '%YAML 1.2\n---\nKEY: "new"\n'),
    ],
)
def test_comments_and_layout_stay(before: str, key: str, after: str) -> None:
    """A value keeps its place and its comment; a new key stands behind the last one of its map."""
    assert yaml_text.write(before, key, "new") == after


@pytest.mark.parametrize(
    "value", ["no", "0123", "12:30:45", "null", "~", "1e3", "2024-01-01", "=", "<<", "*a", "!x", "a: b", "- a"]
)
def test_a_value_is_always_text(value: str) -> None:
    """What looks like something else is not taken for it."""
    assert yaml.safe_load(yaml_text.write("", "KEY", value)) == {"KEY": value}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("- canary\n", "KEY"),
        ("canary", "KEY"),
        ("KEY: {a: canary}\n", "KEY"),
        ("KEY: [canary]\n", "KEY"),
        ("KEY: canary\n", "KEY.b"),
        ("KEY: canary\nKEY: canary2\n", "KEY"),
        ("KEY: &x canary\nb: *x\n", "KEY"),
        ("a: &x canary\nKEY: *x\n", "KEY"),
        ("KEY: canary\n---\nKEY: 1\n", "KEY"),
        ("KEY: 'canary\n", "KEY"),
        ("KEY: canary\x07\n", "KEY"),
        ("a: 1\n", "a..b"),
        ("[" * 1_000, "a"),
    ],
)
def test_what_cannot_be_edited_is_refused_without_showing_it(text: str, key: str) -> None:
    """Lists, anchors, doubled keys, several documents and broken text are not guessed at, nor quoted."""
    with pytest.raises(CannotCarry) as refused:
        yaml_text.write(text, key, "canary-new")
    assert "canary" not in refused.value.reason


def test_many_aliases_cost_nothing() -> None:
    """A text that would unfold to a thousand million values is edited as fast as any."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    assert yaml_text.write(bomb, "KEY", "new") == bomb + 'KEY: "new"\n'


def test_only_text_is_a_value() -> None:
    """A number is not the text of its digits."""
    assert yaml_text.read("KEY: 5\n", "KEY") is None
    assert yaml_text.read("KEY: five\n", "KEY") == "five"
    assert yaml_text.read("KEY: five\n", "KEY.b") is None
