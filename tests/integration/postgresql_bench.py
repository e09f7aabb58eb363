"""What the tests of the PostgreSQL target share: a target on a throw-away database, and a wire that misbehaves.

No test lives here.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.targets.postgresql import (
    ADAPTER,
    AdminCredentials,
    LoginBudgetOptions,
    PostgresqlOptions,
    PostgresqlTarget,
)
from adapters.targets.postgresql_login import Tls
from engine.adapter import Duration, Reference, TargetContext
from engine.plan import Strategy
from engine.values import SECOND, CredentialValue, Instant, Secret
from tests.conftest import Database

ADMIN = Reference("env", "KEYTURN_TEST_ADMIN")


def soon(seconds: float = 5.0) -> Instant:
    """Return a deadline so many seconds from now."""
    return Instant(int((time.time() + seconds) * SECOND))


def value(username: str) -> CredentialValue:
    """Return a fresh value of a login."""
    return CredentialValue(username, Secret(f"canary-{secrets.token_hex(12)}"))


@dataclass(frozen=True)
class Site:
    """A database with the roles of one service: `owner`, and the pair that acts as it."""

    database: Database
    owner: str
    pair: tuple[str, str]

    def target(
        self,
        strategy: Strategy,
        *,
        port: int | None = None,
        admin: tuple[str, Secret] | None = None,
        statement_milliseconds: int = 3000,
        query: str = "SELECT 1",
        dbname: str | None = None,
        tls: Tls = Tls.DISABLE,
        tls_root: str = "",
        host: str | None = None,
        base: Path = Path("/nowhere"),
        budget: LoginBudgetOptions | None = None,
    ) -> PostgresqlTarget:
        """Return the target as the configuration would build it."""
        server = self.database.server
        name, password = admin or (server.superuser, server.password)
        context = TargetContext(
            service="app-db",
            environment="production",
            strategy=strategy,
            username=self.owner,
            usernames=self.pair if strategy is Strategy.ALTERNATING else (self.owner,),
            base=base,
            state=base,
            secret=lambda reference: password,
        )
        options = PostgresqlOptions(
            host=host or server.host,
            port=port or server.port,
            database=dbname or self.database.name,
            admin_credentials=AdminCredentials(name, ADMIN),
            tls=tls,
            tls_root=tls_root,
            verification_query=query,
            statement_timeout=Duration(statement_milliseconds * 1000),
            connect_timeout=Duration(2 * SECOND),
            login_budget=budget,
        )
        target = ADAPTER.build(options, context)
        assert isinstance(target, PostgresqlTarget)
        return target

    def verifier(self, login: str) -> str | None:
        """Return what the server keeps of a login's password; never through its log."""
        with self.database.connect() as connection:
            found = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (login,)).fetchone()
        return found[0] if found else None

    def log(self) -> str:
        """Return the server's log."""
        return self.database.server.log_path.read_text(errors="replace")


def site(database: Database) -> Site:
    """Make the owner of a service: a role that may log in, so that it serves both strategies."""
    owner = database.login("app")
    return Site(database, owner, (f"{owner}_a", f"{owner}_b"))


class Wire:
    """A TCP proxy in front of a server. `on_request` sees what the client sends, before the server does.

    What it returns goes on to the server; None breaks the connection. `on_answer` may change what comes back.
    """

    def __init__(self, port: int, on_request: Callable[[Wire, bytes], bytes | None]) -> None:
        self._target = port
        self._on_request = on_request
        self._is_mute = threading.Event()
        self._is_losing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self.on_answer: Callable[[bytes], bytes] = lambda answer: answer

    def mute(self) -> None:
        """Swallow what the server answers from now on."""
        self._is_mute.set()

    def lose_answer(self) -> None:
        """Swallow the next answer of the server, then break the connection."""
        self._is_losing.set()

    def serve(self) -> None:
        """Accept until closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                for work in (lambda c=client, s=server: self._up(c, s), lambda c=client, s=server: self._down(c, s)):
                    thread = threading.Thread(target=work, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def close(self) -> None:
        """End every connection and wait for the threads."""
        self._listener.close()
        for end in self._sockets:
            _hang_up(end)
        for thread in self._threads:
            thread.join(10)
        for end in self._sockets:
            end.close()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while request := client.recv(65536):
                passed = self._on_request(self, request)
                if passed is None:
                    break
                server.sendall(passed)
        _hang_up(client)
        _hang_up(server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while answer := server.recv(65536):
                if self._is_losing.is_set():
                    break
                if not self._is_mute.is_set():
                    client.sendall(self.on_answer(answer))
        _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire(port: int, on_request: Callable[[Wire, bytes], bytes | None]) -> Iterator[Wire]:
    """Run a `Wire` for the length of the block."""
    running = Wire(port, on_request)
    thread = threading.Thread(target=running.serve, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        with suppress(OSError):
            # A thread that waits in accept() is woken by a shutdown, not by a close.
            running._listener.shutdown(socket.SHUT_RDWR)
        running.close()
        thread.join(10)
