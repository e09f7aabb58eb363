"""What the tests of the MariaDB target share: accounts of one service, and a target on them. No tests here."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.targets.mariadb import ADAPTER
from adapters.targets.mysql_target import MysqlTarget
from engine.plan import Strategy
from engine.values import SECOND, CredentialValue, Instant, Secret
from tests.contract.test_targets_mariadb import mariadb_context, mariadb_options
from tests.integration.mariadb_sites import NATIVE, NOBODY
from tests.mariadb_server import MariadbServer


def soon(seconds: float = 5.0) -> Instant:
    """Return a deadline so many seconds from now."""
    return Instant(int((time.time() + seconds) * SECOND))


def value(username: str) -> CredentialValue:
    """Return a fresh value of an account."""
    return CredentialValue(username, Secret(f"canary-{secrets.token_hex(12)}"))


@dataclass(frozen=True)
class Accounts:
    """An account `name` that nobody can log in to yet, and a role for a pair."""

    server: MariadbServer
    name: str

    @property
    def role(self) -> str:
        """The role that a pair shares."""
        return f"{self.name}_role"

    def target(
        self,
        strategy: Strategy,
        *,
        admin: Secret | None = None,
        base: Path = Path("/nowhere"),
        **given: Any,
    ) -> MysqlTarget:
        """Return the target as the configuration would build it."""
        username = self.role if strategy is Strategy.ALTERNATING else self.name
        context = mariadb_context(strategy, username, admin or self.server.password, base=base)
        target = ADAPTER.build(mariadb_options(self.server, **given), context)
        assert isinstance(target, MysqlTarget)
        return target

    def alter(self, how: str) -> None:
        """Change the account, as an administrator would."""
        self.server.run(f"ALTER USER {self.name}@'%' {how}")

    def kept(self, username: str | None = None) -> str:
        """Return the server's own row of an account, or of this one; empty where there is none."""
        rows = self.server.run("SELECT Priv FROM mysql.global_priv WHERE User = %s", username or self.name)
        return str(rows[0][0]) if rows else ""


def accounts(server: MariadbServer) -> Accounts:
    """Make the account and the role of a service."""
    made = Accounts(server, f"app_{secrets.token_hex(4)}")
    server.run(f"CREATE USER {made.name}@'%' IDENTIFIED VIA {NATIVE} USING '{NOBODY}'")
    server.run(f"CREATE ROLE {made.role}")
    return made
