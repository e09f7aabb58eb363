"""Redis over TLS: only a certificate that is trusted and names the host is spoken to."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.demo import servers
from adapters.targets.redis_target import RedisTarget
from engine.errors import Unavailable
from engine.ports import Probe
from engine.values import Secret
from tests.conftest import without_server
from tests.contract.target_bench import canary, far
from tests.contract.test_targets_redis import redis_context, redis_options
from tests.integration.redis_bench import value

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class TlsNode:
    """A node that speaks TLS alone, and the certificate to trust."""

    port: int
    root: Path
    password: Secret

    def target(self, host: str = "127.0.0.1", **given: object) -> RedisTarget:
        """Return a target on the node, with TLS as it is by default."""
        options = redis_options(f"{host}:{self.port}", **{"tls": "verify-full", "persist": "none", **given})
        return RedisTarget(options, redis_context("default", self.password))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsNode]:
    """A Redis with a certificate for 127.0.0.1; skipped where no binary here was built with TLS."""
    try:
        found = servers.find_redis()
    except servers.ServerMissing as error:
        without_server(error)
    folder = tmp_path_factory.mktemp("tls")
    certificate(folder)
    password = Secret("canary-admin")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for program in {str(found), shutil.which("redis-server") or str(found)}:
        lines = [
            f"tls-port {port}",
            "port 0",
            "bind 127.0.0.1",
            f'tls-cert-file "{folder / "cert.pem"}"',
            f'tls-key-file "{folder / "key.pem"}"',
            f'tls-ca-cert-file "{folder / "cert.pem"}"',
            "tls-auth-clients no",
            'save ""',
            f'dir "{folder}"',
            f"requirepass {password.reveal()}",
        ]
        server = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert server.stdin is not None
        server.stdin.write("\n".join(lines).encode())
        server.stdin.close()
        try:
            if listens(server, port):
                yield TlsNode(port, folder / "cert.pem", password)
                return
        finally:
            server.terminate()
            server.wait()
    pytest.skip("no Redis here was built with TLS")


def listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server listens; False where it ends instead, as one without TLS does."""
    limit = time.monotonic() + 10
    while server.poll() is None and time.monotonic() < limit:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


def certificate(folder: Path) -> None:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis.test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_a_trusted_node_is_rotated(node: TlsNode) -> None:
    """With its certificate in `tls_root` everything works, and the URL says TLS."""
    here = node.target(tls_root=str(node.root))
    new = here.apply(value("default"), tag="tag", deadline=far())
    seen = here.verify(new, control=canary())
    assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, True)
    assert here.url(new).reveal().startswith("rediss://default:canary-")


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(node: TlsNode) -> None:
    """No password is sent to whoever answers."""
    here = node.target()
    seen = here.probe(value("default"))
    assert seen.probe is Probe.UNKNOWN
    assert "certificate is not trusted" in seen.detail
    with pytest.raises(Unavailable, match="certificate is not trusted"):
        here.apply(value("default"), tag="tag", deadline=far())


def test_a_certificate_for_another_host_is_not_spoken_to(node: TlsNode) -> None:
    """The certificate names 127.0.0.1, so it does not stand for localhost."""
    seen = node.target("localhost", tls_root=str(node.root)).probe(value("default"))
    assert seen.probe is Probe.UNKNOWN
    assert "certificate is not trusted" in seen.detail


def test_tls_is_never_given_up_silently(redis_server: servers.RedisServer, node: TlsNode) -> None:
    """A node without TLS is unknown to a target with it, and a node with TLS to a target without."""
    with_tls = RedisTarget(
        redis_options(redis_server, tls="verify-full"), redis_context("default", redis_server.password)
    )
    assert with_tls.probe(value("default")).probe is Probe.UNKNOWN
    without = node.target(tls="disable", command_timeout="200ms")
    assert without.probe(value("default")).probe is Probe.UNKNOWN


def test_a_missing_tls_root_is_named(node: TlsNode) -> None:
    """A wrong path is an answer, not a traceback."""
    with pytest.raises(Unavailable, match="No such file"):
        node.target(tls_root="/nowhere.pem").apply(value("default"), tag="tag", deadline=far())
