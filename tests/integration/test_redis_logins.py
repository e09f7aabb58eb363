"""Redis for real: users, answers that say nothing, logs that must hold no password, and the check."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis

from adapters.demo import servers
from adapters.targets.redis_target import RedisTarget
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.ports import Probe, Severity
from engine.values import CredentialValue, Secret
from tests.contract.target_bench import canary, far
from tests.contract.test_targets_redis import redis_context, redis_options
from tests.integration.redis_bench import ALLOWED, digests, run, started, target_on, value

pytestmark = pytest.mark.slow


@pytest.fixture
def node() -> Iterator[servers.RedisServer]:
    """A node that keeps its users in an ACL file."""
    with started(aclfile=True) as server:
        yield server


@pytest.fixture
def other(node: servers.RedisServer) -> Iterator[servers.RedisServer]:
    """A second node, with the same admin password."""
    with started(aclfile=True, password=node.password) as server:
        yield server


# --- users -------------------------------------------------------------------------------------------


def test_a_user_that_is_not_there_is_rejected_unless_it_may_be_made(node: servers.RedisServer) -> None:
    """With `acl` it gets exactly those rules."""
    with pytest.raises(Rejected, match="there is no user 'app'") as caught:
        target_on(node, admin=node.password, acl=[]).apply(value(), tag="tag", deadline=far())
    assert "acl" in caught.value.advice
    made = target_on(node, admin=node.password, acl=["~cache:*", "+get", "+ping"]).apply(
        value(), tag="tag", deadline=far()
    )
    with redis.Redis(
        host=node.host, port=node.port, username="app", password=made.revealed(), decode_responses=True
    ) as client:
        assert client.get("cache:1") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("other:1")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("cache:1", "x")


def test_a_user_without_password_is_refused_and_seen_through(node: servers.RedisServer) -> None:
    """A first password would lock out every client that sends none; and a login that takes anything proves nothing."""
    run(node, "ACL", "SETUSER", "app", "on", "nopass", *ALLOWED)
    here = target_on(node, admin=node.password)
    with pytest.raises(Rejected, match="needs no password"):
        here.apply(value(), tag="tag", deadline=far())
    assert here.verify(value(), control=canary()).control is Probe.ACCEPTED
    assert any(finding.severity == "fail" and "nopass" in finding.message for finding in here.check())


def test_one_node_that_takes_anything_fails_the_control(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """The control must be refused on every node."""
    here = target_on(node, other, admin=node.password)
    new = here.apply(value(), tag="tag", deadline=far())
    run(other, "ACL", "SETUSER", "app", "nopass")
    assert here.verify(new, control=canary()).control is Probe.ACCEPTED


def test_a_user_that_is_off_is_rejected(node: servers.RedisServer) -> None:
    """Nobody could log in with the new password; the advice says how to switch it on."""
    run(node, "ACL", "SETUSER", "app", "off", *ALLOWED)
    with pytest.raises(Rejected, match="switched off"):
        target_on(node, admin=node.password).apply(value(), tag="tag", deadline=far())


def test_the_verification_command_runs_as_the_new_login(node: servers.RedisServer) -> None:
    """A command that is not allowed makes the login unusable; one that fails, the query; a probe only logs in."""
    here = target_on(node, admin=node.password, acl=["~*", "+get", "+incr"])
    new = here.apply(value(), tag="tag", deadline=far())
    assert here.probe(new).probe is Probe.ACCEPTED
    assert here.verify(new, control=canary()).candidate is Probe.UNUSABLE
    run(node, "SET", "word", "text")
    failing = target_on(node, admin=node.password, verification_command=["INCR", "word"])
    seen = failing.verify(new, control=canary())
    assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, False)
    working = target_on(node, admin=node.password, verification_command=["GET", "word"])
    assert working.verify(new, control=canary()).query


def test_the_verification_command_must_run_on_every_node(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """One node where it fails is one where consumers fail."""
    here = target_on(node, other, admin=node.password, verification_command=["INCR", "word"])
    new = here.apply(value(), tag="tag", deadline=far())
    run(other, "SET", "word", "text")
    assert not here.verify(new, control=canary()).query
    run(other, "SET", "word", "1")
    assert here.verify(new, control=canary()).query


def test_our_own_login_is_told_apart(node: servers.RedisServer) -> None:
    """Refused, or without the right to change users: both are about keyturn's login, and change nothing."""
    with pytest.raises(OwnLoginRejected, match="refuses keyturn's login"):
        target_on(node, admin=canary()).apply(value(), tag="tag", deadline=far())
    run(node, "ACL", "SETUSER", "weak", "on", f"#{sha256(b'canary-weak').hexdigest()}", "+acl|getuser", "+acl|save")
    credentials = {"username": "weak", "password": "env://ADMIN"}
    weak = target_on(node, admin=Secret("canary-weak"), admin_credentials=credentials)
    with pytest.raises(OwnLoginRejected, match="may not ACL SETUSER"):
        weak.apply(value(), tag="tag", deadline=far())
    assert digests(node) == []


