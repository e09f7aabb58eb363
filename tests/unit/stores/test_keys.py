"""A master key comes from a private key file, the keyring or a passphrase, and a wrong source is named."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import msgspec
import pytest

from adapters.stores.encrypted_file import ADAPTER, Options
from adapters.stores.encrypted_store import EncryptedFileStore
from adapters.stores.keys import Argon2idRecipe, KeyFile, OSKeyring, Passphrase, ScryptRecipe, create_key_file
from adapters.stores.refusals import WrongKey
from engine.adapter import Reference, StoreContext
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable
from engine.values import CURRENT, CredentialValue, Secret

VALUE = CredentialValue("app", Secret("canary-1"))


class InMemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring of the library's own kind, that forgets."""

    priority = 1.0
    locked = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        """Return the entry."""
        if self.locked:
            raise keyring.errors.KeyringLocked("canary-detail")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep the entry."""
        if self.locked:
            raise keyring.errors.KeyringLocked("canary-detail")
        self.entries[service, username] = password


@pytest.fixture
def os_keyring() -> Iterator[InMemoryKeyring]:
    """The keyring of the operating system, for the time of a test."""
    before, ours = keyring.get_keyring(), InMemoryKeyring()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key file as `init` makes it."""
    path = tmp_path / "master.key"
    create_key_file(path)
    return path


def test_a_new_key_file_is_private_and_random(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, in a folder 0700, and no two are alike."""
    before = os.umask(0)
    try:
        for name in ("a", "b"):
            create_key_file(tmp_path / "new" / "folder" / name)
    finally:
        os.umask(before)
    one, other = (tmp_path / "new" / "folder" / name for name in ("a", "b"))
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert KeyFile(one).master(KeyFile(one).fresh()) != KeyFile(other).master(KeyFile(other).fresh())


def test_a_key_file_is_never_overwritten(key_file: Path) -> None:
    """Whoever lost the key lost the store."""
    before = key_file.read_bytes()
    with pytest.raises(Rejected, match="never overwritten"):
        create_key_file(key_file)
    assert key_file.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o666, 0o644])
def test_a_key_file_open_to_others_is_refused(key_file: Path, mode: int) -> None:
    """The refusal says how to close it."""
    key_file.chmod(mode)
    with pytest.raises(Rejected) as refused:
        KeyFile(key_file).ready()
    assert refused.value.advice == f"Run: chmod 600 {key_file}"


def test_a_linked_key_file_is_refused(key_file: Path, tmp_path: Path) -> None:
    """A link could be turned to another file."""
    link = tmp_path / "link.key"
    link.symlink_to(key_file)
    with pytest.raises(Rejected, match="symbolic link"):
        KeyFile(link).ready()


def test_what_is_no_key_file_is_refused_without_showing_it(tmp_path: Path) -> None:
    """Its content may be another secret."""
    path = tmp_path / "other"
    for content in (
        b"",
        b"canary-other-secret",
        b"keyturn-key-1 c2hvcnQ=\n",
        b"keyturn-key-1 \xff",
        b"keyturn-key-1 !!!",
    ):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(Rejected, match="not a key file") as refused:
            KeyFile(path).ready()
        assert "canary" not in str(refused.value)


def test_a_missing_key_file_is_our_own_login(tmp_path: Path) -> None:
    """Without it nothing can be done until a person puts it back."""
    with pytest.raises(OwnLoginRejected, match="no such file"):
        KeyFile(tmp_path / "none").ready()


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is not a file is refused at once."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Rejected, match="not a regular file"):
        KeyFile(tmp_path / "pipe").ready()


def test_the_keyring_is_given_a_key_with_the_first_write(tmp_path: Path, os_keyring: InMemoryKeyring) -> None:
    """One entry for each file, and opening it again finds it."""
    for name in ("a", "b"):
        store = EncryptedFileStore(tmp_path / name, OSKeyring())
        assert store.read("db", CURRENT) is None
        store.promote("db", "v1", VALUE, expected=None)
        assert EncryptedFileStore(tmp_path / name, OSKeyring()).read("db", CURRENT) == VALUE
    assert len(set(os_keyring.entries.values())) == len(os_keyring.entries) == 2


def test_a_keyring_without_the_key_says_which_entry(tmp_path: Path, os_keyring: InMemoryKeyring) -> None:
    """Another user or machine has another keyring."""
    EncryptedFileStore(tmp_path / "a", OSKeyring()).stage("db", "v1", VALUE)
    ((service, entry),) = os_keyring.entries
    os_keyring.entries.clear()
    with pytest.raises(OwnLoginRejected, match=f"no entry {service}/{entry}"):
        EncryptedFileStore(tmp_path / "a", OSKeyring()).read("db", "v1")


def test_a_locked_keyring_may_be_opened_later(tmp_path: Path, os_keyring: InMemoryKeyring) -> None:
    """Nothing happened; the library's own words are not repeated."""
    os_keyring.locked = True
    with pytest.raises(Unavailable) as refused:
        EncryptedFileStore(tmp_path / "a", OSKeyring()).stage("db", "v1", VALUE)
    assert "canary" not in str(refused.value)
    assert not (tmp_path / "a").exists()


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what to install."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(Rejected) as refused:
        OSKeyring().ready()
    assert refused.value.advice == "Run: pip install 'keyturn[keyring]'"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [ScryptRecipe, Argon2idRecipe])
