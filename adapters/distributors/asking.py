"""Requests to instances: to their endpoint, which discovery names, and so only to addresses that are allowed.

Rule 1: one request a call; no redirect is followed, nothing is tried again, and 16 KiB of an answer are read.
Rule 2: secrets stand in headers or a body, and nothing of either, nor of an answer, in an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from adapters import http_answers, http_auth
from adapters.addresses import Resolve, check_url, networks, system_addresses
from adapters.deadlines import wall_time
from adapters.distributors.reports import CHALLENGE, REPORT_BYTES_MAX, Wanted, judged, new_challenge, unknown
from adapters.http_answers import Answer
from adapters.http_auth import Auth
from engine.adapter import DistributorContext, Reference
from engine.errors import PortError, Rejected, SinkGone, Unavailable, Uncertain
from engine.instances import Instance, Proof, Usage
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret

if TYPE_CHECKING:
    import httpx

_UNPERFORMED: Final = frozenset({429, 503})
"""Too Many Requests and Service Unavailable: it was not carried out (RFC 6585, RFC 9110). Any other 5xx may come from a
proxy that lost the answer, or from an instance that failed half-way."""
_UNAUTHENTICATED: Final = frozenset({401, 403})


class Reaching(Protocol):
    """The options that say how instances are reached."""

    @property
    def auth(self) -> Auth | None:
        """How keyturn shows an instance who it is."""

    @property
    def allow_http(self) -> bool:
        """Also in the clear."""

    @property
    def allow_private(self) -> tuple[str, ...]:
        """Networks inside of the own one that endpoints may be in."""

    @property
    def ca_file(self) -> str:
        """Certificates that are trusted in place of the public ones; empty for these."""


class ReportOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The URL at which each instance reports the version that it uses."""

    path: str = "/keyturn/report"
    """Behind the endpoint of the instance."""
    auth: Auth | None = None
    """How keyturn shows the instance who it is; all secrets are references."""
    allow_http: bool = False
    """Also ask in the clear, without TLS."""
    allow_private: tuple[str, ...] = ()
    """Networks inside of the own one that endpoints may be in, such as 10.0.0.0/8; else only public addresses."""
    ca_file: str = ""
    """Certificates (PEM) that are trusted in place of the public ones; relative to the folder of the configuration."""

    def __post_init__(self) -> None:
        refuse(problems(self, path=self.path))


def refuse(found: Iterable[str]) -> None:
    """Raise ValueError with the first of some problems, if there is one."""
    for problem in found:
        raise ValueError(problem)


def problems(options: Reaching, **paths: str) -> Iterator[str]:
    """Yield what is wrong with the options and with the paths behind an endpoint, a sentence each."""
    try:
        networks(options.allow_private)
    except ValueError as error:
        yield f"`allow_private`: {error}"
    for name, path in paths.items():
        try:
            if not path.startswith("/"):
                raise ValueError("it begins with /, and stands behind the endpoint of an instance")  # noqa: TRY301
            check_url(f"https://instance.example{path}")
        except ValueError as error:
            yield f"`{name}`: {error}"
    if options.auth is not None:
        yield from http_auth.problems(options.auth)


