"""The machine that keyturn runs on, as the engine's ports: time, ids, randomness; and what a state folder must be.

Rule: nothing here knows a service, a store or the command line; it imports nothing that is not in the
standard library.
"""

from __future__ import annotations

import os
import pwd
import secrets
import socket
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID, uuid4

from engine.errors import ExitCode, KeyturnError
from engine.values import SECOND, Instant, Microseconds, Moment

T = TypeVar("T")
R = TypeVar("R")

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_KEY_BYTES: Final = 32
FINGERPRINT_KEY: Final = "fingerprint.key"
"""The file of a state folder that holds the key of fingerprints (`installation_key`)."""
_PR_SET_DUMPABLE: Final = 4
"""From linux/prctl.h: with 0 other processes of the same user can neither attach nor read the memory."""


class StateFolderUnusable(KeyturnError):
    """The state folder cannot be used: {path}: {why}."""

    exit_code = ExitCode.USAGE
    hint = "Give this user the folder for itself (mode 0700), or move it with --state or KEYTURN_STATE."


class SystemClock:
    """The port `Clock` on this machine; time since boot goes on while the machine sleeps, where it can tell."""

    def __init__(self) -> None:
        try:
            self._boot = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            self._boot = ""  # Not Linux: wall time alone is what deadlines have.
        self._since_boot: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> Moment:
        """Return wall time and time since boot."""
        uptime = time.clock_gettime_ns(self._since_boot) // 1_000
        return Moment(Instant(time.time_ns() // 1_000), self._boot, Microseconds(uptime))

    def wait(self, duration: Microseconds) -> None:
        """Sleep."""
        time.sleep(duration / SECOND)


class RandomIds:
    """The port `Ids`: random UUIDs."""

    def new(self) -> UUID:
        """Return one."""
        return uuid4()


class SystemEntropy:
    """The port `Entropy`: the operating system's generator for secrets."""

    def draw(self, count: int) -> bytes:
        """Return `count` bytes of it."""
        return secrets.token_bytes(count)


def login_name() -> str:
    """Return who runs this process: by its user id, since variables such as USER can say anything."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def process_name() -> str:
    """Return `host:pid:start`: no other process, before or after, on this host or another, is called so."""
    try:
        # Field 22 of proc(5) stat, in ticks since boot; the name in field 2 may hold spaces and brackets.
        began = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = str(time.time_ns() // 1_000_000)
    return f"{socket.gethostname()}:{os.getpid()}:{began}"


def own_folder(path: Path) -> None:
    """Make a folder that is there for this user alone; one that is there already must be so.

    Raises `StateFolderUnusable`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise StateFolderUnusable(path=path, why=error.strerror) from error
    if not stat.S_ISDIR(status.st_mode):
        raise StateFolderUnusable(path=path, why="it is not a folder")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateFolderUnusable(path=path, why=f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o})")


def installation_key(path: Path) -> bytes:
    """Return the key of fingerprints kept at `path`, made (0600) where there is none; processes at once agree.

    Losing it loses nothing but that fingerprints before and after can be compared. Raises `StateFolderUnusable`.
    """
    try:
        if not path.exists():
            _make_key(path)
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StateFolderUnusable(path=path, why="it is not a file for this user alone", advice=f"chmod 600 {path}")
        key = path.read_bytes()
    except OSError as error:
        raise StateFolderUnusable(path=path, why=error.strerror) from error
    if len(key) != _KEY_BYTES:
        raise StateFolderUnusable(path=path, why="it is damaged", advice="Put it back from a backup, or remove it.")
    return key


def _make_key(path: Path) -> None:
    """Write the key under a name of this process, and link it to its own when it is complete."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # Another process was first; its key is the one.
    finally:
        draft.unlink()


def harden() -> Callable[[], None]:
    """Keep this process's memory out of core files and debuggers, and its files from others, where possible.

    Returns what takes back the limits that a program which this process becomes would inherit.
    """
    import ctypes
    import resource

    umask = os.umask(0o077)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

    def relax() -> None:
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))

    return relax


def at_once(work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
    """Do the same with several items, each in a thread of its own; return what came of each, in their order."""
    if len(items) < 2:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=len(items), thread_name_prefix="instance") as threads:
        return list(threads.map(work, items))
