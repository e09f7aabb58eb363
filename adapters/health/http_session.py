"""Asking over HTTP for the checks: to one URL, without redirects or proxies, within a time, and not more than 64 KiB.

Rule: no text of a server and no part of a URL but its host is told; what is asked with a credential goes over TLS, or
stays on this machine.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from adapters.health.looking import OutOfReach, usable
from engine.health import Subject

if TYPE_CHECKING:
    import httpx

BODY_BYTES_MAX: Final = 65_536
"""What is read of a body; the rest is not looked at."""
_HERE: Final = ("localhost", "127.0.0.1", "::1")


class UseCredential(StrEnum):
    """How the new version goes along."""

    NONE = "none"
    BASIC = "basic"
    """User name and secret (RFC 7617)."""
    BEARER = "bearer"
    """The secret as a token (RFC 6750)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the body is cut at `BODY_BYTES_MAX`."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name in lower case; one that comes several times is joined by commas, as RFC 9110 has it."""


def authorization(use: UseCredential, subject: Subject) -> dict[str, str]:
    """Return the headers that log in with the new version; raises `NotSeen` where nobody has its value."""
    if use is UseCredential.NONE:
        return {}
    value = usable(subject)
    if use is UseCredential.BEARER:
        return {"Authorization": f"Bearer {value.revealed()}"}
    login = base64.b64encode(f"{value.username}:{value.revealed()}".encode()).decode()
    return {"Authorization": f"Basic {login}"}


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


class Asking:
    """Asks, all before one moment; connections are kept from one request to the next."""

    def __init__(self, client: httpx.Client, until: float) -> None:
        self._client = client
        self._until = until
        self._lines: list[socket.socket] = []

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer; raises `OutOfReach`."""
        import httpx

        left = max(self._until - time.monotonic(), 0.001)
        # Unpacked, a body could be far longer than what was read of it.
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        tracing = {"trace": self._trace}
        body = bytearray()
        try:
            with self._client.stream(
                "GET", url, headers=sent, params=query, timeout=left, extensions=tracing
            ) as response:
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) >= BODY_BYTES_MAX:
                        break
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            is_late = isinstance(error, httpx.TimeoutException) or time.monotonic() >= self._until
            raise OutOfReach(f"{place(url)}: {'no answer in time' if is_late else why(error)}") from None
        return Answer(response.status_code, bytes(body[:BODY_BYTES_MAX]), dict(response.headers))

    def cut(self) -> None:
        """Break what is open: the timeout of the client starts anew with each byte that comes."""
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            line = info["return_value"].get_extra_info("socket")
            if isinstance(line, socket.socket):
                self._lines.append(line)


@cache
def _public() -> ssl.SSLContext:
    """Return the public certificates, which come with a package and take some 20 ms to read."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


@contextmanager
def asking(*, root: Path | None, limit: float) -> Iterator[Asking]:
    """Open what asks for the length of a look, at most `limit` seconds; `root` are the certificates to trust."""
    import httpx

    try:
        trusted = ssl.create_default_context(cafile=root) if root else _public()
    except OSError:
        raise OutOfReach(f"the certificates of {root} cannot be read") from None
    with httpx.Client(verify=trusted, trust_env=False, follow_redirects=False) as client:
        opened = Asking(client, time.monotonic() + limit)
        timer = threading.Timer(limit, opened.cut)
        timer.daemon = True
        timer.start()
        try:
            yield opened
        finally:
            timer.cancel()
            timer.join()


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
