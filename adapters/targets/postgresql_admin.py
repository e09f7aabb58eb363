"""What keyturn's own login does at a PostgreSQL server: statements, transactions, and what their errors mean.

Rule 1: psycopg is used here and in no other file, and its errors leave as the three outcomes. Its texts do not:
they may quote the statement, and with it the verifier.
Rule 2: only the answer to COMMIT can be `Uncertain`. PostgreSQL undoes a transaction whose connection is lost
before; so whatever fails earlier did not happen.
Rule 3: no COMMIT takes effect late. See `Limits`.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.targets.postgresql_login import Server, Tls, log_in
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable, Uncertain
from engine.ports import Probe
from engine.values import Secret

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_ANSWER_SECONDS: Final = 1.0
"""How much longer than the server may take we wait for its answer: the way back."""

_GUARD: Final = """
DO $guard$
DECLARE
  setting text[];
BEGIN
  FOREACH setting SLICE 1 IN ARRAY ARRAY[
    ['log_statement', 'none'], ['log_min_duration_statement', '-1'], ['log_min_duration_sample', '-1'],
    ['log_transaction_sample_rate', '0'], ['log_min_error_statement', 'panic'],
    ['pg_stat_statements.track_utility', 'off']]
  LOOP
    BEGIN
      IF current_setting(setting[1], true) IS NOT NULL THEN
        PERFORM set_config(setting[1], setting[2], true);
      END IF;
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;
    END;
  END LOOP;
END
$guard$
"""
"""Keep the rest of this transaction out of the server's log and statistics, as far as our login may.

Each setting by itself: since PostgreSQL 15 a login may have been granted some of them (GRANT SET ON PARAMETER).
"""

_HINTS: Final = {
    "42501": "Let keyturn's login manage the role: keyturn doctor says what to grant.",
    "25006": "This is a standby: let `host` name the primary.",
    "3D000": "Create the database, or correct `database`.",
}
_LATER: Final = ("08", "40", "53", "57", "58", "25P03", "25P04", "55P03", "25006", "XX000", "23505", "42710")
"""Codes and classes that may pass: connection, serialisation, resources, shutdown, system, timeouts, locks, a
standby that may be promoted, and XX000, which is how a row of pg_authid changed by two at once is reported. A role or
membership that two make at once is 23505 or 42710: the other one may be a lost attempt of our own that lands late."""


PAIR_QUERY: Final = """
SELECT
  EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members m
          JOIN pg_catalog.pg_roles o ON o.oid = m.roleid JOIN pg_catalog.pg_roles l ON l.oid = m.member
          WHERE o.rolname = %s AND l.rolname = %s),
  EXISTS (SELECT 1 FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles l ON l.oid = s.setrole
          WHERE s.setdatabase = 0 AND l.rolname = %s AND 'role=' || %s::text = ANY (s.setconfig))
