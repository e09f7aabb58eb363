"""The checks speak TLS with the databases as their services say: to whom is trusted, by its name.

The servers that come as wheels have no TLS; what ends it here stands in front of real ones.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.demo import servers
from adapters.targets.postgresql_login import Tls as PostgresqlTls
from adapters.targets.redis import Tls as RedisTls
from engine.health import CheckResult, Sample
from tests.conftest import Database
from tests.integration.health.bench import CANARY, assert_told, built, context, postgresql_options, subject
from tests.integration.health.test_redis_checks import options_of
from tests.integration.health.web_bench import certificate
from tests.integration.redis_bench import run

PASS, FAIL = CheckResult.PASS, CheckResult.FAIL
ASKS_FOR_TLS = b"\x00\x00\x00\x08\x04\xd2\x16/"
"""SSLRequest of PostgreSQL's protocol, which is answered with one letter."""


@contextmanager
def front(port: int, pem: Path) -> Iterator[int]:
    """Take connections over TLS, and pass on what is said to a server; return the port."""
    keys = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keys.load_cert_chain(pem)
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while said := source.recv(65_536):
                sink.sendall(said)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def serve(line: socket.socket) -> None:
        with suppress(OSError), line:
            if line.recv(8, socket.MSG_PEEK) == ASKS_FOR_TLS:
                line.recv(8)
                line.sendall(b"S")
            with (
                keys.wrap_socket(line, server_side=True) as protected,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                back = threading.Thread(target=pump, args=(server, protected))
                back.start()
                pump(protected, server)
                back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(line,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def looked(kind: str, check: str, options: Any, base: Path, login: str) -> Sample:
    sample = built(check, context(kind, options, base=base)).look(subject(login))
    assert_told(sample)
    return sample


@pytest.mark.parametrize(
    ("tls", "root", "result"),
    [
        (PostgresqlTls.VERIFY_FULL, True, PASS),
        (PostgresqlTls.VERIFY_FULL, False, FAIL),
        (PostgresqlTls.REQUIRE, False, PASS),
    ],
)
@pytest.mark.slow
def test_postgresql_is_trusted_as_the_service_says(
    database: Database, tmp_path: Path, *, tls: PostgresqlTls, root: bool, result: CheckResult
) -> None:
    login = database.login("app", CANARY)
    pem = certificate(tmp_path)
    with front(database.server.port, pem) as port:
        options = postgresql_options(database, port=port, tls=tls, tls_root=pem.name if root else "")
        assert looked("postgresql", "query_latency", options, tmp_path, login).result is result


@pytest.mark.slow
def test_a_certificate_of_another_host_is_not_trusted(database: Database, tmp_path: Path) -> None:
    login = database.login("app", CANARY)
    pem = certificate(tmp_path, name="127.0.0.2")
    with front(database.server.port, pem) as port:
        options = postgresql_options(database, port=port, tls=PostgresqlTls.VERIFY_FULL, tls_root=pem.name)
        assert looked("postgresql", "query_latency", options, tmp_path, login).result is FAIL


@pytest.mark.parametrize(
    ("name", "root", "result"),
    [("127.0.0.1", True, PASS), ("127.0.0.1", False, FAIL), ("127.0.0.2", True, FAIL)],
)
def test_redis_is_trusted_as_the_service_says(
    redis_server: servers.RedisServer, tmp_path: Path, *, name: str, root: bool, result: CheckResult
) -> None:
    run(redis_server, "ACL", "SETUSER", "health-tls", "reset", "on", f">{CANARY}", "~*", "+@all")
    pem = certificate(tmp_path, name=name)
    with front(redis_server.port, pem) as port:
        options = options_of(
            redis_server, nodes=(f"127.0.0.1:{port}",), tls=RedisTls.VERIFY_FULL, tls_root=pem.name if root else ""
        )
        assert looked("redis", "command_latency", options, tmp_path, "health-tls").result is result
    run(redis_server, "ACL", "DELUSER", "health-tls")
