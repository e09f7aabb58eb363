"""PostgreSQL keeps the contract of targets, with one login and with two."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.targets.postgresql import ADAPTER, AdminCredentials, PostgresqlOptions
from adapters.targets.postgresql_login import Tls
from engine.adapter import Duration, Reference, TargetContext
from engine.plan import Strategy
from engine.ports import Target
from engine.values import SECOND
from tests.conftest import Database
from tests.contract.target_bench import Bench, MakeBench
from tests.contract.targets import TargetContract

ADMIN = Reference("env", "KEYTURN_TEST_ADMIN")


def options(database: Database, *, port: int | None = None, admin: str | None = None) -> PostgresqlOptions:
    """Return the options of a service on a throw-away server."""
    return PostgresqlOptions(
        host=database.server.host,
        port=port or database.server.port,
        database=database.name,
        tls=Tls.DISABLE,
        admin_credentials=AdminCredentials(admin or database.server.superuser, ADMIN),
        connect_timeout=Duration(2 * SECOND),
    )


@pytest.mark.slow
class TestPostgresql(TargetContract):
    """Both strategies, each bench with roles of its own."""

    @pytest.fixture(params=[Strategy.SINGLE, Strategy.ALTERNATING])
    def make_bench(
        self, request: pytest.FixtureRequest, make_database: Callable[[], Database], tmp_path: Path
    ) -> MakeBench:
        """Make the roles that the strategy wants to find, and point the target at them."""
        strategy: Strategy = request.param

        def make(username: str = "app") -> Bench:
            database = make_database()
            mark = secrets.token_hex(3)
            owner = f"{username} {mark}"
            pair = strategy is Strategy.ALTERNATING
            usernames = (f"{owner}_a", f"{owner}_b") if pair else (owner,)
            database.run("CREATE ROLE {} NOLOGIN" if pair else "CREATE ROLE {} LOGIN", owner)
            context = TargetContext(
                service="app-db",
                environment="production",
                strategy=strategy,
                username=owner,
                usernames=usernames,
                base=tmp_path,
                state=tmp_path,
                secret=lambda reference: database.server.password,
            )

            def build(port: int | None = None) -> Target:
                return ADAPTER.build(options(database, port=port), context)

            return Bench(
                target=build(), usernames=usernames, again=build, unreachable=build(port=1), shows_restorable=True
            )

        return make
