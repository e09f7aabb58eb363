"""What a login at a real PostgreSQL shows: accepted, unusable, refused, or nobody knows; with and without TLS."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.demo import servers
from adapters.targets.postgresql_login import Tls
from engine.errors import Unavailable
from engine.plan import Strategy
from engine.ports import Probe, Severity
from engine.values import CredentialValue, Secret
from tests.conftest import Database, without_server
from tests.integration.postgresql_bench import Site, site, soon, value
from tests.integration.proxy import running


@pytest.fixture
def here(database: Database) -> Site:
    """A database with the roles of one service."""
    return site(database)


@pytest.fixture(scope="module")
def open_server() -> Iterator[servers.PostgresServer]:
    """A server of this module's own, whose pg_hba.conf the tests rewrite."""
    try:
        servers.find_postgres()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.postgres_server() as server:
        yield server


@contextmanager
def _rules(server: servers.PostgresServer, *lines: str) -> Iterator[None]:
    """Put lines before those of pg_hba.conf for the length of the block."""
    file = server.folder / "data" / "pg_hba.conf"
    before = file.read_text()

    def write(text: str) -> None:
        file.write_text(text)
        server.restart()

    write("\n".join([*lines, before]))
    try:
        yield
    finally:
        write(before)


# --- the table of answers -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "seen", "code"),
    [
        ("SELECT 1 AS {}", Probe.ACCEPTED, ""),
        ("ALTER ROLE {} NOLOGIN", Probe.UNUSABLE, "28000"),
        ("ALTER ROLE {} CONNECTION LIMIT 0", Probe.UNUSABLE, "53300"),
        ("ALTER ROLE {} VALID UNTIL '2001-01-01'", Probe.REFUSED, "28P01"),
        ("DROP ROLE {}", Probe.REFUSED, "28P01"),
        ("ALTER ROLE {} PASSWORD NULL", Probe.REFUSED, "28P01"),
    ],
)
def test_what_a_login_with_the_right_password_shows(here: Site, spoil: str, seen: Probe, code: str) -> None:
    """A refusal after the password was found right is not a refusal of the password."""
    target, right = here.target(Strategy.SINGLE), value(here.owner)
    target.apply(right, tag="1", deadline=soon())
    here.database.run(spoil, here.owner)
    sighting = target.probe(right)
    assert (sighting.probe, sighting.detail) == (seen, f"SQLSTATE {code}" if code else "")


@pytest.mark.slow
def test_a_database_that_is_missing_or_closed_makes_a_login_unusable(here: Site) -> None:
    """The password was right in both cases; a wrong one is refused first."""
    right = value(here.owner)
    here.target(Strategy.SINGLE).apply(right, tag="1", deadline=soon())
    missing = here.target(Strategy.SINGLE, dbname="no such database")
    assert missing.probe(right).probe is Probe.UNUSABLE
    assert missing.probe(value(here.owner)).probe is Probe.REFUSED
    here.database.run("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", here.database.name)
    assert here.target(Strategy.SINGLE).probe(right).probe is Probe.UNUSABLE
    assert here.target(Strategy.SINGLE).verify(right, control=Secret("canary")).candidate is Probe.UNUSABLE


@pytest.mark.slow
def test_a_query_that_fails_is_no_failed_login(here: Site) -> None:
    """The value is right, and the verification says that the query did not run."""
    right = value(here.owner)
    target = here.target(Strategy.SINGLE, query="SELECT * FROM canary_no_such_table")
    target.apply(right, tag="1", deadline=soon())
    seen = target.verify(right, control=Secret("canary-control"))
    assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, False)
    assert seen.detail == "the query failed with SQLSTATE 42P01"
    slow = here.target(Strategy.SINGLE, query="SELECT pg_sleep(9)", statement_milliseconds=200)
    assert slow.verify(right, control=Secret("canary-control")).detail == "the query failed with SQLSTATE 57014"


