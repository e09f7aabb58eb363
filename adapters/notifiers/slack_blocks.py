"""How notices look in Slack: Block Kit, within its limits.

Limits are of docs.slack.dev (block kit reference), counted in UTF-16 units after escaping, which is at least as much as
Slack counts. The limit of a whole message is not documented; about 13,200 were refused (`msg_blocks_too_long`).

Rule 1: pure. Rule 2: a text of the outside is escaped, and shown as plain text or as code, where Slack reads no markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from adapters.notifiers.texts import on_one_line, shortened, shown, utf16
from engine.notices import Notice, NoticeKind
from projections.notifications.words import details, digest_headline, headline
from projections.times import to_text

Block: TypeAlias = dict[str, Any]

MESSAGE_SIZE_MAX: Final = 12_000
"""All texts of a message together."""
_HEADER_MAX: Final = 150
_FIELDS_MAX: Final = 10
_VALUE_MAX: Final = 150
_CAUSE_MAX: Final = 2_900
"""Of a section's 3,000, the rest being its title and the marks of code."""
_TEXT_MAX: Final = 1_000
_STEPS_MAX: Final = 1_400
_FIELD_COUNT_MAX: Final = 2 * _FIELDS_MAX
_LINE_MAX: Final = 500
_LINES_MAX: Final = 2_900
_LISTS_MAX: Final = 3
FALLBACK_MAX: Final = 1_000

_SIGNS: Final = {
    NoticeKind.COMPLETED: "✅",
    NoticeKind.FAILED: "❌",
    NoticeKind.ROLLBACK_FAILED: "🚨",
    NoticeKind.ROLLBACK_STARTED: "↩️",
    NoticeKind.ROLLED_BACK: "↩️",
    NoticeKind.PAUSED: "⏸️",
    NoticeKind.WAITING: "⏳",
    NoticeKind.OVERDUE: "⏰",
    NoticeKind.UNDELIVERED: "❌",
}
_NO_BACKTICK: Final = "\u02cb"
"""Looks like a backtick, and does not end code."""
_SENTENCES: Final = frozenset({"Remedy", "Reason"})
"""The lines that are written by people or for them, and may be long."""


def of_notice(notice: Notice, *, mentions: Sequence[str] = ()) -> list[Block]:
    """Return the blocks of one notice: headline, mentions, what went wrong, the rest, what to do."""
    lines = details(notice)
    blocks = [_header(notice), *_mentioned(mentions)]
    for name, value in lines:
        if name == "Cause":
            blocks.append(_section(f"*{name}*\n{_code_block(value, _CAUSE_MAX)}"))
        elif name in _SENTENCES:
            blocks.append(_plain(f"{name}: {_cut(shown(value), _TEXT_MAX)}"))
    blocks += _fields([line for line in lines if line[0] not in _SENTENCES | {"Cause"}])
    if notice.next_steps:
        blocks.append(_section(f"*Next*\n{_code_block(chr(10).join(notice.next_steps), _STEPS_MAX)}"))
    return blocks


def of_digest(notices: Sequence[Notice], *, dropped: int, mentions: Sequence[str] = ()) -> list[Block]:
    """Return the blocks of several notices: a line each, failures first, as far as they fit, and how many did not."""
    title = _plain_text(_cut(digest_headline(len(notices), dropped), _HEADER_MAX))
    ordered = sorted(notices, key=lambda notice: not notice.is_failure)
    lists, listed = _lists([_line(notice) for notice in ordered])
    blocks = [{"type": "header", "text": title}, *_mentioned(mentions), *map(_plain, lists)]
    if listed < len(notices):
        blocks.append(_plain(f"… and {len(notices) - listed} more"))
    return blocks


def fallback(notices: Sequence[Notice], *, dropped: int) -> str:
    """Return what is shown where blocks are not: in a notification, and to a screen reader."""
    if len(notices) != 1 or dropped:
        return _cut(digest_headline(len(notices), dropped), FALLBACK_MAX)
    notice = notices[0]
    cause = f": {on_one_line(notice.cause.message)}" if notice.cause else ""
    return _cut(on_one_line(headline(notice)) + cause, FALLBACK_MAX)


def escaped(text: str) -> str:
    """Replace the three signs that Slack reads as its own; nothing else is to be replaced (docs.slack.dev)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, longest: int) -> str:
    return shortened(text, longest, form=escaped, size=utf16)


def _plain_text(text: str) -> Block:
    """Return a text object without markup; `:words:` stay what they are. Slack refuses an empty one."""
    return {"type": "plain_text", "text": text or "-", "emoji": False}


def _plain(text: str) -> Block:
    return {"type": "section", "text": _plain_text(text)}


def _section(markup: str) -> Block:
    return {"type": "section", "text": _markup(markup)}


def _markup(markup: str) -> Block:
    """Return a text object with markup; names of channels and people in it are not looked for."""
    return {"type": "mrkdwn", "text": markup, "verbatim": True}


def _code(value: str) -> str:
    """Return a value on one line as code."""
    return f"`{_cut(on_one_line(value).replace('`', _NO_BACKTICK), _VALUE_MAX) or '-'}`"


def _code_block(text: str, longest: int) -> str:
    return f"```{_cut(shown(text).replace('`', _NO_BACKTICK), longest) or '-'}```"


def _header(notice: Notice) -> Block:
    sign = _SIGNS.get(notice.kind, "")
    title = f"{sign} {on_one_line(headline(notice))}".strip()
    return {"type": "header", "text": _plain_text(_cut(title, _HEADER_MAX))}


def _mentioned(mentions: Sequence[str]) -> list[Block]:
    return [_section(" ".join(mentions))] if mentions else []


def _fields(lines: Sequence[tuple[str, str]]) -> list[Block]:
    """Return sections of at most ten fields each."""
    fields = [_markup(f"*{name}*\n{_code(value)}") for name, value in lines[:_FIELD_COUNT_MAX]]
    return [
        {"type": "section", "fields": fields[start : start + _FIELDS_MAX]}
        for start in range(0, len(fields), _FIELDS_MAX)
    ]


def _line(notice: Notice) -> str:
    cause = f": {on_one_line(notice.cause.message)}" if notice.cause else ""
    return _cut(f"• {to_text(notice.at)} {on_one_line(headline(notice))}{cause}", _LINE_MAX)


def _lists(lines: Iterable[str]) -> tuple[list[str], int]:
    """Return the texts that lines fill, and how many lines are in them."""
    texts: list[str] = []
    listed = 0
    for line in lines:
        if texts and utf16(texts[-1]) + utf16(line) + 1 <= _LINES_MAX:
            texts[-1] += "\n" + line
        elif len(texts) < _LISTS_MAX:
            texts.append(line)
        else:
            break
        listed += 1
    return texts, listed
