"""What a receiver over HTTP answers, and what it means for what was sent: taken, not yet, never, nobody knows.

Rule 1: no text here has more of a URL than scheme and host, nor anything of a header: both can be secrets.
Rule 2: one request a call. No redirect is followed, nothing is tried again; that is the caller's to decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    import httpx

BODY_BYTES_MAX: Final = 65_536
"""How much of an answer is read; no sink has more to say than an error."""
_HOSTS_HERE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_GONE: Final = 410
_TRY_LATER: Final = frozenset({408, 425, 429})
"""Request Timeout, Too Early, Too Many Requests: of the 4xx, those that ask to come again (RFC 9110, 8470, 6585)."""
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers (names in lower case), and at most `BODY_BYTES_MAX` of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(url: str, content: bytes, *, headers: Mapping[str, str], timeout: Microseconds, what: str) -> Answer:
    """Post `content` once and return what was answered, whatever its status.

    `timeout` is for connecting, for sending and for each wait for a part of the answer. Raises what `failure` returns.
    A body that breaks off is returned as far as it came: the status was there before it.
    """
    answer = attempt(url, content, headers=headers, timeout=timeout, what=what)
    if isinstance(answer, PortError):
        raise answer
    return answer


def attempt(
    url: str, content: bytes, *, headers: Mapping[str, str], timeout: Microseconds, what: str
) -> Answer | PortError:
    """Return what `post` returns, or the error that it raises."""
    import httpx

    seconds = timeout / SECOND
    try:
        sent = {"Accept-Encoding": "identity", **headers}
        with httpx.Client(timeout=seconds) as client, client.stream("POST", url, content=content, headers=sent) as got:
            answered = {name.lower(): value for name, value in got.headers.items()}
            return Answer(got.status_code, answered, _body(got, until=time.monotonic() + seconds))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        # The error of the library may hold the URL or a header, so it goes no further.
        return failure(error, what=what)


def failure(error: Exception, *, what: str) -> PortError:
    """Return what an exception of httpx (or ValueError, for what cannot be written as a request) means.

    Before the request was written it is `Unavailable`; after that, without an answer, `Uncertain`; a request that is
    none is `Rejected`.
    """
    import httpx

    match error:
        case httpx.ConnectTimeout():
            return Unavailable(what=what, why="no connection in time")
        case httpx.ConnectError():
            # The words are those of the operating system or of TLS: they name a host at most.
            return Unavailable(what=what, why=f"no connection: {error}")
        case httpx.PoolTimeout() | httpx.WriteTimeout() | httpx.WriteError():
            return Unavailable(what=what, why="the connection ended before the request was sent")
        case httpx.ProxyError():
            return Unavailable(what=what, why="the proxy refused the connection")
        case httpx.ReadTimeout():
            return Uncertain(what=what, why="the request was sent, and no answer came in time")
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            return Rejected(what=what, why="it cannot be written as a request: a wrong URL, or a wrong header")
        case httpx.TransportError():
            return Uncertain(what=what, why="the request was sent, and the connection ended without an answer")
        case _:
            return Rejected(what=what, why="it cannot be written as a request: a wrong URL, or a wrong header")


def refusal(status: int, headers: Mapping[str, str], *, what: str, said: str = "") -> PortError | None:
    """Return what a status means that is no success; None for 2xx.

    `headers` have names in lower case. `said` is what the sink gave as its reason, without secrets. 3xx and 4xx are
    `Rejected` (410 `SinkGone`), but for 408, 425 and 429, which like 5xx are `Unavailable`, or `Throttled` where
    the sink says how long to wait, and always with 429.
    """
    why = f"it answered {status}" + (f" ({said})" if said else "")
    if 200 <= status < 300:
        return None
    if status in _TRY_LATER or status >= 500:
        after = retry_after(headers)
        if status == _TOO_MANY or after:
            return Throttled(what=what, why=why, after=after)
        return Unavailable(what=what, why=why)
    if status == _GONE:
        return SinkGone(what=what, why=why)
    if 300 <= status < 400:
        return Rejected(what=what, why=f"{why}: a redirect, which is not followed")
    return Rejected(what=what, why=why)


def retry_after(headers: Mapping[str, str], *, now: Callable[[], float] = time.time) -> Microseconds:
    """Return the wait that `Retry-After` asks for, seconds or a date (RFC 9110 10.2.3); 0 where it asks for none.

    A date counts from the `Date` of the same answer where it has one, so that clocks need not agree.
    """
    given = headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit() and len(given) <= 9:
        return Microseconds(int(given) * SECOND)
    until = _moment(given)
    if until is None:
        return Microseconds(0)
    since = _moment(headers.get("date", ""))
    return Microseconds(max(round((until - (now() if since is None else since)) * SECOND), 0))


def redacted(url: str) -> str:
    """Return scheme and host of a URL, which is all of it that may be shown: `https://hooks.example/…`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    return f"{parts.scheme}://{host}{port}/…" if parts.scheme and host else "…"


def is_safe_url(url: str) -> bool:
    """Tell whether a secret may be sent to a URL: over TLS, or to this machine itself."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _HOSTS_HERE))


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError, TypeError):
        return None


def _body(response: httpx.Response, *, until: float) -> bytes:
    import httpx

    body = b""
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) >= BODY_BYTES_MAX or time.monotonic() >= until:
                break
    except httpx.TransportError:
        pass
    return body[:BODY_BYTES_MAX]
