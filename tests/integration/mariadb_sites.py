"""The MariaDB of one service, as the proofs on real servers see it; no tests here.

Rule: the server is asked by its own driver and by its own tables, never through an adapter of ours.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1

import pymysql

from engine.plan import Strategy
from engine.values import CredentialValue, Form
from tests.integration.sites import KEY, SERVICE, InForce, Way
from tests.mariadb_server import MariadbServer

NOBODY = "*THISISNOTAVALIDPASSWORDTHATCANBEUSEDHERE"
NATIVE = "mysql_native_password"


def hashed(password: str) -> str:
    """Return what MariaDB keeps of a password (documentation of PASSWORD())."""
    inner = sha1(password.encode(), usedforsecurity=False).digest()
    return f"*{sha1(inner, usedforsecurity=False).hexdigest().upper()}"


@dataclass(frozen=True)
class MariadbSite:
    """A database with the accounts of one service, or with the role that they share."""

    server: MariadbServer
    strategy: Strategy
    owner: str
    way: Way

    @property
    def password(self) -> str:
        """Return the password of our own login there."""
        return self.server.password.reveal()

    @property
    def logins(self) -> tuple[str, ...]:
        """Return who the values are of."""
        return (f"{self.owner}_a", f"{self.owner}_b") if self.strategy is Strategy.ALTERNATING else (self.owner,)

    def options(self) -> str:
        """Return host and port, the verification that `spoil` spoils, and the login."""
        return (
            f"type: mariadb\nhost: {self.server.host}\nport: {self.way.port or self.server.port}\n"
            f"database: {self.owner}\ntls: disable\n{self.way.options}"
            f"verification_query: SELECT 1 FROM gate\nadmin_credentials:\n"
            f"  {{username: {self.server.superuser}, password: store://local/admin/{SERVICE}}}\n"
            f"credential: {{username: {self.owner}, store: local, key: {KEY}}}\n"
        )

    def rotation(self) -> str:
        """Return the strategy, and its logins."""
        names = f", usernames: [{', '.join(self.logins)}]" if len(self.logins) > 1 else ""
        return f"strategy: {self.strategy}{names}"

    def in_force(self) -> InForce:
        """Return what the server keeps, read from its own tables."""
        found = {}
        for login in self.logins:
            rows = self.server.run("SELECT Priv FROM mysql.global_priv WHERE User = %s AND Host = '%%'", login)
            if rows:
                kept = json.loads(rows[0][0])
                links = [link or kept for link in kept.get("auth_or", [{}])]
                found[login] = tuple(
                    link["authentication_string"] for link in links if link["authentication_string"] != NOBODY
                )
        return found

    def put_back(self, kept: InForce) -> None:
        """Have the server keep it again."""
        for login in self.in_force():
            if login not in kept:
                self.server.run("DROP USER %s@'%%'", login)
                continue
            chain = " OR ".join(f"{NATIVE} USING '{each}'" for each in kept[login] or (NOBODY,))
            self.server.run(f"ALTER USER %s@'%%' IDENTIFIED VIA {chain}", login)

    def is_known(self, login: str, kept: str, values: Sequence[CredentialValue]) -> bool:
        """Compute what the server would keep of each value."""
        mine = [each for each in values if each.username == login]
        plain = [hashed(each.revealed()) for each in mine if each.form is Form.PLAIN]
        return kept in plain or f"{NATIVE}:{kept}" in [each.revealed() for each in mine if each.form is Form.VERIFIER]

    def logs_in(self, value: CredentialValue) -> bool:
        """Log in with the plain driver."""
        try:
            with self.server.connect(value.username, value.revealed(), database=self.owner) as connection:
                connection.ping()
                return True
        except pymysql.OperationalError:
            return False

    def spoil(self) -> None:
        """Spoil the query."""
        self.server.run(f"DROP TABLE IF EXISTS {self.owner}.gate")

    def mend(self) -> None:
        """Mend it."""
        self.server.run(f"CREATE TABLE IF NOT EXISTS {self.owner}.gate (id INT)")


def mariadb_site(server: MariadbServer, strategy: Strategy, way: Way | None = None) -> MariadbSite:
    """Make the account of a service, that nobody can log in to yet, or the role of two."""
    owner = f"app_{secrets.token_hex(4)}"
    server.run(f"CREATE DATABASE {owner}")
    if strategy is Strategy.ALTERNATING:
        server.run(f"CREATE ROLE {owner}")
        server.run(f"GRANT SELECT ON {owner}.* TO {owner}")
    else:
        server.run(f"GRANT SELECT ON {owner}.* TO {owner}@'%' IDENTIFIED VIA {NATIVE} USING '{NOBODY}'")
    site = MariadbSite(server, strategy, owner, way or Way())
    site.mend()
    return site
