"""What is measured at a database server: how fast it answers, its connections, and its open transactions.

Rule 1: every look logs in afresh with the new version, and asks for nothing that its login may not see.
Rule 2: how a kind of server is asked stands in a file of its own; here is what the answers mean.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Annotated, Final

import msgspec

from adapters.health import mysql_session, postgresql_session
from adapters.health.latency import Latencies
from adapters.health.looking import FAIL, Found, See, declared, in_milliseconds, judged, seconds
from engine.adapter import CheckContext
from engine.health import Subject


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
    """How many the login may have; else its CONNECTION LIMIT or MAX_USER_CONNECTIONS, where it has one."""


class ActiveTransactionsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The open transactions in the database, as far as the login may see them.

    PostgreSQL shows it its own, and with `pg_read_all_stats` all; MySQL and MariaDB show them only with `PROCESS`.
    """

    max_transactions: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """It fails with more than these."""
    max_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """It fails where one is open for longer."""

    def __post_init__(self) -> None:
        """Refuse what judges nothing; raises ValueError, reported with the key path."""
        if self.max_transactions is None and self.max_seconds is None:
            raise ValueError("`max_transactions` or `max_seconds` is expected")


def _server(context: CheckContext) -> ModuleType:
    """Return how the kind of server is asked: `session` of its file."""
    return postgresql_session if context.kind == postgresql_session.KIND else mysql_session


def _query_latency(options: QueryLatencyOptions, context: CheckContext) -> See:
    latencies = Latencies(options.window)

    def see(subject: Subject) -> Found:
        # Half of the time is for the queries that are begun, so that the last of them can end.
        until = time.monotonic() + seconds(context.timeout) / 2
        with _server(context).session(context, subject) as opened:
            latencies.take(lambda: opened.ask(options.query), count=options.queries, until=until)
        p50, p95, p99 = (latencies.percentile(rank) for rank in (50, 95, 99))
        warn = None if options.warning_ms is None else options.warning_ms / 1000
        result = judged(p95, warn=warn, fail=options.threshold_ms / 1000)
        text = f"p95 {in_milliseconds(p95)} (p50 {in_milliseconds(p50)}, p99 {in_milliseconds(p99)})"
        return Found(result, f"{text} of {len(latencies)} queries", p95)

    return see


def _connection_pool(options: ConnectionPoolOptions, context: CheckContext) -> See:
    def see(subject: Subject) -> Found:
        with _server(context).session(context, subject) as opened:
            seen = opened.connections()
        limits = [(seen.total, max(seen.server_limit, 1), "of the server")]
        if options.max_connections is not None or seen.login_limit > 0:
            limits.append((seen.mine, options.max_connections or seen.login_limit, "of the login"))
        value = max(used / limit for used, limit, _ in limits)
        text = ", ".join(f"{used} of {limit} connections {whose}" for used, limit, whose in limits)
        if value >= 1:
            return Found(FAIL, text, value)
        return Found(judged(value, warn=options.warning_threshold_pct / 100), text, value)

    return see


def _active_transactions(options: ActiveTransactionsOptions, context: CheckContext) -> See:
    def see(subject: Subject) -> Found:
        with _server(context).session(context, subject) as opened:
            seen = opened.transactions()
        results = {judged(seen.count, fail=options.max_transactions), judged(seen.oldest, fail=options.max_seconds)}
        text = f"{seen.count} open transactions, the oldest for {seen.oldest:.1f} s"
        if seen.hidden:
            text += f"; {seen.hidden} sessions are hidden from this login (GRANT pg_read_all_stats)"
        return Found(FAIL if FAIL in results else results.pop(), text, seen.count)

    return see


_FITS: Final = frozenset({postgresql_session.KIND, *mysql_session.KINDS})

QUERY_LATENCY: Final = declared(
    "query_latency",
    "times a query that runs as the new login, and judges the 95th percentile",
    QueryLatencyOptions,
    _query_latency,
    unit="s",
    kinds=_FITS,
)
CONNECTION_POOL: Final = declared(
    "connection_pool",
    "counts the connections of the login and of the server against their limits",
    ConnectionPoolOptions,
    _connection_pool,
    unit="ratio",
    kinds=_FITS,
)
ACTIVE_TRANSACTIONS: Final = declared(
    "active_transactions",
    "counts the open transactions, and how long the oldest is open",
    ActiveTransactionsOptions,
    _active_transactions,
    unit="",
    kinds=_FITS,
)
