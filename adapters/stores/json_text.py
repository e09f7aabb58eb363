"""Editing JSON text: one string is replaced where it stands, all the rest stays byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from adapters.stores.text_edit import CannotCarry, newline_of, segments

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class _Member(NamedTuple):
    """A member of an object: its key, where key and value begin, and where the value ends."""

    key: str
    key_start: int
    start: int
    end: int


def read(text: str, key: str) -> str | None:
    """Return the string that `key` addresses; None where there is none, or something else. Raises `CannotCarry`."""
    value = _parse(text)
    for name in segments(key):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def write(text: str, key: str, value: str) -> str:
    """Return `text` with `value` as a string at `key`; missing objects on the way are made. Raises `CannotCarry`."""
    names = segments(key)
    if not text.strip():
        return json.dumps(_nested(names, value), ensure_ascii=False, indent=2) + newline_of(text)
    tree = _parse(text)
    if not isinstance(tree, dict):
        raise CannotCarry("the file does not hold an object")
    start = _skip(text, 0)
    for depth, name in enumerate(names):
        members = list(_members(text, start))
        member = next((member for member in members if member.key == name), None)
        rest = names[depth + 1 :]
        if member is None:
            return _inserted(text, start, members, name, _nested(rest, value))
        if rest and text[member.start] != "{":
            raise CannotCarry(f"{'.'.join(names[: depth + 1])} is not an object")
        if not rest and text[member.start] in "{[":
            raise CannotCarry("the key holds an object or a list")
        if not rest:
            return text[: member.start] + json.dumps(value, ensure_ascii=False) + text[member.end :]
        start = member.start
    raise AssertionError("a key has at least one name")


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_doubles) if text.strip() else {}
    except json.JSONDecodeError as error:
        # The error itself carries the whole text, so it is not passed on.
        raise CannotCarry(f"it is not JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise CannotCarry("it is nested too deeply") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    together = dict(pairs)
    if len(together) < len(pairs):
        raise CannotCarry("an object has the same key twice")
    return together


def _members(text: str, start: int) -> Iterator[_Member]:
    """Yield the members of the object that begins at `start`; the text is known to be JSON."""
    position = _skip(text, start + 1)
    while text[position] != "}":
        key_start = position
        key, position = _DECODER.raw_decode(text, position)
        value_start = _skip(text, _skip(text, position) + 1)
        _, end = _DECODER.raw_decode(text, value_start)
        yield _Member(key, key_start, value_start, end)
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _inserted(text: str, start: int, members: list[_Member], name: str, value: object) -> str:
    """Return `text` with a new last member, set apart as the one before it is."""
    written = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
    if not members:
        return text[: start + 1] + written + text[start + 1 :]
    last = members[-1]
    gap_start = start + 1 if len(members) == 1 else text.index(",", members[-2].end) + 1
    gap = text[gap_start : last.key_start] or " "
    return text[: last.end] + "," + gap + written + text[last.end :]


def _nested(names: list[str], value: str) -> object:
    nested: object = value
    for name in reversed(names):
        nested = {name: nested}
    return nested


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
