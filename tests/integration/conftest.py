"""What the proofs on real servers are given: drivers of the command line, and sites on the shared servers."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.demo import servers
from engine.plan import Strategy
from tests.conftest import Database
from tests.integration.installations import Driver, install
from tests.integration.proxy import running
from tests.integration.sites import RedisSite, Site, Way, postgres_site
from tests.integration.stories import QUICK, Story, begun

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
        kind = "redis_server" if strategy is Strategy.DUAL else "postgres_server"
        server: servers.RedisServer | servers.PostgresServer = request.getfixturevalue(kind)
        return _site(server, strategy, Way())

    return make


def _site(server: servers.RedisServer | servers.PostgresServer, strategy: Strategy, way: Way) -> Site:
    suffix = f"_{secrets.token_hex(4)}"
    if isinstance(server, servers.RedisServer):
        return RedisSite(server, f"app{suffix}", way=way)
    Database(server, "postgres", suffix).run("CREATE DATABASE {}", f"db{suffix}")
    return postgres_site(Database(server, f"db{suffix}", suffix), strategy, way=way)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach, which those of pytest are not."""
    made = Path(tempfile.mkdtemp(prefix="keyturn-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def begin(
    tmp_path: Path,
    drivers: list[Driver],
    postgres_server: servers.PostgresServer,
    redis_server: servers.RedisServer,
) -> Iterator[Callable[..., Story]]:
    """Begin a story: an installation whose server is reached through a proxy, rotated once.

    `options` are further options of the service; what `install` takes goes to it. It is on a `server` of its own where
    one is given, and further Redis nodes are its `others`. Stories of one test may go on at once, as many as there are
    drivers.
    """
    free = iter(drivers)
    with ExitStack() as stack:

        def make(
            strategy: Strategy,
            *,
            server: servers.RedisServer | servers.PostgresServer | None = None,
            others: tuple[servers.RedisServer, ...] = (),
            folder: Path = tmp_path,
            options: str = "",
            settings: str = QUICK,
            **further: str,
        ) -> Story:
            server = server or (redis_server if strategy is Strategy.DUAL else postgres_server)
            proxy = stack.enter_context(running(server.port))
            site = _site(server, strategy, Way(proxy.port, options))
            if isinstance(site, RedisSite):
                site = replace(site, others=others)
            installation = install(folder / strategy, site, next(free), settings=settings, **further)
            return begun(installation, proxy)

        yield make
