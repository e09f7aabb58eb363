"""What the editors of text formats share: how a key addresses a value, and how an editor says no.

Rule: an editor is two pure functions, `read(text, key)` and `write(text, key, value)`; it opens no file, and
what it raises never holds a value.
"""

from __future__ import annotations

import re

_SEPARATOR = re.compile(r"(?<!\\)\.")


class CannotCarry(Exception):
    """The format cannot hold this value, or this text cannot be edited; the reason is its only argument."""

    @property
    def reason(self) -> str:
        """Why, without the value."""
        return str(self.args[0])


def segments(key: str) -> list[str]:
    r"""Return the names that lead to a value: dots separate them, and `\\.` is a dot in a name."""
    names = [name.replace("\\.", ".") for name in _SEPARATOR.split(key)]
    if not all(names):
        raise CannotCarry("the key has an empty part between its dots")
    return names


def newline_of(text: str) -> str:
    """Return how the lines of `text` end."""
    return "\r\n" if "\r\n" in text else "\n"
