"""Files that are replaced whole or not at all, and the lock beside each.

Rule 1: this file does not know what the bytes mean; no key, no label, no format.
Rule 2: every `OSError` becomes one of the three outcomes here. Until the rename nothing has happened
(`Unavailable`, or `Rejected` where trying again is useless); when the rename is done and only the sync of
the folder failed, it is `Uncertain`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.deadlines import require_time, wall_time
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.values import Instant

LOCK_SECONDS_MAX = 10.0
"""A writer holds the lock for some milliseconds; one that is frozen must not freeze us too."""

SIZE_MAX = 64 * 1024 * 1024
"""Bytes that are read of one file: a store of credentials is far smaller."""

_POLL_SECONDS = 0.005
_ACL = "system.posix_acl_access"

_LASTING = {
    errno.EACCES: "Give the user that runs keyturn access to it.",
    errno.EPERM: "Give the user that runs keyturn access to it.",
    errno.EROFS: "It stands on a read-only file system.",
    errno.ENOENT: "Create the folder first.",
    errno.ENOTDIR: "A part of the path is not a folder.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ELOOP: "Name the file itself instead of a symbolic link.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EBUSY: "A file that is mounted by itself cannot be replaced; mount its folder.",
}
"""What does not go away by waiting, and what a person does about it."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The bytes of a file and its status, taken from one open descriptor."""

    content: bytes
    status: os.stat_result


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an `OSError` of the block into `Rejected` or `Unavailable`; the text has path and cause, never bytes."""
    try:
        yield
    except OSError as error:
        raise refusal(what, error) from None


def refusal(what: str, error: OSError) -> PortError:
    """Return the outcome that an `OSError` before the rename stands for."""
    why = _cause(error)
    if error.errno in _LASTING:
        return Rejected(what=what, why=why, advice=_LASTING[error.errno])
    return Unavailable(what=what, why=why)


def read(path: Path, *, what: str) -> Opened | None:
    """Return the whole file, or None where there is none; a symbolic link or anything but a file is `Rejected`."""
    with translated(what):
        try:
            # O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Rejected(what=what, why="it is not a regular file")
            if status.st_size > SIZE_MAX:
                raise Rejected(what=what, why=f"it has more than {SIZE_MAX} bytes")
            return Opened(file.read(), status)


def replace(
    path: Path, content: bytes, *, what: str, like: os.stat_result | None = None, deadline: Instant | None = None
) -> None:
    """Put `content` in the place of `path`, durably: after a crash the old or the new file is there, whole.

    Where `deadline` has passed nothing happens. Who stands still from here to the rename holds `locked(path)`, so that
    nobody else has written before.
    The new file has mode 0600, or owner, group, mode and access list of the old one where `like` is its status.
    The caller holds `locked(path)`, so that a temporary file found here is one that a killed process left.
    """
    temporary = path.with_name(f".{path.name}.new")
    with translated(what):
        with suppress(FileNotFoundError):
            temporary.unlink()
        try:
            _write(temporary, content, path=path, like=like)
            require_time(deadline, now=wall_time(), what=what)
            temporary.rename(path)
        except (OSError, Unavailable):
            with suppress(OSError):
                temporary.unlink()
            raise
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise Uncertain(what=what, why=f"the new file is in place, but not yet safe: {_cause(error)}") from None


def confirm(path: Path, *, what: str) -> None:
    """Make durable what stands in `path` already: whoever wrote it may have died before it was."""
    with translated(what):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(path.parent)


def create_private(path: Path, content: bytes, *, what: str) -> None:
    """Write a new file, mode 0600, durably; a file that is there already is `Rejected` and left alone."""
    with translated(what):
        try:
            _write(path, content, path=path, like=None)
        except FileExistsError:
            raise Rejected(what=what, why="it is there already, and is never overwritten") from None
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        sync_folder(path.parent)


def make_folder(folder: Path, *, what: str) -> None:
    """Create `folder` and what is missing above it, mode 0700, durably; what is there stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent, what=what)
    with translated(what), suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, what: str, seconds_max: float = LOCK_SECONDS_MAX) -> Iterator[None]:
    """Hold the lock of `path` while the block runs, against threads and processes; the kernel frees it at death.

    The lock file stays: deleting it would let two processes hold different locks. `Unavailable` after `seconds_max`.
    """
    with translated(what):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path.with_name(f".{path.name}.lock"), flags, 0o600)
    try:
        _wait(descriptor, what=what, seconds_max=seconds_max)
        yield
    finally:
        os.close(descriptor)


def is_open_to_others(status: os.stat_result) -> bool:
    """Tell whether group or others may do anything with the file."""
    return bool(stat.S_IMODE(status.st_mode) & 0o077)


def _write(target: Path, content: bytes, *, path: Path, like: os.stat_result | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(target, flags, 0o600)
    try:
        if like is None:
            os.fchmod(descriptor, 0o600)
        else:
            _resemble(descriptor, path, like)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resemble(descriptor: int, path: Path, like: os.stat_result) -> None:
    """Give the new file owner, group, access list and mode of the old, so that its readers can still read it."""
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(descriptor, like.st_uid, like.st_gid)
    if hasattr(os, "listxattr") and _ACL in os.listxattr(path):
        os.setxattr(descriptor, _ACL, os.getxattr(path, _ACL))
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _cause(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _wait(descriptor: int, *, what: str, seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Unavailable(
                    what=what,
                    why=f"another process has held the lock beside it for {seconds_max:g} s",
                    advice="Look for a keyturn process that is stopped, and let it go on or end it.",
                ) from None
            time.sleep(_POLL_SECONDS)
        except OSError as error:
            raise refusal(what, error) from None
        else:
            return
