"""The last look at what leaves: no message goes out with a secret in it, however it came there.

Rule: what is found is named by where it comes from, never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from adapters.spellings import spellings
from engine.notifier import Outgoing
from engine.values import Secret

LENGTH_MIN: Final = 6
"""Shorter values stand in any text by chance; a password of such a length is no secret."""

TOKENS: Final[tuple[tuple[str, re.Pattern[bytes]], ...]] = (
    ("a private key", re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("an AWS access key", re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})")),
    ("a GitLab token", re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("a Slack token", re.compile(rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("a Slack webhook", re.compile(rb"hooks\.slack(?:-gov)?\.com/(?:services|workflows)/[A-Za-z0-9/]{20,}")),
    ("a Stripe key", re.compile(rb"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}")),
    ("a Google API key", re.compile(rb"\bAIza[0-9A-Za-z_-]{35}\b")),
    ("a JSON Web Token", re.compile(rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("a signing secret", re.compile(rb"\bwhs(?:ec|k)_[A-Za-z0-9+/]{24,}")),
    ("a Vault token", re.compile(rb"\bhv[sbr]\.[A-Za-z0-9_-]{24,}")),
    ("a URL with a password", re.compile(rb"[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]*:[^\s/@\"'<>*]{3,}@")),
)
"""Shapes of secrets, as their issuers document them, so that scanners can find them."""

Known = Callable[[], Iterable[tuple[str, Secret]]]
"""Return the values that must not leave now, each with what people call it."""


def found_in(outgoing: Outgoing, known: Iterable[tuple[str, Secret]]) -> str:
    """Return what stands in a message that must not leave; empty where nothing does.

    The bytes are searched, and the texts within them, for known values in the spellings that they could have there,
    and for the shapes of tokens.
    """
    content = b"\0".join((outgoing.content, *outgoing.further, *(text.encode() for text in outgoing.readable)))
    for name, secret in known:
        if len(secret.reveal()) >= LENGTH_MIN and any(form in content for form in spellings(secret.reveal())):
            return name
    for name, shape in TOKENS:
        if shape.search(content):
            return name
    return ""
