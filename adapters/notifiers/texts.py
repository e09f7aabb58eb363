"""Texts of the outside made fit for a sink: what cannot be shown goes, and what is too long is cut.

Rule: pure, and without markup: each channel escapes in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

ELLIPSIS: Final = "…"

_UNSHOWN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters, halves of characters (which are no UTF-8), and what is no character at all."""
_DIRECTIONS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What turns the direction of a text, with which one text can be made to look like another (Unicode TR 36)."""
_LINE_ENDS: Final = re.compile("\r\n|[\r\x85\u2028\u2029]")
_SPACES: Final = re.compile(r"\s+")


def shown(text: str) -> str:
    """Return the text without what nobody sees; line ends are newlines, other controls become `\ufffd`."""
    return _UNSHOWN.sub("\ufffd", _DIRECTIONS.sub("", _LINE_ENDS.sub("\n", text))).strip()


def on_one_line(text: str) -> str:
    """Return the text as `shown`, on one line."""
    return _SPACES.sub(" ", shown(text)).strip()


def shortened(text: str, longest: int, *, form: Callable[[str], str] = str, size: Callable[[str], int] = len) -> str:
    """Return `form` of the text, or of as much of its beginning, and `…`, as makes it no larger than `longest`.

    `form` (an escaping) works on each character alone; so it is never cut in the middle of one. `size` measures.
    """
    whole = form(text)
    if size(whole) <= longest:
        return whole
    room = longest - size(ELLIPSIS)
    kept: list[str] = []
    for character in text:
        formed = form(character)
        room -= size(formed)
        if room < 0:
            break
        kept.append(formed)
    return "".join(kept).rstrip() + ELLIPSIS if longest >= size(ELLIPSIS) else ""


def utf16(text: str) -> int:
    """Return how many UTF-16 units a text has: an emoji counts two, as it may where a vendor says `characters`."""
    return len(text.encode("utf-16-le")) // 2
