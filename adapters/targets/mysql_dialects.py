"""Where MariaDB and MySQL differ: how an account is read, and with which statements its passwords change.

Rule 1: nothing else knows which of the two it talks to.
Rule 2: a statement has a hash in it, never a password, and a name only as a quoted literal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from adapters.targets.mysql_admin import Session
from adapters.targets.mysql_hashes import CACHING_SHA2, NATIVE, PLUGINS, Entry

MOST: Final = 2
"""Passwords of one account. MySQL has room for no more; MariaDB has, but many clients cannot find a third: each
password after the first costs them another change of the plugin, and they take one."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account as the server has it."""

    username: str
    host: str
    passwords: tuple[Entry, ...]
    """Those that log in, the one that the server tries first in front."""
    plugin: str | None = None
    """What it keeps passwords with, also where nobody can log in with the one that it has; None where with nothing."""
    others: tuple[Entry, ...] = ()
    """Other ways to log in, as by the socket of the machine."""
    is_locked: bool = False
    tls: str = ""
    """What it wants of the connection, as `REQUIRE SSL` says it; empty is nothing."""
    mark: str = ""
    """Changes with the account."""
    role: str = ""
    """What its sessions begin as."""


class Dialect(Protocol):
    """A kind of server."""

    kind: str
    """As `type:` names it."""
    table: str
    """Where the server keeps its accounts, with the columns User and Host."""
    plugin: str
    """What a new account keeps its password with."""
    is_chain: bool
    """One statement names all passwords; else one is pushed in, which may push another out."""

    def query_limit(self, seconds: float) -> str:
        """Return the statement that holds the queries of a session to so many seconds."""
        ...

    def prepare(self, session: Session, seconds: float) -> None:
        """Have the server hold a change to so many seconds."""
        ...

    def account(self, session: Session, username: str, host: str) -> Account | None:
        """Return an account; None where there is none."""
        ...

    def set_passwords(self, session: Session, account: Account, wanted: Sequence[Entry]) -> None:
        """Make the passwords of an account those `wanted`, in that order where the server has one."""
        ...

    def has_role(self, session: Session, role: str) -> bool:
        """Tell whether there is such a role."""
        ...

    def pair_up(self, session: Session, account: Account | None, names: Names) -> None:
        """Let an account exist, with no password, and act as a role."""
        ...


@dataclass(frozen=True, slots=True)
class Names:
    """Who is to act as whom."""

    username: str
    host: str
    role: str


def quoted(session: Session, username: str, host: str) -> str:
    """Return the name of an account as it stands in a statement."""
    return f"{session.literal(username)}@{session.literal(host)}"


def nobody(plugin: str) -> Entry:
    """Return what an account keeps that nobody logs in with."""
    return Entry(plugin, PLUGINS[plugin].nothing)