"""
"""Whether a login is a member of an owner, and acts as it; takes (owner, login, login, owner)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Until when a transaction may take effect, and how that is enforced at the server.

    `end` is wall time in seconds. Nothing is sent after `end - statement_seconds`. Of these seconds the server
    gives a third to waiting for our next message (idle_in_transaction_session_timeout: a COMMIT that the
    network delivers later finds the transaction gone) and two thirds to carrying it out (statement_timeout).
    """

    end: float
    statement_seconds: float

    def left(self) -> float:
        """Return for how many seconds something may still be sent."""
        return self.end - self.statement_seconds - time.time()

    def statements(self) -> str:
        """Return the statements that set the limits at the server."""
        third = max(int(self.statement_seconds * 1000 / 3), 1)
        return (
            f"SET LOCAL statement_timeout = {2 * third}; "
            f"SET LOCAL lock_timeout = {third}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {third}"
        )


class Transaction:
    """A transaction of our own login; `execute` raises the three outcomes and nothing else."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], limits: Limits, what: str) -> None:
        self._connection = connection
        self._limits = limits
        self._what = what

    def change(self, statement: str, *, names: Mapping[str, str], texts: Mapping[str, str] | None = None) -> None:
        """Run one statement whose `{…}` are filled with quoted names and quoted texts."""
        from psycopg import sql

        filling: dict[str, sql.Composable] = {key: sql.Identifier(name) for key, name in names.items()}
        filling |= {key: sql.Literal(text) for key, text in (texts or {}).items()}
        self.execute(sql.SQL(statement).format(**filling))

    def execute(self, statement: str | sql.Composed, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement before the limit, and return its rows."""
        import psycopg

        if self._limits.left() <= 0:
            raise Unavailable(what=self._what, why="there was no time left, so nothing was changed")
        try:
            # Without parameters psycopg sends the text as it is, which lets several statements go at once.
            cursor = self._connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise meaning(self._what, error) from None

    def keep_out_of_the_log(self) -> None:
        """Guard what follows; where the server has no plpgsql, its log may get a verifier, but never a password."""
        import psycopg

        self.execute("SAVEPOINT guard")
        try:
            self._connection.execute(_GUARD)
        except psycopg.Error:
            self.execute("ROLLBACK TO SAVEPOINT guard")

    def commit(self) -> None:
        """Commit, in time or not at all; an answer that does not come is `Uncertain`."""
        import psycopg

        if self._limits.left() <= 0:
            raise Unavailable(what=self._what, why="there was no time left, so nothing was changed")
        try:
            self._connection.execute("COMMIT")
        except psycopg.Error as error:
            code = error.sqlstate or ""
            if not code or code.startswith(("08", "57", "58", "XX")):
                raise Uncertain(what=self._what, why="the answer to COMMIT did not come") from None
            raise meaning(self._what, error) from None


@contextmanager
def transaction(server: Server, username: str, password: Secret, *, limits: Limits, what: str) -> Iterator[Transaction]:
    """Open a durable, guarded transaction; it commits at the end of the block, and else nothing happened."""
    if limits.left() <= 0:
        raise Unavailable(what=what, why="there was no time left, so nothing was sent")
    with connected(
        server, username, password, seconds=limits.left() + limits.statement_seconds, what=what
    ) as connection:
        opened = Transaction(connection, limits, what)
        opened.execute(f"BEGIN; {limits.statements()}")
        if opened.execute("SHOW synchronous_commit")[0][0] != "remote_apply":
            # An acknowledged commit must survive a crash; only remote_apply promises still more.
            opened.execute("SET LOCAL synchronous_commit = on")
        opened.keep_out_of_the_log()
        yield opened
        opened.commit()


@contextmanager
def connected(
    server: Server, username: str, password: Secret, *, seconds: float, what: str
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Log in as ourselves, autocommit, for at most about `seconds`; raises the three outcomes."""
    import psycopg

    try:
        connection = psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=server.database,
            user=username,
            password=password.reveal(),
            autocommit=True,
            prepare_threshold=None,
            gssencmode="disable",
            application_name="keyturn",
            # psycopg takes whole seconds, and no fewer than two.
            connect_timeout=max(int(min(server.connect_seconds, seconds)), 2),
            **_tls_of(server, psycopg.pq.version()),
        )
        line = socket.socket(fileno=os.dup(connection.fileno()))
    except psycopg.Error:
        raise _at_the_door(server, username, password, what=what) from None
    try:
        with line, _cut_off(line, seconds + _ANSWER_SECONDS):
            yield connection
    finally:
        connection.close()


def quoted(name: str) -> str:
    """Return a name as PostgreSQL writes it, for a person to copy."""
    return '"' + name.replace('"', '""') + '"'


def read(
    connection: psycopg.Connection[tuple[Any, ...]], what: str, query: str, parameters: tuple[object, ...] = ()
) -> list[tuple[Any, ...]]:
    """Return the rows of a query that changes nothing; raises the three outcomes."""
    import psycopg

    try:
        return connection.execute(query, parameters or None).fetchall()
    except psycopg.Error as error:
        raise meaning(what, error) from None


def meaning(what: str, error: psycopg.Error) -> PortError:
    """Translate an error of a statement before COMMIT, without the text of the driver."""
    code = error.sqlstate
    if code is None:
        return Unavailable(what=what, why="the connection was lost before COMMIT, so nothing was changed")
    why = f"PostgreSQL answered {type(error).__name__} ({code})"
    if code.startswith(_LATER):
        return Unavailable(what=what, why=why, advice=_HINTS.get(code, ""))
    return Rejected(what=what, why=why, advice=_HINTS.get(code, ""))


def _tls_of(server: Server, libpq: int) -> dict[str, Any]:
    options: dict[str, Any] = {"sslmode": server.tls.value}
    if server.tls is Tls.VERIFY_FULL:
        # libpq 16 was the first to know the certificates of the system by this name.
        system = "system" if libpq >= 160000 else (ssl.get_default_verify_paths().cafile or "system")
        options["sslrootcert"] = str(server.tls_root or system)
    elif libpq >= 160000:
        # A server that has not proven who it is may not ask for the password in the clear.
        options["require_auth"] = "scram-sha-256,md5,none"
    return options


def _at_the_door(server: Server, username: str, password: Secret, *, what: str) -> PortError:
    """Say why our own login failed. psycopg tells no SQLSTATE then, so the protocol is asked once more."""
    login = log_in(server, username, password.reveal())
    if login.probe is Probe.REFUSED:
        return OwnLoginRejected(what=what, why=f"PostgreSQL refused the password of keyturn's own login {username}")
    if login.probe is Probe.UNUSABLE:
        return OwnLoginRejected(what=what, why=f"PostgreSQL does not let {username} in ({login.detail})")
    return Unavailable(what=what, why=login.detail or "the connection failed, and a second one did not")


@contextmanager
def _cut_off(line: socket.socket, seconds: float) -> Iterator[None]:
    """Break a connection after `seconds`: a server that is frozen answers nobody, and psycopg waits for ever."""

    def cut() -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(seconds, 0.0), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
