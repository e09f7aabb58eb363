"""The checks of PostgreSQL against a real one: what each option changes, and what is failure or unknown."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from engine.health import CheckResult, Sample
from tests.conftest import Database
from tests.integration.health.bench import (
    CANARY,
    assert_told,
    built,
    context,
    postgresql_options,
    subject,
    without_value,
)

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN
MEASURING: dict[str, dict[str, Any]] = {
    "query_latency": {},
    "connection_pool": {},
    "active_transactions": {"max_transactions": 5},
    "replication_lag": {"max_lag_seconds": 5},
}


@pytest.fixture
def login(database: Database) -> str:
    return database.login("app", CANARY)


def look(database: Database, login: str, check: str, *, timeout: float = 5.0, **options: Any) -> Sample:
    given = context("postgresql", postgresql_options(database), timeout=timeout)
    sample = built(check, given, **options).look(subject(login))
    assert_told(sample)
    return sample


@contextmanager
def sessions(database: Database, login: str, count: int, *, inside: bool = False) -> Iterator[None]:
    """Hold so many sessions, inside of a transaction or idle."""
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(database.connect(login, CANARY))
            if inside:
                connection.execute("BEGIN")
                connection.execute("SELECT 1")
        yield


# --- what holds for each of them ------------------------------------------------------------------------


@pytest.mark.parametrize("check", MEASURING)
def test_a_login_that_fails_is_a_failure(database: Database, login: str, check: str) -> None:
    database.run("ALTER ROLE {} NOLOGIN", login)
    sample = look(database, login, check, **MEASURING[check])
    assert (sample.result, sample.value) == (FAIL, None)
    assert sample.text.startswith(f"v2: no login as {login} at 127.0.0.1:")


@pytest.mark.parametrize("check", MEASURING)
def test_a_server_that_is_not_there_is_a_failure(database: Database, login: str, check: str) -> None:
    given = context("postgresql", postgresql_options(database, port=1))
    sample = built(check, given, **MEASURING[check]).look(subject(login))
    assert_told(sample)
    assert (sample.result, sample.value) == (FAIL, None)


@pytest.mark.parametrize("check", MEASURING)
def test_without_a_value_nothing_is_known(database: Database, login: str, check: str) -> None:
    given = context("postgresql", postgresql_options(database))
    sample = built(check, given, **MEASURING[check]).look(without_value(subject(login)))
    assert_told(sample)
    assert sample.result is UNKNOWN


@pytest.mark.parametrize("check", MEASURING)
def test_without_the_driver_nothing_is_known(
    database: Database, login: str, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    sample = look(database, login, check, **MEASURING[check])
    assert sample.result is UNKNOWN
    assert "psycopg" in sample.text


def test_a_certificate_is_asked_for_where_the_service_asks_for_one(database: Database, login: str) -> None:
    given = context("postgresql", postgresql_options(database, tls="verify-full"))
    assert built("query_latency", given).look(subject(login)).result is FAIL


# --- query_latency --------------------------------------------------------------------------------------


def test_a_query_that_is_fast_passes_with_its_percentile_in_seconds(database: Database, login: str) -> None:
    sample = look(database, login, "query_latency")
    assert (sample.result, sample.unit) == (PASS, "s")
    assert sample.value is not None
    assert 0 < sample.value < 0.5
    assert sample.text.endswith("of 20 queries")


def test_the_query_is_the_one_that_is_given(database: Database, login: str) -> None:
    sample = look(database, login, "query_latency", query="SELECT pg_sleep(0.05)", queries=2)
    assert sample.value is not None
    assert sample.value >= 0.05


@pytest.mark.parametrize(
    ("bounds", "result"),
    [
        ({"threshold_ms": 20}, FAIL),
        ({"threshold_ms": 400}, PASS),
        ({"threshold_ms": 400, "warning_ms": 20}, WARN),
    ],
)
def test_a_slow_query_is_judged_by_its_bounds(
    database: Database, login: str, bounds: dict[str, int], result: CheckResult
) -> None:
    sample = look(database, login, "query_latency", query="SELECT pg_sleep(0.04)", queries=1, **bounds)
    assert sample.result is result


def test_the_window_reaches_back_to_earlier_looks(database: Database, login: str) -> None:
    check = built("query_latency", context("postgresql", postgresql_options(database)), queries=2, window=5)
    texts = [check.look(subject(login)).text for _ in range(3)]
    assert [text.rpartition(" of ")[2] for text in texts] == ["2 queries", "4 queries", "5 queries"]


@pytest.mark.slow
def test_a_query_without_end_is_a_failure_in_time(database: Database, login: str) -> None:
    began = time.monotonic()
    sample = look(database, login, "query_latency", timeout=0.5, query="SELECT pg_sleep(60)")
    assert time.monotonic() - began < 2
    assert sample.result is FAIL
    assert sample.text == "the query did not end in time"


@pytest.mark.slow
def test_a_look_does_not_begin_what_it_has_no_time_for(database: Database, login: str) -> None:
    sample = look(database, login, "query_latency", timeout=1.0, query="SELECT pg_sleep(0.2)", queries=100)
    assert sample.result is PASS
    assert 1 <= int(sample.text.split()[-2]) <= 3


@pytest.mark.slow
def test_a_server_that_freezes_is_a_failure_in_time(database: Database, login: str) -> None:
    """Its own limit for a query cannot help then: the connection is cut."""
    stop = "COPY (SELECT 1) TO PROGRAM 'kill -STOP $PPID'"
    database.run("GRANT pg_execute_server_program TO {}", login)
    began = time.monotonic()
    try:
        sample = look(database, login, "query_latency", timeout=1.0, query=stop)
    finally:
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        for (pid,) in database.run(others):
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < 3
    assert sample.result is FAIL
    assert sample.text == "the connection was lost before the answer"


@pytest.mark.parametrize(("query", "code"), [("SELECT canary", "42703"), ("SELECT 1/0", "22012")])
def test_a_query_that_cannot_be_run_shows_nothing(database: Database, login: str, query: str, code: str) -> None:
    sample = look(database, login, "query_latency", query=query)
    assert (sample.result, sample.text) == (UNKNOWN, f"the query failed with SQLSTATE {code}")


# --- connection_pool ------------------------------------------------------------------------------------


def test_the_server_has_room(database: Database, login: str) -> None:
    sample = look(database, login, "connection_pool")
    assert (sample.result, sample.unit) == (PASS, "ratio")
    assert "connections of the server" in sample.text


def test_the_limit_of_the_login_counts_where_it_has_one(database: Database, login: str) -> None:
    database.run("ALTER ROLE {} CONNECTION LIMIT 6", login)
    with sessions(database, login, 3):
        sample = look(database, login, "connection_pool")
        assert (sample.result, sample.value) == (PASS, 0.5)
        assert "3 of 6 connections of the login" in sample.text
        assert look(database, login, "connection_pool", warning_threshold_pct=40).result is WARN
        assert look(database, login, "connection_pool", warning_threshold_pct=50).result is PASS


def test_it_warns_from_four_fifths_on(database: Database, login: str) -> None:
    database.run("ALTER ROLE {} CONNECTION LIMIT 7", login)
    with sessions(database, login, 6):
        assert look(database, login, "connection_pool").result is WARN


def test_a_limit_that_is_given_counts_instead(database: Database, login: str) -> None:
    with sessions(database, login, 3):
        sample = look(database, login, "connection_pool", max_connections=4)
        assert (sample.result, sample.value) == (PASS, 0.75)
        assert look(database, login, "connection_pool", max_connections=3).result is FAIL


# --- active_transactions --------------------------------------------------------------------------------


def test_open_transactions_are_counted(database: Database, login: str) -> None:
    with sessions(database, login, 2, inside=True), sessions(database, login, 1):
        assert look(database, login, "active_transactions", max_transactions=2).result is PASS
        sample = look(database, login, "active_transactions", max_transactions=1)
    assert (sample.result, sample.value, sample.unit) == (FAIL, 2, "")


def test_a_transaction_that_is_open_for_long_is_a_failure(database: Database, login: str) -> None:
    with sessions(database, login, 1, inside=True):
        time.sleep(0.05)
        assert look(database, login, "active_transactions", max_seconds=60).result is PASS
        assert look(database, login, "active_transactions", max_seconds=0.04).result is FAIL
        assert look(database, login, "active_transactions", max_transactions=1, max_seconds=0.04).result is FAIL


def test_what_the_login_may_not_see_is_told(database: Database, login: str) -> None:
    with database.connect() as other:
        other.execute("BEGIN")
        sample = look(database, login, "active_transactions", max_transactions=0)
        assert sample.result is PASS
        assert "1 sessions are hidden" in sample.text
        database.run("GRANT pg_read_all_stats TO {}", login)
        other.execute("SELECT 1")
        assert look(database, login, "active_transactions", max_transactions=0).result is FAIL


def test_a_bound_is_needed(database: Database, login: str) -> None:
    with pytest.raises(ValueError, match="is expected"):
        look(database, login, "active_transactions")
