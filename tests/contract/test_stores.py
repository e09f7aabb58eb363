"""Every store keeps the contract of its kind, built as the configuration builds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from adapters.stores import encrypted_file, env_file, memory
from adapters.stores.encrypted_store import EncryptedFileStore
from adapters.stores.keys import Argon2idRecipe, KeyRecipe, Passphrase, ScryptRecipe, create_key_file
from engine.adapter import Reference, StoreAdapter, StoreContext
from engine.ports import SecretStore
from engine.values import Secret
from tests.contract.stores import OpenStore, PublishingStoreContract, VersionedStoreContract


def build(adapter: StoreAdapter, folder: Path, **options: object) -> SecretStore:
    """Return a store as the configuration would build it."""
    context = StoreContext("local", folder, folder, lambda _: Secret("canary-passphrase"))
    given = msgspec.convert(options, adapter.options, dec_hook=lambda _, raw: Reference.parse(raw))
    return adapter.build(given, context)


class TestMemoryStore(VersionedStoreContract):
    """In this process only."""

    persistent = False

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """Return the function that opens it."""
        return lambda: build(memory.ADAPTER, tmp_path)


class TestEncryptedFileWithKeyFile(VersionedStoreContract):
    """The key stands in a key file."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """Return the function that opens it."""
        create_key_file(tmp_path / "master.key")
        return lambda: build(encrypted_file.ADAPTER, tmp_path, path="secrets.kt", key_file="master.key")


def _cheap_scrypt(salt: bytes) -> KeyRecipe:
    return ScryptRecipe(salt, n=2, r=1)


def _cheap_argon2id(salt: bytes) -> KeyRecipe:
    return Argon2idRecipe(salt, memory_kib=8, iterations=1, lanes=1)


@pytest.fixture(params=[_cheap_scrypt, _cheap_argon2id], ids=["scrypt", "argon2id"])
def recipe(request: pytest.FixtureRequest) -> Callable[[bytes], KeyRecipe]:
    """How a passphrase is stretched; cheaply, for the contract is not about its cost."""
    chosen: Callable[[bytes], KeyRecipe] = request.param
    return chosen


class TestEncryptedFileWithPassphrase(VersionedStoreContract):
    """The key is made from a passphrase."""

    @pytest.fixture
    def open_store(self, tmp_path: Path, recipe: Callable[[bytes], KeyRecipe]) -> OpenStore:
        """Return the function that opens it."""
        key = Passphrase(lambda: Secret("canary-passphrase"), recipe)
        return lambda: EncryptedFileStore(tmp_path / "secrets.kt", key)


class TestDotenvFile(PublishingStoreContract):
    """A dotenv file, with quotes where they are needed."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """Return the function that opens it."""
        return lambda: build(env_file.ADAPTER, tmp_path, path="app.env")


class TestBareDotenvFile(PublishingStoreContract):
    """A dotenv file without quotes."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """Return the function that opens it."""
        return lambda: build(env_file.ADAPTER, tmp_path, path="app.env", quotes="never")


@pytest.mark.parametrize("suffix", ["json", "yaml"])
class TestStructuredFile(PublishingStoreContract):
    """A JSON or YAML file."""

    @pytest.fixture
    def open_store(self, tmp_path: Path, suffix: str) -> OpenStore:
        """Return the function that opens it."""
        return lambda: build(env_file.ADAPTER, tmp_path, path=f"app.{suffix}")
