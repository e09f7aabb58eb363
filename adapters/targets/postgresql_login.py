"""One login at a PostgreSQL server, told as the protocol tells it.

libpq hides the SQLSTATE of a login that fails, and its text is in the language of the server, so "the password
is wrong" cannot be told from "the server is starting" there. This speaks the little of the protocol that a
login and one query need (PostgreSQL documentation, "Frontend/Backend Protocol", version 3.0) and knows more:
whether the server asked for a password at all, and whether a refusal came after the password was found right.

Rule 1: what it sees is a value (`Login`); it raises nothing, whatever the server does.
Rule 2: no text of a server gets into `detail`, only its SQLSTATE.

It does not do client certificates, GSSAPI or channel binding; a server that insists on one is UNKNOWN.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import md5
from pathlib import Path
from typing import Final

from adapters.targets.postgresql_scram import MECHANISM, ScramClient
from engine.ports import Probe

_PROTOCOL: Final = 196608  # 3.0
_TLS_REQUEST: Final = 80877103
_MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
_WRONG: Final = "28P01"
_TRANSIENT: Final = ("08", "53", "57", "58", "XX")
"""Classes of SQLSTATE that speak of the server's health and not of the login."""
_TOO_MANY_CONNECTIONS: Final = "53300"


class Tls(StrEnum):
    """How the connection is protected."""

    VERIFY_FULL = "verify-full"
    """TLS, and the certificate must be trusted and name the host."""
    REQUIRE = "require"
    """TLS with whoever answers: no eavesdropper, but an impostor is possible."""
    DISABLE = "disable"
    """No TLS."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to log in, and how long that may take."""

    host: str
    port: int
    database: str
    tls: Tls
    tls_root: Path | None
    """Certificates to trust; None is those of the system."""
    connect_seconds: float
    query_seconds: float

    def context(self) -> ssl.SSLContext | None:
        """Return how TLS is to be spoken, or None without it; raises OSError for an unreadable `tls_root`."""
        if self.tls is Tls.DISABLE:
            return None
        context = ssl.create_default_context(cafile=self.tls_root)
        if self.tls is Tls.REQUIRE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True)
class Login:
    """What one login showed."""

    probe: Probe
    is_asked: bool = False
    """The server asked for a password; where it let us in without, ACCEPTED says nothing about the password."""
    query: bool = False
    """The query ran."""
    detail: str = ""


class _Refused(Exception):
    """The server answered with an error of this SQLSTATE."""


class _Unusual(Exception):
    """What is said here is not a login with a password."""


def log_in(server: Server, username: str, password: str, *, query: str | None = None) -> Login:
    """Log in afresh, run `query` if there is one, and say what was seen; never raises."""
    asked, passed, in_session = False, False, False
    try:
        with _connected(server) as wire:
            asked = _authenticate(wire, server, username, password)
            passed = True
            _until_ready(wire)
            in_session = True
            if query is not None:
                # The server's own limit comes first, so that its answer is seen and no query is left behind.
                wire.limit = time.monotonic() + server.query_seconds + 1
                _run(wire, f"SET statement_timeout = {int(server.query_seconds * 1000)}")
                _run(wire, query)
            with suppress(OSError):
                wire.send(b"X", b"")
        return Login(Probe.ACCEPTED, is_asked=asked, query=query is not None)
    except _Refused as refusal:
        code = str(refusal)
        if in_session:
            return Login(Probe.ACCEPTED, is_asked=asked, detail=f"the query failed with SQLSTATE {code}")
        return Login(_meaning(code, passed=passed, asked=asked), is_asked=asked, detail=f"SQLSTATE {code}")
    except (OSError, _Unusual, ValueError, struct.error) as error:
        # OSError is refused connections, names, timeouts and TLS; the others are a peer that is no PostgreSQL.
        why = _reason(error)
        if in_session:
            return Login(Probe.ACCEPTED, is_asked=asked, detail=f"the query did not end: {why}")
        return Login(Probe.UNKNOWN, is_asked=asked, detail=why)


def _meaning(code: str, *, passed: bool, asked: bool) -> Probe:
    """Classify a refusal; before AuthenticationOk only one code speaks about the password."""
    if not passed:
        return Probe.REFUSED if code == _WRONG else Probe.UNKNOWN
    if not asked or (code.startswith(_TRANSIENT) and code != _TOO_MANY_CONNECTIONS):
        return Probe.UNKNOWN
    return Probe.UNUSABLE


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, _Unusual):
        return str(error)
    if isinstance(error, OSError):
        return f"no connection ({type(error).__name__})"
    return "the answer is not one of PostgreSQL"


