"""MariaDB keeps the contract of targets: one password, two of one account, and two accounts."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
import pytest

from adapters.targets.mariadb import ADAPTER, MariadbOptions
from engine.adapter import Duration, Reference, TargetContext
from engine.plan import Strategy
from engine.ports import Target
from engine.values import Secret
from tests.contract.target_bench import Bench, MakeBench
from tests.contract.targets import TargetContract
from tests.mariadb_server import MariadbServer


def mariadb_options(server: MariadbServer, **given: object) -> MariadbOptions:
    """Return options for a server, as the configuration would read them; without TLS, with short timeouts."""
    raw = {
        "host": server.host,
        "port": server.port,
        "tls": "disable",
        "admin_credentials": {"username": server.superuser, "password": "env://ADMIN"},
        "connect_timeout": "2s",
        **given,
    }
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    return msgspec.convert(raw, MariadbOptions, dec_hook=lambda kind, value: hook[kind](value))


def mariadb_context(
    strategy: Strategy, username: str, admin: Secret, *, base: Path = Path("/nowhere")
) -> TargetContext:
    """Return what the command line tells the target; every reference leads to the admin's password."""
    pair = (f"{username}_a", f"{username}_b")
    return TargetContext(
        service="app-db",
        environment="production",
        strategy=strategy,
        username=username,
        usernames=pair if strategy is Strategy.ALTERNATING else (username,),
        base=base,
        state=base,
        secret=lambda reference: admin,
    )


@pytest.mark.slow
class TestMariadb(TargetContract):
    """All strategies, and both ways to keep a password where one account has one."""

    @pytest.fixture(
        params=[
            (Strategy.SINGLE, "mysql_native_password"),
            (Strategy.DUAL, "mysql_native_password"),
            (Strategy.ALTERNATING, "ed25519"),
            (Strategy.DUAL, "ed25519"),
        ],
        ids="-".join,
    )
    def make_bench(self, request: pytest.FixtureRequest, mariadb_server: MariadbServer) -> MakeBench:
        """Make the account or the role that the strategy wants to find, and point the target at it."""
        strategy, authentication = request.param

        def make(username: str = "app") -> Bench:
            name = f"{username} {secrets.token_hex(3)}"
            context = mariadb_context(strategy, name, mariadb_server.password)
            if strategy is Strategy.ALTERNATING:
                mariadb_server.run("CREATE ROLE %s", name)
            else:
                nobody = "*THISISNOTAVALIDPASSWORDTHATCANBEUSEDHERE"
                mariadb_server.run("CREATE USER %s@'%%' IDENTIFIED VIA mysql_native_password USING %s", name, nobody)

            def build(**given: object) -> Target:
                further = {"authentication": authentication, "clients_switch_twice": True, **given}
                return ADAPTER.build(mariadb_options(mariadb_server, **further), context)

            return Bench(
                target=build(),
                usernames=context.usernames,
                again=build,
                unreachable=build(port=1),
                shows_restorable=True,
            )

        return make
