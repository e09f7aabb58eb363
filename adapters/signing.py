"""Signatures of Standard Webhooks 1.0.0: which message it is, when it was tried, and that it comes from here.

Source: the specification at standardwebhooks.com. Only the symmetric scheme (`v1`, HMAC-SHA256).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from engine.errors import Rejected
from engine.values import Secret

KEY_PREFIX: Final = "whsec_"
KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64
"""The specification: 192 to 512 bits."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_:/#@+-]{1,128}", re.ASCII)
"""Visible, and without a dot, which separates what is signed."""


def identifier(key: str) -> str:
    """Return what names a message in headers and signatures: the key, or a digest of one that cannot stand there."""
    if _IDENTIFIER.fullmatch(key):
        return key
    return "sha256_" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def key_of(secret: Secret, *, what: str) -> bytes:
    """Return the key in a secret: `whsec_` and the base64 of 24 to 64 bytes. Raises `Rejected` for anything else."""
    text = secret.reveal()
    encoded = text.removeprefix(KEY_PREFIX).rstrip("=")
    try:
        # Some leave the padding away.
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(KEY_PREFIX) or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise Rejected(
            what=what,
            why=f"the signing secret is not {KEY_PREFIX} and the base64 of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes",
            advice=f'Make one: echo "{KEY_PREFIX}$(openssl rand -base64 32)"',
        )
    return key


def signatures(keys: Sequence[bytes], *, identifier: str, timestamp: int, content: bytes) -> str:
    """Return the value of `webhook-signature`: one signature a key, in their order, over exactly these bytes."""
    signed = f"{identifier}.{timestamp}.".encode() + content
    digests = (hmac.digest(key, signed, "sha256") for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
