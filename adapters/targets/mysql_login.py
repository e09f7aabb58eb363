"""Connections to servers of the MySQL family, and what one login shows.

Rule 1: PyMySQL is used here and in `mysql_admin`, and its texts leave neither: they repeat names and statements.
Rule 2: `log_in` raises nothing, whatever the server does; what it sees is a value (`Login`).
Rule 3: only an answer to a password counts as one. An error in place of the server's greeting may come from anybody.

A server may ask for another way to log in, once for each way that an account has. We answer as often as it asks, and
with nothing that shows the password to whoever asks: never in the clear, never by the methods of before 2005.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.targets.mysql_options import Tls
from engine.ports import Probe

if TYPE_CHECKING:
    import pymysql

WRONG: Final = frozenset({1045, 1698})
"""Access denied: a wrong password, no such account, or a right one where the account wants TLS.

The second is said where the last way to log in that an account has knows no passwords.
"""
_UNUSABLE: Final = frozenset({
    1044,  # no access to the database
    1049,  # there is no such database
    1203,  # too many connections of this user
    1226,  # a limit of this user
    1820,  # the password has expired: only a new one may be set
    1862,  # the password has expired
    3118,  # locked (MySQL)
    4151,  # locked (MariaDB)
})  # fmt: skip
"""What servers say only after the password was found right, and what has nothing to do with their health."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to log in, as whom, and how long that may take."""

    host: str
    port: int
    database: str
    """Empty is none."""
    account_host: str
    """The part of the account's name behind the @."""
    tls: Tls
    tls_root: Path | None
    """Certificates to trust; None is those of the system."""
    connect_seconds: float
    query_seconds: float
    query_limit: str
    """The statement that has the server hold a query of this session to `query_seconds`."""

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
    query: bool = False
    """The query ran."""
    detail: str = ""


class Unanswered(Exception):
    """The server did not greet us, or asked for what we do not do; the text is for people."""


def log_in(server: Server, username: str, password: str, *, query: str | None = None) -> Login:
    """Log in afresh, run `query` if there is one, and say what was seen; never raises."""
    import pymysql

    in_session = False
    seconds = server.connect_seconds + (0 if query is None else server.query_seconds)
    try:
        with opened(server, username, password, seconds=seconds, database=server.database) as connection:
            account = ask(connection, "SELECT CURRENT_USER()")[0][0]
            if account.lower() != f"{username}@{server.account_host}".lower():
                return Login(Probe.UNKNOWN, detail=f"the server took us for {account}, which is another account")
            in_session = True
            if query is not None:
                # The server's own limit, so that no query is left behind.
                ask(connection, server.query_limit)
                ask(connection, query)
        return Login(Probe.ACCEPTED, query=query is not None)
    except (pymysql.Error, Unanswered, OSError, ValueError) as error:
        why = reason(error)
        if in_session:
            return Login(Probe.ACCEPTED, detail=f"the query failed: {why}")
        return Login(_meaning(error), detail=why)


def _meaning(error: Exception) -> Probe:
    code = code_of(error)
    if code in WRONG:
        return Probe.REFUSED
    return Probe.UNUSABLE if code in _UNUSABLE else Probe.UNKNOWN


def code_of(error: Exception) -> int:
    """Return the number of a server's error, and 0 for what did not come from a server."""
    import pymysql

    code = error.args[0] if isinstance(error, pymysql.Error) and error.args else 0
    # From 2000 to 2999 are those of the client itself (MySQL, include/errmsg.h).
    return code if isinstance(code, int) and not 2000 <= code < 3000 else 0


def reason(error: Exception) -> str:
    """Say what went wrong without a text of driver or server."""
    if code := code_of(error):
        return f"error {code}"
    cause = getattr(error, "original_exception", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, Unanswered):
        return str(cause)
    return f"no connection ({type(cause).__name__})"


def ask(connection: pymysql.Connection[Any], statement: str, parameters: tuple[object, ...] = ()) -> list[Any]:
    """Run a statement and return its rows; raises what PyMySQL raises."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall())


@contextmanager
def opened(
    server: Server, username: str, password: str, *, seconds: float, database: str = ""
) -> Iterator[pymysql.Connection[Any]]:
    """Log in, and break the connection after `seconds`, whatever the server does.

    Raises what PyMySQL raises, `Unanswered`, OSError, and ValueError for names that cannot be sent.
    """
    import pymysql

    if "\0" in username + database:
        raise Unanswered("there are no names with a zero byte")
    context = server.context()
    connection = pymysql.Connection(
        host=server.host,
        port=server.port,
        user=username,
        # As bytes: PyMySQL would write a text in Latin-1.
        password=password.encode(),
        database=database or None,
        charset="utf8mb4",
        autocommit=None,
        ssl=context,
        ssl_disabled=context is None,
        auth_plugin_map=dict(_ANSWERS),
        program_name="keyturn",
        defer_connect=True,
    )
    with socket.create_connection((server.host, server.port), timeout=server.connect_seconds) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _cut_off(line, seconds):
            try:
                connection.connect(line)
            except Exception as error:
                if not hasattr(connection, "server_version"):
                    raise Unanswered(f"instead of a greeting: {reason(error)}") from None
                raise
            try:
                yield connection
            finally:
                with suppress(pymysql.Error, OSError):
                    connection.close()


@contextmanager
def _cut_off(line: socket.socket, seconds: float) -> Iterator[None]:
    """Break a connection after `seconds`, and raise TimeoutError then: a server that is frozen answers nobody."""
    import pymysql

    is_cut = threading.Event()

    def cut() -> None:
        is_cut.set()
        with suppress(OSError):
            own.shutdown(socket.SHUT_RDWR)

    # TLS takes the file descriptor away from the socket that it wraps.
    with socket.socket(fileno=os.dup(line.fileno())) as own:
        timer = threading.Timer(max(seconds, 0.0), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (pymysql.Error, OSError, Unanswered):
            if is_cut.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
            timer.join()


# --- answers to a server that asks for another way to log in ----------------------------------------------


class _Answering:
    """What PyMySQL calls where the server names a plugin; by itself it takes one change of the plugin."""

    plugin: bytes

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def authenticate(self, packet: Any) -> Any:
        """Answer until the server asks for no other plugin; `packet` stands behind the first plugin's name."""
        plugin = self.plugin
        while True:
            packet = self._connection._process_auth(plugin, packet)  # noqa: SLF001 - plugins of PyMySQL have no more
            if not packet.is_auth_switch_request():
                return packet
            packet.read_uint8()
            plugin = packet.read_string() or b""
            if plugin.decode("ascii", errors="replace") not in _ANSWERED:
                raise Unanswered(_NOT_SO)


class _Native(_Answering):
    plugin = b"mysql_native_password"


class _Ed25519(_Answering):
    plugin = b"client_ed25519"


class _Refusing:
    """Stands for what would show the password to whoever asks for it."""

    def __init__(self, connection: Any) -> None:
        pass

    def authenticate(self, packet: Any) -> Any:
        """Give no answer."""
        raise Unanswered(_NOT_SO)


_NOT_SO: Final = "the server asks for the password in a way that keyturn does not answer"
_ANSWERED: Final[Mapping[str, type]] = {"mysql_native_password": _Native, "client_ed25519": _Ed25519}
_REFUSED: Final = ("mysql_clear_password", "mysql_old_password", "sha256_password", "dialog")
_ANSWERS: Final[Mapping[str, type]] = {**_ANSWERED, **dict.fromkeys(_REFUSED, _Refusing)}