def test_a_passphrase_is_stretched_once_an_instance(
    tmp_path: Path, recipe: type[ScryptRecipe | Argon2idRecipe]
) -> None:
    """With the default costs the first read takes long, and a hundred more take less than that."""
    store = EncryptedFileStore(tmp_path / "a", Passphrase(lambda: Secret("canary-passphrase"), recipe))
    started = time.perf_counter()
    store.stage("db", "v1", VALUE)
    first = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(100):
        store.read("db", "v1")
    assert time.perf_counter() - started < first
    assert first > 0.05


def test_a_wrong_passphrase_is_a_wrong_key_until_it_is_right(tmp_path: Path) -> None:
    """A running process takes the right one as soon as it is given."""
    given = ["canary-right"]
    store = EncryptedFileStore(
        tmp_path / "a", Passphrase(lambda: Secret(given[0]), lambda salt: ScryptRecipe(salt, n=2))
    )
    store.stage("db", "v1", VALUE)
    other = EncryptedFileStore(tmp_path / "a", Passphrase(lambda: Secret(given[0]), ScryptRecipe))
    given[0] = "canary-wrong"
    with pytest.raises(WrongKey) as refused:
        other.read("db", "v1")
    assert "canary" not in str(refused.value)
    given[0] = "canary-right"
    assert other.read("db", "v1") == VALUE


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="empty"):
        EncryptedFileStore(tmp_path / "a", Passphrase(lambda: Secret(""))).stage("db", "v1", VALUE)


def test_another_source_than_the_file_has_is_named(tmp_path: Path, key_file: Path) -> None:
    """The message says which key the file has and which one is configured."""
    EncryptedFileStore(tmp_path / "a", KeyFile(key_file)).stage("db", "v1", VALUE)
    with pytest.raises(WrongKey, match="sealed with a key file, and a passphrase is configured"):
        EncryptedFileStore(tmp_path / "a", Passphrase(lambda: Secret("canary"))).read("db", "v1")


@pytest.mark.parametrize(
    "given",
    [
        {"path": "a"},
        {"path": "", "key_file": "k"},
        {"path": "a", "key_file": "k", "key": "keyring"},
        {"path": "a", "key": "passphrase"},
        {"path": "a", "key": "keyring", "passphrase": "env://X"},
        {"path": "a", "key": "passphrase", "passphrase": "store://local/x"},
        {"path": "a", "key": "other"},
        {"path": "a", "key_file": "k", "unknown": 1},
    ],
    ids=str,
)
def test_exactly_one_key_source_is_configured(given: dict[str, object]) -> None:
    """Half or doubly said is refused when the configuration is read."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Options, dec_hook=lambda _, raw: Reference.parse(raw))


@pytest.mark.slow
def test_the_configured_source_is_used(tmp_path: Path, key_file: Path) -> None:
    """Paths start at the folder of the configuration, and the passphrase is read through the context."""
    context = StoreContext("local", tmp_path, tmp_path, lambda reference: Secret(f"canary-{reference}"))
    by_file = Options(path="by-file", key_file=key_file.name)
    by_passphrase = Options(path="by-passphrase", key="passphrase", passphrase=Reference("env", "X"), kdf="argon2id")
    for options in (by_file, by_passphrase):
        ADAPTER.build(options, context).stage("db", "v1", VALUE)
        assert ADAPTER.build(options, context).read("db", "v1") == VALUE
    assert b"argon2id" in (tmp_path / "by-passphrase").read_bytes()
    with pytest.raises(PortError):
        ADAPTER.build(Options(path="by-file", key="keyring"), context).read("db", "v1")
