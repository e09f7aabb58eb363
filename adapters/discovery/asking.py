"""Asking a service over HTTP for its instances: all within the time and the size of one listing.

Rule 1: GET, and no redirect, proxy or second try; what an adapter has not asked for goes nowhere.
Rule 2: no text here has anything of a header, of a query or of an answer's body: each can hold a secret.
Rule 3: an answer counts when it came whole, is JSON, and its status is 200.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from adapters import http_answers
from adapters.addresses import ANYWHERE, Network, Resolve, system_addresses
from adapters.guarded_http import GuardedTransport
from engine.errors import OwnLoginRejected, PortError, Rejected, SinkGone, Unavailable, Uncertain
from engine.values import SECOND, Microseconds

BYTES_MAX: Final = 64_000_000
"""What all pages of a listing may have together: a choice, far more than a large fleet has."""
_LOGIN: Final = {401: "it does not accept the login that keyturn shows", 403: "keyturn's login may not list this"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers are in lower case, `value` is None where its status was only tolerated."""

    status: int
    headers: Mapping[str, str]
    value: Any
    links: Mapping[str, str]
    """URLs of the header `Link`, by what they are (RFC 8288)."""


class Asking:
    """Asks for one listing."""

    def __init__(
        self,
        *,
        what: str,
        timeout: Microseconds,
        context: ssl.SSLContext,
        headers: Mapping[str, str],
        allow: Sequence[Network] = ANYWHERE,
        bytes_max: int = BYTES_MAX,
        advice: str = "Check the login of `discovery`, and what it may do.",
        resolve: Resolve = system_addresses,
    ) -> None:
        self.what = what
        self._until = time.monotonic() + timeout / SECOND
        self._context = context
        self._headers = {"user-agent": "keyturn", "accept": "application/json", "accept-encoding": "identity"}
        self._headers |= headers
        self._allow = allow
        self._bytes_max = bytes_max
        self._bytes_left = bytes_max
        self._advice = advice
        self._resolve = resolve

    def get(self, url: str, query: Mapping[str, str] | None = None, *, tolerate: Collection[int] = ()) -> Answer:
        """Return what was answered with 200, or with a status that is tolerated; raises `Unavailable` or `Rejected`."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unavailable(what=self.what, why="the list was not read in time")
        try:
            with self._client(left) as client, client.stream("GET", url, params=query) as got:
                headers = {name.lower(): text for name, text in got.headers.items()}
                links = {name: link["url"] for name, link in got.links.items() if name and "url" in link}
                if got.status_code in tolerate:
                    return Answer(got.status_code, headers, None, links)
                self._judge(got.status_code, headers)
                return Answer(got.status_code, headers, self._json(self._body(got)), links)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            # The error of the library may hold the URL or a header, so it goes no further.
            raise self._failure(error) from None

    def _client(self, left: float) -> httpx.Client:
        transport = GuardedTransport(
            what=self.what,
            timeout=Microseconds(max(round(left * SECOND), 1)),
            allow=self._allow,
            context=self._context,
            resolve=self._resolve,
        )
        return httpx.Client(
            transport=transport, timeout=left, headers=self._headers, follow_redirects=False, trust_env=False
        )

    def _judge(self, status: int, headers: Mapping[str, str]) -> None:
        if status in _LOGIN:
            raise OwnLoginRejected(what=self.what, why=f"{_LOGIN[status]} ({status})", advice=self._advice)
        refused = http_answers.refusal(status, headers, what=self.what)
        if isinstance(refused, SinkGone):
            raise Rejected(what=self.what, why=refused.why)
        if refused is not None:
            raise refused
        if status != 200:
            raise Rejected(what=self.what, why=f"it answered {status}, which is no list")

    def _body(self, got: httpx.Response) -> bytes:
        body = bytearray()
        for chunk in got.iter_raw():
            self._bytes_left -= len(chunk)
            if self._bytes_left < 0:
                raise Rejected(what=self.what, why=f"the list is larger than {self._bytes_max} bytes")
            body += chunk
        return bytes(body)

    def _json(self, body: bytes) -> Any:
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Rejected(what=self.what, why="the answer is not JSON") from None

    def _failure(self, error: Exception) -> PortError:
        failure = http_answers.failure(error, what=self.what)
        if isinstance(failure, Uncertain):
            # A list changes nothing, so that nothing is in doubt.
            return Unavailable(what=self.what, why=failure.why)
        return failure


def trusted(ca_file: Path | None, *, what: str) -> ssl.SSLContext:
    """Return a context that trusts the certificates of a file, else the public ones; raises `Rejected`."""
    if ca_file is None:
        return _public()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError:
        raise Rejected(what=what, why="`ca_file` cannot be read, or holds no certificates") from None


@cache
def _public() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
