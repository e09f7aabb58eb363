"""The server of one service, as the proofs on real servers see it; no tests here.

Rule: the server is asked by its own driver and by its own tables, never through an adapter of ours.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, sha256
from typing import Protocol

import psycopg

from adapters.demo import servers
from engine.plan import Strategy
from engine.values import CredentialValue, Form
from tests.conftest import Database
from tests.integration.redis_bench import digests, logs_in, run

SERVICE = "app"
KEY = "production/app"
"""The service that is rotated, and where the store holds it."""

InForce = dict[str, tuple[str, ...]]
"""What a server keeps of each login: verifiers of PostgreSQL, digests of Redis; none where nobody can log in."""


class Site(Protocol):
    """The server of one service, as it is."""

    @property
    def strategy(self) -> Strategy:
        """How the server holds two versions."""
        ...

    @property
    def password(self) -> str:
        """The password of our own login there."""
        ...

    def options(self) -> str:
        """Return the lines of the configuration that are of this server, without indentation."""
        ...

    def rotation(self) -> str:
        """Return the first settings of `rotation:` in the configuration."""
        ...

    def in_force(self) -> InForce:
        """Return what the server keeps."""
        ...

    def put_back(self, kept: InForce) -> None:
        """Have the server keep what it kept once."""
        ...

    def is_known(self, login: str, kept: str, values: Sequence[CredentialValue]) -> bool:
        """Tell whether what the server keeps of a login is made of one of these values."""
        ...

    def logs_in(self, value: CredentialValue) -> bool:
        """Log in as a consumer does."""
        ...

    def spoil(self) -> None:
        """From now on a login with a new value works, and the query that verifies it does not."""
        ...

    def mend(self) -> None:
        """Take `spoil` back."""
        ...


@dataclass(frozen=True)
class Way:
    """How keyturn reaches a server, where that is not straight on."""

    port: int = 0
    """What it takes for the server's port."""
    options: str = ""
    """Further lines of the configuration."""


@dataclass(frozen=True)
class PostgresSite:
    """A database with the roles of one service."""

    database: Database
    strategy: Strategy
    owner: str
    way: Way = Way()

    @property
    def password(self) -> str:
        """Return the password of our own login there."""
        return self.database.server.password.reveal()

    @property
    def logins(self) -> tuple[str, ...]:
        """Return who the values are of."""
        return (f"{self.owner}_a", f"{self.owner}_b") if self.strategy is Strategy.ALTERNATING else (self.owner,)

    def options(self) -> str:
        """Return host and port, the verification that `spoil` spoils, and the login."""
        server = self.database.server
        return (
            f"type: postgresql\nhost: {server.host}\nport: {self.way.port or server.port}\n"
            f"database: {self.database.name}\ntls: disable\n{self.way.options}"
            f"verification_query: SELECT 1 FROM gate\nadmin_credentials:\n"
            f"  {{username: {server.superuser}, password: store://local/admin/{SERVICE}}}\n"
            f"credential: {{username: {self.owner}, store: local, key: {KEY}}}\n"
        )

    def rotation(self) -> str:
        """Return the strategy, and its logins."""
        names = f", usernames: [{', '.join(self.logins)}]" if len(self.logins) > 1 else ""
        return f"strategy: {self.strategy}{names}"

    def in_force(self) -> InForce:
        """Return what the server keeps, read from its own tables."""
        with self.database.connect() as connection:
            query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s)"
            rows = connection.execute(query, (list(self.logins),)).fetchall()
        return {name: (kept,) if kept else () for name, kept in rows}

    def put_back(self, kept: InForce) -> None:
        """Have the server keep it again."""
        for login in self.in_force():
            if login not in kept:
                self.database.run("DROP ROLE {}", login)
                continue
            wanted = f"'{kept[login][0]}'" if kept[login] else "NULL"
            self.database.run(f"ALTER ROLE {{}} PASSWORD {wanted}", login)

    def is_known(self, login: str, kept: str, values: Sequence[CredentialValue]) -> bool:
        """Compute what the server would keep of each value."""
        # RFC 5802: StoredKey is the hash of the key that HMAC makes of the salted password.
        _, parameters, keys = kept.split("$")
        iterations, salt = parameters.split(":")
        stored = keys.partition(":")[0]
        for value in values:
            if value.username != login:
                continue
            if value.form is Form.VERIFIER and value.revealed() == kept:
                return True
            salted = pbkdf2_hmac("sha256", value.revealed().encode(), b64decode(salt), int(iterations))
            if sha256(hmac.digest(salted, b"Client Key", "sha256")).digest() == b64decode(stored):
                return True
        return False

    def logs_in(self, value: CredentialValue) -> bool:
        """Log in with the plain driver."""
        try:
            with self.database.connect(value.username, value.revealed()) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def spoil(self) -> None:
        """Spoil the query."""
        self.database.run("REVOKE SELECT ON gate FROM PUBLIC")

    def mend(self) -> None:
        """Mend it."""
        self.database.run("GRANT SELECT ON gate TO PUBLIC")


