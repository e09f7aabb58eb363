"""An encrypted file is opened whole and unchanged with its key, and five causes of refusal are told apart."""

from __future__ import annotations

import os
import struct
from hashlib import sha256

import msgspec
import pytest

from adapters.stores import envelope
from adapters.stores.keys import Argon2idRecipe, KeyFileRecipe, KeyRecipe, ScryptRecipe
from adapters.stores.refusals import NewerFormat, NotAStore, TamperedFile, TornFile, WrongKey
from engine.errors import ExitCode, Rejected

MASTER = bytes(range(32))
PLAIN = b"canary-plain-text"
PREFIX_BYTES = 8 + 2 + 4 + 8
DIGEST_BYTES = 32


def seal(plain: bytes = PLAIN, *, key: KeyRecipe | None = None) -> bytes:
    """Return a file sealed with the master key of these tests."""
    return envelope.seal(plain, key=key or KeyFileRecipe(), master=MASTER)


def unseal(content: bytes, *, master: bytes = MASTER) -> bytes:
    """Return the plain body of a file."""
    return envelope.unseal(envelope.parse(content, what="opening"), master=master, what="opening")


def forged(content: bytes, header: envelope.Header) -> bytes:
    """Return the file with another header, its digest made right again, as a forger without the key can."""
    _, _, header_length, body_length = struct.unpack_from(">8sHIQ", content)
    raw = msgspec.msgpack.encode(header)
    prefix = struct.pack(">8sHIQ", b"keyturn\0", 1, len(raw), body_length)
    body = content[PREFIX_BYTES + DIGEST_BYTES + header_length :]
    return prefix + sha256(prefix + raw).digest() + raw + body


@pytest.mark.parametrize("plain", [b"", PLAIN, os.urandom(100_000)], ids=["empty", "short", "long"])
def test_what_was_sealed_is_opened(plain: bytes) -> None:
    """The body comes back, and is not to be seen in the file."""
    content = seal(plain)
    assert unseal(content) == plain
    assert not plain or plain not in content


def test_no_two_files_share_salt_nonce_or_bytes() -> None:
    """Each write has a data key of its own, so that no nonce repeats under one key."""
    headers = [envelope.parse(seal(), what="").header for _ in range(50)]
    for field in ("salt", "nonce", "check"):
        assert len({getattr(header, field) for header in headers}) == 50


def test_a_wrong_key_is_told_from_a_changed_file() -> None:
    """The check value tells that the key is wrong before anything is decrypted."""
    with pytest.raises(WrongKey) as refused:
        unseal(seal(), master=bytes(32))
    assert refused.value.exit_code is ExitCode.LOGIN_REFUSED


def test_every_cut_is_torn() -> None:
    """Whatever is missing at the end, the file is called torn: never tampered with, never a wrong key."""
    content = seal()
    for length in range(len(content)):
        with pytest.raises(TornFile):
            unseal(content[:length])


def test_every_changed_byte_is_refused_and_never_blamed_on_the_key() -> None:
    """Each single bit flip behind the prefix is tampering, with the right key and with a wrong one."""
    content = seal()
    for position in range(PREFIX_BYTES, len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        with pytest.raises(TamperedFile):
            unseal(bytes(changed))


def test_a_changed_byte_of_the_prefix_is_refused() -> None:
    """Magic, format and lengths are what is looked at first; each says what it saw."""
    content = seal()
    expected: dict[range, tuple[type[Rejected], ...]] = {
        range(8): (NotAStore,),
        range(8, 10): (NewerFormat,),
        range(10, 22): (TamperedFile, TornFile),
    }
    for positions, refusal in expected.items():
        for position in positions:
            changed = bytearray(content)
            changed[position] ^= 0x01
            with pytest.raises(refusal):
                unseal(bytes(changed))


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(TamperedFile):
        unseal(seal() + b"\0")


@pytest.mark.parametrize("content", [b"DB_PASSWORD=canary\n", b"SQLite format 3\0" + bytes(100), b"\x89PNG\r\n"])
def test_another_kind_of_file_is_not_a_store(content: bytes) -> None:
    """The path of the store may name any file by mistake."""
    with pytest.raises(NotAStore) as refused:
        unseal(content)
    assert "canary" not in str(refused.value)


def test_a_newer_format_is_named() -> None:
    """The message says which format the file has, and which one is known."""
    content = bytearray(seal())
    content[8:10] = (7).to_bytes(2, "big")
    with pytest.raises(NewerFormat, match="format is 7, and this keyturn knows 1"):
        unseal(bytes(content))


@pytest.mark.parametrize("field", ["nonce", "key"])
def test_a_forged_header_is_refused(field: str) -> None:
    """The whole header is authenticated: making its digest right does not help."""
    content = seal(key=ScryptRecipe(bytes(16)))
    header = envelope.parse(content, what="").header
    other = {"nonce": bytes(12), "key": ScryptRecipe(bytes(16), n=2)}[field]
    with pytest.raises(TamperedFile):
        unseal(forged(content, msgspec.structs.replace(header, **{field: other})))


def test_bodies_cannot_be_exchanged_between_files() -> None:
    """A body fits its own header only, although both were sealed with one key."""
    one, other = seal(b"canary-one"), seal(b"canary-two")
    length = len(b"canary-one") + 16
    with pytest.raises(TamperedFile):
        unseal(one[:-length] + other[-length:])


@pytest.mark.parametrize(
    "recipe",
    [
        ScryptRecipe(bytes(16), n=1 << 30),
        ScryptRecipe(bytes(16), n=1000),
        ScryptRecipe(bytes(16), p=10_000),
        ScryptRecipe(b""),
        Argon2idRecipe(bytes(16), memory_kib=1 << 31),
        Argon2idRecipe(bytes(16), iterations=1 << 30),
        Argon2idRecipe(bytes(16), lanes=0),
    ],
    ids=str,
)
def test_costs_beyond_reason_are_refused_before_they_are_paid(recipe: KeyRecipe) -> None:
    """A forged header cannot make keyturn use all memory or run for ever."""
    with pytest.raises(TamperedFile):
        envelope.parse(seal(key=recipe), what="opening")


def test_the_five_refusals_have_names_and_advice_of_their_own() -> None:
    """A person, and a script that reads `kind`, can tell them apart; the runner sees `Rejected`."""
    refusals = [WrongKey, TornFile, TamperedFile, NotAStore, NewerFormat]
    assert len({refusal.kind for refusal in refusals}) == 5
    assert len({refusal.hint for refusal in refusals}) == 5
    assert all(issubclass(refusal, Rejected) for refusal in refusals)
