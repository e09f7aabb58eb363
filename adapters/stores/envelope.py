"""The bytes of an encrypted file: prefix, header, sealed body. docs/explanation/encrypted-file-format.md tells it.

Rule 1: this file knows bytes and keys; it opens no file and does not know what the body means.
Rule 2: no key seals twice. Each write draws a fresh salt, and HKDF-SHA256 makes its data key from the master
key, so that no nonce can repeat under one key, however often the file is written.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.stores.keys import KEY_BYTES, KeyRecipe, is_bearable
from adapters.stores.refusals import NewerFormat, NotAStore, TamperedFile, TornFile, WrongKey

MAGIC: Final = b"keyturn\x00"
FORMAT: Final = 1
_PREFIX: Final = Struct(">8sHIQ")
"""Magic, format, length of the header, length of the body; big-endian."""
_DIGEST_BYTES: Final = 32
_START: Final = _PREFIX.size + _DIGEST_BYTES
_HEADER_BYTES_MAX: Final = 4096
_PURPOSE: Final = b"keyturn encrypted file 1"
_CHANGED: Final = "its bytes were changed after it was written"


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be known before the body can be opened; none of it is secret, all of it is authenticated."""

    key: KeyRecipe
    salt: bytes
    """Fresh for every write; the data key and the check value come from it and the master key."""
    check: bytes
    """Tells a wrong key before anything is decrypted."""
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file whose shape is right: its header, all bytes before the body, and the body."""

    header: Header
    before: bytes
    body: bytes


def seal(plain: bytes, *, key: KeyRecipe, master: bytes) -> bytes:
    """Return the bytes of a whole file."""
    salt, nonce = os.urandom(32), os.urandom(12)
    data_key, check = _derive(master, salt)
    header = msgspec.msgpack.encode(Header(key, salt, check, nonce))
    cipher = AESGCM(data_key)
    prefix = _PREFIX.pack(MAGIC, FORMAT, len(header), len(plain) + 16)
    before = prefix + sha256(prefix + header).digest() + header
    return before + cipher.encrypt(nonce, plain, before)


def parse(content: bytes, *, what: str) -> Sealed:
    """Return the parts of a file; raises `NotAStore`, `NewerFormat`, `TornFile` or `TamperedFile`. Needs no key."""
    if content[: len(MAGIC)] != MAGIC[: len(content)]:
        raise NotAStore(what=what, why="it is not an encrypted file of keyturn")
    if len(content) < _START:
        raise TornFile(what=what, why=f"it ends after {len(content)} bytes, within its prefix")
    _, version, header_length, body_length = _PREFIX.unpack_from(content)
    if version != FORMAT:
        raise NewerFormat(what=what, why=f"its format is {version}, and this keyturn knows {FORMAT}")
    if header_length > _HEADER_BYTES_MAX:
        raise TamperedFile(what=what, why=_CHANGED)
    before = content[: _START + header_length]
    if len(before) < _START + header_length:
        raise TornFile(what=what, why=f"it ends after {len(content)} bytes, within its header")
    header = before[_START:]
    # The digest needs no key and tells damage from a wrong key; against a forger stands the tag of the body.
    if not hmac.compare_digest(before[_PREFIX.size : _START], sha256(before[: _PREFIX.size] + header).digest()):
        raise TamperedFile(what=what, why=_CHANGED)
    body = content[_START + header_length :]
    if len(body) < body_length:
        raise TornFile(what=what, why=f"{body_length - len(body)} of {body_length} bytes of its body are missing")
    if len(body) > body_length:
        raise TamperedFile(what=what, why="there are bytes behind its end")
    return Sealed(_header(header, what=what), before, body)


def unseal(sealed: Sealed, *, master: bytes, what: str) -> bytes:
    """Return the plain body; raises `WrongKey`, or `TamperedFile` where the key is right and the bytes are not."""
    data_key, check = _derive(master, sealed.header.salt)
    if not hmac.compare_digest(check, sealed.header.check):
        raise WrongKey(what=what, why="it was sealed with another key")
    try:
        return AESGCM(data_key).decrypt(sealed.header.nonce, sealed.body, sealed.before)
    except InvalidTag:
        raise TamperedFile(what=what, why=_CHANGED) from None


def _header(raw: bytes, *, what: str) -> Header:
    try:
        header = msgspec.msgpack.decode(raw, type=Header)
    except msgspec.DecodeError:
        raise TamperedFile(what=what, why=_CHANGED) from None
    if len(header.nonce) != 12 or not is_bearable(header.key):
        raise TamperedFile(what=what, why=_CHANGED)
    return header


def _derive(master: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return the data key and the check value: two halves of one HKDF, so that neither tells of the other."""
    both = HKDF(algorithm=SHA256(), length=2 * KEY_BYTES, salt=salt, info=_PURPOSE).derive(master)
    return both[:KEY_BYTES], both[KEY_BYTES:]
