"""Editing YAML text: one scalar is replaced where it stands, so that comments and order stay as they are.

Rule: after an edit the text is parsed again, and its events must be those from before but for the one value;
what cannot be edited so (an anchor on the value, several documents) is refused, never half done.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import yaml

from adapters.stores.text_edit import CannotCarry, newline_of, segments

_STRING = "tag:yaml.org,2002:str"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Plain words that some reader takes for something else than text."""
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}

_Event: TypeAlias = tuple[object, ...]


def read(text: str, key: str) -> str | None:
    """Return the text that `key` addresses; None where there is none, or something else. Raises `CannotCarry`."""
    node = _compose(text)
    for name in segments(key):
        node = _value(node, name) if isinstance(node, yaml.MappingNode) else None
    return str(node.value) if isinstance(node, yaml.ScalarNode) and node.tag == _STRING else None


def write(text: str, key: str, value: str) -> str:
    """Return `text` with `value` as a quoted string at `key`; missing maps are made. Raises `CannotCarry`."""
    edited, replaced = _edited(text, segments(key), value)
    if read(edited, key) != value or not _same(_events(text), _events(edited), replaced=replaced):
        raise CannotCarry("it cannot be edited without changing something else (an anchor, or an unusual layout)")
    return edited


def _edited(text: str, names: list[str], value: str) -> tuple[str, bool]:
    """Return the new text, and whether a value was replaced (else a key was added)."""
    node = _compose(text)
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value and not node.style):
        start = newline_of(text) if text and not text.endswith("\n") else ""
        return text + start + _block(names, value, indent="", newline=newline_of(text)), False
    for depth, name in enumerate(names):
        if not isinstance(node, yaml.MappingNode):
            raise CannotCarry(f"{'.'.join(names[:depth]) or 'the document'} is not a map")
        child = _value(node, name)
        if child is None:
            return _inserted(text, node, names[depth:], value), False
        node = child
    if not isinstance(node, yaml.ScalarNode):
        raise CannotCarry("the key holds a map or a list")
    begin: int = node.start_mark.index
    space = " " if text[begin - 1] == ":" else ""
    return text[:begin] + space + _double_quoted(value) + text[_end(text, node) :], True


def _inserted(text: str, node: yaml.MappingNode, names: list[str], value: str) -> str:
    newline = newline_of(text)
    if node.flow_style or not node.value:
        at = node.end_mark.index - 1
        written = _double_quoted(value)
        for name in reversed(names[1:]):
            written = f"{{{_key(name)}: {written}}}"
        comma = ", " if node.value else ""
        return f"{text[:at].rstrip()}{comma}{_key(names[0])}: {written}{text[len(text[:at].rstrip()) :]}"
    indent = " " * node.value[0][0].start_mark.column
    block = _block(names, value, indent=indent, newline=newline)
    line_end = text.find("\n", _end(text, node))
    if line_end < 0:
        return text + newline + block
    return text[: line_end + 1] + block + text[line_end + 1 :]


def _block(names: list[str], value: str, *, indent: str, newline: str) -> str:
    lines = [f"{indent}{'  ' * depth}{_key(name)}:" for depth, name in enumerate(names)]
    return newline.join(lines) + f" {_double_quoted(value)}{newline}"


def _end(text: str, node: yaml.Node) -> int:
    """Return where a node ends in the text, without the blank lines and comments that its mark may span."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        key, last = node.value[-1]
        # An alias stands here, and what it means stands further up.
        return _end(text, key if last.start_mark.index < key.start_mark.index else last)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return max(_end(text, item) for item in node.value)
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return start + len(text[start:end].rstrip())


def _value(node: yaml.MappingNode, name: str) -> yaml.Node | None:
    found = [value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == name]
    if len(found) > 1:
        raise CannotCarry("a map has the same key twice")
    return found[0] if found else None


def _compose(text: str) -> yaml.Node | None:
    try:
        # Composing builds no objects: nothing in the file is run.
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        # The error quotes the line, which may hold a secret.
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise CannotCarry(f"it is not one YAML document{line}") from None
    except yaml.YAMLError:
        raise CannotCarry("it has characters that YAML does not allow") from None
    except RecursionError:
        raise CannotCarry("it is nested too deeply") from None
    return node


def _events(text: str) -> list[_Event]:
    fields = ("anchor", "tag", "value", "style", "flow_style")
    return [
        (type(event).__name__, *(getattr(event, field, None) for field in fields))
        for event in yaml.parse(text, Loader=yaml.SafeLoader)
    ]


def _same(before: list[_Event], after: list[_Event], *, replaced: bool) -> bool:
    """Tell whether `after` is `before` with one scalar changed, or with one run of events added."""
    if replaced:
        changed = [pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]]
        plain = all(old[:2] == new[:2] == ("ScalarEvent", None) for old, new in changed)
        return len(before) == len(after) and len(changed) <= 1 and plain
    if len(before) <= len(("StreamStart", "DocumentStart", "Scalar", "DocumentEnd", "StreamEnd")):
        return True
    added = len(after) - len(before)
    start = next(index for index, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1])
    return added > 0 and before[start:] == after[start + added :]


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and name.lower() not in _WORDS else _double_quoted(name)


def _double_quoted(text: str) -> str:
    return '"' + "".join(_SHORT.get(character) or _escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    """Return a character as it may stand in double quotes (YAML 1.1 and 1.2, `nb-double-char`)."""
    code = ord(character)
    if 0x20 <= code <= 0x7E or 0xA0 <= code <= 0x2027 or 0x202A <= code <= 0xD7FF or 0xE000 <= code <= 0xFEFE:
        return character
    if 0xFF00 <= code <= 0xFFFD or code >= 0x10000:
        return character
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
