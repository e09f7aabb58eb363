"""Every check with all of its options, as they are written in a configuration file."""

from __future__ import annotations

import pytest

from adapters.registry import CHECK_GROUP, SHIPPED, check_adapter
from tests.unit.config.reading import only, reads, service

SERVERS = {
    "postgresql": (
        "alternating",
        "host: db\n    database: app\n    admin_credentials: {username: k, password: env://K}",
    ),
    "mariadb": ("alternating", "host: db\n    admin_credentials: {username: k, password: env://K}"),
    "redis": ("dual", "host: cache\n    admin_credentials: {password: 'env://K'}"),
}
WRITTEN = {
    "connection": "old: false",
    "query_latency": "query: SELECT 2, threshold_ms: 7, warning_ms: 5.5, queries: 3, window: 9",
    "connection_pool": "warning_threshold_pct: 70, max_connections: 50",
    "active_transactions": "max_transactions: 4, max_seconds: 30",
    "replication_lag": "max_lag_seconds: 3",
    "command_latency": "command: [GET, x], threshold_ms: 7, warning_ms: 5.5, commands: 3, window: 9",
    "memory_usage": "max_memory_pct: 95, warning_threshold_pct: 70",
    "connection_count": "max_connections: 50, warning_threshold_pct: 70",
    "http_endpoint": "url: 'https://app.example/', expected_status: 204, body_matches: ^ok, use_credential: basic, "
    "tls_root: ca.pem",
    "response_time": "url: 'https://app.example/', p50_threshold_ms: 1, p95_threshold_ms: 2, p99_threshold_ms: 3, "
    "requests: 3, window: 9, use_credential: bearer, tls_root: ca.pem",
    "error_rate": "url: 'https://app.example/', max_error_rate_pct: 2, warning_rate_pct: 1, error_codes: [500, 503], "
    "window: 7m, requests: 9, min_requests: 9, use_credential: bearer, tls_root: ca.pem",
    "rate_limit": "url: 'https://app.example/', warning_used_pct: 60, max_used_pct: 70, limit_header: X-All, "
    "remaining_header: X-Left, use_credential: bearer, tls_root: ca.pem",
    "api_quota": "url: 'https://app.example/', limit: /all, used: X-Used, warning_used_pct: 60, max_used_pct: 70, "
    "use_credential: bearer, tls_root: ca.pem",
    "tcp": "host: app.example, port: 8443",
    "tls_expiry": "host: app.example, port: 8443, warn_days: 20, fail_days: 10, tls_root: ca.pem",
    "prometheus": "url: 'http://prometheus:9090', query: up, success: '> 0', failure: '< 1', tls_root: ca.pem",
}


def written(kind: str, check: str, options: str) -> str:
    strategy, keys = SERVERS[kind]
    usernames = "usernames: [app_a, app_b], " if strategy == "alternating" else ""
    checks = f"health_checks: {{checks: [{{type: {check}, name: mine, timeout: 4s, {options}}}]}}"
    return service(target=kind, strategy=strategy, keys=keys, rotation=usernames + checks)


INSTEAD = {"api_quota": "url: 'https://app.example/', limit: 5, remaining: /left"}
"""Options that cannot stand beside those above."""
ROWS = [*WRITTEN.items(), *INSTEAD.items()]


def test_every_check_stands_here_with_all_of_its_options() -> None:
    """But for scripts, which stand in a list of their own."""
    expected = {name: check_adapter(name).options.__struct_fields__ for name in SHIPPED[CHECK_GROUP]}
    missing = {
        (name, option)
        for name, options in expected.items()
        for option in options
        if name != "script" and f"{option}:" not in f"{WRITTEN.get(name, '')}, {INSTEAD.get(name, '')}"
    }
    assert missing == set()


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(("check", "options"), ROWS)
def test_every_option_is_read(check: str, options: str, kind: str) -> None:
    """None of them has the value that it would have without; a check of another kind of service is refused."""
    adapter = check_adapter(check)
    text = written(kind, check, options)
    if adapter.kinds and kind not in adapter.kinds:
        assert f"not for services of type {kind}" in only(text).message
        return
    (found,) = reads(text).services["app"].checks
    assert (found.type, found.name, found.timeout) == (check, "mine", 4_000_000)
    fields = adapter.options.__struct_fields__
    unlike = dict(zip(reversed(fields), reversed(adapter.options.__struct_defaults__), strict=False))
    for name in fields:
        assert (getattr(found.options, name) != unlike.get(name)) == (f"{name}:" in options)


@pytest.mark.parametrize(
    ("check", "options"),
    [
        ("query_latency", "threshold_ms: 0"),
        ("connection_pool", "warning_threshold_pct: 101"),
        ("active_transactions", ""),
        ("replication_lag", "max_lag_seconds: 0"),
        ("http_endpoint", "url: nowhere"),
        ("http_endpoint", "url: 'https://app.example', expected_status: 99"),
        ("response_time", "url: 'https://app.example'"),
        ("error_rate", "url: 'https://app.example', window: 5"),
        ("error_rate", "url: 'https://app.example', error_codes: [5xx]"),
        ("rate_limit", "url: 'https://app.example', warning_threshold_pct: 20"),
        ("rate_limit", "url: 'https://app.example', check_headers: true"),
        ("api_quota", "url: 'https://app.example', limit: 10"),
        ("tcp", "host: app.example, port: 0"),
        ("prometheus", "url: 'http://p', query: up, success: yes"),
    ],
)
def test_what_cannot_be_meant_is_refused(check: str, options: str) -> None:
    assert only(written("postgresql", check, options)).key.startswith("services.app.rotation.health_checks.checks[0]")