@dataclass(frozen=True, slots=True)
class Line:
    """How instances are reached over HTTP."""

    options: Reaching
    base: Path
    secret: Callable[[Reference], Secret]
    timeout: Microseconds
    """For one request as a whole."""
    resolve: Resolve = system_addresses

    def url(self, instance: Instance, path: str, *, what: str) -> str:
        """Return the URL of a path behind the endpoint of an instance; raises `Rejected` where it leads nowhere."""
        if not instance.endpoint:
            why = f"discovery says no endpoint of {instance.id}"
            raise Rejected(what=what, why=why, advice="List it with an endpoint: https://10.0.0.5:8443")
        url = instance.endpoint.rstrip("/") + path
        try:
            if "?" in instance.endpoint:
                raise ValueError("it has a query, and paths are put behind it")  # noqa: TRY301
            check_url(url, allow_http=self.options.allow_http, allow=networks(self.options.allow_private))
        except ValueError as error:
            raise Rejected(what=what, why=f"the endpoint of {instance.id}: {error}") from None
        return url

    def ask(
        self,
        method: str,
        url: str,
        *,
        what: str,
        timeout: Microseconds,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return its answer, whatever its status; raises the three outcomes."""
        import httpx

        sent = {"user-agent": "keyturn", "accept-encoding": "identity", **(headers or {})}
        if self.options.auth is not None:
            sent |= [http_auth.header(self.options.auth, self.secret, what=what, secrets=[])]
        try:
            with (
                self._client(what, timeout) as client,
                client.stream(method, url, content=content, headers=sent) as got,
            ):
                body = _body(got.iter_raw())
                return Answer(got.status_code, {name.lower(): text for name, text in got.headers.items()}, body)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # The error of the library may hold a header, so it goes no further.
            raise http_answers.failure(error, what=what) from None

    def look(
        self,
        instance: Instance,
        value: CredentialValue,
        *,
        path: str,
        version: str,
        wanted: Wanted,
        timeout: Microseconds | None = None,
    ) -> Proof:
        """Ask an instance for its report, with a fresh challenge, and return what it proves; never raises outcomes."""
        what = f"asking {instance.id} for its version"
        challenge = new_challenge()
        try:
            url = self.url(instance, path, what=what)
            asked = f"{url}{'&' if '?' in path else '?'}{CHALLENGE}={challenge}"
            answer = self.ask("GET", asked, what=what, timeout=min(timeout or self.timeout, self.timeout))
        except PortError as error:
            return unknown(error.why)
        if answer.status != 200:
            return unknown(f"its report answered {answer.status}")
        return judged(answer.body, value, version=version, challenge=challenge, wanted=wanted)

    def _client(self, what: str, timeout: Microseconds) -> httpx.Client:
        from adapters import guarded_http

        ca_file = str(self.base / self.options.ca_file) if self.options.ca_file else ""
        try:
            allow = networks(self.options.allow_private)
            return guarded_http.client(what=what, timeout=timeout, allow=allow, ca_file=ca_file, resolve=self.resolve)
        except OSError:
            raise Rejected(what=what, why="`ca_file` cannot be read, or holds no certificates") from None


def line(options: Reaching, context: DistributorContext) -> Line:
    """Return how the instances of a service are reached."""
    return Line(options, context.base, context.secret, context.timeout)


def refusal(answer: Answer, *, what: str) -> PortError | None:
    """Return what the answer to a change means; None where it was taken (2xx)."""
    if answer.status in _UNAUTHENTICATED:
        why = f"it answered {answer.status}"
        return Rejected(what=what, why=why, advice="Check `signing_secret` and `auth` on both sides.")
    if answer.status >= 500 and answer.status not in _UNPERFORMED:
        return Uncertain(what=what, why=f"it answered {answer.status}, and may have taken it")
    refused = http_answers.refusal(answer.status, answer.headers, what=what)
    return Rejected(what=what, why=refused.why) if isinstance(refused, SinkGone) else refused


def time_left(deadline: Instant, *, what: str) -> Microseconds:
    """Return how long there is until a deadline; raises `Unavailable` where it has passed."""
    left = deadline - wall_time()
    if left <= 0:
        raise Unavailable(what=what, why="its deadline has passed")
    return Microseconds(left)


def wait_for(look: Callable[[Microseconds], Proof], *, until: float) -> Proof:
    """Look, again and again, until the version is seen in use, or until `until` (of `time.monotonic`).

    `look` is given how long it may take. Returns what was seen last.
    """
    pause = 0.05
    while True:
        left = until - time.monotonic()
        proof = look(Microseconds(max(round(left * SECOND), 1)))
        left = until - time.monotonic()
        if proof.usage is Usage.USED or left <= pause:
            return proof
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def _body(chunks: Iterable[bytes]) -> bytes:
    """Return the body as far as it came, a byte more than `REPORT_BYTES_MAX` at most."""
    import httpx

    body = b""
    try:
        for chunk in chunks:
            body += chunk
            if len(body) > REPORT_BYTES_MAX:
                break
    except httpx.TransportError:
        pass  # the status was there before, and half a report proves nothing
    return body[: REPORT_BYTES_MAX + 1]