class Mariadb:
    """MariaDB 10.4 and later: an account has a chain of ways to log in, `IDENTIFIED VIA … OR …`."""

    kind = "mariadb"
    table = "mysql.global_priv"
    plugin = NATIVE
    is_chain = True
    _TLS: Final = ("", "REQUIRE SSL", "REQUIRE X509", "REQUIRE SUBJECT, ISSUER or CIPHER")

    def query_limit(self, seconds: float) -> str:
        """See `Dialect`."""
        return f"SET SESSION max_statement_time = {seconds:.3f}"

    def prepare(self, session: Session, seconds: float) -> None:
        """See `Dialect`; waiting for locks counts."""
        session.read(self.query_limit(seconds))

    def account(self, session: Session, username: str, host: str) -> Account | None:
        """See `Dialect`."""
        rows = session.read(
            f"SELECT Priv, SHA2(Priv, 256) FROM {self.table} WHERE User = %s AND Host = %s", username, host
        )
        if not rows:
            return None
        kept: dict[str, Any] = json.loads(rows[0][0])
        if kept.get("is_role"):
            return None
        # An empty link of the chain stands for what is kept beside the chain.
        links = [link or kept for link in kept.get("auth_or", [{}])]
        chain = [Entry(link.get("plugin", NATIVE), link.get("authentication_string", "")) for link in links]
        return Account(
            username,
            host,
            passwords=tuple(each for each in chain if each.plugin in PLUGINS and _logs_in(each)),
            plugin=next((each.plugin for each in chain if each.plugin in PLUGINS), None),
            others=tuple(each for each in chain if each.plugin not in PLUGINS),
            is_locked=bool(kept.get("account_locked")),
            tls=self._TLS[kept.get("ssl_type", 0)],
            mark=rows[0][1],
            role=kept.get("default_role", ""),
        )

    def set_passwords(self, session: Session, account: Account, wanted: Sequence[Entry]) -> None:
        """See `Dialect`; one statement, whatever the account had."""
        # Clients come with an answer for mysql_native_password, so this one in front costs them no change of plugin.
        ordered = sorted(wanted, key=lambda entry: entry.plugin != NATIVE)
        chain = [*ordered, *account.others] or [nobody(account.plugin or self.plugin)]
        ways = " OR ".join(f"{each.plugin} USING {session.literal(each.stored)}" for each in chain)
        self._change(
            session, f"ALTER USER {quoted(session, account.username, account.host)} IDENTIFIED VIA {ways}", account
        )

    def has_role(self, session: Session, role: str) -> bool:
        """See `Dialect`."""
        rows = session.read(f"SELECT Priv FROM {self.table} WHERE User = %s AND Host = ''", role)
        return bool(rows and json.loads(rows[0][0]).get("is_role"))

    def pair_up(self, session: Session, account: Account | None, names: Names) -> None:
        """See `Dialect`."""
        role, login = session.literal(names.role), quoted(session, names.username, names.host)
        if account is None:
            way = f"{self.plugin} USING {session.literal(nobody(self.plugin).stored)}"
            self._change(session, f"CREATE USER IF NOT EXISTS {login} IDENTIFIED VIA {way}")
        query = "SELECT 1 FROM mysql.roles_mapping WHERE User = %s AND Host = %s AND Role = %s"
        if not session.read(query, names.username, names.host, names.role):
            self._change(session, f"GRANT {role} TO {login}")
        if account is None or account.role != names.role:
            self._change(session, f"SET DEFAULT ROLE {role} FOR {login}")

    def _change(self, session: Session, statement: str, account: Account | None = None) -> None:
        """Run a statement, unless the server finds that it is too late, or that the account is not as it was read."""
        late = f"UNIX_TIMESTAMP(SYSDATE(6)) > {session.server_end():.6f}"
        if account is not None:
            late += (
                f" OR NOT EXISTS (SELECT 1 FROM {self.table}"
                f" WHERE User = {session.literal(account.username)} AND Host = {session.literal(account.host)}"
                f" AND SHA2(Priv, 256) = {session.literal(account.mark)})"
            )
        session.change(f"BEGIN NOT ATOMIC IF {late} THEN SIGNAL SQLSTATE '45000'; END IF; {statement}; END")


