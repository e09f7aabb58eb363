"""HTTP that leads only where it may: a transport for httpx that connects to addresses which were judged.

Rule 1: every connection goes through `Backend`: a host is resolved once, all its addresses are judged, and the
connection goes to one of those. TLS and `Host` are for the name, not for the address.
Rule 2: no proxy, no redirect, no second try, no connection that is used again; nothing is read from the environment.
Rule 3: `timeout` is for all of it: a peer that sends a byte now and then keeps nobody.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import httpcore
import httpx

from adapters.addresses import Network, Resolve, checked_addresses, system_addresses
from engine.errors import Unavailable
from engine.values import SECOND, Microseconds

T = TypeVar("T")


def client(
    *,
    what: str,
    timeout: Microseconds,
    allow: Sequence[Network] = (),
    ca_file: str = "",
    resolve: Resolve = system_addresses,
) -> httpx.Client:
    """Return a client for requests to hosts that may be anywhere; `timeout` is for each request as a whole.

    `ca_file` are the only certificates trusted, where it is given; else the public ones. A request raises what httpx
    raises, and also `Rejected` for a host with an address that is not allowed, `Unavailable` for one that cannot be
    resolved; `what` names it. Raises OSError where `ca_file` cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file) if ca_file else _public()
    transport = GuardedTransport(what=what, timeout=timeout, allow=allow, context=context, resolve=resolve)
    return httpx.Client(
        transport=transport, timeout=timeout / SECOND, follow_redirects=False, trust_env=False, max_redirects=0
    )


@cache
def _public() -> ssl.SSLContext:
    """Return what trusts the public certificates; reading them takes some 20 ms, and they stay the same."""
    return httpx.create_ssl_context(trust_env=False)


class GuardedTransport(httpx.BaseTransport):
    """Sends each request over a connection of its own, which `Backend` makes."""

    def __init__(
        self,
        *,
        what: str,
        timeout: Microseconds,
        allow: Sequence[Network],
        context: ssl.SSLContext,
        resolve: Resolve,
    ) -> None:
        self._what = what
        self._seconds = timeout / SECOND
        self._allow = allow
        self._context = context
        self._resolve = resolve

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its answer, whose body is still to be read."""
        until = time.monotonic() + self._seconds
        backend = Backend(what=self._what, until=until, allow=self._allow, resolve=self._resolve)
        pool = httpcore.ConnectionPool(
            ssl_context=self._context, network_backend=backend, max_connections=1, max_keepalive_connections=0
        )
        url = request.url
        assert isinstance(request.stream, Iterable), "a client that does not await sends what can be read at once"
        sent = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions={"timeout": request.extensions.get("timeout", {})},
        )
        try:
            with _as_httpx():
                answer = pool.handle_request(sent)
        except BaseException:
            pool.close()
            raise
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer, pool))


class Backend(httpcore.NetworkBackend):
    """Connects to hosts by addresses that were judged; what is waited for ends at `until` (of `time.monotonic`)."""

    def __init__(self, *, what: str, until: float, allow: Sequence[Network], resolve: Resolve) -> None:
        self._what = what
        self._until = until
        self._allow = allow
        self._resolve = resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to the first address that takes one; raises what its members promise."""
        addresses = checked_addresses(
            host.strip("[]"), port, allow=self._allow, resolve=self._resolved_in_time, what=self._what
        )
        failure: Exception = httpcore.ConnectTimeout("no time is left")
        for index, address in enumerate(addresses):
            left = self._until - time.monotonic()
            if left <= 0:
                break
            # What is left is shared, so that one address that does not answer leaves time for the others.
            share = left / (len(addresses) - index)
            try:
                stream = self._plain.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return Timed(stream, self._until)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Refuse: a socket of the own machine is no address that may be connected to."""
        raise httpcore.ConnectError("a request goes to a host")

    def _resolved_in_time(self, host: str, port: int) -> Sequence[str]:
        """Ask the resolver, which knows no timeout, in a thread that is left behind when time is over."""
        return _in_time(lambda: self._resolve(host, port), self._until, what=self._what)


class Timed(httpcore.NetworkStream):
    """A stream on which nothing is waited for behind `until`."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what there is to read; raises httpcore's errors."""
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it; raises httpcore's errors."""
        self._stream.write(buffer, self._left(httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the stream with TLS, the certificate checked for `server_hostname`; raises httpcore's errors."""
        left = self._left(httpcore.ConnectTimeout)
        return Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what the stream tells of itself."""
        return self._stream.get_extra_info(info)

    def _left(self, over: type[httpcore.TimeoutException]) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise over("no time is left")
        return left


class _Body(httpx.SyncByteStream):
    """The body of an answer; closing it closes the connection."""

    def __init__(self, answer: httpcore.Response, pool: httpcore.ConnectionPool) -> None:
        self._answer = answer
        self._pool = pool

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        with _as_httpx():
            self._answer.close()
            self._pool.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise the errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error


def _in_time(ask: Callable[[], T], until: float, *, what: str) -> T:
    """Return what `ask` returns; raises what it raises (OSError, ValueError), and `Unavailable` when time is over."""
    answers: list[T] = []
    failures: list[OSError | ValueError] = []

    def run() -> None:
        try:
            answers.append(ask())
        except (OSError, ValueError) as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True, name="resolver")
    thread.start()
    thread.join(max(until - time.monotonic(), 0))
    if failures:
        raise failures[0]
    if not answers:
        raise Unavailable(what=what, why="the name was not resolved in time")
    return answers[0]
