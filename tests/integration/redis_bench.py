"""What the tests of Redis share: nodes that a test may kill, a target on them, and what consumers see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.demo import servers
from adapters.targets.redis_target import RedisTarget
from engine.values import CredentialValue, Instant, Secret
from tests.conftest import without_server
from tests.contract.target_bench import canary
from tests.contract.test_targets_redis import redis_context, redis_options

ALLOWED = ["~*", "+@all"]


@contextmanager
def started(**given: Any) -> Iterator[servers.RedisServer]:
    """Start a node of the test's own, which it may kill."""
    try:
        servers.find_redis()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.redis_server(**given) as server:
        yield server


def target_on(
    *nodes: servers.RedisServer | str, admin: Secret, now: Callable[[], Instant] | None = None, **given: object
) -> RedisTarget:
    options = redis_options(*nodes, **{"acl": ALLOWED, **given})
    context = redis_context("app", admin)
    return RedisTarget(options, context, now=now) if now else RedisTarget(options, context)


def value(username: str = "app") -> CredentialValue:
    return CredentialValue(username, canary())


def wall() -> Instant:
    return Instant(time.time_ns() // 1_000)


def run(node: servers.RedisServer, *words: str) -> Any:
    """Run a command as the administrator, and return its answer in the old protocol's shape."""
    login: Any = {"password": node.password.reveal(), "protocol": 2, "single_connection_client": True}
    with redis.Redis(host=node.host, port=node.port, **login) as client:
        connection: Any = client.connection
        connection.send_command(*words)
        return connection.read_response()


def digests(node: servers.RedisServer, username: str = "app") -> list[str]:
    user = run(node, "ACL", "GETUSER", username)
    return [] if user is None else [each.decode() for each in user[user.index(b"passwords") + 1]]


def logs_in(node: servers.RedisServer, given: CredentialValue) -> bool:
    """Log in with the plain driver, as a consumer does."""
    login: Any = {"username": given.username, "password": given.revealed()}
    try:
        # The driver's own retries would try a refused password four times, seconds apart.
        with redis.Redis(host=node.host, port=node.port, retry=Retry(NoBackoff(), 0), **login) as client:
            return bool(client.ping())
    except redis.AuthenticationError:
        return False
