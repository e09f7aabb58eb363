"""TLS to a real MariaDB, and peers that are not what they seem: neither gets a password, nor says anything of one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engine.errors import Unavailable
from engine.plan import Strategy
from engine.ports import Probe, Severity
from engine.values import Secret
from tests.integration.health.web_bench import certificate
from tests.integration.mariadb_bench import Accounts, accounts, soon, value
from tests.mariadb_server import MariadbServer
from tests.mariadb_server import mariadb_server as run_mariadb


@pytest.fixture
def here(mariadb_server: MariadbServer) -> Accounts:
    """The accounts of one service."""
    return accounts(mariadb_server)


@pytest.fixture(scope="module")
def secured(mariadb_server: MariadbServer) -> Iterator[tuple[Accounts, Path]]:
    """Accounts on a server with a certificate for 127.0.0.1, and the folder that it is in."""
    with TemporaryDirectory(prefix="keyturn-test-") as made:
        folder = Path(made)
        # The server reads its key as an ordinary user, who cannot reach the folders of pytest.
        folder.chmod(0o755)
        pem = certificate(folder).rename(folder / "ca.pem")
        pem.chmod(0o644)  # whatever the umask of this process has become
        certificate(folder, name="127.0.0.2").rename(folder / "other.pem")
        with run_mariadb({"ssl_cert": str(pem), "ssl_key": str(pem)}) as server:
            yield accounts(server), folder


def test_a_rotation_over_tls(secured: tuple[Accounts, Path]) -> None:
    """With a certificate that names the host, or with any; an account that wants TLS is then content."""
    here, folder = secured
    ways: tuple[dict[str, Any], ...] = ({"tls": "verify-full", "tls_root": "ca.pem"}, {"tls": "require"})
    for given in ways:
        target = here.target(Strategy.DUAL, base=folder, **given)
        old, new = value(here.name), value(here.name)
        here.alter("REQUIRE SSL")
        target.apply(old, tag="1", deadline=soon())
        target.apply(new, tag="2", deadline=soon())
        assert target.verify(old, control=Secret("canary-control")).control is Probe.REFUSED
        target.retire(old, keep=new, tag="2", deadline=soon())
        assert (target.probe(old).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)
        assert not [each for each in target.check() if each.severity is Severity.FAIL]
        target.restore(None, candidate=new, tag="2", deadline=soon())


@pytest.mark.parametrize(
    "given", [{"tls_root": "other.pem"}, {}, {"tls_root": "missing.pem"}, {"tls_root": "ca.pem", "host": "localhost"}]
)
def test_a_certificate_that_is_not_trusted_ends_it(secured: tuple[Accounts, Path], given: dict[str, Any]) -> None:
    """With another authority, that of the system, without the file, and for another host, nothing is sent."""
    here, folder = secured
    target, before = here.target(Strategy.SINGLE, base=folder, **{"tls": "verify-full", **given}), here.kept()
    assert target.probe(value(here.name)).probe is Probe.UNKNOWN
    with pytest.raises(Unavailable):
        target.apply(value(here.name), tag="1", deadline=soon())
    assert here.kept() == before


@pytest.mark.parametrize("tls", ["verify-full", "require"])
def test_tls_is_never_given_up_silently(here: Accounts, tls: str) -> None:
    """A server without TLS is not talked to where TLS is wanted."""
    before = here.kept()
    target = here.target(Strategy.SINGLE, tls=tls)
    assert target.probe(value(here.name)).probe is Probe.UNKNOWN
    with pytest.raises(Unavailable):
        target.apply(value(here.name), tag="1", deadline=soon())
    assert here.kept() == before


@contextmanager
def _impostor(says: Callable[[bytes], list[bytes]], greeting: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Greet clients as a server does, and say what is given then; yields port, and what was heard."""
    heard: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                with line:
                    for said in says(greeting):
                        line.sendall(said)
                        heard.append(line.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1]), heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog", b"mysql_old_password", b"sha256_password"])
@pytest.mark.parametrize("before", [b"", b"mysql_native_password"])
def test_whoever_asks_for_the_password_in_the_clear_does_not_get_it(
    here: Accounts, plugin: bytes, before: bytes
) -> None:
    """Neither at first nor after something harmless."""
    with socket.create_connection((here.server.host, here.server.port)) as line:
        greeting = line.recv(4096)
    asked = [name for name in (before, plugin) if name]
    switches = [_packet(2 * turn, b"\xfe" + name + b"\0" + b"x" * 20 + b"\0") for turn, name in enumerate(asked, 1)]
    with _impostor(lambda greeting: [greeting, *switches], greeting) as (port, heard):
        wanted = value(here.name)
        sighting = here.target(Strategy.SINGLE, port=port).probe(wanted)
    assert sighting.probe is Probe.UNKNOWN
    assert "in a way" in sighting.detail
    assert heard[0], "the first answer has no password in it"
    assert wanted.revealed().encode() not in b"".join(heard)


def test_a_refusal_before_the_greeting_is_none(here: Accounts) -> None:
    """What comes before TLS and before a password was given may come from anybody."""
    refusal = _packet(0, b"\xff" + (1045).to_bytes(2, "little") + b"#28000Access denied")
    for tls in ("disable", "verify-full"):
        with _impostor(lambda greeting: [refusal], b"") as (port, _):
            sighting = here.target(Strategy.SINGLE, port=port, tls=tls).probe(value(here.name))
        assert (sighting.probe, sighting.detail) == (Probe.UNKNOWN, "instead of a greeting: error 1045")
