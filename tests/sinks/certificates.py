"""An authority of the tests' own, and certificates of servers on this machine that it signs. No tests live here."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Authority:
    """Who signs, and the file with the certificate to trust."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    file: Path

    def context(self, name: x509.GeneralName, *, hours: int = 1) -> ssl.SSLContext:
        """Return what a server needs to be `name`; its certificate ended `-hours` ago where `hours` is negative."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder("server.test", self.certificate.subject, key.public_key(), hours=hours)
        signed = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        certificate = signed.sign(self.key, hashes.SHA256())
        file = self.file.parent / f"{certificate.serial_number}.pem"
        file.write_bytes(_pem(certificate) + _private(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def client(self, name: str) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a client that is called so."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.certificate.subject, key.public_key(), hours=1)
        return _pem(builder.sign(self.key, hashes.SHA256())), _private(key)


LOCAL = x509.IPAddress(ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("mail.elsewhere.test")


def authority(folder: Path) -> Authority:
    """Make an authority, with its files in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority.test")])
    builder = _builder("authority.test", name, key.public_key(), hours=1)
    signed = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate = signed.sign(key, hashes.SHA256())
    file = folder / "authority.pem"
    file.write_bytes(_pem(certificate))
    return Authority(key, certificate, file)


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, hours: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=48))
        .not_valid_after(now + timedelta(hours=hours))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
