"""Which check fits which kind of service: one table, with what is measured, its unit and its thresholds.

Rule 1: a default of a threshold stands here and nowhere else; the options of the checks take it from here.
Rule 2: what a row says of itself is what its adapter declares (`declare`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from engine.adapter import CheckAdapter, CheckContext
from engine.health import HealthCheck

POSTGRESQL: Final = frozenset({"postgresql"})
REDIS: Final = frozenset({"redis"})
ANY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Threshold:
    """An option that draws a line, and where the line is when it is not given; None is nowhere."""

    option: str
    default: float | None = None


_NO_LINE: Final = Threshold("")


@dataclass(frozen=True, slots=True)
class Row:
    """One type of check. `unit` is that of the value of its samples; empty for a count, or where there is none."""

    name: str
    kinds: frozenset[str]
    summary: str
    unit: str = ""
    warn: Threshold = _NO_LINE
    fail: Threshold = _NO_LINE
    extra: str = ""


CONNECTION: Final = Row("connection", ANY, "A fresh login with the new version, and what the old one is owed.")
QUERY_LATENCY: Final = Row(
    "query_latency",
    POSTGRESQL,
    "How long a query of the new login takes: p50, p95 and p99.",
    unit="s",
    warn=Threshold("warning_ms"),
    fail=Threshold("threshold_ms", 1000),
    extra="postgres",
)
CONNECTION_POOL: Final = Row(
    "connection_pool",
    POSTGRESQL,
    "How full the server is with connections, in all and of this login.",
    unit="ratio",
    warn=Threshold("warning_threshold_pct", 80),
    fail=Threshold("failure_threshold_pct", 95),
    extra="postgres",
)
ACTIVE_TRANSACTIONS: Final = Row(
    "active_transactions",
    POSTGRESQL,
    "How many transactions have been open for too long.",
    warn=Threshold("warning_count", 0),
    fail=Threshold("max_count", 5),
    extra="postgres",
)
COMMAND_LATENCY: Final = Row(
    "command_latency",
    REDIS,
    "How long a command of the new login takes: p50, p95 and p99.",
    unit="s",
    warn=Threshold("warning_ms"),
    fail=Threshold("threshold_ms", 100),
    extra="redis",
)
MEMORY_USAGE: Final = Row(
    "memory_usage",
    REDIS,
    "How much of its memory a node uses.",
    unit="ratio",
    warn=Threshold("warning_threshold_pct", 80),
    fail=Threshold("failure_threshold_pct", 95),
    extra="redis",
)
CONNECTION_COUNT: Final = Row(
    "connection_count",
    REDIS,
    "How many of its connections a node has given out.",
    unit="ratio",
    warn=Threshold("warning_threshold_pct", 80),
    fail=Threshold("failure_threshold_pct", 95),
    extra="redis",
)
REPLICATION_LAG: Final = Row(
    "replication_lag",
    POSTGRESQL | REDIS,
    "How far the replicas are behind.",
    unit="s",
    warn=Threshold("warning_lag_seconds"),
    fail=Threshold("max_lag_seconds", 10),
)
HTTP_ENDPOINT: Final = Row("http_endpoint", ANY, "What a URL answers: status, headers, body.", unit="s")
RESPONSE_TIME: Final = Row(
    "response_time",
    ANY,
    "How long a URL takes to answer: p50, p95 and p99.",
    unit="s",
    warn=Threshold("warning_ms"),
    fail=Threshold("threshold_ms", 1000),
)
ERROR_RATE: Final = Row(
    "error_rate",
    ANY,
    "How many of the last requests to a URL failed.",
    unit="ratio",
    warn=Threshold("warning_pct", 1),
    fail=Threshold("max_pct", 5),
)
RATE_LIMIT: Final = Row(
    "rate_limit",
    ANY,
    "What is left of a rate limit, as the headers of an answer tell it.",
    unit="ratio",
    warn=Threshold("warning_remaining_pct", 20),
    fail=Threshold("failure_remaining_pct", 5),
)
API_QUOTA: Final = Row(
    "api_quota",
    ANY,
    "What is used up of a quota, as the body of an answer tells it.",
    unit="ratio",
    warn=Threshold("warning_threshold_pct", 80),
    fail=Threshold("failure_threshold_pct", 95),
)
TCP: Final = Row(
    "tcp",
    ANY,
    "Whether a port takes connections, and how fast.",
    unit="s",
    warn=Threshold("warning_ms"),
    fail=Threshold("threshold_ms"),
)
TLS_EXPIRY: Final = Row(
    "tls_expiry",
    ANY,
    "How long a certificate is still valid, and whether it is trusted.",
    unit="s",
    warn=Threshold("warning_days", 21),
    fail=Threshold("failure_days", 3),
)
PROMETHEUS: Final = Row("prometheus", ANY, "What a PromQL query says.")
SCRIPT: Final = Row("script", ANY, "What a program of yours says, by its exit code, as Nagios plugins do.")

TABLE: Final = (
    CONNECTION,
    QUERY_LATENCY,
    CONNECTION_POOL,
    ACTIVE_TRANSACTIONS,
    COMMAND_LATENCY,
    MEMORY_USAGE,
    CONNECTION_COUNT,
    REPLICATION_LAG,
    HTTP_ENDPOINT,
    RESPONSE_TIME,
    ERROR_RATE,
    RATE_LIMIT,
    API_QUOTA,
    TCP,
    TLS_EXPIRY,
    PROMETHEUS,
    SCRIPT,
)
"""Every type of check that ships with keyturn."""


def declare(row: Row, options: type[msgspec.Struct], build: Callable[[Any, CheckContext], HealthCheck]) -> CheckAdapter:
    """Return the adapter of a row."""
    return CheckAdapter(
        name=row.name, summary=row.summary, options=options, build=build, kinds=row.kinds, extra=row.extra
    )


def fitting(kind: str) -> list[Row]:
    """Return the checks that fit services of a kind, those of every kind last."""
    return sorted((row for row in TABLE if kind in row.kinds or not row.kinds), key=lambda row: not row.kinds)