def postgres_site(
    database: Database, strategy: Strategy, *, password: str | None = None, way: Way | None = None
) -> PostgresSite:
    """Make the roles of a service; with `password`, its first login has one already."""
    owner = database.login("app", password)
    database.run("CREATE TABLE IF NOT EXISTS gate ()")
    site = PostgresSite(database, strategy, owner, way or Way())
    site.mend()
    return site


@dataclass(frozen=True)
class RedisSite:
    """A user of a Redis."""

    server: servers.RedisServer
    user: str
    strategy: Strategy = Strategy.DUAL
    way: Way = Way()
    others: tuple[servers.RedisServer, ...] = ()
    """Further nodes, each with users of its own; our own login is the same on all."""

    @property
    def password(self) -> str:
        """Return the password of our own login there."""
        return self.server.password.reveal()

    def options(self) -> str:
        """Return the nodes, the verification that `spoil` spoils, and the login."""
        ports = [self.way.port or self.server.port, *(node.port for node in self.others)]
        nodes = [f"'{self.server.host}:{port}'" for port in ports]
        return (
            f"type: redis\nnodes: [{', '.join(nodes)}]\ntls: disable\n{self.way.options}"
            f'acl: ["~*", "+@all"]\nverification_command: [HLEN, gate-{self.user}]\n'
            f"admin_credentials: {{password: store://local/admin/{SERVICE}}}\n"
            f"credential: {{username: {self.user}, store: local, key: {KEY}}}\n"
        )

    def rotation(self) -> str:
        """Return the strategy, and its logins."""
        return "strategy: dual"

    def in_force(self) -> InForce:
        """Return what the server keeps, read from its own tables."""
        kept = [digest for node in (self.server, *self.others) for digest in digests(node, self.user)]
        return {self.user: tuple(dict.fromkeys(kept))}

    def put_back(self, kept: InForce) -> None:
        """Have the server keep it again."""
        run(self.server, "ACL", "SETUSER", self.user, "resetpass", *(f"#{digest}" for digest in kept[self.user]))
        run(self.server, "ACL", "SAVE")

    def is_known(self, login: str, kept: str, values: Sequence[CredentialValue]) -> bool:
        """Compute what the server would keep of each value."""
        return kept in [sha256(each.revealed().encode()).hexdigest() for each in values if each.username == login]

    def logs_in(self, value: CredentialValue) -> bool:
        """Log in with the plain driver."""
        seen = {logs_in(node, value) for node in (self.server, *self.others)}
        assert len(seen) == 1, "the nodes disagree about a password"
        return seen.pop()

    def spoil(self) -> None:
        """Spoil the query."""
        run(self.server, "SET", f"gate-{self.user}", "no hash")

    def mend(self) -> None:
        """Mend it."""
        run(self.server, "DEL", f"gate-{self.user}")
