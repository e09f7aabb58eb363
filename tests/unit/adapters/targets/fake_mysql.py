"""A MySQL 8 that knows one table, mysql.user, and the statements that change the passwords of an account in it.

What it does with them is what the MySQL 8.0 Reference Manual says (15.7.1.1 "ALTER USER Statement", 8.2.15 "Password
Management", "Dual Password Support"); a statement that it does not know is an error 1064, as it would be there. It
stands behind PyMySQL's connection, so that what is tested is all ours up to the driver. No tests here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql.converters import escape_string

_TEXT = r"'((?:[^'\\]|\\.|'')*)'"
_ALTER = re.compile(rf"ALTER USER {_TEXT}@{_TEXT} (.*)", re.DOTALL)
_IDENTIFIED = re.compile(rf"IDENTIFIED WITH (\w+) AS {_TEXT}( RETAIN CURRENT PASSWORD)?", re.DOTALL)


@dataclass
class Row:
    """A row of mysql.user: one or two passwords of one plugin."""

    plugin: str
    first: str
    second: str | None = None
    locked: str = "N"
    ssl_type: str = ""

    @property
    def accepted(self) -> set[str]:
        """What clients may log in with."""
        return {each for each in (self.first, self.second) if each}


@dataclass
class FakeMysql:
    """The server; `said` is every statement, in order, as it would stand in a general log that rewrites nothing."""

    users: dict[tuple[str, str], Row] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    held: list[set[str]] = field(default_factory=list)
    """What the account that was changed accepted after each change."""

    def escape(self, text: str) -> str:
        """Quote a text, as PyMySQL's connection does."""
        return f"'{escape_string(text)}'"

    @contextmanager
    def cursor(self) -> Iterator[_Cursor]:
        """Return what runs statements."""
        yield _Cursor(self)

    def run(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Carry a statement out, or refuse it."""
        self.said.append(statement % tuple(map(self.escape, parameters)) if parameters else statement)
        if statement.startswith("SET SESSION "):
            return []
        if statement.startswith("SELECT plugin, authentication_string, User_attributes->>'$.additional_password'"):
            row = self.users.get((parameters[0], parameters[1]))
            return [(row.plugin, row.first, row.second, row.locked, row.ssl_type)] if row else []
        if found := _ALTER.fullmatch(statement):
            self._alter(_read(found[1]), _read(found[2]), found[3])
            return []
        raise pymysql.ProgrammingError(1064, "You have an error in your SQL syntax")

    def _alter(self, username: str, host: str, how: str) -> None:
        row = self.users.get((username, host))
        if row is None:
            raise pymysql.OperationalError(1396, "Operation ALTER USER failed")
        if how == "DISCARD OLD PASSWORD":
            # It is no error where there is none.
            row.second = None
        elif found := _IDENTIFIED.fullmatch(how):
            plugin, stored, retain = found[1], _read(found[2]), found[3]
            if retain:
                # What another plugin kept cannot be kept on.
                if plugin != row.plugin:
                    raise pymysql.OperationalError(3894, "Current password can not be retained: the plugin is changed")
                if not row.first:
                    raise pymysql.OperationalError(3878, "Empty password can not be retained")
                # A second password that there was is gone.
                row.second = row.first
            elif plugin != row.plugin:
                # With the plugin goes the second password.
                row.second = None
            # Without RETAIN the second password stays as it is.
            row.plugin, row.first = plugin, stored
        else:
            raise pymysql.ProgrammingError(1064, "You have an error in your SQL syntax")
        self.held.append(row.accepted)


class _Cursor:
    def __init__(self, server: FakeMysql) -> None:
        self._server = server
        self._rows: list[Any] = []

    def execute(self, statement: str, parameters: tuple[Any, ...] | None = None) -> None:
        """Run a statement."""
        self._rows = self._server.run(statement, parameters or ())

    def fetchall(self) -> list[Any]:
        """Return its rows."""
        return self._rows


def _read(text: str) -> str:
    """Read a text as the server reads it between quotes."""
    signs = {"n": "\n", "r": "\r", "0": "\0", "Z": "\x1a"}
    return re.sub(r"\\(.)|''", lambda found: signs.get(found[1], found[1]) if found[1] else "'", text, flags=re.DOTALL)
