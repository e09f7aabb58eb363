"""What the tests of the PostgreSQL target share: a target on a throw-away database.

No test lives here.
"""

from __future__ import annotations

import secrets
import time
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
