"""What the proofs on real servers are given: drivers of the command line, and sites on the shared servers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from adapters.demo import servers
from engine.plan import Strategy
from tests.conftest import Database
from tests.integration.installations import Driver
from tests.integration.sites import RedisSite, Site, postgres_site

DRIVERS = 3


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Driver]]:
    """Processes that run the command line; each does one thing at a time."""
    started = [Driver(tmp_path_factory.mktemp("driver")) for _ in range(DRIVERS)]
    yield started
    for driver in started:
        driver.close()


@pytest.fixture(scope="module")
def make_site(request: pytest.FixtureRequest) -> Callable[[Strategy], Site]:
    """Make a site of its own for a strategy: PostgreSQL, and for `dual` Redis."""

    def make(strategy: Strategy) -> Site:
        suffix = f"_{secrets.token_hex(4)}"
        if strategy is Strategy.DUAL:
            redis_server: servers.RedisServer = request.getfixturevalue("redis_server")
            return RedisSite(redis_server, f"app{suffix}")
        postgres_server: servers.PostgresServer = request.getfixturevalue("postgres_server")
        Database(postgres_server, "postgres", suffix).run("CREATE DATABASE {}", f"db{suffix}")
        return postgres_site(Database(postgres_server, f"db{suffix}", suffix), strategy)

    return make
