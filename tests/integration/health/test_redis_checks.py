"""The checks of Redis against real ones: what each option changes, and what is failure or unknown."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import msgspec
import pytest
import redis

from adapters.demo import servers
from adapters.targets.redis import AdminCredentials, RedisOptions, Tls
from engine.adapter import Reference
from engine.health import CheckResult, Sample
from tests.conftest import without_server
from tests.integration.health.bench import CANARY, assert_told, built, context, subject, without_value
from tests.integration.redis_bench import run

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN
MEASURING: dict[str, dict[str, Any]] = {
    "command_latency": {},
    "memory_usage": {},
    "connection_count": {},
    "replication_lag": {"max_lag_seconds": 5},
}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[servers.RedisServer, servers.RedisServer]]:
    """Two nodes with the same user, and nothing else that is connected."""
    try:
        servers.find_redis()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.redis_server() as first, servers.redis_server() as second:
        yield first, second


@pytest.fixture
def node(pair: tuple[servers.RedisServer, servers.RedisServer]) -> servers.RedisServer:
    for each in pair:
        run(each, "ACL", "SETUSER", "app", "reset", "on", f">{CANARY}", "~*", "+@all")
        run(each, "CONFIG", "SET", "maxmemory", "0")
        run(each, "REPLICAOF", "NO", "ONE")
    return pair[0]


@pytest.fixture
def other(pair: tuple[servers.RedisServer, servers.RedisServer], node: servers.RedisServer) -> servers.RedisServer:
    return pair[1]


def options_of(*nodes: servers.RedisServer, **changes: Any) -> RedisOptions:
    options = RedisOptions(
        admin_credentials=AdminCredentials(Reference("env", "KEYTURN_TEST")),
        nodes=tuple(f"{each.host}:{each.port}" for each in nodes),
        tls=Tls.DISABLE,
    )
    return msgspec.structs.replace(options, **changes)


def look(*nodes: servers.RedisServer, check: str, timeout: float = 5.0, **options: Any) -> Sample:
    sample = built(check, context("redis", options_of(*nodes), timeout=timeout), **options).look(subject("app"))
    assert_told(sample)
    return sample


# --- what holds for each of them ------------------------------------------------------------------------


@pytest.mark.parametrize("check", MEASURING)
def test_a_login_that_is_refused_is_a_failure(node: servers.RedisServer, check: str) -> None:
    run(node, "ACL", "SETUSER", "app", "off")
    sample = look(node, check=check, **MEASURING[check])
    assert (sample.result, sample.value) == (FAIL, None)
    assert sample.text.endswith("the login is refused")


@pytest.mark.parametrize("check", MEASURING)
def test_a_node_that_is_not_there_is_a_failure(node: servers.RedisServer, check: str) -> None:
    """Whatever the others show."""
    options = options_of(node, nodes=(f"{node.host}:{node.port}", "127.0.0.1:1"))
    sample = built(check, context("redis", options), **MEASURING[check]).look(subject("app"))
    assert_told(sample)
    assert (sample.result, sample.text) == (FAIL, "127.0.0.1:1: no connection")


@pytest.mark.parametrize("check", MEASURING)
def test_without_a_value_nothing_is_known(node: servers.RedisServer, check: str) -> None:
    made = built(check, context("redis", options_of(node)), **MEASURING[check])
    assert made.look(without_value(subject("app"))).result is UNKNOWN


@pytest.mark.parametrize("check", MEASURING)
def test_without_the_driver_nothing_is_known(
    node: servers.RedisServer, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(check, context("redis", options_of(node)), **MEASURING[check])
    monkeypatch.setitem(sys.modules, "redis", None)
    sample = made.look(subject("app"))
    assert sample.result is UNKNOWN
    assert "'redis'" in sample.text


@pytest.mark.parametrize("check", [name for name in MEASURING if name != "command_latency"])
def test_what_the_login_may_not_ask_is_unknown(node: servers.RedisServer, check: str) -> None:
    run(node, "ACL", "SETUSER", "app", "-info")
    sample = look(node, check=check, **MEASURING[check])
    assert sample.result is UNKNOWN
    assert "the login may not INFO" in sample.text


@pytest.mark.slow
def test_tls_is_spoken_where_the_service_asks_for_it(node: servers.RedisServer) -> None:
    options = options_of(node, tls=Tls.VERIFY_FULL)
    assert built("command_latency", context("redis", options, timeout=1)).look(subject("app")).result is FAIL


# --- command_latency ------------------------------------------------------------------------------------


def test_a_command_that_is_fast_passes_with_its_percentile_in_seconds(node: servers.RedisServer) -> None:
    sample = look(node, check="command_latency")
    assert (sample.result, sample.unit) == (PASS, "s")
    assert sample.value is not None
    assert 0 < sample.value < 0.5
    assert sample.text.endswith("of 20 commands")


SCRIPT = """local t = redis.call('TIME')
local e = t[1] * 1e6 + t[2] + 40000
repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] > e"""
SLOW = ("EVAL", SCRIPT, "0")
"""Takes 40 ms."""


@pytest.mark.parametrize(
    ("bounds", "result"),
    [
        ({"threshold_ms": 20}, FAIL),
        ({"threshold_ms": 400}, PASS),
        ({"threshold_ms": 400, "warning_ms": 20}, WARN),
    ],
)
def test_a_slow_command_is_judged_by_its_bounds(
    node: servers.RedisServer, bounds: dict[str, int], result: CheckResult
) -> None:
    sample = look(node, check="command_latency", command=SLOW, commands=1, **bounds)
    assert sample.result is result
    assert sample.value is not None
    assert sample.value >= 0.04


def test_each_node_has_a_window_of_its_own(node: servers.RedisServer, other: servers.RedisServer) -> None:
    check = built("command_latency", context("redis", options_of(node, other)), commands=2, window=3)
    assert check.look(subject("app")).text.count("of 2 commands") == 2
    assert check.look(subject("app")).text.count("of 3 commands") == 2


@pytest.mark.slow
def test_a_node_that_does_not_answer_is_a_failure_in_time(node: servers.RedisServer) -> None:
    began = time.monotonic()
    sample = look(node, check="command_latency", timeout=0.4, command=["BLPOP", "nothing", "0"])
    assert time.monotonic() - began < 1.5
    assert sample.result is FAIL


@pytest.mark.slow
def test_an_answer_that_trickles_in_is_a_failure_in_time(node: servers.RedisServer) -> None:
    def trickle() -> None:
        line, _ = listener.accept()
        with suppress(OSError), line:
            line.recv(1024)
            line.sendall(b"+OK\r\n+")
            for _ in range(30):
                time.sleep(0.1)
                line.sendall(b"P")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle)
        thread.start()
        options = options_of(node, nodes=(f"127.0.0.1:{listener.getsockname()[1]}",))
        began = time.monotonic()
        sample = built("command_latency", context("redis", options, timeout=0.4)).look(subject("app"))
        assert time.monotonic() - began < 2
        thread.join()
    assert_told(sample)
    assert sample.result is FAIL
    assert sample.text.endswith("no answer in time")


@pytest.mark.slow
def test_a_look_does_not_begin_what_it_has_no_time_for(node: servers.RedisServer) -> None:
    sample = look(node, check="command_latency", timeout=0.4, command=SLOW, commands=100, threshold_ms=1000)
    assert sample.result is PASS
    assert 1 <= int(sample.text.split()[-2]) <= 5


@pytest.mark.parametrize(("command", "said"), [(["GET"], "was answered with"), (["NOSUCH"], "was answered with")])
def test_a_command_that_cannot_be_run_shows_nothing(node: servers.RedisServer, command: list[str], said: str) -> None:
    sample = look(node, check="command_latency", command=command)
    assert sample.result is UNKNOWN
    assert said in sample.text


# --- memory_usage ---------------------------------------------------------------------------------------


def test_memory_is_held_against_its_limit(node: servers.RedisServer) -> None:
    used = int(run(node, "INFO", "memory").decode().split("used_memory:")[1].split()[0])
    run(node, "CONFIG", "SET", "maxmemory", str(used * 2))
    sample = look(node, check="memory_usage")
    assert (sample.result, sample.unit) == (PASS, "ratio")
    assert sample.value is not None
    assert 0.3 < sample.value < 0.7
    assert "of maxmemory" in sample.text
    assert look(node, check="memory_usage", warning_threshold_pct=30).result is WARN
    assert look(node, check="memory_usage", max_memory_pct=30).result is FAIL


def test_without_a_limit_it_is_the_machine_that_counts(node: servers.RedisServer) -> None:
    sample = look(node, check="memory_usage")
    assert sample.result is PASS
    assert "of the machine's memory" in sample.text


def test_the_worst_node_counts(node: servers.RedisServer, other: servers.RedisServer) -> None:
    run(other, "CONFIG", "SET", "maxmemory", "800000")
    sample = look(node, other, check="memory_usage")
    assert sample.result is FAIL
    assert sample.value is not None
    assert sample.value > 0.9
    assert f"{node.port}:" in sample.text
    assert f"{other.port}:" in sample.text


# --- connection_count -----------------------------------------------------------------------------------


def connected(node: servers.RedisServer, count: int, stack: ExitStack) -> None:
    for _ in range(count):
        login: Any = {"password": node.password.reveal(), "single_connection_client": True}
        stack.enter_context(redis.Redis(host=node.host, port=node.port, **login)).ping()


def test_clients_are_held_against_what_is_allowed(node: servers.RedisServer) -> None:
    with ExitStack() as stack:
        connected(node, 3, stack)
        sample = look(node, check="connection_count", max_connections=6)
        assert (sample.result, sample.value, sample.unit) == (PASS, 0.5, "ratio")
        assert look(node, check="connection_count", max_connections=6, warning_threshold_pct=40).result is WARN
        assert look(node, check="connection_count", max_connections=3).result is FAIL
        told = look(node, check="connection_count")
    most = run(node, "CONFIG", "GET", "maxclients")[1].decode()
    assert told.result is PASS
    assert told.text.endswith(f"3 of {most} clients")


# --- replication_lag ------------------------------------------------------------------------------------


def eventually(see: Callable[[], Sample], result: CheckResult) -> Sample:
    until = time.monotonic() + 20
    while True:
        sample = see()
        if sample.result is result:
            return sample
        assert time.monotonic() < until, sample
        time.sleep(0.1)


def test_without_a_replica_nothing_is_known(node: servers.RedisServer) -> None:
    sample = look(node, check="replication_lag", max_lag_seconds=5)
    assert (sample.result, sample.text) == (UNKNOWN, "nothing replicates here")


@pytest.mark.slow
def test_a_replica_is_seen_from_both_sides(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """Until one of them freezes, or the link between them is gone."""
    run(other, "CONFIG", "SET", "masterauth", node.password.reveal())
    run(other, "REPLICAOF", node.host, str(node.port))
    followed = eventually(lambda: look(node, check="replication_lag", max_lag_seconds=20), PASS)
    assert followed.unit == "s"
    assert f"at port {other.port}" in followed.text
    assert look(other, check="replication_lag", max_lag_seconds=20).result is PASS
    # The lag is told in whole seconds.
    for frozen, asked in ((other, node), (node, other)):
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            late = eventually(partial(look, asked, check="replication_lag", max_lag_seconds=1.5), FAIL)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        assert late.value is not None
        assert late.value >= 2
    run(other, "REPLICAOF", node.host, "1")
    lost = look(other, check="replication_lag", max_lag_seconds=20)
    assert lost.result is FAIL
    assert "the link to its master is down" in lost.text