@pytest.mark.slow
def test_a_server_that_asks_for_no_password_proves_nothing(open_server: servers.PostgresServer) -> None:
    """Under `trust` the control is accepted and a probe does not know, whatever the value."""
    here = site(Database(open_server, "postgres", "_trust"))
    right, control = value(here.owner), Secret("canary-control")
    target = here.target(Strategy.SINGLE)
    with _rules(open_server, f'host all "{here.owner}" 127.0.0.1/32 trust'):
        target.apply(right, tag="1", deadline=soon())
        seen = target.verify(right, control=control)
        assert (seen.candidate, seen.control) == (Probe.ACCEPTED, Probe.ACCEPTED)
        assert "pg_hba.conf" in seen.detail
        assert target.probe(right).probe is Probe.UNKNOWN
        assert target.probe(CredentialValue(here.owner, control)).probe is Probe.UNKNOWN
    assert target.probe(right).probe is Probe.ACCEPTED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "seen", "word"),
    [
        ("reject", Probe.UNKNOWN, "SQLSTATE 28000"),
        ("password", Probe.UNKNOWN, "in the clear"),
        ("md5", Probe.ACCEPTED, ""),
    ],
)
def test_other_methods_of_the_server(open_server: servers.PostgresServer, method: str, seen: Probe, word: str) -> None:
    """No rule for us says nothing of the password; without a proven server it is never sent in the clear."""
    here = site(Database(open_server, "postgres", f"_{method}"))
    right, target = value(here.owner), here.target(Strategy.SINGLE)
    target.apply(right, tag="1", deadline=soon())
    with _rules(open_server, f'host all "{here.owner}" 127.0.0.1/32 {method}'):
        sighting = target.probe(right)
    assert sighting.probe is seen
    assert word in sighting.detail


@pytest.mark.slow
def test_a_password_kept_as_md5_is_recognised_and_can_be_set_back(open_server: servers.PostgresServer) -> None:
    """A password that was set long ago is what the first rotation has to go back to."""
    here = site(Database(open_server, "postgres", "_old"))
    old, target = value(here.owner), here.target(Strategy.SINGLE)
    with here.database.connect() as connection:
        connection.execute("SET password_encryption = 'md5'")
        statement = psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(statement.format(psycopg.sql.Identifier(here.owner), psycopg.sql.Literal(old.revealed())))
    with _rules(open_server, f'host all "{here.owner}" 127.0.0.1/32 md5'):
        assert target.probe(old).probe is Probe.ACCEPTED
        assert target.probe(value(here.owner)).probe is Probe.REFUSED
        shown = target.probe(CredentialValue(here.owner, None)).restorable
        assert shown is not None
        new = value(here.owner)
        target.apply(new, tag="1", deadline=soon())
        target.restore(shown, candidate=new, tag="1", deadline=soon())
        assert target.probe(old).probe is Probe.ACCEPTED


@pytest.mark.slow
def test_a_peer_that_is_no_postgresql_is_unknown(here: Site, redis_server: servers.RedisServer) -> None:
    """Another server behind the port is neither acceptance nor refusal."""
    target = here.target(Strategy.SINGLE, port=redis_server.port)
    assert target.probe(value(here.owner)).probe is Probe.UNKNOWN
    with pytest.raises(Unavailable):
        target.apply(value(here.owner), tag="1", deadline=soon())


@pytest.mark.slow
def test_a_server_that_does_not_know_the_password_is_found_out(here: Site) -> None:
    """Who accepts our proof without one of its own is an impostor: SCRAM proves both sides."""
    right = value(here.owner)
    here.target(Strategy.SINGLE).apply(right, tag="1", deadline=soon())
    with running(here.database.server.port) as line:
        line.on_answer = lambda answer: re.sub(rb"(?<=v=)....", b"AAAA", answer)
        sighting = here.target(Strategy.SINGLE, port=line.port).probe(right)
    assert sighting.probe is Probe.UNKNOWN
    assert "impostor" in sighting.detail


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    """A service on a server with a certificate for 127.0.0.1; with the folder that has `ca.pem` and `other.pem`."""
    folder = tmp_path_factory.mktemp("tls")
    builds = [place for place in sorted(Path("/usr/lib/postgresql").glob("*/bin")) if (place / "initdb").exists()]
    if not builds:
        pytest.skip("the servers that come as wheels have no TLS, and no other PostgreSQL is installed")
    _certificates(folder)
    with servers.postgres_server(binaries=builds[-1]) as server:
        owner = server.folder.stat()
        for name in ("server.pem", "server.key"):
            copy = server.folder / "data" / name
            copy.write_bytes((folder / name).read_bytes())
            copy.chmod(0o600)
            os.chown(copy, owner.st_uid, owner.st_gid)
        with (server.folder / "data" / "postgresql.conf").open("a") as lines:
            lines.write("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n")
        server.restart()
        yield site(Database(server, "postgres", "_tls")), folder


