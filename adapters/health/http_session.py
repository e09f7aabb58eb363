"""Asking over HTTP for the checks: to one URL, without redirects or proxies, within a time, and not more than 64 KiB.

Rule: no text of a server and no part of a URL but its host is told; what is asked with a credential goes over TLS, or
stays on this machine.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from adapters.health.looking import OutOfReach

if TYPE_CHECKING:
    import httpx

BODY_BYTES_MAX: Final = 65_536
"""What is read of a body; the rest is not looked at."""
_HERE: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the body is cut at `BODY_BYTES_MAX`."""

    status: int
    body: bytes


def check_url(url: str, *, is_secret: bool = False) -> None:
    """Raise ValueError where a URL is none of HTTP, or, with a credential, would show it to the network."""
    try:
        parts = urlsplit(url)
        is_written = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_written = False
    if not is_written or not url.isprintable() or " " in url:
        raise ValueError("`url` begins with https:// or http:// and a host")
    if "@" in parts.netloc:
        raise ValueError("`url` has a login in it, which would be shown; `use_credential` logs in")
    if is_secret and parts.scheme != "https" and parts.hostname not in _HERE:
        raise ValueError("a credential is sent to https:// alone, or to this machine")


def place(url: str) -> str:
    """Return scheme, host and port of a URL, which is what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def client(*, root: Path | None, limit: float) -> Iterator[httpx.Client]:
    """Open a client that keeps its connections for the length of a look; `root` are the certificates to trust."""
    import httpx

    try:
        trusted = ssl.create_default_context(cafile=root) if root else httpx.create_ssl_context(trust_env=False)
    except OSError:
        raise OutOfReach(f"the certificates of {root} cannot be read") from None
    with httpx.Client(verify=trusted, timeout=limit, trust_env=False, follow_redirects=False) as opened:
        yield opened


def get(
    opened: httpx.Client,
    url: str,
    *,
    until: float,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
) -> Answer:
    """Return the answer, all of it before `until` (monotonic seconds); raises `OutOfReach`."""
    import httpx

    left = max(until - time.monotonic(), 0.001)
    body = bytearray()
    try:
        # Unpacked, a body could be far longer than what was read of it.
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        with opened.stream("GET", url, headers=sent, params=params, timeout=left) as response:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) >= BODY_BYTES_MAX:
                    break
                if time.monotonic() >= until:
                    raise OutOfReach(f"{place(url)}: no answer in time")
    except httpx.TimeoutException:
        raise OutOfReach(f"{place(url)}: no answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise OutOfReach(f"{place(url)}: {why(error)}") from None
    return Answer(response.status_code, bytes(body[:BODY_BYTES_MAX]))


def why(error: BaseException) -> str:
    """Say why there was no answer, in words of our own."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {link.verify_message}"
        if isinstance(link, ssl.SSLError):
            return "TLS failed"
        if isinstance(link, TimeoutError):
            return "no answer in time"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return type(error).__name__
