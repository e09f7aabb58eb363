"""Which check fits which kind of service, and in what it measures; each is in the configuration by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.registry import CHECK_GROUP, SHIPPED, check_adapter
from tests.integration.health.bench import context

DATABASES, REDIS = frozenset({"postgresql", "mariadb", "mysql"}), frozenset({"redis"})
ALL, EVERY = DATABASES | REDIS, frozenset[str]()
HTTP = {"url": "https://app.example"}
NEEDED: dict[str, tuple[frozenset[str], str, dict[str, Any]]] = {
    "query_latency": (DATABASES, "s", {}),
    "connection_pool": (DATABASES, "ratio", {}),
    "active_transactions": (DATABASES, "", {"max_transactions": 5}),
    "replication_lag": (ALL, "s", {"max_lag_seconds": 5}),
    "command_latency": (REDIS, "s", {}),
    "memory_usage": (REDIS, "ratio", {}),
    "connection_count": (REDIS, "ratio", {}),
    "http_endpoint": (EVERY, "s", HTTP),
    "response_time": (EVERY, "s", {**HTTP, "p95_threshold_ms": 100}),
    "error_rate": (EVERY, "ratio", HTTP),
    "rate_limit": (EVERY, "ratio", HTTP),
    "api_quota": (EVERY, "ratio", {**HTTP, "limit": 1000, "used": "/used"}),
    "tcp": (EVERY, "s", {"host": "app.example", "port": 443}),
    "tls_expiry": (EVERY, "s", {"host": "app.example"}),
    "prometheus": (EVERY, "", {**HTTP, "query": "up", "success": "== 1"}),
}
"""The kinds of services (none: every kind), the unit, and the options that it cannot do without."""


def test_the_table_is_complete() -> None:
    assert {"connection", *NEEDED} <= set(SHIPPED[CHECK_GROUP])


@pytest.mark.parametrize("name", NEEDED)
def test_a_check_fits_its_kinds_and_measures_in_its_unit(name: str) -> None:
    kinds, unit, needed = NEEDED[name]
    adapter = check_adapter(name)
    assert (adapter.name, adapter.kinds) == (name, kinds)
    kind = min(kinds or {"redis"})
    options = msgspec.convert(needed, adapter.options)
    check = adapter.build(options, context(kind, options, base=Path("/nowhere")))
    assert check.name == "mine"
    assert check._unit == unit  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NEEDED)
def test_options_that_nobody_knows_are_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({**NEEDED[name][2], "treshold": 5}, check_adapter(name).options)