def test_the_rights_that_the_how_to_names_are_enough(node: servers.RedisServer) -> None:
    """A rotation and a check with the login of docs/how-to/redis.md, and nothing that it may not do."""
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "redis.md").read_text()
    words = next(line for line in text.splitlines() if line.startswith("ACL SETUSER keyturn")).split()
    digest = sha256(b"canary-keyturn").hexdigest()
    run(node, *(f"#{digest}" if word.startswith("#") else word for word in words))
    run(node, "ACL", "LOG", "RESET")
    credentials = {"username": "keyturn", "password": "env://ADMIN"}
    here = target_on(node, admin=Secret("canary-keyturn"), admin_credentials=credentials)
    old, new = value(), value()
    for given in (old, new):
        here.apply(given, tag="tag", deadline=far())
    here.retire(old, keep=new, tag="tag", deadline=far())
    assert here.verify(new, control=canary()).query
    assert {finding.severity for finding in here.check()} == {Severity.OK, Severity.WARN}
    reasons = [dict(zip(entry[::2], entry[1::2], strict=True))[b"reason"] for entry in run(node, "ACL", "LOG")]
    assert set(reasons) == {b"auth"}, "only the control was refused"


def test_a_rotation_of_its_own_login_works(node: servers.RedisServer) -> None:
    """Keyturn may rotate the login that it uses; the check says what to watch for."""
    old = CredentialValue("default", node.password)
    here = RedisTarget(redis_options(node), redis_context("default", node.password))
    new = here.apply(value("default"), tag="tag", deadline=far())
    RedisTarget(redis_options(node), redis_context("default", new.secret or canary())).retire(
        old, keep=new, tag="tag", deadline=far()
    )
    assert (here.probe(old).probe, here.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)
    with pytest.raises(OwnLoginRejected):
        here.retire(old, keep=new, tag="tag", deadline=far())
    assert [finding.severity for finding in here.check()].count(Severity.WARN) >= 2


# --- answers that say nothing ------------------------------------------------------------------------


