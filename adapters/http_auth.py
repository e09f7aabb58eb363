"""How keyturn shows a receiver over HTTP who it is: one header, whose value is read from a reference when it is sent.

Rule: no secret stands in the configuration, and none in an error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from engine.adapter import Reference
from engine.errors import Rejected
from engine.values import Secret

_KEYS: Final = {
    "bearer": ("token",),
    "basic": ("username", "password"),
    "custom": ("header", "value"),
}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
"""A token of RFC 9110, 5.6.2."""
_NOT_FOR_AUTH: Final = re.compile(
    r"host|content-.*|transfer-encoding|connection|te|trailer|upgrade|expect|idempotency-key|webhook-.*|proxy-.*",
    re.IGNORECASE,
)
"""What belongs to the connection, the body or the delivery."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How keyturn shows the receiver who it is; all secrets are references."""

    type: Literal["bearer", "basic", "custom"]
    """`bearer` takes `token`, `basic` takes `username` and `password`, `custom` takes `header` and `value`."""
    token: Reference | None = None
    """Sent as `Authorization: Bearer …`; by a webhook alone where a template of `headers` has `{{ Token }}`, if any."""
    username: Reference | None = None
    """Sent with `password`, as HTTP has it (RFC 7617)."""
    password: Reference | None = None
    """Sent with `username`."""
    header: str = ""
    """The name of the header that `value` is sent in, such as `X-API-Key`."""
    value: Reference | None = None
    """Sent in `header` as it is."""


def problems(auth: Auth) -> Iterator[str]:
    """Yield what is wrong with it, a sentence each."""
    given = {name for name in ("token", "username", "password", "header", "value") if getattr(auth, name)}
    wanted = _KEYS[auth.type]
    if given != set(wanted):
        yield f"`auth` of the type {auth.type} takes {' and '.join(f'`{name}`' for name in wanted)}, and nothing else"
    if auth.header and (not _NAME.fullmatch(auth.header) or _NOT_FOR_AUTH.fullmatch(auth.header)):
        yield "`auth.header`: this header is keyturn's to set, or its name is none"


def header(auth: Auth, read: Callable[[Reference], Secret], *, what: str, secrets: list[str]) -> tuple[str, str]:
    """Return name and value of the header; whatever of it is secret is put into `secrets`.

    Raises what `read` raises, and `Rejected` for a secret that cannot stand in a header.
    """

    def text(reference: Reference | None) -> str:
        assert reference is not None, "`problems` lets no `auth` without its secrets through"
        return visible(reference, read, what=what, secrets=secrets)

    match auth.type:
        case "basic":
            username = text(auth.username)
            pair = f"{username}:{text(auth.password)}"
            secrets.append(base64.b64encode(pair.encode()).decode())
            return "authorization", f"Basic {secrets[-1]}"
        case "custom":
            return auth.header.lower(), text(auth.value)
        case "bearer":
            return "authorization", f"Bearer {text(auth.token)}"


def visible(reference: Reference, read: Callable[[Reference], Secret], *, what: str, secrets: list[str]) -> str:
    """Return a secret that may stand in a header, and put it into `secrets`; raises `Rejected` for any other."""
    text = read(reference).reveal()
    if not text.isascii() or not text.isprintable():
        raise Rejected(what=what, why=f"what {reference} holds cannot stand in a header: no visible ASCII")
    secrets.append(text)
    return text
