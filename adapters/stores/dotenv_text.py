"""Editing dotenv text: one value is replaced where it stands, all the rest stays byte for byte.

Rule: a value is written only in a way that python-dotenv, a POSIX shell and Docker Compose read alike. Where
their rules differ about a value there is no such way, and it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from adapters.stores.text_edit import CannotCarry, newline_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HEAD = re.compile(r"[^\S\r\n]*(?:export[^\S\r\n]+)?([^=#\s'\"]+)[^\S\r\n]*=[^\S\r\n]*")
_QUOTED = re.compile(
    r"""(?:'(?P<single>(?:\\.|[^'\\])*)'|"(?P<double>(?:\\.|[^"\\])*)")(?=[^\S\r\n]*(?:\#|[\r\n]|\Z))""",
    re.DOTALL,
)
_PLAIN = re.compile(r"(?P<plain>[^\r\n]*?)(?=[^\S\r\n]*(?:[\r\n]|\Z)|[^\S\r\n]+\#|(?<=[^\S\r\n])\#)")
_LITERAL = re.compile(r"^([^=#\s]+)=([^\r\n]*)", re.MULTILINE)
_REST_OF_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

_SAFE_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*", re.ASCII)
_EXPANDED = re.compile(r"\$\{[^}]*\}")


class _Binding(NamedTuple):
    """Where a value stands: `text[start:end]` with its quotes. `value` is None where it cannot be read."""

    key: str
    start: int
    end: int
    value: str | None


def read(text: str, key: str, *, literal: bool = False) -> str | None:
    """Return the value of `key`, the last one where it stands more than once; None where there is none."""
    found = [binding.value for binding in _bindings(text, literal=literal) if binding.key == key]
    return found[-1] if found else None


def write(text: str, key: str, value: str, *, literal: bool = False) -> str:
    """Return `text` with `value` in the place of every value of `key`, or in a new last line.

    `literal` writes the bare value, for readers that take all behind `=` as it is (docker run --env-file).
    Raises `CannotCarry`.
    """
    if not _NAME.fullmatch(key):
        raise CannotCarry("the key is not the name of a variable: letters, digits and _, no digit first")
    written = _literal(value) if literal else _quoted(value)
    bindings = list(_bindings(text, literal=literal))
    for broken in (binding for binding in bindings if binding.value is None):
        # An open quote further up would end at the first quote of the new value.
        if broken.key == key or written.startswith(("'", '"')):
            raise CannotCarry(f"line {text.count(chr(10), 0, broken.start) + 1} has a quote that does not end")
    places = [binding for binding in bindings if binding.key == key]
    edited = text
    for place in reversed(places):
        space = " " if text[place.end : place.end + 1] == "#" and not literal else ""
        edited = edited[: place.start] + written + space + edited[place.end :]
    if not places:
        newline = newline_of(text)
        start = newline if text and not text.endswith(("\n", "\r")) else ""
        edited = f"{text}{start}{key}={written}{newline}"
    _prove(text, edited, key, value, literal=literal)
    return edited


def _prove(text: str, edited: str, key: str, value: str, *, literal: bool) -> None:
    """Raise `CannotCarry` unless `edited` reads as `text` does, but for `value` under `key`."""
    before = [(entry.key, entry.value) for entry in _bindings(text, literal=literal) if entry.key != key]
    after = [(entry.key, entry.value) for entry in _bindings(edited, literal=literal)]
    own = {entry for entry in after if entry[0] == key}
    if own != {(key, value)} or before != [entry for entry in after if entry[0] != key]:
        raise CannotCarry("the lines around it cannot be told apart; look for a quote that does not end")


def _bindings(text: str, *, literal: bool) -> Iterator[_Binding]:
    if literal:
        for match in _LITERAL.finditer(text):
            yield _Binding(match[1], match.start(2), match.end(2), match[2])
        return
    position = 0
    while position < len(text):
        head = _HEAD.match(text, position)
        if head:
            binding = _binding(text, head[1], head.end())
            yield binding
            position = binding.end
        rest = _REST_OF_LINE.match(text, position)
        position = rest.end() if rest else len(text)


def _binding(text: str, key: str, start: int) -> _Binding:
    quoted = _QUOTED.match(text, start)
    if quoted:
        return _Binding(key, start, quoted.end(), _unquoted(quoted))
    if text[start : start + 1] in ("'", '"'):
        return _Binding(key, start, start, None)
    plain = _PLAIN.match(text, start)
    return _Binding(key, start, plain.end() if plain else start, plain["plain"] if plain else "")


def _unquoted(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return re.sub(r"\\([\\'])", r"\1", match["single"])
    return re.sub(r"\\([\\'\"abfnrtv])", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["double"])


def _literal(value: str) -> str:
    if any(character in value for character in "\0\r\n"):
        raise CannotCarry("a value without quotes has one line, and this one has line breaks or NUL")
    return value


def _quoted(value: str) -> str:
    """Return the value with the quotes that it needs. Each refusal is a point where readers differ."""
    if _SAFE_BARE.fullmatch(value):
        return value
    if "\0" in value or "\r" in value:
        raise CannotCarry("dotenv cannot hold NUL or a carriage return")
    if value.endswith("\\"):
        raise CannotCarry("a backslash at the end takes the closing quote with it in some readers")
    if _EXPANDED.search(value):
        raise CannotCarry("some readers replace ${…} even within single quotes")
    if "'" not in value and "\\\\" not in value:
        return f"'{value}'"
    if value.endswith('"'):
        raise CannotCarry("some readers take a double quote at the end for the closing one")
    if "$" not in value and "`" not in value:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    raise CannotCarry("readers differ about $ and ` in double quotes, and it cannot stand in single quotes")