@contextmanager
def answering(reply: bytes | None) -> Iterator[str]:
    """Listen as a node that answers everything with one reply, or never; give its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

        def converse(connection: socket.socket) -> None:
            with connection:
                while connection.recv(4096):
                    if reply is not None:
                        connection.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-ERR max number of clients reached\r\n", "max number of clients"),
        (b"-ERR wrong number of arguments for 'auth' command\r\n", "wrong number"),
        (b"+QUEUED\r\n", "unusual"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ""),
        (None, "no answer in time"),
    ],
)
def test_a_node_that_does_not_look_at_the_password_is_unknown(reply: bytes | None, why: str) -> None:
    """Only WRONGPASS is a refusal; and a change is not begun."""
    with answering(reply) as address:
        here = target_on(address, admin=canary(), command_timeout="200ms", persist="none")
        seen = here.probe(value())
        assert seen.probe is Probe.UNKNOWN
        assert why in seen.detail
        if reply != b"+QUEUED\r\n":
            with pytest.raises(Unavailable):
                here.apply(value(), tag="tag", deadline=far())


def test_a_full_node_is_unknown(node: servers.RedisServer) -> None:
    """A real server that takes no more clients."""
    new = target_on(node, admin=node.password).apply(value(), tag="tag", deadline=far())
    with redis.Redis(host=node.host, port=node.port, password=node.password.reveal()) as client:
        client.config_set("maxclients", 1)
        assert target_on(node, admin=node.password).probe(new).probe is Probe.UNKNOWN
        client.config_set("maxclients", 100)
    assert target_on(node, admin=node.password).probe(new).probe is Probe.ACCEPTED


# --- nothing is told ---------------------------------------------------------------------------------


def test_no_password_is_in_any_log_of_the_server(node: servers.RedisServer) -> None:
    """SLOWLOG, MONITOR, ACL LOG, the log file and every file of the server hold none, in no form but the digest."""
    run(node, "CONFIG", "SET", "slowlog-log-slower-than", "0")
    run(node, "CONFIG", "SET", "slowlog-max-len", "10000")
    with redis.Redis(host=node.host, port=node.port, password=node.password.reveal()) as client:
        with client.monitor() as monitor:
            here = target_on(node, admin=node.password)
            old, new, control = value(), value(), canary()
            for given in (old, new):
                here.apply(given, tag="tag", deadline=far())
            here.verify(new, control=control)
            here.restore(old, candidate=new, tag="tag", deadline=far())
            here.apply(new, tag="tag", deadline=far())
            here.retire(old, keep=new, tag="tag", deadline=far())
            here.probe(old)
            here.check()
            client.echo("the end")
            seen = []
            for command in monitor.listen():
                seen.append(command["command"])
                if "the end" in command["command"]:
                    break
        told = "\n".join([*seen, str(client.slowlog_get(10_000)), str(client.acl_log())])
    assert "GETUSER" in told
    files = b"\n".join(path.read_bytes() for path in node.folder.rglob("*") if path.is_file())
    for secret in (old.revealed(), new.revealed(), control.reveal(), node.password.reveal()):
        assert secret not in told
        assert secret.encode() not in files


# --- check -------------------------------------------------------------------------------------------


def test_a_replica_that_is_not_listed_is_named(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """Its clients would lose access with the rotation; seen from either side, and silent when all are listed."""
    target_on(node, other, admin=node.password).apply(value(), tag="tag", deadline=far())
    run(other, "CONFIG", "SET", "masterauth", node.password.reveal())
    run(other, "REPLICAOF", node.host, str(node.port))
    limit = time.monotonic() + 10
    while b"state=online" not in run(node, "INFO", "replication") and time.monotonic() < limit:
        time.sleep(0.05)
    for listed, missing in ((node, other), (other, node)):
        found = [f for f in target_on(listed, admin=node.password).check() if "not replicated" in f.message]
        assert [str(missing.port) in finding.message for finding in found] == [True]
    complete = target_on(node, other, admin=node.password).check()
    assert not [finding for finding in complete if "not replicated" in finding.message]


def test_check_names_what_is_wrong_with_a_node(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """A user that is missing, off or has too many passwords; nodes that differ; one that is down; our login."""

    def found(*nodes: servers.RedisServer, admin: Secret = node.password, **given: Any) -> str:
        return "\n".join(f"{f.severity} {f.message}" for f in target_on(*nodes, admin=admin, **given).check())

    assert "fail there is no user 'app'" in found(node, acl=[])
    assert "ok reached" in found(node)
    here = target_on(node, admin=node.password)
    for _ in range(3):
        here.apply(value(), tag="tag", deadline=far())
    assert "warn 'app' has 3 passwords" in found(node)
    target_on(other, admin=node.password).apply(value(), tag="tag", deadline=far())
    assert "do not have the same passwords" in found(node, other)
    run(node, "ACL", "SETUSER", "app", "off")
    assert "fail 'app' is switched off" in found(node)
    assert "warn users are not saved" in found(node, persist="none")
    assert "refuses keyturn's login" in found(node, admin=canary())
    assert "warn connections are not encrypted" in found(node)
    other.kill()
    assert f"127.0.0.1:{other.port}" in found(node, other)