class _Wire:
    """Messages over a socket, all before `limit` (monotonic seconds)."""

    def __init__(self, connection: socket.socket, limit: float) -> None:
        self.connection = connection
        self.limit = limit

    def send(self, kind: bytes, body: bytes) -> None:
        self._arm()
        self.connection.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def receive(self) -> tuple[bytes, bytes]:
        """Return the next message but notices; an error of the server is raised as `_Refused`."""
        while True:
            kind = self.exactly(1)
            (length,) = struct.unpack("!I", self.exactly(4))
            if not 4 <= length <= _MESSAGE_BYTES_MAX:
                raise ValueError("no message is so long")
            body = self.exactly(length - 4)
            if kind == b"E":
                fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
                code = fields.get(b"C", b"").decode("ascii")
                raise _Refused(code if len(code) == 5 and code.isalnum() else "unknown")
            if kind not in (b"N", b"A"):
                return kind, body

    def exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            self._arm()
            part = self.connection.recv(min(count - len(received), 65536))
            if not part:
                raise ConnectionError("the server closed the connection")
            received += part
        return bytes(received)

    def _arm(self) -> None:
        left = self.limit - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)


@contextmanager
def _connected(server: Server) -> Iterator[_Wire]:
    limit = time.monotonic() + server.connect_seconds
    context = server.context()
    with socket.create_connection((server.host, server.port), timeout=server.connect_seconds) as plain:
        if context is None:
            yield _Wire(plain, limit)
            return
        # Exactly one byte is read before TLS begins, so nobody can slip in a message that counts afterwards.
        wire = _Wire(plain, limit)
        wire.send(b"", struct.pack("!I", _TLS_REQUEST))
        if wire.exactly(1) != b"S":
            raise _Unusual("the server does not offer TLS")
        plain.settimeout(max(limit - time.monotonic(), 0.001))
        with context.wrap_socket(plain, server_hostname=server.host) as protected:
            yield _Wire(protected, limit)


def _authenticate(wire: _Wire, server: Server, username: str, password: str) -> bool:
    """Return whether the server asked for the password, once it is satisfied."""
    parameters = {
        "user": username,
        "database": server.database,
        "application_name": "keyturn",
        "client_encoding": "UTF8",
    }
    if any("\0" in text for text in (username, server.database, password)):
        raise _Unusual("PostgreSQL knows no names or passwords with a zero byte")
    packet = b"".join(text.encode() + b"\0" for pair in parameters.items() for text in pair)
    wire.send(b"", struct.pack("!I", _PROTOCOL) + packet + b"\0")
    asked = False
    while True:
        kind, body = wire.receive()
        if kind != b"R":
            raise _Unusual("the answer is not one of PostgreSQL")
        (request,) = struct.unpack_from("!I", body)
        match request:
            case 0:
                return asked
            case 3 if server.tls is Tls.VERIFY_FULL:
                wire.send(b"p", password.encode() + b"\0")
            case 3:
                raise _Unusual("the server wants the password in the clear, which only tls: verify-full allows")
            case 5:
                wire.send(b"p", _md5_answer(username, password, body[4:8]) + b"\0")
            case 10:
                _scram(wire, password, body[4:])
            case _:
                raise _Unusual(f"the server wants authentication {request}, which is no password")
        asked = True


def _md5_answer(username: str, password: str, salt: bytes) -> bytes:
    """Answer the md5 method, which servers still use for passwords that were set long ago."""
    inner = md5((password + username).encode(), usedforsecurity=False).hexdigest()
    return b"md5" + md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode()


def _scram(wire: _Wire, password: str, offered: bytes) -> None:
    if MECHANISM.encode() not in offered.split(b"\0"):
        raise _Unusual(f"the server does not offer {MECHANISM}")
    client = ScramClient(password, nonce=secrets.token_urlsafe(18))
    first = client.first()
    wire.send(b"p", MECHANISM.encode() + b"\0" + struct.pack("!I", len(first)) + first)
    wire.send(b"p", client.final(_sasl(wire, 11)))
    if not client.is_server(_sasl(wire, 12)):
        raise _Unusual("the server does not know the password itself: it is an impostor")


def _sasl(wire: _Wire, expected: int) -> bytes:
    kind, body = wire.receive()
    if kind != b"R" or struct.unpack_from("!I", body) != (expected,):
        raise _Unusual("the answer is not one of PostgreSQL")
    return body[4:]


def _run(wire: _Wire, query: str) -> None:
    wire.send(b"Q", query.encode() + b"\0")
    _until_ready(wire)


def _until_ready(wire: _Wire) -> None:
    while wire.receive()[0] != b"Z":
        pass