def _certificates(folder: Path) -> None:
    now = datetime.now(UTC)

    def issue(name: str, signer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signing = signer or (subject, key)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(signing, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return key

    authority = issue("ca", None)
    issue("other", None)
    key = issue("server", (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]), authority))
    plain = serialization.NoEncryption()
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.key").write_bytes(encoded)


@pytest.mark.slow
@pytest.mark.parametrize(("tls", "root"), [(Tls.VERIFY_FULL, "ca.pem"), (Tls.REQUIRE, "")])
def test_a_rotation_over_tls(secured: tuple[Site, Path], tls: Tls, root: str) -> None:
    """With a certificate that names the host, or with any, changes and logins go through TLS."""
    here, folder = secured
    target = here.target(Strategy.ALTERNATING, tls=tls, tls_root=root, base=folder)
    old, new = value(here.pair[0]), value(here.pair[1])
    target.apply(old, tag="1", deadline=soon())
    target.apply(new, tag="2", deadline=soon())
    assert target.verify(new, control=Secret("canary-control")).control is Probe.REFUSED
    target.retire(old, keep=new, tag="2", deadline=soon())
    assert target.probe(old).probe is Probe.REFUSED
    with _rules(here.database.server, "hostnossl all all 127.0.0.1/32 reject"):
        assert target.probe(new).probe is Probe.ACCEPTED
        assert not [finding for finding in target.check() if finding.severity is Severity.FAIL]
    assert f"sslmode={tls}" in target.url(new).reveal()


@pytest.mark.slow
@pytest.mark.parametrize("root", ["other.pem", "", "missing.pem"])
def test_a_certificate_that_is_not_trusted_ends_it(secured: tuple[Site, Path], root: str) -> None:
    """With another authority, with that of the system, and without the file, nothing is sent."""
    here, folder = secured
    target = here.target(Strategy.SINGLE, tls=Tls.VERIFY_FULL, tls_root=root, base=folder)
    new = value(here.owner)
    assert target.probe(new).probe is Probe.UNKNOWN
    with pytest.raises(Unavailable):
        target.apply(new, tag="1", deadline=soon())
    assert here.verifier(here.owner) is None


@pytest.mark.slow
def test_a_certificate_for_another_host_ends_it(secured: tuple[Site, Path]) -> None:
    """The authority is right, and the name is not."""
    here, folder = secured
    target = here.target(Strategy.SINGLE, tls=Tls.VERIFY_FULL, tls_root="ca.pem", base=folder, host="localhost")
    sighting = target.probe(value(here.owner))
    assert sighting.probe is Probe.UNKNOWN
    assert "certificate is not trusted" in sighting.detail


@pytest.mark.slow
def test_tls_is_never_given_up_silently(here: Site) -> None:
    """A server without TLS is not talked to where TLS is wanted."""
    with here.database.connect() as connection:
        if connection.execute("SHOW ssl").fetchone() != ("off",):
            pytest.skip("this server has TLS")
    for tls in (Tls.REQUIRE, Tls.VERIFY_FULL):
        target = here.target(Strategy.SINGLE, tls=tls)
        assert target.probe(value(here.owner)).detail == "the server does not offer TLS"
        with pytest.raises(Unavailable):
            target.apply(value(here.owner), tag="1", deadline=soon())
