"""What the tests of health checks share: a check as the configuration builds it, and who it looks at.

No test lives here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from adapters.health import databases, redis, replication_lag
from adapters.targets import memory
from adapters.targets.postgresql import AdminCredentials, PostgresqlOptions
from adapters.targets.postgresql_login import Tls
from engine.adapter import CheckAdapter, CheckContext, Duration, Reference, TargetContext
from engine.health import HealthCheck, Sample, Subject
from engine.plan import Strategy
from engine.ports import Target
from engine.values import SECOND, CredentialValue, Microseconds, Secret
from tests.conftest import Database

ADAPTERS = {
    each.name: each
    for each in (
        databases.QUERY_LATENCY,
        databases.CONNECTION_POOL,
        databases.ACTIVE_TRANSACTIONS,
        redis.COMMAND_LATENCY,
        redis.MEMORY_USAGE,
        redis.CONNECTION_COUNT,
        replication_lag.REPLICATION_LAG,
    )
}
CANARY = "canary-consumer"


def unused_target() -> Target:
    """Return a target that none of these checks asks: they look at the service themselves."""
    context = TargetContext(
        service="app",
        environment="production",
        strategy=Strategy.SINGLE,
        username="app",
        usernames=("app",),
        base=Path("/nowhere"),
        state=Path("/nowhere"),
        secret=lambda reference: Secret("canary-unused"),
    )
    target: Target = memory.ADAPTER.build(memory.ADAPTER.options(), context)
    return target


def context(
    kind: str, service_options: msgspec.Struct, *, timeout: float = 5.0, base: Path = Path("/nowhere")
) -> CheckContext:
    """Return what a check is told; `timeout` is in seconds."""
    return CheckContext(
        name="mine",
        service="app",
        environment="production",
        kind=kind,
        service_options=service_options,
        target=unused_target(),
        base=base,
        state=base,
        secret=lambda reference: Secret("canary-unused"),
        timeout=Microseconds(round(timeout * SECOND)),
    )


def built(adapter: str | CheckAdapter, given: CheckContext, **options: Any) -> HealthCheck:
    """Return a check with options as they are written in the configuration."""
    declared = ADAPTERS[adapter] if isinstance(adapter, str) else adapter
    check: HealthCheck = declared.build(msgspec.convert(options, declared.options), given)
    assert check.name == "mine"
    return check


def subject(username: str, password: str = CANARY) -> Subject:
    """Return a service whose new version is this login."""
    return Subject("app", "production", new_version="v2", new=CredentialValue(username, Secret(password)))


def assert_told(sample: Sample) -> None:
    """Every look is timed, and tells something on one line that holds no secret."""
    assert sample.duration > 0
    assert sample.text
    assert sample.text.isprintable()
    assert "canary" not in sample.text


def postgresql_options(database: Database, **changes: Any) -> PostgresqlOptions:
    """Return the options of a service on a throw-away database."""
    server = database.server
    options = PostgresqlOptions(
        host=server.host,
        port=server.port,
        database=database.name,
        admin_credentials=AdminCredentials("keyturn", Reference("env", "KEYTURN_TEST")),
        tls=Tls.DISABLE,
        connect_timeout=Duration(2 * SECOND),
    )
    return msgspec.structs.replace(options, **changes)


def without_value(given: Subject) -> Subject:
    """Return the same service where nobody has the value."""
    return replace(given, new=None)
