"""Format 1 of the encrypted file stays readable, and is what its page says."""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from adapters.stores import envelope
from adapters.stores.encrypted_store import EncryptedFileStore
from adapters.stores.keys import KeyFile, Passphrase, create_key_file
from engine.ports import Holdings
from engine.values import CredentialValue, Form, Secret

PASSPHRASE = "canary-passphrase"

GOLDEN = base64.b64decode(
    "a2V5dHVybgAAAQAAAJcAAAAAAAAAYN9dt1p8wj/U0IET9eTQaN12VK0qPk2Trb/y8FusmSWZhKNrZXmFpHR5cGWmc2NyeXB0pHNh"
    "bHTEEAABAgMEBQYHCAkKCwwNDg+hbs0EAKFyCKFwAaRzYWx0xCAuK/2radzAbjEPUY6lz+RG8e3TmoLkqDFG581oXMWns6VjaGVj"
    "a8QgrJDv1hDdzNmR/06dqup2drXggRtwE4OtMWf9kpgtT/Clbm9uY2XEDOlrsrAkfkfyuVCOXrN2EwYvHaxvrRmXzqowRKkxsxKI"
    "utK4IZyXdQxMVwsOdPOavwLob0X4DS8vcIYK1pberOC7EiwtJSPl9igE5yyUejqZ5PYXM3S7QFdF32MF+SWOoZw53L8lNUpwtVmm"
    "3g=="
)
"""A file as keyturn 0.1 wrote it, with scrypt (n = 1024) from the passphrase of these tests."""


def opened_by_the_page(content: bytes, master: bytes) -> Any:
    """Open a file by docs/explanation/encrypted-file-format.md alone, sharing no code with keyturn."""
    magic, version, header_length, body_length = struct.unpack(">8sHIQ", content[:22])
    assert (magic, version) == (b"keyturn\0", 1)
    header_bytes = content[54 : 54 + header_length]
    assert hashlib.sha256(content[:22] + header_bytes).digest() == content[22:54]
    header = msgspec.msgpack.decode(header_bytes)
    derivation = HKDF(algorithm=SHA256(), length=64, salt=header["salt"], info=b"keyturn encrypted file 1")
    both = derivation.derive(master)
    assert both[32:] == header["check"]
    assert len(content) == 54 + header_length + body_length
    body = AESGCM(both[:32]).decrypt(header["nonce"], content[54 + header_length :], content[: 54 + header_length])
    return msgspec.msgpack.decode(body)


def test_a_file_of_the_first_release_opens_for_ever(tmp_path: Path) -> None:
    """Values, order and labels are those that were written then."""
    file = tmp_path / "secrets.kt"
    file.write_bytes(GOLDEN)
    store = EncryptedFileStore(file, Passphrase(lambda: Secret(PASSPHRASE)))
    assert store.versions("production/app-db") == Holdings(("v1", "v2"), current="v1", pending="v2")
    assert store.read("production/app-db", "v1") == CredentialValue("app", Secret("canary-1"))
    assert store.read("production/app-db", "v2") == CredentialValue("app", Secret("canary-2"), Form.VERIFIER, "h")


def test_the_page_is_enough_to_read_a_passphrase_file() -> None:
    """The scrypt of the standard library gives the master key."""
    header = envelope.parse(GOLDEN, what="").header
    salt = msgspec.to_builtins(header.key, builtin_types=(bytes,))["salt"]
    master = hashlib.scrypt(PASSPHRASE.encode(), salt=salt, n=1024, r=8, p=1, dklen=32)
    assert opened_by_the_page(GOLDEN, master) == {
        "production/app-db": [
            [["v1", "app", "canary-1", "plain", ""], ["v2", "app", "canary-2", "verifier", "h"]],
            "v1",
            "v2",
            None,
        ]
    }


@pytest.mark.parametrize("secret", ["canary-1", "пароль"])
def test_the_page_is_enough_to_read_a_key_file(tmp_path: Path, secret: str) -> None:
    """The key stands behind its mark as base64."""
    create_key_file(tmp_path / "key")
    EncryptedFileStore(tmp_path / "store", KeyFile(tmp_path / "key")).stage(
        "p", "v1", CredentialValue("u", Secret(secret))
    )
    mark, _, key = (tmp_path / "key").read_text().strip().partition(" ")
    assert mark == "keyturn-key-1"
    held = opened_by_the_page((tmp_path / "store").read_bytes(), base64.urlsafe_b64decode(key))
    assert held == {"p": [[["v1", "u", secret, "plain", ""]], None, "v1", None]}
