"""Where the master key of an encrypted file comes from: a key file, the OS keyring, or a passphrase.

Rule 1: a master key is 32 bytes and is never written, logged or shown; a key file is made here and nowhere else.
Rule 2: `cryptography` and `keyring` are imported where they are used, so that naming a source loads neither.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeAlias

import msgspec

from adapters import files
from adapters.stores.refusals import WrongKey
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.values import Secret

KEY_BYTES = 32
_KEY_FILE_MARK = "keyturn-key-1 "
_KEYRING_SERVICE = "keyturn"
_MEMORY_BYTES_MAX = 1 << 30


class KeyFileRecipe(msgspec.Struct, frozen=True, tag="key-file"):
    """The master key stands in a key file."""


class KeyringRecipe(msgspec.Struct, frozen=True, tag="keyring"):
    """The master key stands in the keyring of the operating system, under service `keyturn` and this entry."""

    entry: str


class ScryptRecipe(msgspec.Struct, frozen=True, tag="scrypt"):
    """The master key is derived from a passphrase by scrypt (RFC 7914); 128 MiB by default."""

    salt: bytes
    n: int = 1 << 17
    r: int = 8
    p: int = 1


class Argon2idRecipe(msgspec.Struct, frozen=True, tag="argon2id"):
    """The master key is derived from a passphrase by Argon2id; RFC 9106, second recommended option."""

    salt: bytes
    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


KeyRecipe: TypeAlias = KeyFileRecipe | KeyringRecipe | ScryptRecipe | Argon2idRecipe
"""How the master key is had, as it stands in the header of the file."""


class KeySource(Protocol):
    """Gives the master key of a file."""

    def fresh(self) -> KeyRecipe:
        """Return the recipe for a file that is about to be made; a keyring is given a key for it."""
        ...

    def master(self, recipe: KeyRecipe) -> bytes:
        """Return the 32 bytes for a file with this recipe; `WrongKey` where it is for another source."""
        ...

    def ready(self) -> str:
        """Return in a few words that the source can be used; raises the outcome where it cannot. Changes nothing."""
        ...


def create_key_file(path: Path) -> None:
    """Make a new random key file, mode 0600, in a folder that is made if need be; never overwrites one."""
    what = f"making the key file {path}"
    files.make_folder(path.parent, what=what)
    text = _KEY_FILE_MARK + base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode() + "\n"
    files.create_private(path, text.encode(), what=what)


class KeyFile:
    """A file with a random key that `create_key_file` made, for this user's eyes only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fresh(self) -> KeyRecipe:
        """Return the recipe, which has nothing to say but the kind."""
        return KeyFileRecipe()

    def master(self, recipe: KeyRecipe) -> bytes:
        """Read the key; `Rejected` where the file is a link, open to others, not ours or not a key file."""
        if not isinstance(recipe, KeyFileRecipe):
            raise _other_source(recipe, "a key file")
        return self._read()

    def ready(self) -> str:
        """Return that the key file can be read and is private."""
        self._read()
        return f"the key file {self._path} is readable and private"

    def _read(self) -> bytes:
        what = f"reading the key file {self._path}"
        if self._path.is_symlink():
            raise Rejected(what=what, why="it is a symbolic link", advice="Name the key file itself.")
        opened = files.read(self._path, what=what)
        if opened is None:
            raise OwnLoginRejected(
                what=what,
                why="there is no such file",
                advice="Put the key file back; keyturn init makes one for a new store.",
            )
        if files.is_open_to_others(opened.status):
            raise Rejected(what=what, why="its group or everybody may use it", advice=f"Run: chmod 600 {self._path}")
        if os.geteuid() not in (0, opened.status.st_uid) and opened.status.st_uid != 0:
            raise Rejected(what=what, why="it belongs to another user")
        try:
            text = opened.content.decode("ascii").strip()
            key = base64.b64decode(text.removeprefix(_KEY_FILE_MARK), altchars=b"-_", validate=True)
        except (UnicodeDecodeError, binascii.Error):
            raise Rejected(what=what, why="it is not a key file of keyturn") from None
        if not text.startswith(_KEY_FILE_MARK) or len(key) != KEY_BYTES:
            raise Rejected(what=what, why="it is not a key file of keyturn")
        return key


