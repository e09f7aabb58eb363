"""YAML, read strictly: a text becomes plain values, and every key path knows its line.

Rule 1: built on the parser's events, not on a YAML loader, so nothing is constructed, resolved or merged
before it was counted; whatever the input, the only error is `ConfigInvalid`.
Rule 2: scalars as in YAML 1.2: `NO`, `0123`, `12:30:45` and dates stay text; keys are always text.
Rule 3: a text of the file never stands in an error (the parser's own messages quote it, so they are replaced).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

from adapters.config.problems import ConfigInvalid, KeyPath, Position, Problem, dotted

BYTES_MAX: Final = 8 * 1024 * 1024
DEPTH_MAX: Final = 50
NODES_MAX: Final = 500_000
"""Counted after aliases are expanded; what makes an alias bomb harmless. A service has some thirty, keys among them."""
ALIASES_MAX: Final = 100

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None
"""What a document is made of."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}([eE][-+]?[0-9]{1,2})?", re.ASCII)
_UNWANTED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(slots=True)
class _Node:
    """A scalar (`value`), a list (`items`) or a mapping (`entries`), and where it begins."""

    position: Position
    value: bool | float | str | None = None
    items: list[_Node] | None = None
    entries: dict[str, tuple[Position, _Node]] | None = None


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not seen yet, at `path`; `key` is the one that waits for its value."""

    node: _Node
    anchor: str | None
    path: KeyPath
    key: tuple[str, Position] | None = None


class _Fault(Exception):
    """Ends the reading: one problem, where it is, and what to do."""

    def __init__(self, position: Position, message: str, hint: str = "", key: str = "") -> None:
        super().__init__(message)
        self.position = position
        self.message = message
        self.hint = hint
        self.key = key

    def problem(self, file: str) -> Problem:
        return Problem(file, self.position.line, self.position.column, self.key, self.message, self.hint)


@dataclass(frozen=True, slots=True)
class Tree:
    """A document: its values, and the position of every key and list item in it."""

    root: Plain
    positions: dict[KeyPath, Position]


def read(raw: bytes, *, file: str) -> Tree:
    """Return the one document in `raw`; raises `ConfigInvalid` naming `file` for anything it does not take."""
    try:
        builder = _Builder()
        tree = _Flattener().flatten(builder.build(_events(_text(raw))))
        faults = builder.duplicates
    except _Fault as fault:
        faults = [fault]
    if faults:
        raise ConfigInvalid(file, [fault.problem(file) for fault in faults])
    return tree


def _text(raw: bytes) -> str:
    if len(raw) > BYTES_MAX:
        raise _Fault(Position(1, 1), f"the file is larger than {BYTES_MAX // 1024**2} MiB.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Fault(Position(line, 1), "this is not UTF-8.", "Save the file as UTF-8.") from None


def _events(text: str) -> Iterator[yaml.Event]:
    """Yield the parser's events; libyaml where PyYAML was built with it, for it is some twenty times faster."""
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise _Fault(Position(line, 1), "a control character stands here, which YAML does not allow.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # At the end of the text the mark may stand on a line that is not there.
        line = min(mark.line + 1, text.count("\n") + 1) if mark else 1
        position = Position(line, mark.column + 1 if mark else 1)
        hint = "Look at the indentation, the colons, and the quotes here and on the line before."
        raise _Fault(position, "this is not YAML.", hint) from None


class _Builder:
    """Turns events into nodes, keeping the limits; never recurses."""

    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.anchors: dict[str, _Node] = {}
        self.aliases = 0
        self.nodes = 0
        self.root: _Node | None = None
        self.duplicates: list[_Fault] = []
        """Keys that stand twice; reading goes on behind them, so that all of them are told at once."""

    def build(self, events: Iterator[yaml.Event]) -> _Node:
        documents = 0
        for event in events:
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise _Fault(_start(event), "a second document begins here; one is allowed.")
                case yaml.AliasEvent():
                    self._place(self._aliased(event), _start(event), is_plain_key=False)
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._enter(event)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._leave()
                case _:
                    pass  # the ends of documents and of the stream say nothing
        return self.root or _Node(Position(1, 1))

    def _enter(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        position = self._count(event)
        if len(self.open) >= DEPTH_MAX:
            raise _Fault(position, f"this is nested deeper than {DEPTH_MAX} levels.")
        node = _Node(position)
        if isinstance(event, yaml.MappingStartEvent):
            node.entries = {}
        else:
            node.items = []
        path = self._path_of_next()
        self._place(node, position, is_plain_key=False)
        self.open.append(_Open(node, event.anchor, path))

    def _leave(self) -> None:
        done = self.open.pop()
        if done.anchor:
            self.anchors[done.anchor] = done.node

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        position = self._count(event)
        if _UNWANTED.search(event.value):
            raise _Fault(position, "a control character stands in this text, which is not allowed.")
        node = _Node(position, event.value)
        if not self._expects_key():
            node.value = _resolve(event.value) if event.implicit[0] else event.value
        if event.anchor:
            self.anchors[event.anchor] = node
        self._place(node, position, is_plain_key=event.implicit[0])

    def _expects_key(self) -> bool:
        return bool(self.open) and self.open[-1].node.entries is not None and self.open[-1].key is None

    def _place(self, node: _Node, position: Position, *, is_plain_key: bool) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if parent.node.items is not None:
            parent.node.items.append(node)
            return
        entries = parent.node.entries
        assert entries is not None, "what is open is a list or a mapping"
        if parent.key is not None:
            entries[parent.key[0]] = (parent.key[1], node)
            parent.key = None
            return
        if not isinstance(node.value, str):
            raise _Fault(position, "a key must be a text.")
        if node.value == "<<" and is_plain_key:
            raise _Fault(
                position, "merge keys (<<) are not read.", "Write the keys out, or use an alias for a whole value."
            )
        if node.value in entries:
            first = entries[node.value][0].line
            message = f"this key stands here twice: on line {first} and on line {position.line}."
            self.duplicates.append(_Fault(position, message, "Remove one of them.", dotted((*parent.path, node.value))))
        parent.key = (node.value, position)

    def _path_of_next(self) -> KeyPath:
        """Return the path of the value that is placed next."""
        if not self.open:
            return ()
        parent = self.open[-1]
        if parent.node.items is not None:
            return (*parent.path, len(parent.node.items))
        return (*parent.path, parent.key[0] if parent.key else "")

    def _aliased(self, event: yaml.AliasEvent) -> _Node:
        position = _start(event)
        self.aliases += 1
        if self.aliases > ALIASES_MAX:
            raise _Fault(position, f"there are more than {ALIASES_MAX} aliases.")
        found = self.anchors.get(event.anchor or "")
        if found is None:
            hint = "A text that begins with * must stand in quotes."
            raise _Fault(position, "this alias (*) names nothing that stands complete before it.", hint)
        return found

    def _count(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> Position:
        position = _start(event)
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise _Fault(position, f"there are more than {NODES_MAX} values.")
        if event.tag is not None:
            hint = "A text that begins with ! must stand in quotes."
            raise _Fault(position, "tags (!) are not read.", hint)
        return position


@dataclass(slots=True)
class _Flattener:
    """Turns nodes into plain values; counts again, because an alias stands for all that it names."""

    positions: dict[KeyPath, Position] = field(default_factory=dict)
    nodes: int = 0

    def flatten(self, root: _Node) -> Tree:
        return Tree(self._plain(root, ()), self.positions)

    def _plain(self, node: _Node, path: KeyPath) -> Plain:
        self.nodes += 1
        if self.nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise _Fault(node.position, "the aliases make this too large or too deep.", "Write it out, or share less.")
        if node.items is not None:
            plain: list[Plain] = []
            for index, item in enumerate(node.items):
                self.positions[*path, index] = item.position
                plain.append(self._plain(item, (*path, index)))
            return plain
        if node.entries is not None:
            mapping: dict[str, Plain] = {}
            for key, (position, value) in node.entries.items():
                self.positions[*path, key] = position
                mapping[key] = self._plain(value, (*path, key))
            return mapping
        return node.value


def _start(event: yaml.Event) -> Position:
    assert event.start_mark is not None, "an event that was parsed has its mark"
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _resolve(text: str) -> bool | int | float | str | None:
    """Return what a scalar without quotes means."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
