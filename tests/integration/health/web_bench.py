"""A web server of a test's own, with TLS where it has a certificate.

No test lives here.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Web:
    """What it answers, and what it was asked; a test may change the first at any time."""

    port: int = 0
    scheme: str = "http"
    status: int = 200
    body: bytes = b"all is well"
    wait: float = 0.0
    """Seconds before an answer."""
    drip: float = 0.0
    """Seconds before each byte of the body."""
    trickle: float = 0.0
    """Seconds before each byte of the head."""
    hang_up: int = 0
    """How many of the next requests are not answered: the connection ends."""
    statuses: list[int] = field(default_factory=list)
    """The statuses of the next answers, before `status`."""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Authorization."""

    def url(self, path: str = "/healthz") -> str:
        """Return a URL of it."""
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"


def certificate(folder: Path, *, days: float = 30.0, name: str = "127.0.0.1") -> Path:
    """Write a certificate that signs itself, and its key; return the file with both."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    ends = datetime.now(UTC) + timedelta(days=days)
    signed = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=400))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"certificate-{days}-{name}.pem"
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@contextmanager
def serving(pem: Path | None = None) -> Iterator[Web]:
    """Serve until the end of the block."""
    web = Web(scheme="https" if pem else "http")

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            web.asked.append((self.path, self.headers.get("Authorization", "")))
            time.sleep(web.wait)
            if web.hang_up:
                web.hang_up, self.close_connection = web.hang_up - 1, True
                return
            with suppress(OSError):
                for sign in b"HTTP/1.1 200 OK\r\n" * bool(web.trickle):
                    time.sleep(web.trickle)
                    self.wfile.write(bytes([sign]))
                self.send_response(web.statuses.pop(0) if web.statuses else web.status)
                for name, value in {"Content-Length": str(len(web.body)), **web.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for part in [web.body] if not web.drip else [bytes([each]) for each in web.body]:
                    time.sleep(web.drip)
                    self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is what tests do."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            if pem is None:
                super().finish_request(request, client_address)
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            with context.wrap_socket(request, server_side=True) as protected:
                super().finish_request(protected, client_address)

    with Quiet(("127.0.0.1", 0), Answering) as server:
        web.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