class OSKeyring:
    """The keyring of the operating system, through the library `keyring`."""

    def fresh(self) -> KeyRecipe:
        """Put a new random key into the keyring under a new entry."""
        entry = os.urandom(16).hex()
        key = base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()
        library = _keyring()
        try:
            library.set_password(_KEYRING_SERVICE, entry, key)
        except library.errors.KeyringError as error:
            raise Unavailable(what="writing to the keyring", why=type(error).__name__) from None
        return KeyringRecipe(entry)

    def master(self, recipe: KeyRecipe) -> bytes:
        """Return the key that the keyring holds for the file."""
        if not isinstance(recipe, KeyringRecipe):
            raise _other_source(recipe, "the keyring")
        library = _keyring()
        try:
            text = library.get_password(_KEYRING_SERVICE, recipe.entry)
        except library.errors.KeyringError as error:
            raise Unavailable(what="reading the keyring", why=type(error).__name__) from None
        if text is None:
            raise OwnLoginRejected(
                what="reading the keyring",
                why=f"it has no entry {_KEYRING_SERVICE}/{recipe.entry}",
                advice="Unlock the keyring, or use the one of the user and machine that made the store.",
            )
        try:
            return base64.b64decode(text, altchars=b"-_", validate=True)
        except binascii.Error:
            raise WrongKey(what="reading the keyring", why="its entry for this store is not a key") from None

    def ready(self) -> str:
        """Return which keyring would be used."""
        return f"the keyring is {type(_keyring().get_keyring()).__name__}"


class Passphrase:
    """A passphrase, read when it is needed and stretched by the function that the file's header names."""

    def __init__(self, read: Callable[[], Secret], recipe: Callable[[bytes], KeyRecipe] = ScryptRecipe) -> None:
        """Take how the passphrase is read, and the recipe that a new file is given for a salt."""
        self._read = read
        self._recipe = recipe

    def fresh(self) -> KeyRecipe:
        """Return the recipe with a random salt."""
        return self._recipe(os.urandom(16))

    def master(self, recipe: KeyRecipe) -> bytes:
        """Stretch the passphrase: a fraction of a second and some 100 MB by default, so keep the result."""
        passphrase = self._text()
        if isinstance(recipe, ScryptRecipe):
            return _scrypt(passphrase, recipe)
        if isinstance(recipe, Argon2idRecipe):
            return _argon2id(passphrase, recipe)
        raise _other_source(recipe, "a passphrase")

    def ready(self) -> str:
        """Return that there is a passphrase."""
        self._text()
        return "the passphrase can be read"

    def _text(self) -> bytes:
        text = self._read().reveal()
        if not text:
            raise Rejected(what="reading the passphrase", why="it is empty")
        return text.encode("utf-8", "surrogateescape")


def is_bearable(recipe: KeyRecipe) -> bool:
    """Tell whether the costs in a header are within reason: it is read before anything vouches for it."""
    if isinstance(recipe, ScryptRecipe):
        n, r, p = recipe.n, recipe.r, recipe.p
        sized = n > 1 and n & (n - 1) == 0 and 1 <= r <= 64 and 1 <= p <= 16
        return sized and 128 * n * r <= _MEMORY_BYTES_MAX and len(recipe.salt) >= 16
    if isinstance(recipe, Argon2idRecipe):
        sized = 1 <= recipe.iterations <= 64 and 1 <= recipe.lanes <= 64
        within = 8 * recipe.lanes <= recipe.memory_kib <= _MEMORY_BYTES_MAX // 1024
        return sized and within and len(recipe.salt) >= 16
    return True


def _scrypt(passphrase: bytes, recipe: ScryptRecipe) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=recipe.salt, length=KEY_BYTES, n=recipe.n, r=recipe.r, p=recipe.p).derive(passphrase)


def _argon2id(passphrase: bytes, recipe: Argon2idRecipe) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        function = Argon2id(
            salt=recipe.salt,
            length=KEY_BYTES,
            iterations=recipe.iterations,
            lanes=recipe.lanes,
            memory_cost=recipe.memory_kib,
        )
    except UnsupportedAlgorithm:
        raise Rejected(
            what="deriving the key with argon2id",
            why="the OpenSSL of this installation does not have it (3.2 or newer does)",
            advice="Install the cryptography wheel from PyPI, or use kdf: scrypt for a new store.",
        ) from None
    return function.derive(passphrase)


def _keyring() -> ModuleType:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise Rejected(
            what="using the keyring",
            why="the extra 'keyring' is not installed",
            advice="Run: pip install 'keyturn[keyring]'",
        ) from None
    return keyring


def _other_source(recipe: KeyRecipe, given: str) -> WrongKey:
    made = {KeyFileRecipe: "a key file", KeyringRecipe: "a key in the keyring"}.get(type(recipe), "a passphrase")
    return WrongKey(what="opening the encrypted file", why=f"it was sealed with {made}, and {given} is configured")