class Mysql:
    """MySQL 8.0.14 and later: an account has a password, and room for the one before (`RETAIN CURRENT PASSWORD`)."""

    kind = "mysql"
    table = "mysql.user"
    plugin = CACHING_SHA2
    is_chain = False
    _TLS: Final = {"ANY": "REQUIRE SSL", "X509": "REQUIRE X509", "SPECIFIED": "REQUIRE SUBJECT, ISSUER or CIPHER"}

    def query_limit(self, seconds: float) -> str:
        """See `Dialect`; it holds for SELECT."""
        return f"SET SESSION max_execution_time = {int(seconds * 1000)}"

    def prepare(self, session: Session, seconds: float) -> None:
        """See `Dialect`.

        MySQL has no conditions around statements. So a third of the time is for waiting for our next message, after
        which the server hangs up, and a third each for locks on tables and on rows; whole seconds, one at least.
        """
        third = max(int(seconds / 3), 1)
        session.read(
            f"SET SESSION wait_timeout = {third}, lock_wait_timeout = {third}, innodb_lock_wait_timeout = {third}"
        )

    def account(self, session: Session, username: str, host: str) -> Account | None:
        """See `Dialect`."""
        rows = session.read(
            "SELECT plugin, authentication_string, User_attributes->>'$.additional_password', account_locked, ssl_type"
            " FROM mysql.user WHERE User = %s AND Host = %s",
            username,
            host,
        )
        if not rows:
            return None
        plugin, stored, second, locked, tls = rows[0]
        first = Entry(plugin, _text(stored))
        # The second password is checked by the plugin of the first.
        kept = (first, Entry(plugin, _text(second))) if second else (first,)
        return Account(
            username,
            host,
            # In front of a second password, one that nobody logs in with takes up its place all the same.
            passwords=kept if plugin in PLUGINS and (second or _logs_in(first)) else (),
            plugin=plugin if plugin in PLUGINS else None,
            others=() if plugin in PLUGINS else (first,),
            is_locked=locked == "Y",
            tls=self._TLS.get(tls, ""),
        )

    def set_passwords(self, session: Session, account: Account, wanted: Sequence[Entry]) -> None:
        """See `Dialect`.

        RETAIN keeps what is the first password at that moment, and drops the second; so it is said only where the
        account was just seen to have one password, and never repeated. A change without RETAIN leaves the second.
        """
        alter = f"ALTER USER {quoted(session, account.username, account.host)}"
        discard, had = f"{alter} DISCARD OLD PASSWORD", account.passwords

        def identified(entry: Entry) -> str:
            return f"{alter} IDENTIFIED WITH {entry.plugin} AS {session.literal(entry.stored)}"

        match wanted:
            case [new, old]:
                assert old in had, "the second of two passwords is one that is in force"
                session.change(f"{identified(new)} RETAIN CURRENT PASSWORD" if had[0] == old else identified(new))
                return
            case [first]:
                if had[:1] != (first,):
                    session.change(identified(first))
                if len(had) > 1:
                    session.change(discard)
            case _:
                if len(had) > 1:
                    session.change(discard)
                session.change(identified(nobody(account.plugin or self.plugin)))

    def has_role(self, session: Session, role: str) -> bool:
        """See `Dialect`; a role is an account of any host."""
        return bool(session.read("SELECT 1 FROM mysql.user WHERE User = %s AND Host = '%%'", role))

    def pair_up(self, session: Session, account: Account | None, names: Names) -> None:
        """See `Dialect`."""
        role, login = quoted(session, names.role, "%"), quoted(session, names.username, names.host)
        if account is None:
            way = f"{self.plugin} AS {session.literal(nobody(self.plugin).stored)}"
            session.change(f"CREATE USER IF NOT EXISTS {login} IDENTIFIED WITH {way}")
        of_login = (names.username, names.host, names.role)
        query = (
            "SELECT 1 FROM mysql.role_edges WHERE TO_USER = %s AND TO_HOST = %s AND FROM_USER = %s AND FROM_HOST = '%%'"
        )
        if not session.read(query, *of_login):
            session.change(f"GRANT {role} TO {login}")
        query = "SELECT 1 FROM mysql.default_roles WHERE USER = %s AND HOST = %s AND DEFAULT_ROLE_USER = %s"
        if not session.read(query, *of_login):
            session.change(f"SET DEFAULT ROLE {role} TO {login}")


def _logs_in(entry: Entry) -> bool:
    return PLUGINS[entry.plugin].is_password(entry.stored)


def _text(stored: object) -> str:
    return stored.decode("latin-1") if isinstance(stored, bytes) else str(stored or "")
