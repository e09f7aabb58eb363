"""What servers of the MySQL family keep of a password: computed here, so that no password stands in a statement.

Rule 1: no server, no driver; only hashing, and PyNaCl for the curve of `ed25519`.
Rule 2: one class an authentication plugin, found by name in `PLUGINS`; a plugin that is not there holds no password
that keyturn could set, and is left alone.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha1, sha256, sha512
from typing import Final, Protocol

import msgspec

NATIVE: Final = "mysql_native_password"
ED25519: Final = "ed25519"
CACHING_SHA2: Final = "caching_sha2_password"

_CRYPT_SIGNS: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT_CHARACTERS: Final = 20
_ROUNDS: Final = 5
"""In thousands; the default of `caching_sha2_password_digest_rounds`."""
_CACHING_SHA2_BYTES_MAX: Final = 256
"""What MySQL takes of a password at most (`MAX_PLAINTEXT_LENGTH`, sql/auth/sha2_password_common.h)."""


class Entry(msgspec.Struct, frozen=True):
    """One password of an account: who checks it, and what the server keeps of it. Not printed."""

    plugin: str
    stored: str

    def __repr__(self) -> str:
        return f"Entry({self.plugin!r}, …)"

    def text(self) -> str:
        """Return it as the text of a verifier, `PLUGIN:STORED`."""
        return f"{self.plugin}:{self.stored}"


class Plugin(Protocol):
    """A way to keep passwords."""

    nothing: str
    """What an account keeps that no password fits."""

    def stored(self, password: bytes) -> str:
        """Return what the server is to keep; raises ValueError, saying why, for a password that it cannot have."""
        ...

    def is_password(self, stored: str) -> bool:
        """Tell whether somebody can log in with what the server keeps; empty, that is whoever gives no password."""
        ...

    def fits(self, stored: str, password: bytes) -> bool:
        """Tell whether what the server keeps is of that password."""
        ...


class _Native:
    """SHA-1 twice, without a salt: what MariaDB does unless told otherwise, and every client speaks."""

    # What servers themselves write there for an account that nobody shall log in with.
    nothing = "*THISISNOTAVALIDPASSWORDTHATCANBEUSEDHERE"
    _shape = re.compile(r"\*[0-9A-F]{40}")

    def stored(self, password: bytes) -> str:
        return "*" + sha1(sha1(password, usedforsecurity=False).digest(), usedforsecurity=False).hexdigest().upper()

    def is_password(self, stored: str) -> bool:
        return not stored or bool(self._shape.fullmatch(stored))

    def fits(self, stored: str, password: bytes) -> bool:
        return hmac.compare_digest(stored.encode(), self.stored(password).encode())


class _Ed25519:
    """The public key of an Ed25519 key that is made of the password (MariaDB, plugin/auth_ed25519)."""

    # The server takes only what looks like a key; nobody can know the private one of this.
    nothing = b64encode(sha256(b"nobody logs in with this").digest()).decode().rstrip("=")
    _shape = re.compile(r"[A-Za-z0-9+/]{43}")

    def stored(self, password: bytes) -> str:
        from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp

        scalar = bytearray(sha512(password).digest()[:32])
        # RFC 8032, 5.1.5: the scalar is a multiple of eight of a fixed length.
        scalar[0] &= 248
        scalar[31] = scalar[31] & 127 | 64
        return b64encode(crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))).decode().rstrip("=")

    def is_password(self, stored: str) -> bool:
        return stored != self.nothing and bool(self._shape.fullmatch(stored))

    def fits(self, stored: str, password: bytes) -> bool:
        return hmac.compare_digest(stored.encode(), self.stored(password).encode())


class _CachingSha2:
    """SHA-crypt with SHA-256 and twenty bytes of salt: `$A$005$SALT` and 43 signs (MySQL, sha2_password_common.cc)."""

    # What MySQL itself gives accounts that nobody shall log in with, such as mysql.sys.
    nothing = "$A$005$THISISACOMBINATIONOFINVALIDSALTANDPASSWORDTHATMUSTNEVERBRBEUSED"
    _shape = re.compile(r"\$A\$([0-9A-F]{3})\$([^\0]{20})([./0-9A-Za-z]{43})", re.DOTALL)

    def stored(self, password: bytes) -> str:
        if len(password) > _CACHING_SHA2_BYTES_MAX:
            raise ValueError(f"a password of {CACHING_SHA2} has at most {_CACHING_SHA2_BYTES_MAX} bytes")
        salt = "".join(secrets.choice(_CRYPT_SIGNS) for _ in range(_SALT_CHARACTERS))
        return f"$A${_ROUNDS:03X}${salt}{_sha_crypt(password, salt.encode(), _ROUNDS * 1000)}"

    def is_password(self, stored: str) -> bool:
        return not stored or (stored != self.nothing and bool(self._shape.fullmatch(stored)))

    def fits(self, stored: str, password: bytes) -> bool:
        kept = self._shape.fullmatch(stored)
        if kept is None or stored == self.nothing or len(password) > _CACHING_SHA2_BYTES_MAX:
            return False
        rounds, salt, digest = kept.groups()
        found = _sha_crypt(password, salt.encode("latin-1", errors="replace"), int(rounds, 16) * 1000)
        return hmac.compare_digest(digest, found)


PLUGINS: Final[Mapping[str, Plugin]] = {NATIVE: _Native(), ED25519: _Ed25519(), CACHING_SHA2: _CachingSha2()}


def _sha_crypt(password: bytes, salt: bytes, rounds: int) -> str:
    """Return the 43 signs of SHA-crypt with SHA-256, whose salt may be of any length.

    Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", with the numbers of its steps.
    """
    # 4 to 8: the digest of password, salt and password is worked in, by length and by the bits of the length.
    middle = sha256(password + salt + password).digest()
    first = password + salt + _repeated(middle, len(password))
    length = len(password)
    while length:
        first += middle if length & 1 else password
        length >>= 1
    digest = sha256(first).digest()
    # 13 to 20: sequences as long as password and salt.
    of_password = _repeated(sha256(password * len(password)).digest(), len(password))
    of_salt = _repeated(sha256(salt * (16 + digest[0])).digest(), len(salt))
    # 21: the rounds.
    for number in range(rounds):
        odd = number & 1
        step = of_password if odd else digest
        step += of_salt if number % 3 else b""
        step += of_password if number % 7 else b""
        step += digest if odd else of_password
        digest = sha256(step).digest()
    # 22: three bytes at a time, in an order of their own.
    signs = []
    place = 0
    for _ in range(10):
        signs += _signs((digest[place] << 16) | (digest[(place + 10) % 30] << 8) | digest[(place + 20) % 30], 4)
        place = (place + 21) % 30
    signs += _signs((digest[31] << 8) | digest[30], 3)
    return "".join(signs)


def _repeated(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _signs(number: int, count: int) -> list[str]:
    return [_CRYPT_SIGNS[(number >> 6 * place) & 0x3F] for place in range(count)]
