"""What keyturn's own login does at a server of the MySQL family: statements, time limits, what their errors mean.

Rule 1: errors leave as the three outcomes, without the texts of driver or server: they may quote the statement.
Rule 2: what is changed is one statement, without a transaction around it: until it is sent nothing has happened, and
where its answer is lost it may have.
Rule 3: no change takes effect late. See `Limits`, and what `mysql_accounts` writes around a change.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.targets.mysql_login import WRONG, Server, Unanswered, ask, code_of, opened, reason
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable, Uncertain
from engine.values import Secret

if TYPE_CHECKING:
    import pymysql

_ANSWER_SECONDS: Final = 1.0
"""How much longer than the server may take we wait for its answer: the way back."""
_MAY_PASS: Final = frozenset({
    1040, 1203, 1226, 4150,  # too many connections, limits of our login, our login is blocked
    1053,  # the server is stopping
    1205, 1213,  # waited too long for a lock
    1290, 1836,  # read only: a standby that may be promoted
    1644,  # the guard around a change: too late, or the account has changed meanwhile
})  # fmt: skip
_MAY_HAVE_HAPPENED: Final = frozenset({1053, 1180, 1317, 1927, 1969, 3024})
"""Stopping, a failed commit, an interruption, a killed connection, a time limit: all can come after the change."""
_HINTS: Final = {
    1044: "keyturn doctor says what to grant to its login.",
    1142: "keyturn doctor says what to grant to its login.",
    1227: "keyturn doctor says what to grant to its login.",
    1290: "This server is read only: let `host` name the primary.",
    1396: "Where a plugin judges passwords, it refuses hashes: SET GLOBAL strict_password_validation = OFF.",
    1836: "This server is read only: let `host` name the primary.",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Until when a change may take effect, and how long the server may take for it.

    `end` is wall time in seconds. Nothing is sent after `end - statement_seconds`.
    """

    end: float
    statement_seconds: float

    def left(self) -> float:
        """Return for how many seconds something may still be sent."""
        return self.end - self.statement_seconds - time.time()


class Session:
    """A session of our own login; its methods raise the three outcomes and nothing else."""

    def __init__(self, connection: pymysql.Connection[Any], what: str, limits: Limits | None) -> None:
        self._connection = connection
        self._what = what
        self._limits = limits
        self.has_changed = False
        """A change was made already, so that what fails after it is `Uncertain`."""

    @property
    def what(self) -> str:
        """What is being done, for messages."""
        return self._what

    def literal(self, text: str) -> str:
        """Return a text as the server reads it within a statement."""
        return str(self._connection.escape(text))

    def read(self, statement: str, *parameters: object) -> list[Any]:
        """Return the rows of a statement that changes nothing."""
        import pymysql

        try:
            return ask(self._connection, statement, parameters)
        except (pymysql.Error, OSError) as error:
            raise self._meaning(error, is_change=False) from None

    def set_if_allowed(self, statement: str) -> None:
        """Run a SET that our login may lack the right to."""
        import pymysql

        with suppress(pymysql.OperationalError, pymysql.ProgrammingError):
            ask(self._connection, statement)

    def server_end(self) -> float:
        """Return the server's own time by which the change must have begun, in seconds; never later than ours."""
        assert self._limits is not None
        (theirs,) = self.read("SELECT UNIX_TIMESTAMP(SYSDATE(6))")[0]
        return float(theirs) + self._limits.left()

    def change(self, statement: str) -> None:
        """Run a statement that changes something, before the limit."""
        import pymysql

        assert self._limits is not None
        if self._limits.left() <= 0:
            raise self._late()
        try:
            ask(self._connection, statement)
        except (pymysql.Error, OSError) as error:
            raise self._meaning(error, is_change=True) from None
        self.has_changed = True

    def _late(self) -> PortError:
        if self.has_changed:
            return Uncertain(what=self._what, why="it is done in part, and there is no time left for the rest")
        return Unavailable(what=self._what, why="there was no time left, so nothing was changed")

    def _meaning(self, error: Exception, *, is_change: bool) -> PortError:
        code = code_of(error)
        why = f"the server answered with {reason(error)}" if code else f"the connection was lost: {reason(error)}"
        if is_change and (not code or code in _MAY_HAVE_HAPPENED):
            return Uncertain(what=self._what, why=why)
        if self.has_changed:
            return Uncertain(what=self._what, why=f"it is done in part; then {why}")
        if not code or code in _MAY_PASS or code in _MAY_HAVE_HAPPENED:
            return Unavailable(what=self._what, why=why, advice=_HINTS.get(code, ""))
        return Rejected(what=self._what, why=why, advice=_HINTS.get(code, ""))


@contextmanager
def administering(
    server: Server, username: str, password: Secret, *, what: str, limits: Limits | None = None
) -> Iterator[Session]:
    """Log in as ourselves; without `limits` only to read. Raises the three outcomes."""
    import pymysql

    if limits is not None and limits.left() <= 0:
        raise Unavailable(what=what, why="there was no time left, so nothing was sent")
    seconds = server.connect_seconds + server.query_seconds
    if limits is not None:
        seconds = min(seconds, limits.left()) + limits.statement_seconds
    session = None
    try:
        with opened(server, username, password.reveal(), seconds=seconds + _ANSWER_SECONDS) as connection:
            session = Session(connection, what, limits)
            # Whatever the server's own mode: a backslash escapes in a text, and doubled quotes are not names.
            session.read("SET SESSION sql_mode = ''")
            # Hashes belong into no log; whether they get there is not ours to decide everywhere.
            session.set_if_allowed("SET SESSION sql_log_off = 1")
            yield session
    except (pymysql.Error, Unanswered, OSError) as error:
        if session is not None and session.has_changed:
            raise Uncertain(what=what, why="the connection was lost after a change") from None
        raise _at_the_door(username, what, error) from None


def _at_the_door(username: str, what: str, error: Exception) -> PortError:
    code = code_of(error)
    if code in WRONG:
        return OwnLoginRejected(what=what, why=f"the server refused the password of keyturn's own login {username}")
    if code and code not in _MAY_PASS:
        return OwnLoginRejected(what=what, why=f"the server does not let {username} in ({reason(error)})")
    return Unavailable(what=what, why=reason(error))
