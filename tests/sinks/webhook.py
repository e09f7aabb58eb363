"""A receiver of webhooks on 127.0.0.1 that verifies what it gets, and fails as ordered. No tests live here.

Rule 1: `refusal` is what a receiver checks by Standard Webhooks 1.0.0 and CloudEvents 1.0: it answers 400 with it.
Rule 2: nothing outlives `receiving`.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.sinks import cloudevents

HOST: Final = "127.0.0.1"
BODY_BYTES_MAX: Final = 19_999


@dataclass(frozen=True)
class Received:
    """A request as it came; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered instead of 204."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Fault(StrEnum):
    """What may go wrong with a request besides an answer that says so."""

    SILENCE = "it is read, and nothing is answered"
    LOST_ANSWER = "it is taken, and the connection cut before the answer"
    DRIP = "the headers of the answer come a byte at a time, and never end"
    ENDLESS = "the answer is an error with a body that never ends"


def refusal(received: Received, *, secrets: Sequence[str] = (), host: str = "") -> str:
    """Return why a receiver refuses a request; empty where it takes it.

    With `secrets` there must be a signature that each of them verifies, of not more than five minutes ago.
    """
    headers = received.headers
    for name in ("webhook-id", "webhook-timestamp", "content-type", "idempotency-key"):
        if not headers.get(name):
            return f"{name} is missing"
    if "." in headers["webhook-id"] or headers["idempotency-key"] != headers["webhook-id"]:
        return "webhook-id and idempotency-key are not the same id without a dot"
    if not headers["webhook-timestamp"].isdigit():
        return "webhook-timestamp is no number of seconds"
    if host and headers.get("host") != host:
        return f"host is not {host}"
    if not 0 < len(received.body) <= BODY_BYTES_MAX:
        return "the body is empty, or not smaller than 20 kB"
    if headers["content-type"].startswith("application/cloudevents+json"):
        wrong = cloudevents.problems(received.body)
        if wrong:
            return "; ".join(wrong)
    for secret in secrets:
        try:
            Webhook(secret).verify(received.body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            return f"signature: {error}"
    return ""


class Receiver:
    """Takes webhooks on a free port; `order` sets what the next requests meet instead, one each."""

    def __init__(self, secrets: Sequence[str], host: str, context: ssl.SSLContext | None) -> None:
        self.received: list[Received] = []
        """Everything that was sent, in its order."""
        self.refused: list[str] = []
        """Why something was not taken."""
        self.names: list[str | None] = []
        """The names that clients asked for over TLS (SNI)."""
        self.bytes_written = 0
        """How much of an endless body was written."""
        self.is_stopped = threading.Event()
        self._secrets = secrets
        self._host = host
        self._orders: deque[Answer | Fault] = deque()
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def order(self, *orders: Answer | Fault) -> None:
        """Have the next requests meet these, one each, in this order."""
        self._orders.extend(orders)

    def stop(self) -> None:
        """End every thread."""
        self.is_stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def meet(self, received: Received) -> Answer | Fault:
        """Write a request down, and return what becomes of it."""
        self.received.append(received)
        if self._orders:
            return self._orders.popleft()
        host = f"{self._host}:{self.port}" if self._host else ""
        why = refusal(received, secrets=self._secrets, host=host)
        if why:
            self.refused.append(why)
            return Answer(400, body=why.encode())
        return Answer(204)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for them

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        super().__init__((HOST, 0), _Conversation)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: a client that turns away is part of the tests."""


class _Conversation(BaseHTTPRequestHandler):
    """One request, and its answer."""

    server: _Server

    def do_POST(self) -> None:
        """Read the request whole, and answer it."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        self.close_connection = True
        match self.server.receiver.meet(Received(self.command, self.path, headers, body)):
            case Answer() as answer:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            case Fault.SILENCE:
                self.server.receiver.is_stopped.wait()
            case Fault.LOST_ANSWER:
                self.connection.shutdown(socket.SHUT_RDWR)
            case Fault.DRIP:
                self._drip()
            case Fault.ENDLESS:
                self._pour()

    do_PUT = do_POST  # noqa: N815 - the names are the base class's
    do_PATCH = do_POST  # noqa: N815 - likewise

    def _drip(self) -> None:
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not self.server.receiver.is_stopped.wait(0.02):
                self.wfile.write(b"x")

    def _pour(self) -> None:
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 500 Trouble\r\nConnection: close\r\n\r\n")
            while not self.server.receiver.is_stopped.is_set():
                self.wfile.write(b"no " * 400)
                self.server.receiver.bytes_written += 1_200

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Keep quiet: what was asked is in `received`."""


@contextmanager
def receiving(
    *, secrets: Sequence[str] = (), host: str = "", context: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """Receive for the length of the block; `host` is what the header of that name must be, without the port."""
    receiver = Receiver(secrets, host, context)
    try:
        yield receiver
    finally:
        receiver.stop()


def certified(folder: Path, *names: str) -> tuple[ssl.SSLContext, str]:
    """Return the context of a server whose certificate is for these names (or addresses), and the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "webhook.test")])
    now = datetime.now(UTC)
    alternatives = [_general_name(each) for each in names]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return context, str(certificate)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def counted(*answers: Sequence[str]) -> tuple[Callable[[str, int], Sequence[str]], list[str]]:
    """Return a resolver that gives these answers, one each time, the last for ever; and the hosts it was asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked
