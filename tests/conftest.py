"""What tests share: throw-away servers, a database of its own for each test that wants one, how examples are drawn.

Under CI the examples are the same on every machine; elsewhere they are fresh, and a failing one prints how to draw it
again. A server that is missing skips the test with a reason; where CI=true is set it is a failure instead.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from adapters.demo import servers
from engine.values import Secret
from tests.mariadb_server import MariadbServer, find_mariadb
from tests.mariadb_server import mariadb_server as run_mariadb

if TYPE_CHECKING:
    import psycopg


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So begins a run in the background of a script; programs that tests interrupt would inherit it, and never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # The same for a run that outlives its terminal: a program that is told by SIGHUP would never hear of it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile(
    "keyturn",
    deadline=None,  # a busy machine is not a failing test
    print_blob=True,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("keyturn")


def without_server(error: servers.ServerMissing) -> None:
    """Skip the test that needs a missing server; under CI=true fail it, so that CI never passes untested."""
    reason = f"{error.message} {error.advice}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """A PostgreSQL that writes every statement to its log, so that a test can search for secrets there."""
    try:
        servers.find_postgres()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.postgres_server(settings={"log_statement": "all", "log_min_duration_statement": "0"}) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """A Redis that keeps its users in a file of its own (ACL SAVE)."""
    try:
        servers.find_redis()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.redis_server(aclfile=True) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A MariaDB that writes every statement to its general log, and every change to its binary log."""
    try:
        find_mariadb()
    except servers.ServerMissing as error:
        without_server(error)
    with run_mariadb() as server:
        yield server


@dataclass(frozen=True)
class Database:
    """A database of a throw-away PostgreSQL, with logins of its own: names end in `suffix`."""

    server: servers.PostgresServer
    name: str
    suffix: str

    def connect(self, user: str | None = None, password: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a fresh autocommit connection; the superuser's where no login is given."""
        import psycopg

        return psycopg.connect(
            host=self.server.host,
            port=self.server.port,
            dbname=self.name,
            user=user or self.server.superuser,
            password=password or self.server.password.reveal(),
            autocommit=True,
        )

    def run(self, statement: str, *names: str, user: str | None = None, password: str | None = None) -> list[Any]:
        """Run one statement, its `{}` filled with quoted names, and return its rows."""
        from psycopg import sql

        with self.connect(user, password) as connection:
            query = sql.SQL(statement).format(*map(sql.Identifier, names))
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def login(self, base: str, password: str | None = None, *, attributes: str = "LOGIN") -> str:
        """Create a role of this database's own, with a password where one is given; return its name."""
        from psycopg import sql

        name = f"{base}{self.suffix}"
        statement = sql.SQL("CREATE ROLE {} " + attributes).format(sql.Identifier(name))
        if password is not None:
            statement += sql.SQL(" PASSWORD {}").format(sql.Literal(password))
        with self.connect() as connection:
            # What a test itself sets up must not stand in the log that it searches afterwards.
            connection.execute("SET log_statement = none; SET log_min_duration_statement = -1")
            connection.execute(statement)
        return name


@pytest.fixture
def make_database(postgres_server: servers.PostgresServer) -> Callable[[], Database]:
    """Make databases on the shared server; they go with it."""

    def make() -> Database:
        suffix = f"_{secrets.token_hex(4)}"
        maintenance = Database(postgres_server, "postgres", suffix)
        maintenance.run("CREATE DATABASE {}", f"db{suffix}")
        return Database(postgres_server, f"db{suffix}", suffix)

    return make


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Database:
    """A fresh database for one test."""
    return make_database()


@pytest.fixture
def canary() -> Secret:
    """A secret that must not turn up anywhere."""
    return Secret(f"canary-{secrets.token_hex(16)}")
