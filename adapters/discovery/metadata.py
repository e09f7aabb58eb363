"""The access token that a cloud hands to its own machines, from an address that no configuration may lead to.

Rule: the URLs stand in the adapters, and are asked for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx
import msgspec

from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable
from engine.values import SECOND, Microseconds, Secret

_SECONDS_MAX: Final = 5.0
"""A choice: the metadata of a machine comes from its host."""
ADVICE: Final = "Give a `token`, or run keyturn on a machine of this cloud that has an identity."


class _Token(msgspec.Struct, frozen=True):
    access_token: str


def access_token(
    url: str,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    *,
    timeout: Microseconds,
    what: str,
    flavor: Mapping[str, str] | None = None,
) -> Secret:
    """Return a token; the answer must have the headers `flavor`. Raises `Unavailable` or `Rejected`."""
    what = f"{what}, asking the machine for its identity"
    try:
        with httpx.Client(
            timeout=min(timeout / SECOND, _SECONDS_MAX), trust_env=False, follow_redirects=False
        ) as client:
            got = client.get(url, headers=headers, params=query)
    except httpx.HTTPError:
        raise Unavailable(what=what, why="it has none that answers", advice=ADVICE) from None
    refused = _refusal(got.status_code, what=what)
    if refused is not None:
        raise refused
    if any(got.headers.get(name) != text for name, text in (flavor or {}).items()):
        raise Rejected(what=what, why="what answered is no metadata server")
    try:
        token = msgspec.json.decode(got.content, type=_Token).access_token
    except (msgspec.DecodeError, UnicodeError):
        raise Rejected(what=what, why="what it answered is no token") from None
    if not token or not token.isascii() or not token.isprintable():
        raise Rejected(what=what, why="what it answered is no token")
    return Secret(token)


def _refusal(status: int, *, what: str) -> PortError | None:
    if status == 200:
        return None
    if status == 429 or status >= 500:
        return Unavailable(what=what, why=f"it answered {status}")
    return OwnLoginRejected(what=what, why=f"it answered {status}: it has no identity", advice=ADVICE)
