"""One fresh session at the PostgreSQL of a service, logged in as its consumers are.

Rule 1: psycopg is used here and in no other file of the checks; its texts stay here, only SQLSTATEs leave.
Rule 2: a session ends with its look: a server that is frozen answers nobody, and psycopg would wait for ever.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from adapters.health.cutting import cut_off
from adapters.health.looking import Connections, NotSeen, OutOfReach, Transactions, seconds, usable
from engine.adapter import CheckContext
from engine.health import Subject

if TYPE_CHECKING:
    import psycopg

KIND: Final = "postgresql"
EXTRA: Final = "postgres"
_CANCELED: Final = "57014"
_BROKEN: Final = ("08", "53", "57", "58", "XX")
"""Classes of SQLSTATE that speak of the server: connection, resources, operator, system, internal."""

_CONNECTIONS: Final = """
SELECT
  (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()),
  (SELECT count(*) - 1 FROM pg_catalog.pg_stat_activity WHERE usename IS NOT NULL AND datid IS NOT NULL),
  (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user),
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int
"""
"""Ours is not counted. What is reserved is not for consumers; PostgreSQL 16 added `reserved_connections`."""

_TRANSACTIONS: Final = """
SELECT
  count(*) FILTER (WHERE xact_start IS NOT NULL),
  coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8,
  count(*) FILTER (WHERE query = '<insufficient privilege>')
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL
"""

Row = tuple[Any, ...]


class Session:
    """Asks, and raises `OutOfReach` where the server fails, `NotSeen` where this login may not ask."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def ask(self, query: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        """Return the rows of a query; none where it has no result."""
        import psycopg

        try:
            cursor = self._connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            code = error.sqlstate
            if code is None:
                raise OutOfReach("the connection was lost before the answer") from None
            if code == _CANCELED:
                raise OutOfReach("the query did not end in time") from None
            if code.startswith(_BROKEN):
                raise OutOfReach(f"the query failed with SQLSTATE {code}") from None
            raise NotSeen(f"the query failed with SQLSTATE {code}") from None

    def one(self, query: str, parameters: tuple[object, ...] = ()) -> Row:
        """Return the one row of a query that has one."""
        return self.ask(query, parameters)[0]

    def connections(self) -> Connections:
        """Count the connections, and read their limits."""
        return Connections(*self.one(_CONNECTIONS))

    def transactions(self) -> Transactions:
        """Count the open transactions in the database."""
        return Transactions(*self.one(_TRANSACTIONS))


@contextmanager
def session(context: CheckContext, subject: Subject) -> Iterator[Session]:
    """Log in afresh with the new version, for at most the timeout of the check; raises as `Session.ask` does.

    The login itself may take two whole seconds, which is the least that libpq is told by psycopg.
    """
    import psycopg

    server: Any = context.service_options
    value = usable(subject)
    limit = seconds(context.timeout)
    try:
        connection = psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=server.database,
            user=value.username,
            password=value.revealed(),
            autocommit=True,
            prepare_threshold=None,
            gssencmode="disable",
            application_name="keyturn",
            connect_timeout=max(int(min(limit, seconds(server.connect_timeout.microseconds))), 2),
            **_tls(context, psycopg.pq.version()),
        )
    except psycopg.Error:
        where = f"{server.host}:{server.port}/{server.database}"
        raise OutOfReach(f"{subject.new_version}: no login as {value.username} at {where}") from None
    try:
        with cut_off(connection.fileno(), limit):
            opened = Session(connection)
            # The server's own limit comes first, so that no query is left behind.
            opened.ask(f"SET statement_timeout = {max(int(limit * 900), 1)}")
            yield opened
    finally:
        connection.close()


def _tls(context: CheckContext, libpq: int) -> dict[str, Any]:
    server: Any = context.service_options
    found: dict[str, Any] = {"sslmode": str(server.tls)}
    if server.tls == "verify-full":
        # libpq 16 was the first to know the certificates of the system by this name.
        system = "system" if libpq >= 160000 else (ssl.get_default_verify_paths().cafile or "system")
        found["sslrootcert"] = str(context.base / server.tls_root) if server.tls_root else system
    elif libpq >= 160000:
        # A server that has not proven who it is may not ask for the password in the clear.
        found["require_auth"] = "scram-sha-256,md5,none"
    return found
