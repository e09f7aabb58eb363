"""Redis keeps the contract of targets: on one node, and on two that know nothing of each other."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from adapters.demo import servers
from adapters.targets.redis import ADAPTER, RedisOptions
from engine.adapter import Duration, Reference, TargetContext
from engine.plan import Strategy
from engine.ports import Target
from engine.values import Secret
from tests.contract.target_bench import Bench, MakeBench
from tests.contract.targets import TargetContract

NOBODY = "127.0.0.1:1"
"""Port 1 (tcpmux) is open nowhere, and only root could open it."""


def redis_options(*nodes: servers.RedisServer | str, **given: object) -> RedisOptions:
    """Return options for those nodes, as the configuration would read them; without TLS, with short timeouts."""
    texts = [each if isinstance(each, str) else f"{each.host}:{each.port}" for each in nodes]
    raw = {
        "nodes": texts,
        "tls": "disable",
        "admin_credentials": {"password": "env://ADMIN"},
        "connect_timeout": "2s",
        "command_timeout": "2s",
        **given,
    }
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    return msgspec.convert(raw, RedisOptions, dec_hook=lambda kind, value: hook[kind](value))


def redis_context(username: str, admin: Secret) -> TargetContext:
    """Return what the command line tells the target; every reference leads to the admin's password."""
    return TargetContext(
        service="cache",
        environment="production",
        strategy=Strategy.DUAL,
        username=username,
        usernames=(username,),
        base=Path("/"),
        state=Path("/nowhere"),
        secret=lambda reference: admin,
    )


@pytest.fixture(scope="module")
def second_redis_server(redis_server: servers.RedisServer) -> Iterator[servers.RedisServer]:
    """Another node, with the same admin password."""
    with servers.redis_server(aclfile=True, password=redis_server.password) as server:
        yield server


class TestRedis(TargetContract):
    """Users are made by the option `acl`, so the suite also shows that this works."""

    refused_usernames = frozenset({"app name"})

    @pytest.fixture(params=["one node", "two nodes"])
    def nodes(
        self,
        request: pytest.FixtureRequest,
        redis_server: servers.RedisServer,
        second_redis_server: servers.RedisServer,
    ) -> list[servers.RedisServer]:
        """The deployment."""
        return [redis_server] if request.param == "one node" else [redis_server, second_redis_server]

    @pytest.fixture
    def make_bench(self, nodes: list[servers.RedisServer]) -> MakeBench:
        """A user of its own for each test."""

        def make(username: str = "app") -> Bench:
            fresh = f"{username}-{secrets.token_hex(4)}"
            context = redis_context(fresh, nodes[0].password)

            def build() -> Target:
                return ADAPTER.build(redis_options(*nodes, acl=["~*", "+@all"]), context)

            return Bench(
                target=build(),
                usernames=(fresh,),
                again=build,
                unreachable=ADAPTER.build(redis_options(nodes[0], NOBODY), context),
                shows_restorable=True,
            )

        return make
