"""A server of a vendor on 127.0.0.1 for tests: it hands requests to a fake, and fails as ordered. No tests live here.

Rule 1: what a fake thinks of a request is the fake's; this file knows HTTP, orders, and that requests are written down.
Rule 2: nothing outlives `serving`.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What a client sent; names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    client: str = ""
    """The common name of the client's certificate, where TLS asked for one."""

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Fault(StrEnum):
    """What may go wrong with a request besides an answer that says so."""

    PASS = "nothing: it was answered as always"
    LOSE_REQUEST = "it was read, thrown away, and its connection cut"
    LOSE_ANSWER = "it was carried out, and its connection cut before the answer"
    SILENCE = "it was read, and nothing was answered until the server stopped"
    HALF_AN_ANSWER = "it was carried out, and its connection cut in the middle of the answer's body"


class VendorServer:
    """Serves `answer` on a free port; `order` sets what the next requests meet instead, one each."""

    def __init__(self, answer: Callable[[Request], Reply], *, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        """Everything that was sent, in its order."""
        self.replies: list[Reply] = []
        """What the fake thought of what it was handed, in its order; orders are not among it."""
        self._answer = answer
        self._orders: deque[Reply | Fault] = deque()
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._server = ThreadingHTTPServer((HOST, 0), _conversation_with(self))
        self._server.daemon_threads = False  # so that closing the server waits for them
        if context is not None:
            # Shaking hands is left to the thread of the connection, so that one client holds up no other.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if context else 'http'}://{HOST}:{self.port}"

    def order(self, *replies: Reply | Fault) -> None:
        """Have the next requests meet these, one each, in this order."""
        self._orders.extend(replies)

    def stop(self) -> None:
        """End every thread."""
        self._is_stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def meet(self, request: Request) -> tuple[Reply | None, bool]:
        """Write a request down and return its answer, None where it gets none, and whether it is sent whole."""
        with self._lock:
            self.requests.append(request)
            order = self._orders.popleft() if self._orders else None
            match order:
                case Reply():
                    return order, True
                case None | Fault.PASS:
                    return self._judged(request), True
                case Fault.LOSE_ANSWER:
                    self._judged(request)
                    return None, False
                case Fault.HALF_AN_ANSWER:
                    return self._judged(request), False
                case Fault.LOSE_REQUEST:
                    return None, False
        self._is_stopped.wait()
        return None, False

    def _judged(self, request: Request) -> Reply:
        reply = self._answer(request)
        self.replies.append(reply)
        return reply


def _conversation_with(server: VendorServer) -> type[BaseHTTPRequestHandler]:
    class Conversation(BaseHTTPRequestHandler):
        """One request, and its answer."""

        def handle(self) -> None:
            """Say nothing of a client that hangs up, as it does where it trusts no certificate of ours."""
            with suppress(ssl.SSLError):
                super().handle()

        def do_POST(self) -> None:
            """Read the request whole, and answer it."""
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            client = _common_name(self.connection)
            reply, is_whole = server.meet(Request(self.path, headers, body, self.command, client))
            self.close_connection = True
            if reply is None:
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body if is_whole else reply.body[: len(reply.body) // 2])

        do_GET = do_POST  # noqa: N815 - the base class looks for it by this name
        do_PATCH = do_POST  # noqa: N815 - likewise

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep quiet: what was asked is in `requests`."""

    return Conversation


def _common_name(connection: object) -> str:
    """Return what the certificate of a client calls it; empty without one."""
    shown = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    names: Any = shown.get("subject", ()) if shown else ()
    return next((text for part in names for name, text in part if name == "commonName"), "")


@contextmanager
def serving(answer: Callable[[Request], Reply], *, context: ssl.SSLContext | None = None) -> Iterator[VendorServer]:
    """Serve for the length of the block, over TLS where a context is given."""
    server = VendorServer(answer, context=context)
    try:
        yield server
    finally:
        server.stop()
