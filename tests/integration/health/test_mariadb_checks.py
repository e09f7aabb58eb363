"""The checks of databases against a real MariaDB, and a replica of it: what is told, and what is failure or unknown."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from adapters.targets.mariadb import MariadbOptions
from adapters.targets.mysql_options import Tls
from engine.health import CheckResult, Sample
from tests.contract.test_targets_mariadb import mariadb_options
from tests.integration.health.bench import CANARY, assert_told, built, context, subject, without_value
from tests.mariadb_server import MariadbServer
from tests.mariadb_server import mariadb_server as run_mariadb

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN
MEASURING: dict[str, dict[str, Any]] = {
    "query_latency": {},
    "connection_pool": {},
    "active_transactions": {"max_transactions": 5},
    "replication_lag": {"max_lag_seconds": 5},
}


@pytest.fixture
def login(mariadb_server: MariadbServer) -> str:
    """An account, and a database of its name that it may use."""
    name = f"app_{secrets.token_hex(4)}"
    mariadb_server.run(f"CREATE DATABASE {name}")
    mariadb_server.run(f"GRANT ALL ON {name}.* TO {name}@'%' IDENTIFIED BY '{CANARY}'")
    return name


def look(
    server: MariadbServer, login: str, check: str, *, changes: Any = None, timeout: float = 5.0, **given: Any
) -> Sample:
    options: MariadbOptions = msgspec.structs.replace(mariadb_options(server, database=login), **(changes or {}))
    sample = built(check, context("mariadb", options, timeout=timeout), **given).look(subject(login))
    assert_told(sample)
    return sample


@pytest.mark.parametrize("check", MEASURING)
@pytest.mark.parametrize(
    "changes",
    [
        {"port": 1},
        {"tls": Tls.VERIFY_FULL},
        {"tls": Tls.REQUIRE},
        {"database": "nowhere"},
        {"tls_root": "none.pem", "tls": Tls.VERIFY_FULL},
    ],
    ids=["nobody there", "no certificate", "no TLS", "no database", "no authorities"],
)
def test_a_login_that_fails_is_a_failure(
    mariadb_server: MariadbServer, login: str, check: str, changes: dict[str, object]
) -> None:
    sample = look(mariadb_server, login, check, changes=changes, **MEASURING[check])
    assert (sample.result, sample.value) == (FAIL, None)
    assert sample.text.startswith(f"v2: no login as {login} at 127.0.0.1:")


@pytest.mark.parametrize("check", MEASURING)
def test_without_a_value_or_the_driver_nothing_is_known(
    mariadb_server: MariadbServer, login: str, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = context("mariadb", mariadb_options(mariadb_server))
    assert built(check, given, **MEASURING[check]).look(without_value(subject(login))).result is UNKNOWN
    monkeypatch.setitem(sys.modules, "pymysql", None)
    sample = look(mariadb_server, login, check, **MEASURING[check])
    assert (sample.result, "pymysql" in sample.text) == (UNKNOWN, True)


def test_a_query_is_timed_and_judged(mariadb_server: MariadbServer, login: str) -> None:
    sample = look(mariadb_server, login, "query_latency")
    assert (sample.result, sample.unit, sample.text.endswith("of 20 queries")) == (PASS, "s", True)
    slow: dict[str, Any] = {"query": "SELECT SLEEP(0.04)", "queries": 1}
    assert look(mariadb_server, login, "query_latency", **slow, threshold_ms=20).result is FAIL
    assert look(mariadb_server, login, "query_latency", **slow, threshold_ms=400, warning_ms=20).result is WARN
    assert (
        look(mariadb_server, login, "query_latency", query="SELECT canary").text == "the query failed with error 1054"
    )


@pytest.mark.slow
def test_a_query_without_end_is_a_failure_in_time(mariadb_server: MariadbServer, login: str) -> None:
    began = time.monotonic()
    sample = look(mariadb_server, login, "query_latency", timeout=0.5, query="SELECT SLEEP(60)")
    assert time.monotonic() - began < 2
    assert (sample.result, sample.text) == (FAIL, "the query did not end in time")


def test_connections_are_counted_against_the_nearer_limit(mariadb_server: MariadbServer, login: str) -> None:
    bare = look(mariadb_server, login, "connection_pool")
    assert (bare.result, bare.unit, "of the login" in bare.text) == (PASS, "ratio", False)
    mariadb_server.run(f"ALTER USER {login}@'%' WITH MAX_USER_CONNECTIONS 6")
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(mariadb_server.connect(login, CANARY))
        sample = look(mariadb_server, login, "connection_pool")
        assert (sample.result, sample.value, "3 of 6 connections of the login" in sample.text) == (PASS, 0.5, True)
        assert look(mariadb_server, login, "connection_pool", warning_threshold_pct=40).result is WARN
        assert look(mariadb_server, login, "connection_pool", max_connections=3).result is FAIL


def test_open_transactions_are_seen_by_who_may(mariadb_server: MariadbServer, login: str) -> None:
    hidden = look(mariadb_server, login, "active_transactions", max_transactions=0)
    assert (hidden.result, "GRANT PROCESS" in hidden.text) == (UNKNOWN, True)
    mariadb_server.run(f"GRANT PROCESS ON *.* TO {login}@'%'")
    mariadb_server.run(f"CREATE TABLE {login}.t (id INT) ENGINE = InnoDB")
    with mariadb_server.connect(login, CANARY, database=login) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO t VALUES (1)")
        time.sleep(0.11)  # what the server tells of transactions is a tenth of a second old
        sample = look(mariadb_server, login, "active_transactions", max_transactions=0)
        assert (sample.result, sample.value, sample.unit) == (FAIL, 1, "")
        assert look(mariadb_server, login, "active_transactions", max_transactions=1).result is PASS
        assert look(mariadb_server, login, "active_transactions", max_seconds=0.05).result is FAIL


def test_nothing_replicates_to_a_primary(mariadb_server: MariadbServer, login: str) -> None:
    hidden = look(mariadb_server, login, "replication_lag", max_lag_seconds=1)
    assert (hidden.result, "GRANT REPLICA MONITOR" in hidden.text) == (UNKNOWN, True)
    mariadb_server.run(f"GRANT REPLICA MONITOR ON *.* TO {login}@'%'")
    sample = look(mariadb_server, login, "replication_lag", max_lag_seconds=1)
    assert (sample.result, sample.text) == (UNKNOWN, "nothing replicates here")


@pytest.fixture
def replica(mariadb_server: MariadbServer) -> Iterator[MariadbServer]:
    """A server that follows the shared one from here on, and applies what it hears an hour later."""
    with run_mariadb({"server_id": "2"}) as server:
        (file, place, *_), *_ = mariadb_server.run("SHOW MASTER STATUS")
        server.run(
            "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s,"
            " MASTER_LOG_FILE = %s, MASTER_LOG_POS = %s, MASTER_DELAY = 3600",
            *(mariadb_server.host, mariadb_server.port, mariadb_server.superuser, mariadb_server.password.reveal()),
            *(file, place),
        )
        yield server


@pytest.mark.slow
def test_a_replica_that_falls_behind_is_a_failure(mariadb_server: MariadbServer, replica: MariadbServer) -> None:
    replica.run(f"CREATE USER watcher@'%' IDENTIFIED BY '{CANARY}'")
    replica.run("GRANT REPLICA MONITOR ON *.* TO watcher@'%'")
    stopped = look(replica, "watcher", "replication_lag", changes={"database": ""}, max_lag_seconds=1)
    assert (stopped.result, stopped.text) == (FAIL, "this replica does not replicate")
    replica.run("START SLAVE")

    def lagging(bound: float) -> Sample:
        return look(replica, "watcher", "replication_lag", changes={"database": ""}, max_lag_seconds=bound)

    until = time.monotonic() + 15
    while lagging(60).result is not PASS:
        assert time.monotonic() < until, lagging(60)
        time.sleep(0.05)
    mariadb_server.run(f"CREATE DATABASE late_{secrets.token_hex(4)}")
    while (sample := lagging(0.5)).result is not FAIL:
        assert time.monotonic() < until, sample
        time.sleep(0.1)
    assert (sample.unit, sample.text.startswith("this replica is ")) == ("s", True)
    assert lagging(3600).result is PASS
