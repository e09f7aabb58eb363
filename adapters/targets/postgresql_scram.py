"""SCRAM-SHA-256 as PostgreSQL speaks it: the verifier that a server keeps, and the client's side of a login.

Sources: RFC 5802 and RFC 7677 (SCRAM), RFC 4013 and RFC 3454 (SASLprep), and the documented form of
`pg_authid.rolpassword`. Nothing here knows a socket or a statement.

Rule: a password enters as it was given and is prepared here, once, the way PostgreSQL prepares it.
"""

from __future__ import annotations

import hmac
import stringprep
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256
from typing import Final
from unicodedata import normalize

MECHANISM: Final = "SCRAM-SHA-256"
ITERATIONS: Final = 4096
"""RFC 7677 asks for at least so many, and PostgreSQL uses them where it is not told otherwise."""
ITERATIONS_MAX: Final = 1_000_000
"""More is an impostor that wants to keep us busy: about half a second of work."""
SALT_BYTES: Final = 16

_PROHIBITED: Final = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepare(password: str) -> bytes:
    """Return the bytes of a password after SASLprep; unchanged where SASLprep forbids it, as PostgreSQL does."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in password
        # U+200B stands in both tables of RFC 3454; PostgreSQL takes it for a space.
        if stringprep.in_table_c12(character) or not stringprep.in_table_b1(character)
    )
    if not mapped or any(is_prohibited(character) for character in mapped for is_prohibited in _PROHIBITED):
        return password.encode()
    right_to_left = [stringprep.in_table_d1(character) for character in mapped]
    if any(right_to_left):
        is_mixed = any(stringprep.in_table_d2(character) for character in mapped)
        if is_mixed or not (right_to_left[0] and right_to_left[-1]):
            return password.encode()
    return normalize("NFKC", mapped).encode()


def verifier(password: str, *, salt: bytes) -> str:
    """Return what PostgreSQL keeps of `password`: it takes this text in the place of a password."""
    salted = pbkdf2_hmac("sha256", prepare(password), salt, ITERATIONS)
    stored = sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    return f"{MECHANISM}${ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


class ScramClient:
    """One login. Raises ValueError for an answer that no honest server gives."""

    def __init__(self, password: str, *, nonce: str) -> None:
        self._password = prepare(password)
        self._nonce = nonce
        self._bare = f"n=,r={nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """Return the first message. The user is left out: PostgreSQL takes it from the start of the connection."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """Return the proof that answers the server's challenge."""
        text = challenge.decode("ascii")
        fields = dict(part.split("=", 1) for part in text.split(","))
        if not fields.keys() >= {"r", "s", "i"} or not fields["r"].startswith(self._nonce):
            raise ValueError("the challenge of the server is not one of SCRAM")
        iterations = int(fields["i"])
        if not 1 <= iterations <= ITERATIONS_MAX or fields["r"] == self._nonce:
            raise ValueError("the challenge of the server is out of bounds")
        salted = pbkdf2_hmac("sha256", self._password, b64decode(fields["s"], validate=True), iterations)
        key = _hmac(salted, b"Client Key")
        unproven = f"c=biws,r={fields['r']}"
        transcript = f"{self._bare},{text},{unproven}".encode()
        proof = bytes(a ^ b for a, b in zip(key, _hmac(sha256(key).digest(), transcript), strict=True))
        self._signature = _hmac(_hmac(salted, b"Server Key"), transcript)
        return f"{unproven},p={_text(proof)}".encode()

    def is_server(self, answer: bytes) -> bool:
        """Say whether the last message proves that the server knows the verifier."""
        return hmac.compare_digest(answer, b"v=" + _text(self._signature).encode())


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
