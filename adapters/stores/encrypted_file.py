"""How the encrypted file is configured; the store itself is in encrypted_store.py.

Rule: nothing here loads `cryptography` before a store is built, for every start of the command line reads this.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import msgspec

from adapters.stores.keys import Argon2idRecipe, KeyFile, KeySource, OSKeyring, Passphrase, ScryptRecipe
from engine.adapter import Reference, StoreAdapter, StoreContext
from engine.ports import SecretStore


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the file is, and where its key comes from: exactly one of `key_file` and `key`.

    Raises ValueError where the key source is missing, double, or half said.
    """

    path: str
    """The encrypted file; relative to the folder of the configuration."""
    key_file: str | None = None
    """A file with a random key, as `keyturn init` makes it; relative to the folder of the configuration."""
    key: Literal["keyring", "passphrase"] | None = None
    passphrase: Reference | None = None
    """Where the passphrase is read from, with `key: passphrase`."""
    kdf: Literal["scrypt", "argon2id"] = "scrypt"
    """What stretches the passphrase of a new file; an existing file says itself what stretched its own."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("`path` is empty")
        if (self.key_file is None) == (self.key is None):
            raise ValueError("give exactly one of `key_file: PATH`, `key: keyring` and `key: passphrase`")
        if (self.key == "passphrase") != (self.passphrase is not None):
            raise ValueError("`key: passphrase` and `passphrase: REFERENCE` go together")
        if self.passphrase is not None and self.passphrase.scheme == "store":
            raise ValueError("`passphrase` is read from env://NAME or file:///PATH, not from a store")


def _source(options: Options, context: StoreContext) -> KeySource:
    if options.key_file is not None:
        return KeyFile(context.base / options.key_file)
    if options.passphrase is not None:
        recipe = ScryptRecipe if options.kdf == "scrypt" else Argon2idRecipe
        return Passphrase(partial(context.secret, options.passphrase), recipe)
    return OSKeyring()


def _build(options: Options, context: StoreContext) -> SecretStore:
    from adapters.stores.encrypted_store import EncryptedFileStore

    return EncryptedFileStore(context.base / options.path, _source(options, context))


ADAPTER = StoreAdapter(
    name="encrypted-file",
    summary="One encrypted file (AES-256-GCM) with all versions of many credentials.",
    options=Options,
    build=_build,
)
