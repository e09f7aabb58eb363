"""One fresh session at the MariaDB or MySQL of a service, logged in as its consumers are.

Rule 1: PyMySQL is used here and in no other file of the checks; its texts stay here, only numbers of errors leave.
Rule 2: a session ends with its look: a server that is frozen answers nobody.
Rule 3: nothing is answered that asks for the password in the clear.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from adapters.health.cutting import cut_off
from adapters.health.looking import Connections, NotSeen, OutOfReach, Transactions, seconds, usable
from engine.adapter import CheckContext
from engine.health import Subject

if TYPE_CHECKING:
    import pymysql

MARIADB: Final = "mariadb"
KINDS: Final = frozenset({MARIADB, "mysql"})
_TOO_LONG: Final = frozenset({1969, 3024})
_BROKEN: Final = frozenset({1040, 1053, 1129, 1205, 1213, 1226, 1317, 1927})
"""Errors that speak of the server: no room, stopping, blocked, locks, limits, interrupted."""
_ASKED_IN_THE_CLEAR: Final = ("mysql_clear_password", "mysql_old_password", "sha256_password", "dialog")

_CONNECTIONS: Final = """
SELECT
  (SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()
   AND USER = LEFT(USER(), CHAR_LENGTH(USER()) - LOCATE('@', REVERSE(USER())))),
  @@max_user_connections, @@max_connections
"""
"""Every login sees its own sessions. `@@max_user_connections` is the account's own limit where it has one."""

_TRANSACTIONS: Final = """
SELECT COUNT(*), COALESCE(MAX(TIMESTAMPDIFF(MICROSECOND, trx_started, NOW(6))), 0) / 1000000
FROM information_schema.INNODB_TRX JOIN information_schema.PROCESSLIST ON ID = trx_mysql_thread_id
WHERE ID <> CONNECTION_ID() AND (DATABASE() IS NULL OR DB = DATABASE())
"""

Row = dict[str, Any]


class Session:
    """Asks, and raises `OutOfReach` where the server fails, `NotSeen` where this login may not ask."""

    def __init__(self, connection: pymysql.Connection[Any], kind: str) -> None:
        self._connection = connection
        self._kind = kind

    def ask(self, query: str) -> list[Row]:
        """Return the rows of a query, by the names of their columns; none where it has no result."""
        import pymysql

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        except (pymysql.Error, OSError) as error:
            code = error.args[0] if isinstance(error, pymysql.Error) and error.args else 0
            if not isinstance(code, int) or code == 0 or 2000 <= code < 3000:
                raise OutOfReach("the connection was lost before the answer") from None
            if code in _TOO_LONG:
                raise OutOfReach("the query did not end in time") from None
            if code in _BROKEN:
                raise OutOfReach(f"the query failed with error {code}") from None
            raise NotSeen(f"the query failed with error {code}") from None

    def connections(self) -> Connections:
        """Count the connections, and read their limits."""
        mine, login_limit, server_limit = self.ask(_CONNECTIONS)[0].values()
        total = int(self.ask("SHOW GLOBAL STATUS LIKE 'Threads_connected'")[0]["Value"]) - 1
        return Connections(mine, total, login_limit, server_limit)

    def transactions(self) -> Transactions:
        """Count the open transactions of InnoDB in the database, or where none is opened on the server."""
        try:
            count, oldest = self.ask(_TRANSACTIONS)[0].values()
        except NotSeen as error:
            raise NotSeen(f"{error}: this login may not see transactions (GRANT PROCESS ON *.*)") from None
        return Transactions(count, float(oldest))

    def limit(self, length: float) -> None:
        """Have the server end what takes longer than so many seconds; MySQL does so for SELECT."""
        if self._kind == MARIADB:
            self.ask(f"SET SESSION max_statement_time = {length:.3f}")
        else:
            self.ask(f"SET SESSION max_execution_time = {max(int(length * 1000), 1)}")

    def lags(self) -> dict[str, float]:
        """Return how many seconds this replica is behind each server that it follows; empty where it follows none."""
        try:
            rows = self.ask("SHOW ALL SLAVES STATUS" if self._kind == MARIADB else "SHOW REPLICA STATUS")
        except NotSeen as error:
            needed = "REPLICA MONITOR" if self._kind == MARIADB else "REPLICATION CLIENT"
            raise NotSeen(f"{error}: this login may not see replication (GRANT {needed} ON *.*)") from None
        seen = {}
        for row in rows:
            source = row.get("Connection_name") or row.get("Channel_Name") or "this replica"
            behind = row.get("Seconds_Behind_Master", row.get("Seconds_Behind_Source"))
            if behind is None:
                raise OutOfReach(f"{source} does not replicate")
            seen[source] = float(behind)
        return seen


@contextmanager
def session(context: CheckContext, subject: Subject) -> Iterator[Session]:
    """Log in afresh with the new version, for at most the timeout of the check; raises as `Session.ask` does."""
    import pymysql
    from pymysql.cursors import DictCursor

    server: Any = context.service_options
    value = usable(subject)
    limit = seconds(context.timeout)
    where = f"{server.host}:{server.port}"
    failed = OutOfReach(f"{subject.new_version}: no login as {value.username} at {where}")
    try:
        encryption = _encryption(context)
        line = socket.create_connection((server.host, server.port), timeout=limit)
    except OSError:
        raise failed from None
    with line, cut_off(line.fileno(), limit):
        connection = pymysql.Connection(
            host=server.host,
            port=server.port,
            user=value.username,
            password=value.revealed().encode(),
            database=server.database or None,
            charset="utf8mb4",
            autocommit=True,
            cursorclass=DictCursor,
            ssl=encryption,
            ssl_disabled=encryption is None,
            auth_plugin_map=dict.fromkeys(_ASKED_IN_THE_CLEAR, _Refusing),
            program_name="keyturn",
            defer_connect=True,
        )
        try:
            connection.connect(line)
        except (pymysql.Error, OSError):
            raise failed from None
        try:
            opened = Session(connection, context.kind)
            # The server's own limit comes first, so that no query is left behind.
            opened.limit(limit * 0.9)
            yield opened
        finally:
            connection.close()


def _encryption(context: CheckContext) -> ssl.SSLContext | None:
    server: Any = context.service_options
    if server.tls == "disable":
        return None
    found = ssl.create_default_context(cafile=context.base / server.tls_root if server.tls_root else None)
    if server.tls == "require":
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    return found


class _Refusing:
    """Stands for what would show the password to whoever asks for it."""

    def __init__(self, connection: Any) -> None:
        pass

    def authenticate(self, packet: Any) -> Any:
        """Give no answer."""
        raise OSError("the server asks for the password in the clear")
