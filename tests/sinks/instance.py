"""An instance over HTTP on 127.0.0.1 that takes every version and reports it, and fails as ordered. No tests live here.

Rule: nothing outlives `serving`.
"""

from __future__ import annotations

import hmac
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from engine.instances import Instance

HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """What was asked; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def challenge(self) -> str:
        """The challenge in the query."""
        return parse_qs(urlsplit(self.path).query)["challenge"][0]


@dataclass(frozen=True)
class Answer:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Fault(StrEnum):
    """What may go wrong with a request besides an answer that says so."""

    SILENCE = "it is read, and nothing is answered"
    LOST_ANSWER = "it is taken, and the connection cut before the answer"
    DRIP = "the headers of the answer come a byte at a time, and never end"


class ServedInstance:
    """Takes requests on a free port; `order` sets what the next ones of a method meet instead, one each."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.requests: list[Request] = []
        self.version: str | None = None
        """What it reports."""
        self.password = ""
        """What its proofs are of."""
        self.is_stopped = threading.Event()
        self._orders: dict[str, deque[Answer | Fault]] = {"GET": deque(), "POST": deque()}
        self._server = _Server((HOST, 0), _conversation(self))
        self.port: int = self._server.server_address[1]
        self._scheme = "http" if context is None else "https"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def instance(self) -> Instance:
        """It, as discovery would list it."""
        return Instance("web-1", endpoint=f"{self._scheme}://{HOST}:{self.port}")

    def asked(self, method: str) -> list[Request]:
        """Return the requests of a method."""
        return [each for each in self.requests if each.method == method]

    def order(self, method: str, *orders: Answer | Fault) -> None:
        """Have the next requests of a method meet these."""
        self._orders[method].extend(orders)

    def meet(self, request: Request) -> Answer | Fault:
        """Write a request down, and return what becomes of it."""
        self.requests.append(request)
        if self._orders[request.method]:
            return self._orders[request.method].popleft()
        if request.method == "POST":
            self.version = request.json["version"]
            self.password = request.json.get("password", self.password)
            return Answer(204)
        return Answer(200, self.report(request.challenge))

    def report(self, challenge: str) -> bytes:
        """Return what it reports."""
        proof = hmac.new(challenge.encode(), self.password.encode(), sha256).hexdigest()
        return json.dumps({"version": self.version, "proof": proof if self.version else None}).encode()

    def stop(self) -> None:
        """End every thread."""
        self.is_stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for them

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: a client that turns away is part of the tests."""


def _conversation(served: ServedInstance) -> type[BaseHTTPRequestHandler]:
    class Conversation(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            match served.meet(Request(self.command, self.path, headers, body)):
                case Answer() as answer:
                    self.send_response(answer.status)
                    for name, value in answer.headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    with suppress(OSError):
                        self.wfile.write(answer.body)
                case Fault.SILENCE:
                    served.is_stopped.wait()
                case Fault.LOST_ANSWER:
                    self.connection.shutdown(socket.SHUT_RDWR)
                case Fault.DRIP:
                    with suppress(OSError):
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                        while not served.is_stopped.wait(0.02):
                            self.wfile.write(b"x")

        do_GET = do_POST  # noqa: N815 - the names are the base class's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep quiet: what was asked is in `requests`."""

    return Conversation


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[ServedInstance]:
    """Serve for the length of the block; over TLS where there is a context."""
    served = ServedInstance(context)
    try:
        yield served
    finally:
        served.stop()
