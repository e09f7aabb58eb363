"""How a text may stand in bytes that are made of it, so that a secret is found however it was written.

Rule: nothing is kept here; whoever asks decides what a find means.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

TAKEN_OUT: Final = b"***"
"""What stands where a secret stood."""

_SPELLING_BYTES_MIN: Final = 4
"""A shorter encoding of a secret stands in any text by chance. The secret itself is taken out whatever its length."""


def spellings(text: str) -> Iterator[bytes]:
    """Yield how a text may stand in bytes that are made of it."""
    raw = text.encode()
    yield from (raw, raw.hex().encode(), raw.hex().upper().encode())
    for escaped in (quote(text, safe=""), quote_plus(text), html.escape(text), json.dumps(text)[1:-1]):
        yield escaped.encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield from _base64(raw)


def without(raw: bytes, secrets: Iterable[str], *, is_cut: bool = False) -> bytes:
    """Return bytes with every spelling of the secrets replaced by stars.

    `is_cut` says that something stood behind: then the end, where half a secret could stand, goes as well.
    """
    forms = {
        form
        for secret in secrets
        for form in spellings(secret)
        if form and (form == secret.encode() or len(form) >= _SPELLING_BYTES_MIN)
    }
    for form in sorted(forms, key=len, reverse=True):
        raw = raw.replace(form, TAKEN_OUT)
    longest = max(map(len, forms), default=0)
    return raw[: max(len(raw) - longest, 0)] if is_cut else raw


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield the base64 of bytes wherever they stand in others: three alignments, without what neighbours decide."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        start = -(-before * 8 // 6)  # the first character that no byte before has a bit in
        end = (before + len(raw)) * 8 // 6
        core = encoded[start:end]
        yield core
        yield core.replace(b"+", b"-").replace(b"/", b"_")
