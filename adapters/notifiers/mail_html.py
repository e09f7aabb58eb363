"""The HTML of a mail: the same words as its text, in a table. Nothing in it is fetched from anywhere.

Rule: every text goes through `_shown`, which escapes it; what is not escaped stands in this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from adapters.notifiers import plain_text
from engine.notices import Notice, NoticeKind, Urgency
from projections.notifications import words
from projections.times import to_text

_COLOURS: Final = {
    Urgency.CRITICAL: "#9b1c1c",
    Urgency.ERROR: "#c0392b",
    Urgency.WARNING: "#b7791f",
    Urgency.INFO: "#2b6cb0",
}
_WELL: Final = "#2f855a"
_CELL: Final = "padding:3px 12px 3px 0;vertical-align:top;text-align:left"


def notice_html(notice: Notice) -> str:
    """Return the page of one notice."""
    rows = [_detail(name, "\n".join(plain_text.lines_of(value))) for name, value in words.details(notice)]
    steps = [f'<li style="font-family:monospace">{_shown(step)}</li>' for step in plain_text.next_steps(notice)]
    lines = ["<table>", *rows, "</table>", *(["<p>Next:</p>", "<ul>", *steps, "</ul>"] if steps else [])]
    return _page(plain_text.headline(notice), _colour(notice), lines)


def digest_html(notices: Sequence[Notice], dropped: int) -> str:
    """Return the page of a digest: a row for each notice, failures first."""
    told = plain_text.digest_rows(notices)
    over = plain_text.not_told(notices)
    lines = ["<table>", *(_row(notice) for notice in told), "</table>", *([f"<p>{_shown(over)}</p>"] if over else [])]
    return _page(plain_text.digest_headline(notices, dropped), _colour(told[0]), lines)


def _detail(name: str, value: str) -> str:
    return (
        f'<tr><th style="{_CELL};white-space:nowrap">{_shown(name)}</th>'
        f'<td style="{_CELL};white-space:pre-wrap" dir="auto">{_shown(value)}</td></tr>'
    )


def _row(notice: Notice) -> str:
    details = "".join(f"<br>{_shown(name)}: {_shown(value)}" for name, value in plain_text.row_details(notice))
    return (
        f'<tr><td style="{_CELL};white-space:nowrap">{_shown(to_text(notice.at))}</td>'
        f'<td style="{_CELL};border-left:4px solid {_colour(notice)};padding-left:8px" dir="auto">'
        f"<b>{_shown(plain_text.headline(notice))}</b>{details}</td></tr>"
    )


def _page(title: str, colour: str, lines: Sequence[str]) -> str:
    heading = f'<h2 style="border-left:6px solid {colour};padding-left:10px" dir="auto">{_shown(title)}</h2>'
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><title>{_shown(title)}</title></head>',
            '<body style="font-family:sans-serif">',
            heading,
            *lines,
            "</body>",
            "</html>",
        ]
    )


def _colour(notice: Notice) -> str:
    return _WELL if notice.kind is NoticeKind.COMPLETED else _COLOURS[notice.urgency]


def _shown(text: str) -> str:
    return escape(text, quote=True)
