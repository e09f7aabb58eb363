"""What Slack accepts of a message, as docs.slack.dev says: Block Kit, text objects, limits. No tests live here.

Rule: only some blocks are known (header, section, context, divider); everything else is refused, so that nothing is
sent that was never checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

BLOCKS_MAX: Final = 50
TEXT_MAX: Final = 3_000
HEADER_MAX: Final = 150
FIELDS_MAX: Final = 10
FIELD_MAX: Final = 2_000
CONTEXT_MAX: Final = 10
BLOCK_ID_MAX: Final = 255
MESSAGE_MAX: Final = 12_000
"""All texts together: below the 13,200 or so at which Slack answers `msg_blocks_too_long`."""
FALLBACK_MAX: Final = 4_000
"""Of the text of chat.update (`msg_too_long`)."""
_MENTION: Final = r"<(?:@[UW][A-Z0-9]{2,}|!subteam\^S[A-Z0-9]{2,}|!here|!channel|!everyone)>"
_ESCAPED: Final = re.compile(rf"(?:[^&<>]|&amp;|&lt;|&gt;|{_MENTION})*", re.DOTALL)
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def size(text: str) -> int:
    """Return the length of a text in UTF-16 units, which is the most that `characters` may mean."""
    return len(text.encode("utf-16-le")) // 2


def mentions(blocks: object) -> list[str]:
    """Return what in the blocks notifies somebody: only text with markup does."""
    return [
        found
        for text in texts(blocks)
        if text.get("type") == "mrkdwn"
        for found in re.findall(_MENTION, text.get("text", ""))
    ]


def texts(value: object) -> Iterator[dict[str, Any]]:
    """Yield every text object in blocks."""
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        if value.get("type") in {"plain_text", "mrkdwn"}:
            yield value
        for each in value.values():
            yield from texts(each)


def problems_of_message(body: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with `text` and `blocks` of a message."""
    text, blocks = body.get("text"), body.get("blocks")
    if not isinstance(text, str) or not text:
        return ["no_text: the fallback is missing"]
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        return ["blocks is no list of objects"]
    problems = [] if _ESCAPED.fullmatch(text) else ["unescaped markup in the fallback"]
    if _CONTROL.search(text):
        problems.append("a control character in the fallback")
    if size(text) > FALLBACK_MAX:
        problems.append("msg_too_long: the fallback")
    if not 0 < len(blocks) <= BLOCKS_MAX:
        problems.append(f"{len(blocks)} blocks")
    for number, block in enumerate(blocks):
        problems += [f"/blocks/{number}: {problem}" for problem in _problems_of_block(block)]
    identities = [block["block_id"] for block in blocks if "block_id" in block]
    if len(identities) != len(set(identities)):
        problems.append("a block_id stands twice")
    if size(text) + sum(size(str(each.get("text", ""))) for each in texts(blocks)) > MESSAGE_MAX:
        problems.append("msg_blocks_too_long")
    return problems


def _problems_of_block(block: dict[str, Any]) -> list[str]:
    check = _BLOCKS.get(block.get("type", ""))
    if check is None:
        return [f"unknown type {block.get('type')!r}"]
    allowed, check_rest = check
    problems = _unknown(block, {"type", "block_id", *allowed})
    identity = block.get("block_id", "x")
    if not isinstance(identity, str) or not 0 < len(identity) <= BLOCK_ID_MAX:
        problems.append("block_id is a text of 1 to 255 characters")
    return problems + check_rest(block)


def _problems_of_header(block: dict[str, Any]) -> list[str]:
    text = block.get("text")
    kind = ["a header is plain_text"] if isinstance(text, dict) and text.get("type") != "plain_text" else []
    return kind + _problems_of_text(text, longest=HEADER_MAX)


def _problems_of_section(block: dict[str, Any]) -> list[str]:
    if "text" not in block and "fields" not in block:
        return ["a section has text or fields"]
    problems = _problems_of_text(block["text"], longest=TEXT_MAX) if "text" in block else []
    if "fields" in block:
        fields = block["fields"]
        if not isinstance(fields, list) or not 0 < len(fields) <= FIELDS_MAX:
            return [*problems, "fields is a list of 1 to 10"]
        problems += [problem for field in fields for problem in _problems_of_text(field, longest=FIELD_MAX)]
    return problems


def _problems_of_context(block: dict[str, Any]) -> list[str]:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 0 < len(elements) <= CONTEXT_MAX:
        return ["elements is a list of 1 to 10"]
    return [problem for element in elements for problem in _problems_of_text(element, longest=TEXT_MAX)]


def _problems_of_text(text: object, *, longest: int) -> list[str]:
    if not isinstance(text, dict):
        return ["a text object is missing"]
    kind, content = text.get("type"), text.get("text")
    if kind not in {"plain_text", "mrkdwn"}:
        return [f"a text object of type {kind!r}"]
    problems = _unknown(text, {"type", "text", "emoji" if kind == "plain_text" else "verbatim"})
    problems += [
        f"{key} is true or false" for key in ("emoji", "verbatim") if not isinstance(text.get(key, True), bool)
    ]
    if not isinstance(content, str) or not content:
        return [*problems, "a text is empty"]
    if size(content) > longest:
        problems.append(f"a text of {size(content)} where {longest} are allowed")
    if not _ESCAPED.fullmatch(content):
        problems.append("unescaped markup")
    if kind == "plain_text" and re.search(_MENTION, content):
        problems.append("a mention in plain_text, which notifies nobody")
    if _CONTROL.search(content):
        problems.append("a control character")
    return problems


def _unknown(given: Mapping[str, Any], allowed: set[str]) -> list[str]:
    return [f"unknown field {name!r}" for name in given if name not in allowed]


def _nothing_more(block: dict[str, Any]) -> list[str]:
    return []


_BLOCKS: Final[dict[str, tuple[set[str], Callable[[dict[str, Any]], list[str]]]]] = {
    "header": ({"text"}, _problems_of_header),
    "section": ({"text", "fields"}, _problems_of_section),
    "context": ({"elements"}, _problems_of_context),
    "divider": (set(), _nothing_more),
}
