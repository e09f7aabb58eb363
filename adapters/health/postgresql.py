"""What is measured at a PostgreSQL: how fast it answers, its connections, and its open transactions.

Rule: every look logs in afresh with the new version, and asks for nothing that its login may not see.
"""

from __future__ import annotations

import time
from typing import Annotated, Final

import msgspec

from adapters.health.latency import Latencies
from adapters.health.looking import FAIL, Found, See, declared, in_milliseconds, judged, seconds
from adapters.health.postgresql_session import EXTRA, KIND, session
from engine.adapter import CheckContext
from engine.health import Subject

_CONNECTIONS: Final = """
SELECT
  (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()),
  (SELECT count(*) - 1 FROM pg_catalog.pg_stat_activity WHERE usename IS NOT NULL AND datid IS NOT NULL),
  (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user),
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int
"""
"""Ours is not counted. What is reserved is not for consumers; PostgreSQL 16 added `reserved_connections`."""

_TRANSACTIONS: Final = """
SELECT
  count(*) FILTER (WHERE xact_start IS NOT NULL),
  coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8,
  count(*) FILTER (WHERE query = '<insufficient privilege>')
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL
"""


class QueryLatencyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Running a query as the new login, some times in a row; judged is the 95th percentile of the window."""

    query: str = "SELECT 1"
    """What is run; it is to change nothing."""
    threshold_ms: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    """The 95th percentile fails above this."""
    warning_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """It warns above this."""
    queries: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """How often the query is run in a look, as far as its timeout lets it: of 20, one may be slow."""
    window: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 20
    """Of how many of the last answers the percentile is; more than `queries` reaches back to earlier looks."""


class ConnectionPoolOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The connections of the new login against its limit, and all against the server's; it fails where none is left."""

    warning_threshold_pct: Annotated[float, msgspec.Meta(gt=0, le=100)] = 80.0
    """Of the limit that is nearer, it warns above this."""
    max_connections: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many the login may have; else its CONNECTION LIMIT, where it has one."""


class ActiveTransactionsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The open transactions in the database, as far as the login may see them (`pg_read_all_stats`: all)."""

    max_transactions: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """It fails with more than these."""
    max_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """It fails where one is open for longer."""

    def __post_init__(self) -> None:
        """Refuse what judges nothing; raises ValueError, reported with the key path."""
        if self.max_transactions is None and self.max_seconds is None:
            raise ValueError("`max_transactions` or `max_seconds` is expected")


def _query_latency(options: QueryLatencyOptions, context: CheckContext) -> See:
    latencies = Latencies(options.window)

    def see(subject: Subject) -> Found:
        # Half of the time is for the queries that are begun, so that the last of them can end.
        until = time.monotonic() + seconds(context.timeout) / 2
        with session(context, subject) as opened:
            latencies.take(lambda: opened.ask(options.query), count=options.queries, until=until)
        p50, p95, p99 = (latencies.percentile(rank) for rank in (50, 95, 99))
        warn = None if options.warning_ms is None else options.warning_ms / 1000
        result = judged(p95, warn=warn, fail=options.threshold_ms / 1000)
        text = f"p95 {in_milliseconds(p95)} (p50 {in_milliseconds(p50)}, p99 {in_milliseconds(p99)})"
        return Found(result, f"{text} of {len(latencies)} queries", p95)

    return see


def _connection_pool(options: ConnectionPoolOptions, context: CheckContext) -> See:
    def see(subject: Subject) -> Found:
        with session(context, subject) as opened:
            mine, total, role_limit, server_limit = opened.one(_CONNECTIONS)
        limits = [(total, max(server_limit, 1), "of the server")]
        if options.max_connections is not None or role_limit > 0:
            limits.append((mine, options.max_connections or role_limit, "of the login"))
        value = max(used / limit for used, limit, _ in limits)
        text = ", ".join(f"{used} of {limit} connections {whose}" for used, limit, whose in limits)
        if value >= 1:
            return Found(FAIL, text, value)
        return Found(judged(value, warn=options.warning_threshold_pct / 100), text, value)

    return see


def _active_transactions(options: ActiveTransactionsOptions, context: CheckContext) -> See:
    def see(subject: Subject) -> Found:
        with session(context, subject) as opened:
            count, oldest, hidden = opened.one(_TRANSACTIONS)
        results = {judged(count, fail=options.max_transactions), judged(oldest, fail=options.max_seconds)}
        text = f"{count} open transactions, the oldest for {oldest:.1f} s"
        if hidden:
            text += f"; {hidden} sessions are hidden from this login (GRANT pg_read_all_stats)"
        return Found(FAIL if FAIL in results else results.pop(), text, count)

    return see


_FITS: Final = frozenset({KIND})

QUERY_LATENCY: Final = declared(
    "query_latency",
    "times a query that runs as the new login, and judges the 95th percentile",
    QueryLatencyOptions,
    _query_latency,
    unit="s",
    kinds=_FITS,
    extra=EXTRA,
)
CONNECTION_POOL: Final = declared(
    "connection_pool",
    "counts the connections of the login and of the server against their limits",
    ConnectionPoolOptions,
    _connection_pool,
    unit="ratio",
    kinds=_FITS,
    extra=EXTRA,
)
ACTIVE_TRANSACTIONS: Final = declared(
    "active_transactions",
    "counts the open transactions, and how long the oldest is open",
    ActiveTransactionsOptions,
    _active_transactions,
    unit="",
    kinds=_FITS,
    extra=EXTRA,
)
