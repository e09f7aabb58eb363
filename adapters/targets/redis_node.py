"""One node of a Redis deployment: a fresh connection, a login, what an administrator asks and changes.

Rule 1: the driver's errors are translated here and nowhere else. No text of a server goes on without its digests
taken out; a password is sent with AUTH alone.
Rule 2: nothing is retried and no connection is kept: a login is always a fresh one, and the answer to AUTH itself
is looked at, because a client that goes on after a refused AUTH is the `default` user.

When a change can still arrive after its answer was not waited for any longer: TCP gives up what was not delivered
after the time for a command (TCP_USER_TIMEOUT, RFC 5482; Linux). What was delivered to a node that stands still is
read there before any connection that was opened later, so a login afterwards sees it, and a later change comes after.
"""

from __future__ import annotations

import inspect
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from adapters.targets.redis import Node
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable, Uncertain
from engine.ports import Probe
from engine.values import Secret

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{40,}")
_TEXT_MAX: Final = 160
_PLAIN: Final[Any] = redis.Connection
_TLS: Final[Any] = redis.SSLConnection
_NAMELESS: Final[dict[str, None]] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)
"""Keeps the driver from naming itself with CLIENT SETINFO, which a login of few rights may not, and which fails
before AUTH. redis-py 7.2 renamed the arguments."""
_ASKING_FAILED: Final = (exceptions.RedisError, OSError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Wiring:
    """How nodes are reached, and how long that may take."""

    is_encrypted: bool
    tls_root: Path | None
    connect_seconds: float
    command_seconds: float


@dataclass(frozen=True, slots=True)
class Login:
    """What one login showed; `ran` is whether the command ran, where one was given."""

    probe: Probe
    ran: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """An ACL user as its node has it."""

    flags: frozenset[str]
    digests: tuple[str, ...]
    """SHA-256 of each password, in lower-case hex."""


class Session:
    """A connection that is logged in as the administrator. `ask` changes nothing that matters; `change` does."""

    def __init__(self, node: Node, connection: Any) -> None:
        self.node = node
        self._connection = connection

    def ask(self, *words: str, what: str) -> Any:
        """Return the answer; raises `Unavailable`, `Rejected` or `OwnLoginRejected`."""
        return self._say(words, what, lost=Unavailable, refused=Rejected)

    def change(self, *words: str, what: str, is_begun: bool) -> None:
        """Have something changed; `Uncertain` where the answer is lost, or part of the whole is done already."""
        self._say(words, what, lost=Uncertain, refused=Uncertain if is_begun else Rejected)

    def user(self, username: str, *, what: str) -> User | None:
        """Return the user; None where the node has none of that name."""
        answer = self.ask("ACL", "GETUSER", username, what=what)
        if answer is None:
            return None
        fields = dict(zip(map(_text, answer[::2]), answer[1::2], strict=False))
        return User(
            flags=frozenset(map(_text, fields.get("flags", ()))),
            digests=tuple(map(_text, fields.get("passwords", ()))),
        )

    def _say(self, words: Sequence[str], what: str, *, lost: type[PortError], refused: type[PortError]) -> Any:
        try:
            self._connection.send_command(*words)
            return self._connection.read_response()
        except exceptions.NoPermissionError:
            kind = OwnLoginRejected if refused is Rejected else refused
            raise kind(what=f"{what} on {self.node}", why=f"keyturn's login may not {' '.join(words[:2])}") from None
        except exceptions.BusyLoadingError:
            # A definite answer: the node is still loading, and did nothing.
            kind = Unavailable if refused is Rejected else refused
            raise kind(what=f"{what} on {self.node}", why="it is still loading its data") from None
        except exceptions.ResponseError as error:
            raise refused(what=f"{what} on {self.node}", why=_redacted(error)) from None
        except _ASKING_FAILED as error:
            raise lost(what=f"{what} on {self.node}", why=reason(error)) from None


@contextmanager
def administering(node: Node, wiring: Wiring, username: str, password: Secret, *, what: str) -> Iterator[Session]:
    """Log in as the administrator; raises `OwnLoginRejected` or `Unavailable`."""
    try:
        connection = _connected(node, wiring)
    except _ASKING_FAILED as error:
        raise Unavailable(what=f"{what} on {node}", why=reason(error)) from None
    try:
        try:
            connection.send_command("AUTH", username, password.reveal())
            connection.read_response()
        except exceptions.AuthenticationError:
            raise OwnLoginRejected(what=f"{what} on {node}", why=f"it refuses keyturn's login {username!r}") from None
        except _ASKING_FAILED as error:
            raise Unavailable(what=f"{what} on {node}", why=reason(error)) from None
        yield Session(node, connection)
    finally:
        connection.disconnect()


def log_in(node: Node, wiring: Wiring, username: str, password: Secret, command: Sequence[str] = ()) -> Login:
    """Log in afresh, run the command if there is one, and say what was seen; never raises."""
    try:
        connection = _connected(node, wiring)
    except _ASKING_FAILED as error:
        return Login(Probe.UNKNOWN, detail=f"{node}: {reason(error)}")
    try:
        seen = _authenticated(connection, node, username, password)
        if seen.probe is Probe.ACCEPTED and command:
            return _run(connection, node, command)
        return seen
    finally:
        connection.disconnect()


def _authenticated(connection: Any, node: Node, username: str, password: Secret) -> Login:
    try:
        connection.send_command("AUTH", username, password.reveal())
        answer = connection.read_response()
    except exceptions.AuthenticationError:
        # Only WRONGPASS answers an AUTH of two arguments so (Redis 6 and later); it says the same of a user that
        # is not there or is off.
        return Login(Probe.REFUSED, detail=f"{node}: refused")
    except exceptions.ResponseError as error:
        return Login(Probe.UNKNOWN, detail=f"{node}: {_redacted(error)}")
    except _ASKING_FAILED as error:
        return Login(Probe.UNKNOWN, detail=f"{node}: {reason(error)}")
    return Login(Probe.ACCEPTED) if answer == b"OK" else Login(Probe.UNKNOWN, detail=f"{node}: an unusual answer")


def _run(connection: Any, node: Node, command: Sequence[str]) -> Login:
    try:
        connection.send_command(*command)
        connection.read_response()
    except exceptions.NoPermissionError:
        return Login(Probe.UNUSABLE, detail=f"{node}: the login may not {command[0]}")
    except exceptions.BusyLoadingError:
        return Login(Probe.ACCEPTED, detail=f"{node}: it is still loading its data")
    except exceptions.ResponseError as error:
        return Login(Probe.ACCEPTED, detail=f"{node}: {command[0]} failed: {_redacted(error)}")
    except _ASKING_FAILED as error:
        return Login(Probe.UNKNOWN, detail=f"{node}: {reason(error)}")
    return Login(Probe.ACCEPTED, ran=True)


def _connected(node: Node, wiring: Wiring) -> Any:
    """Return a fresh connection over which nothing was said yet; raises the driver's errors."""
    options: dict[str, Any] = {
        "host": node.host,
        "port": node.port,
        "socket_connect_timeout": wiring.connect_seconds,
        "socket_timeout": wiring.command_seconds,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        **_NAMELESS,
    }
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {socket.TCP_USER_TIMEOUT: int(wiring.command_seconds * 1000)}
    if wiring.is_encrypted:
        options["ssl_cert_reqs"] = "required"
        options["ssl_check_hostname"] = True
        options["ssl_min_version"] = ssl.TLSVersion.TLSv1_2
        options["ssl_ca_certs"] = str(wiring.tls_root) if wiring.tls_root else None
    connection = (_TLS if wiring.is_encrypted else _PLAIN)(**options)
    connection.connect()
    return connection


def reason(error: BaseException) -> str:
    """Say why a node did not answer, in words that hold nothing of what was sent."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {link.verify_message}"
        if isinstance(link, ssl.SSLError):
            return f"TLS failed: {link.reason or 'the other side does not speak it'}"
        if isinstance(link, (TimeoutError, exceptions.TimeoutError)):
            return "no answer in time"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror.rstrip(".")
        link = link.__context__
    if isinstance(error, exceptions.BusyLoadingError):
        return "it is still loading its data"
    if isinstance(error, UnicodeError):
        return "the text cannot be sent as UTF-8"
    return _redacted(error)


def _redacted(error: BaseException) -> str:
    """Return what a server said on one line, without digests and without signs that a terminal obeys."""
    text = "".join(sign if sign.isprintable() else " " for sign in _DIGEST.sub("…", str(error)))
    return text[:_TEXT_MAX].strip(" .") or "no reason was given"


def _text(raw: object) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
