"""What the rehearsal target knows: its logins, the values each accepts, and where that is kept.

Rule 1: nothing here holds a secret: of every value only a salted SHA-256 is kept, in memory and on disk.
Rule 2: what an operation means stands in memory.py; here it is only looked up, held and saved.

A plain hash, and not a slow one, is enough for values that keyturn made (128 random bits at the least: there is no
dictionary to try) and lets a simulation make millions of calls. A weak password that a person imported could be
guessed from the file; that is why the file is 0600, and why a rehearsal should not be given a real password.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Protocol

import msgspec

from engine.errors import Rejected, Unavailable
from engine.values import CredentialValue, Form

_MARK = re.compile(r"sha256\$[0-9a-f]{32}\$[0-9a-f]{64}", re.ASCII)


def mark_of(text: str, salt: bytes) -> str:
    """Return what is kept of a secret text: `sha256$SALT$DIGEST`, in hex. The salt is 16 bytes."""
    return f"sha256${salt.hex()}${sha256(salt + text.encode()).hexdigest()}"


def is_mark(text: str) -> bool:
    """Tell whether a text has the shape that `mark_of` gives."""
    return _MARK.fullmatch(text) is not None


class Held(msgspec.Struct, omit_defaults=True):
    """One value that a login accepts: its mark, the tag it was made under, its own id.

    `is_settled` tells a value that was restored, or kept when another was retired, from one that was only applied.
    """

    mark: str
    tag: str = ""
    handle: str = ""
    is_settled: bool = False

    def opens_with(self, text: str) -> bool:
        """Tell, in constant time, whether `text` is the secret of this value."""
        digest = sha256(bytes.fromhex(self.mark[7:39]) + text.encode()).hexdigest()
        return hmac.compare_digest(self.mark[40:], digest)

    def holds(self, value: CredentialValue) -> bool:
        """Tell whether this is `value`: by its secret or verifier, or by its handle where it has no secret."""
        if value.secret is None:
            return bool(value.handle) and value.handle == self.handle
        if value.form is Form.VERIFIER:
            return hmac.compare_digest(self.mark.encode(), value.revealed().encode())
        return self.opens_with(value.revealed())

    def __repr__(self) -> str:
        return f"Held(tag={self.tag!r}, handle={self.handle!r})"


class Login(msgspec.Struct, omit_defaults=True):
    """One login. `values` is the truth; `shown` is what logins still see until `behind_until`.

    `past` are marks that were valid once, kept where a value cannot be set back; `wrong` are the times of wrong
    tries. Times are microseconds.
    """

    values: list[Held] = []
    shown: list[Held] = []
    behind_until: int = 0
    past: list[str] = []
    wrong: list[int] = []

    def find(self, value: CredentialValue) -> Held | None:
        """Return the value in force that is `value`; None where the login does not accept it."""
        for held in self.values:
            if held.holds(value):
                return held
        return None


class Accounts(msgspec.Struct, omit_defaults=True):
    """The logins of one target by name."""

    logins: dict[str, Login] = {}

    def find(self, value: CredentialValue) -> Held | None:
        """Return the value in force that is `value`; None where its login does not accept it, or is none."""
        login = self.logins.get(value.username)
        return login.find(value) if login is not None else None


class Keeping(Protocol):
    """Where the accounts are between two operations."""

    def opened(self) -> AbstractContextManager[Accounts]:
        """Give the accounts to one operation at a time; what it changed stays unless it raises.

        Raises `Unavailable` or `Rejected` where they cannot be read or saved.
        """
        ...


class InProcess:
    """Accounts that live as long as the object. An operation must check before it changes anything."""

    def __init__(self) -> None:
        self._accounts = Accounts()
        self._lock = Lock()

    @contextmanager
    def opened(self) -> Iterator[Accounts]:
        """Give the accounts to one thread at a time."""
        with self._lock:
            yield self._accounts


class InFile:
    """Accounts in a JSON file of 0600: locked over processes, replaced whole, synced before an operation returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def opened(self) -> Iterator[Accounts]:
        """Lock, read, give, and save if anything changed."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(
                self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise self._unavailable(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read()
            accounts = self._decode(before)
            yield accounts
            after = msgspec.json.encode(accounts)
            if after != before:
                self._replace(after)
        finally:
            os.close(lock)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b"{}"
        except OSError as error:
            raise self._unavailable(error) from None

    def _decode(self, raw: bytes) -> Accounts:
        try:
            return msgspec.json.decode(raw, type=Accounts)
        except msgspec.DecodeError:
            raise Rejected(
                what=f"reading the rehearsal target's file {self._path}",
                why="it is damaged",
                advice="Move the file away; the rehearsal target then begins without logins.",
            ) from None

    def _replace(self, raw: bytes) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(
            what=f"using the rehearsal target's file {self._path}", why=error.strerror or "input or output failed"
        )
