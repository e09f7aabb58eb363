"""MySQL 8 keeps the contract of targets, where there is one: no MySQL comes as a wheel or in Debian.

`KEYTURN_TEST_MYSQL_URL=mysql://root:PASSWORD@HOST:PORT/ pytest tests/contract/test_targets_mysql.py` runs it, by hand,
against a throw-away server: accounts and roles are left behind. The login has to be allowed everything. Without TLS
the server's public key is asked for, so the password is not in the clear either way.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pymysql
import pytest

from adapters.targets.mysql import ADAPTER, MysqlOptions
from adapters.targets.mysql_hashes import CACHING_SHA2, PLUGINS
from engine.adapter import Duration, Reference
from engine.plan import Strategy
from engine.ports import Target
from engine.values import Secret
from tests.contract.target_bench import AWKWARD_SECRETS, Bench, MakeBench
from tests.contract.targets import TargetContract
from tests.contract.test_targets_mariadb import mariadb_context

URL = os.environ.get("KEYTURN_TEST_MYSQL_URL", "")


if not URL:
    pytest.skip("no MySQL 8 is named by KEYTURN_TEST_MYSQL_URL", allow_module_level=True)


@pytest.mark.slow
class TestMysql(TargetContract):
    """All strategies."""

    refused_secrets = frozenset(text for text in AWKWARD_SECRETS if len(text.encode()) > 256)

    @pytest.fixture(params=[Strategy.SINGLE, Strategy.DUAL, Strategy.ALTERNATING])
    def make_bench(self, request: pytest.FixtureRequest) -> MakeBench:
        """Make the account or the role that the strategy wants to find, and point the target at it."""
        strategy: Strategy = request.param
        place = urlsplit(URL)
        login: dict[str, Any] = {"user": unquote(place.username or "root"), "password": unquote(place.password or "")}
        port = place.port or 3306

        def make(username: str = "app") -> Bench:
            name = f"{username} {secrets.token_hex(3)}"
            context = mariadb_context(strategy, name, Secret(login["password"]), base=Path("/nowhere"))
            given: dict[str, Any] = {"host": place.hostname, "port": port, "autocommit": True, **login}
            with pymysql.connect(**given) as connection, connection.cursor() as cursor:
                if strategy is Strategy.ALTERNATING:
                    cursor.execute("CREATE ROLE %s@'%%'", (name,))
                else:
                    nothing = PLUGINS[CACHING_SHA2].nothing
                    create = "CREATE USER %s@'%%' IDENTIFIED WITH caching_sha2_password AS %s"
                    cursor.execute(create, (name, nothing))

            def build(**given: object) -> Target:
                raw = {
                    "host": place.hostname,
                    "port": port,
                    "tls": "disable",
                    "admin_credentials": {"username": login["user"], "password": "env://ADMIN"},
                    "connect_timeout": "2s",
                    **given,
                }
                hook = {Duration: Duration.parse, Reference: Reference.parse}
                options = msgspec.convert(raw, MysqlOptions, dec_hook=lambda kind, value: hook[kind](value))
                return ADAPTER.build(options, context)

            return Bench(
                target=build(),
                usernames=context.usernames,
                again=build,
                unreachable=build(port=1),
                shows_restorable=True,
            )

        return make
