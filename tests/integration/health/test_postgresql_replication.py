"""How far a real standby is behind, and a server without room: both take servers of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from adapters.demo import servers
from engine.health import CheckResult, Sample
from tests.conftest import Database, without_server
from tests.integration.health.bench import CANARY, assert_told, built, context, postgresql_options, subject

pytestmark = pytest.mark.slow

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN
SMALL = {
    "max_connections": "10",
    "superuser_reserved_connections": "2",
    "reserved_connections": "3",
    "wal_receiver_status_interval": "1s",
}
"""Five connections are for consumers; and a standby says often how far it is."""


@pytest.fixture(scope="module")
def primary() -> Iterator[servers.PostgresServer]:
    """A PostgreSQL that few may connect to."""
    try:
        servers.find_postgres()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.postgres_server(settings=SMALL) as server:
        yield server


@pytest.fixture
def database(primary: servers.PostgresServer) -> Database:
    return Database(primary, "postgres", f"_{secrets.token_hex(4)}")


@pytest.fixture
def login(database: Database) -> str:
    return database.login("app", CANARY)


@contextmanager
def standby(primary: servers.PostgresServer) -> Iterator[servers.PostgresServer]:
    """Copy the primary and let the copy follow it."""
    programs = servers.find_postgres()
    port = servers._free_port()
    with servers._folder("keyturn-standby-") as (folder, account):
        data = folder / "data"
        subprocess.run(
            [
                str(programs / "pg_basebackup"),
                *("-h", primary.host, "-p", str(primary.port), "-U", primary.superuser),
                *("-D", str(data), "-R", "-X", "stream", "-c", "fast"),
            ],
            check=True,
            capture_output=True,
            user=account.user if account else None,
            group=account.group if account else None,
            cwd=folder,
            env={**os.environ, "PGPASSWORD": primary.password.reveal(), "HOME": str(folder)},
        )
        servers._configure(data / "postgresql.conf", port, SMALL)
        command = [str(programs / "postgres"), "-D", str(data)]
        with servers._guarded(folder, account, "SIGINT", command) as guardian:
            server = servers.PostgresServer(primary.host, port, primary.password, folder, 0, guardian)
            server.start()
            admin = Database(primary, "postgres", "")
            until = time.monotonic() + 15
            while not admin.run("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"):
                assert time.monotonic() < until, "the standby does not follow"
                time.sleep(0.05)
            yield server


def look(database: Database, login: str, check: str, **options: float) -> Sample:
    sample = built(check, context("postgresql", postgresql_options(database)), **options).look(subject(login))
    assert_told(sample)
    return sample


def eventually(see: Callable[[], Sample], result: CheckResult) -> Sample:
    until = time.monotonic() + 15
    while True:
        sample = see()
        if sample.result is result:
            return sample
        assert time.monotonic() < until, sample
        time.sleep(0.1)


def test_without_a_replica_nothing_is_known(database: Database, login: str) -> None:
    sample = look(database, login, "replication_lag", max_lag_seconds=1)
    assert (sample.result, sample.text) == (UNKNOWN, "nothing replicates here")


def test_a_standby_that_stops_replaying_falls_behind(
    primary: servers.PostgresServer, database: Database, login: str
) -> None:
    """It is seen from both sides; the primary shows it only to who may see it."""
    with standby(primary) as follower:
        copy = Database(follower, "postgres", database.suffix)

        def ahead(limit: float = 1.0) -> Sample:
            return look(database, login, "replication_lag", max_lag_seconds=limit)

        def behind(limit: float = 1.0) -> Sample:
            return look(copy, login, "replication_lag", max_lag_seconds=limit)

        hidden = ahead()
        assert hidden.result is UNKNOWN
        assert "GRANT pg_monitor" in hidden.text
        database.run("GRANT pg_monitor TO {}", login)
        followed = eventually(ahead, PASS)
        assert followed.unit == "s"
        assert "replica 1 (walreceiver)" in followed.text
        assert eventually(behind, PASS).text.startswith("this standby is 0.0 s behind")
        # Only from the time of a transaction that it replayed can a standby tell how far behind it is.
        until = time.monotonic() + 15
        while not copy.run("SELECT 1 WHERE pg_last_xact_replay_timestamp() IS NOT NULL"):
            assert time.monotonic() < until, "the standby replays nothing"
            time.sleep(0.05)

        copy.run("SELECT pg_wal_replay_pause()")
        database.run("CREATE TABLE {} ()", f"fresh{database.suffix}")
        late = eventually(behind, FAIL)
        assert late.value is not None
        assert late.value > 1
        assert behind(3600).result is PASS
        seen = eventually(ahead, FAIL)
        assert seen.value is not None
        assert seen.value > 1
        assert ahead(3600).result is PASS


def test_a_server_without_room_is_a_failure(database: Database, login: str) -> None:
    """The login may use what is reserved, so it still gets in and counts."""
    database.run("GRANT pg_use_reserved_connections TO {}", login)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(database.connect(login, CANARY))
        sample = look(database, login, "connection_pool", warning_threshold_pct=85)
        assert (sample.result, sample.value) == (PASS, 0.8)
        assert look(database, login, "connection_pool", warning_threshold_pct=75).result is WARN
        stack.enter_context(database.connect(login, CANARY))
        full = look(database, login, "connection_pool")
    assert (full.result, full.text) == (FAIL, "5 of 5 connections of the server")
