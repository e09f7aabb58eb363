"""Every key of health checks, schedules, metrics and the daemon has a test that fails where the key is ignored.

Which one stands here. That each of them does fail is shown by tests/unit/config/ignoring.py, by hand. What follows from
the fields of a plan is in tests/unit/engine/test_plan_fields.py, and what follows from a timetable in
tests/unit/adapters/test_schedule.py.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from adapters.config.schema import CheckKeys, FileKeys, Rotation
from adapters.registry import CHECK_GROUP, SHIPPED, check_adapter
from tests.architecture.source import ROOT
from tests.unit.config.test_planning import leaves

_PLANNED: Final = "tests/unit/config/test_planning.py::test_a_key_of_rotation_is_in_the_plan"
_TIMETABLE: Final = "tests/unit/adapters/test_schedule.py::test_every_key_reaches_the_timetable"
_WINDOWS: Final = "tests/unit/adapters/test_schedule.py::test_every_key_of_a_window_reaches_the_timetable"
_READ: Final = "tests/unit/health/test_configured.py::test_every_option_is_read"
_SHOWN: Final = "tests/cli/test_serve.py::test_how_metrics_are_shown_is_configured"
_POSTGRESQL: Final = "tests/integration/health/test_postgresql_checks.py"
_REDIS: Final = "tests/integration/health/test_redis_checks.py"
_HTTP: Final = "tests/integration/health/test_http_checks.py"
_QUOTA: Final = "tests/integration/health/test_quota_checks.py"
_SCRIPT: Final = "tests/integration/health/test_script.py"

SLOW_QUERY: Final = f"{_POSTGRESQL}::test_a_slow_query_is_judged_by_its_bounds"
SLOW_COMMAND: Final = f"{_REDIS}::test_a_slow_command_is_judged_by_its_bounds"
MEMORY: Final = f"{_REDIS}::test_memory_is_held_against_its_limit"
CLIENTS: Final = f"{_REDIS}::test_clients_are_held_against_what_is_allowed"
PERCENTILES: Final = f"{_HTTP}::test_each_percentile_has_its_bound"
EARLIER: Final = f"{_HTTP}::test_the_window_reaches_back_to_earlier_looks"
TRUSTED: Final = "test_a_certificate_is_trusted_where_the_options_say_so"
SENT: Final = "test_the_new_version_goes_along"
CERTIFICATE: Final = f"{_HTTP}::test_a_certificate_ends"
WORST: Final = f"{_HTTP}::test_the_worst_series_counts"
ASKED: Final = f"{_HTTP}::test_the_query_is_asked_of_prometheus"
RATES: Final = f"{_QUOTA}::test_the_bounds_are_those_of_the_options"
USED: Final = f"{_QUOTA}::test_the_bounds_of_what_is_used_are_those_of_the_options"
HEADERS: Final = f"{_QUOTA}::test_an_api_may_have_headers_of_its_own"
QUOTA: Final = f"{_QUOTA}::test_a_quota_is_read_where_the_options_say"
RERUN: Final = f"{_SCRIPT}::test_a_script_that_fails_is_run_again"
FILLED: Final = f"{_SCRIPT}::test_arguments_and_variables_are_filled_in"
LIMITED: Final = f"{_SCRIPT}::test_a_large_file_and_a_busy_loop_are_contained"

FILE_KEYS: Final = {
    "rotation.health_checks.enabled": "tests/unit/config/test_planning.py::test_checks_that_are_off_are_not_planned",
    "rotation.health_checks.monitoring_period": _PLANNED,
    "rotation.health_checks.interval": _PLANNED,
    "rotation.health_checks.failure_threshold": _PLANNED,
    "rotation.health_checks.inconclusive_threshold": _PLANNED,
    "rotation.health_checks.checks": _PLANNED,
    "rotation.health_checks.custom_scripts": _PLANNED,
    "rotation.rollback.on_health_check_failure": _PLANNED,
    "rotation.ttl": _TIMETABLE,
    "rotation.schedule": _TIMETABLE,
    "rotation.timezone": _TIMETABLE,
    **{
        f"rotation.windows.{kind}.{key}": _WINDOWS
        for kind in ("allowed", "blocked")
        for key in ("times", "weekdays", "days_of_month", "months", "location")
    },
    "metrics.prometheus.enabled": _SHOWN,
    "metrics.prometheus.port": "tests/cli/test_serve.py::test_the_port_is_configured",
    "metrics.prometheus.path": _SHOWN,
    "metrics.prometheus.labels": ("tests/unit/adapters/test_metrics.py::test_every_series_has_the_configured_labels"),
    "metrics.compat": "tests/unit/adapters/test_metrics.py::test_the_names_of_dsops_are_there_where_they_are_asked_for",
    "lease": "tests/unit/config/test_checks.py::test_a_lease_at_its_bounds_is_read",
    "check.type": _READ,
    "check.name": _READ,
    "check.timeout": _READ,
}
"""The keys of the file; those of `check` stand in each entry of `checks` and `custom_scripts`."""

OPTIONS: Final = {
    "connection.old": "tests/unit/health/test_connection.py::test_the_old_version_is_left_alone_where_that_is_said",
    "query_latency.query": f"{_POSTGRESQL}::test_the_query_is_the_one_that_is_given",
    "query_latency.threshold_ms": SLOW_QUERY,
    "query_latency.warning_ms": SLOW_QUERY,
    "query_latency.queries": f"{_POSTGRESQL}::test_the_window_reaches_back_to_earlier_looks",
    "query_latency.window": f"{_POSTGRESQL}::test_the_window_reaches_back_to_earlier_looks",
    "connection_pool.warning_threshold_pct": f"{_POSTGRESQL}::test_the_limit_of_the_login_counts_where_it_has_one",
    "connection_pool.max_connections": f"{_POSTGRESQL}::test_a_limit_that_is_given_counts_instead",
    "active_transactions.max_transactions": f"{_POSTGRESQL}::test_open_transactions_are_counted",
    "active_transactions.max_seconds": f"{_POSTGRESQL}::test_a_transaction_that_is_open_for_long_is_a_failure",
    "replication_lag.max_lag_seconds": f"{_REDIS}::test_a_replica_is_seen_from_both_sides",
    "command_latency.command": SLOW_COMMAND,
    "command_latency.threshold_ms": SLOW_COMMAND,
    "command_latency.warning_ms": SLOW_COMMAND,
    "command_latency.commands": f"{_REDIS}::test_each_node_has_a_window_of_its_own",
    "command_latency.window": f"{_REDIS}::test_each_node_has_a_window_of_its_own",
    "memory_usage.max_memory_pct": MEMORY,
    "memory_usage.warning_threshold_pct": MEMORY,
    "connection_count.max_connections": CLIENTS,
    "connection_count.warning_threshold_pct": CLIENTS,
    "http_endpoint.url": f"{_HTTP}::test_an_endpoint_that_answers_passes",
    "http_endpoint.expected_status": f"{_HTTP}::test_the_status_is_the_expected_one",
    "http_endpoint.body_matches": f"{_HTTP}::test_the_body_is_searched",
    "http_endpoint.use_credential": f"{_HTTP}::{SENT}",
    "http_endpoint.tls_root": f"{_HTTP}::{TRUSTED}",
    "response_time.url": f"{_HTTP}::test_answers_are_timed",
    "response_time.p50_threshold_ms": PERCENTILES,
    "response_time.p95_threshold_ms": PERCENTILES,
    "response_time.p99_threshold_ms": PERCENTILES,
    "response_time.requests": EARLIER,
    "response_time.window": EARLIER,
    "response_time.use_credential": f"{_HTTP}::{SENT}",
    "response_time.tls_root": f"{_HTTP}::{TRUSTED}",
    "error_rate.url": f"{_QUOTA}::test_a_share_of_errors_is_judged",
    "error_rate.max_error_rate_pct": RATES,
    "error_rate.warning_rate_pct": RATES,
    "error_rate.error_codes": f"{_QUOTA}::test_only_the_codes_that_are_named_are_errors",
    "error_rate.window": f"{_QUOTA}::test_the_window_is_how_far_back_requests_count",
    "error_rate.requests": f"{_QUOTA}::test_with_few_requests_no_share_is_told",
    "error_rate.min_requests": f"{_QUOTA}::test_with_few_requests_no_share_is_told",
    "error_rate.use_credential": f"{_QUOTA}::{SENT}",
    "error_rate.tls_root": f"{_QUOTA}::{TRUSTED}",
    "rate_limit.url": f"{_QUOTA}::test_the_fullest_limit_counts",
    "rate_limit.warning_used_pct": USED,
    "rate_limit.max_used_pct": USED,
    "rate_limit.limit_header": HEADERS,
    "rate_limit.remaining_header": HEADERS,
    "rate_limit.use_credential": f"{_QUOTA}::{SENT}",
    "rate_limit.tls_root": f"{_QUOTA}::{TRUSTED}",
    "api_quota.url": QUOTA,
    "api_quota.limit": QUOTA,
    "api_quota.used": QUOTA,
    "api_quota.remaining": QUOTA,
    "api_quota.warning_used_pct": USED,
    "api_quota.max_used_pct": USED,
    "api_quota.use_credential": f"{_QUOTA}::{SENT}",
    "api_quota.tls_root": f"{_QUOTA}::{TRUSTED}",
    "tcp.host": f"{_HTTP}::test_a_port_takes_connections",
    "tcp.port": f"{_HTTP}::test_a_port_takes_connections",
    "tls_expiry.host": CERTIFICATE,
    "tls_expiry.port": CERTIFICATE,
    "tls_expiry.warn_days": CERTIFICATE,
    "tls_expiry.fail_days": CERTIFICATE,
    "tls_expiry.tls_root": CERTIFICATE,
    "prometheus.url": ASKED,
    "prometheus.query": ASKED,
    "prometheus.success": WORST,
    "prometheus.failure": WORST,
    "prometheus.tls_root": f"{_HTTP}::{TRUSTED}",
    "script.script": f"{_SCRIPT}::test_an_exit_code_means_what_it_means_to_nagios",
    "script.args": FILLED,
    "script.environment": FILLED,
    "script.pass_secret": f"{_SCRIPT}::test_the_environment_holds_the_credential_only_where_that_is_asked_for",
    "script.retry.max_attempts": RERUN,
    "script.retry.backoff": RERUN,
    "script.limits.cpu_seconds": LIMITED,
    "script.limits.memory_bytes": f"{_SCRIPT}::test_a_memory_hog_is_contained",
    "script.limits.processes": f"{_SCRIPT}::test_a_fork_bomb_is_contained",
    "script.limits.file_bytes": LIMITED,
    "script.timeout_is": f"{_SCRIPT}::test_a_timeout_fails_where_it_is_told_to",
    "script.metric": f"{_SCRIPT}::test_the_metric_that_is_asked_for_is_the_value",
}
"""The options of each type of check, with the type before them."""

KEYS: Final = {**FILE_KEYS, **{f"options.{key}": test for key, test in OPTIONS.items()}}
"""All of them, by the name that tests/unit/config/ignoring.py takes."""

_TIMES: Final = ("health_checks.", "ttl", "schedule", "timezone", "windows.", "rollback.on_health_check_failure")


def test_no_key_is_without_its_test() -> None:
    """A key that is added to the schema fails here until somebody shows that it is honoured."""
    every = {f"rotation.{key}" for key in leaves(Rotation) if key.startswith(_TIMES)}
    every |= {key for key in leaves(FileKeys) if key.startswith(("metrics.", "lease"))}
    every |= {f"check.{key}" for key in leaves(CheckKeys)}
    assert set(FILE_KEYS) == every


def test_no_option_of_a_check_is_without_its_test() -> None:
    every = {f"{kind}.{key}" for kind in SHIPPED[CHECK_GROUP] for key in leaves(check_adapter(kind).options)}
    assert set(OPTIONS) == every


@pytest.mark.parametrize("test", sorted(set(KEYS.values())))
def test_the_tests_of_keys_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    defined = [each.name for each in ast.parse(Path(ROOT, file).read_text()).body if isinstance(each, ast.FunctionDef)]
    assert name in defined
