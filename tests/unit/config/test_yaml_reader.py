"""YAML is read strictly: what stands there, where it stands, and nothing that harms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from adapters.config import yaml_reader
from adapters.config.problems import ConfigInvalid, Position, Problem
from adapters.config.yaml_reader import BYTES_MAX, DEPTH_MAX, read


def fault(raw: bytes) -> Problem:
    """Return the one problem of a text that must be refused."""
    with pytest.raises(ConfigInvalid) as raised:
        read(raw, file="f.yaml")
    assert len(raised.value.problems) == 1
    return raised.value.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("0123", "0123"),
        ("0x1F", "0x1F"),
        ("12:30:45", "12:30:45"),
        ("2024-13-45", "2024-13-45"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("9" * 5000, "9" * 5000),
        ("1e400", "1e400"),
        ("5432", 5432),
        ("-1", -1),
        ("1.5", 1.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'5432'", "5432"),
        ('"true"', "true"),
        ("|-\n  5432", "5432"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """Only true, false, null and decimal numbers without quotes are anything but text."""
    root = read(f"key: {text}\n".encode(), file="f.yaml").root
    assert root == {"key": value}
    assert isinstance(root, dict)
    assert type(root["key"]) is type(value)


def test_keys_are_always_text() -> None:
    assert read(b"1: a\ntrue: b\nnull: c", file="f").root == {"1": "a", "true": "b", "null": "c"}


def test_every_key_and_item_knows_its_place() -> None:
    """Lines and columns count from one; what an alias stands for keeps the place where it was written."""
    tree = read(b"a:\n  b: 1\nc:\n  - x\n  - {d: 2}\nshared: &s {e: 3}\nagain: *s\n", file="f")
    assert tree.positions["a", "b"] == Position(2, 3)
    assert tree.positions["c", 0] == Position(4, 5)
    assert tree.positions["c", 1, "d"] == Position(5, 6)
    assert tree.positions["again",] == Position(7, 1)
    assert tree.positions["again", "e"] == Position(6, 13)


def test_all_keys_that_stand_twice_are_told_with_both_lines() -> None:
    with pytest.raises(ConfigInvalid) as raised:
        read(b"a:\n  - b: 1\n    b: 2\nc: 1\n'c': 2\n", file="f.yaml")
    first, second = map(str, raised.value.problems)
    assert first.startswith("f.yaml:3: a[0].b: this key stands here twice: on line 2 and on line 3.")
    assert second.startswith("f.yaml:5: c: this key stands here twice: on line 4 and on line 5.")


@pytest.mark.parametrize(
    ("raw", "line", "said"),
    [
        (b"a: 1\nb: !!python/object/apply:os.system [id]", 2, "tags"),
        (b"a: !!str 1", 1, "tags"),
        (b"a: !canary-tag x", 1, "tags"),
        (b"a: 1\n<<: {b: 1}", 2, "merge keys"),
        (b"a: *canary-alias", 1, "alias"),
        (b"a: &x [*x]", 1, "alias"),
        (b"--- 1\n--- 2", 2, "second document"),
        (b"a: \xff\xfe", 1, "UTF-8"),
        (b"a: 1\nb: \x00", 2, "control character"),
        (b'a: "\\0"', 1, "control character"),
        (b'a: "\\e[31m"', 1, "control character"),
        (b"? [a, b]\n: c", 1, "a key must be a text"),
        (b"a: 1\nb: 'canary-open", 2, "not YAML"),
        (b"a: %canary", 1, "not YAML"),
        (b"- " * (DEPTH_MAX + 1), 1, "nested deeper"),
    ],
)
def test_what_is_refused_is_named_with_its_line_and_never_quoted(raw: bytes, line: int, said: str) -> None:
    problem = fault(raw)
    assert said in problem.message
    assert problem.line == line
    assert "canary" not in str(problem)


def test_a_byte_order_mark_is_allowed() -> None:
    assert read(b"\xef\xbb\xbfa: 1", file="f").root == {"a": 1}


def test_an_empty_file_holds_nothing() -> None:
    assert read(b"# nothing\n", file="f").root is None


def bomb() -> bytes:
    """Return 9^9 values in 400 bytes."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]" for last, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(lines).encode()


FEW: Final = 1_000
"""How many values are allowed where it is counted what is read of a text with more of them."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[yaml.Event]:
    """Allow few values; what is taken from the parser is in the list."""
    monkeypatch.setattr(yaml_reader, "NODES_MAX", FEW)
    parse = yaml.parse
    events: list[yaml.Event] = []

    def counted(*arguments: Any, **options: Any) -> Iterator[yaml.Event]:
        for event in parse(*arguments, **options):
            events.append(event)
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    return events


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"- a\n" * 250_000, "more than 1000 values"),
        (b"[" + b"a," * 500_000 + b"]", "more than 1000 values"),
        (b"[" + b"[]," * 300_000 + b"]", "more than 1000 values"),
        (b"".join(b"k%d: v\n" % number for number in range(80_000)), "more than 1000 values"),
        (b"k: v\n" * 200_000, "more than 1000 values"),
        (b"- " * 500_000, "nested deeper than 50 levels"),
        (b"[" * 1_000_000, "nested deeper than 50 levels"),
        (b"{" * 1_000_000, "a key must be a text"),
        (b"&a " * 300_000, "this is not YAML"),
        (b"a: &a 1\nb: [" + b"*a, " * 1_000 + b"]", "more than 100 aliases"),
        (bomb(), "the aliases make this too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_what_is_too_much_no_more_is_read_than_is_allowed(raw: bytes, said: str, taken: list[yaml.Event]) -> None:
    """An event a value is taken from the parser, the ends of lists, and two beginnings, however large the text is."""
    assert said in fault(raw).message
    assert len(taken) <= 2 * FEW + 2


def test_values_are_counted_with_what_aliases_stand_for(taken: list[yaml.Event]) -> None:
    """As many as are allowed are read, and one more is refused: the list, ten shared ones in each entry, the rest."""
    shared, entries = b"- &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n", b"- *a\n" * 89
    rest = FEW - 1 - 10 * 90
    assert read(shared + entries + b"- x\n" * rest, file="f").root
    assert taken
    assert "the aliases make this too large" in fault(shared + entries + b"- x\n" * (rest + 1)).message


def test_a_file_that_is_too_large_is_not_read() -> None:
    assert "larger than 8 MiB" in fault(b"#" * (BYTES_MAX + 1)).message


def test_the_largest_file_that_is_allowed_is_read() -> None:
    assert read(b"a: " + b"x" * (BYTES_MAX - 3), file="f").root == {"a": "x" * (BYTES_MAX - 3)}


def test_a_line_that_is_not_there_is_never_named() -> None:
    assert str(fault(b"[")).startswith("f.yaml:1: this is not YAML.")
