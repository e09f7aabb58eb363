"""Notices as plain text for people: what the mail and Apprise have in common, a layout within limits.

Rule 1: the words are those of projections/notifications/words.py; here they get their lines, and nothing else.
Rule 2: a text of the outside stays what it is: its further lines are indented, so that it cannot pass for a line of
ours, and characters that move the cursor or turn the direction of reading are replaced by U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from engine.notices import Notice
from projections.notifications import words
from projections.times import to_text

HEADLINE_MAX: Final = 200
"""Characters of a headline."""
VALUE_MAX: Final = 4_000
"""Characters of a value; more is in the log, and in no message."""
VALUE_LINES_MAX: Final = 60
STEPS_MAX: Final = 20
ROWS_MAX: Final = 200
"""Notices that a digest tells one by one; with the longest texts of the widest characters a mail has less than 4 MB."""
ROW_VALUE_MAX: Final = 200
"""Characters of a value in a digest."""

_IN_A_ROW: Final = ("Cause", "Reason", "Rotation")
"""What a digest tells of a notice besides its headline."""
_UNSHOWN: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that turn the direction of reading, and halves of surrogate pairs."""


def one_line(text: str, longest: int) -> str:
    """Return the text on one line, with single spaces, of at most `longest` characters."""
    return _cut(_visible(" ".join(text.split())), longest)


def lines_of(text: str, longest: int = VALUE_MAX) -> list[str]:
    """Return the lines of a text without what cannot be seen; at least one, and `longest` characters in all."""
    lines = [_visible(line.replace("\t", " ")) for line in _cut(text, longest).splitlines()]
    if len(lines) > VALUE_LINES_MAX:
        lines = [*lines[: VALUE_LINES_MAX - 1], "…"]
    return lines or [""]


def headline(notice: Notice) -> str:
    """Return the headline on one line."""
    return one_line(words.headline(notice), HEADLINE_MAX)


def next_steps(notice: Notice) -> list[str]:
    """Return the next steps, each on one line."""
    return [one_line(step, VALUE_MAX) for step in notice.next_steps[:STEPS_MAX]]


def notice_text(notice: Notice) -> str:
    """Return a whole notice: headline, details, next steps."""
    lines = [headline(notice), ""]
    for name, value in words.details(notice):
        lines += _indented(f"{name}: ", lines_of(value))
    if notice.next_steps:
        lines += ["", "Next:", *(f"  {step}" for step in next_steps(notice))]
    return "\n".join(lines)


def digest_headline(notices: Sequence[Notice], dropped: int) -> str:
    """Return one line over a digest, which says how many of its notices tell of a failure."""
    failures = sum(notice.is_failure for notice in notices)
    return words.digest_headline(len(notices), dropped) + (f" ({failures} failed)" if failures else "")


def digest_rows(notices: Sequence[Notice]) -> list[Notice]:
    """Return the notices that a digest tells one by one: failures first, then as they were given."""
    return sorted(notices, key=lambda notice: not notice.is_failure)[:ROWS_MAX]


def row_details(notice: Notice) -> list[tuple[str, str]]:
    """Return what a digest tells of a notice besides its headline, each on one line."""
    return [(name, one_line(value, ROW_VALUE_MAX)) for name, value in words.details(notice) if name in _IN_A_ROW]


def not_told(notices: Sequence[Notice]) -> str:
    """Return the line for the notices of a digest that have no row; empty where all have one."""
    over = len(notices) - ROWS_MAX
    return f"… and {over} more: keyturn history lists them." if over > 0 else ""


def digest_text(notices: Sequence[Notice], dropped: int) -> str:
    """Return a whole digest: its headline, then the notices, failures first."""
    lines = [digest_headline(notices, dropped), ""]
    for notice in digest_rows(notices):
        lines.append(f"{to_text(notice.at)}  {headline(notice)}")
        lines += [f"    {name}: {value}" for name, value in row_details(notice)]
    over = not_told(notices)
    return "\n".join([*lines, over] if over else lines)


def _indented(name: str, lines: list[str]) -> list[str]:
    return [name + lines[0], *(f"    {line}" for line in lines[1:])]


def _visible(text: str) -> str:
    return _UNSHOWN.sub("\ufffd", text)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
