"""Who drives a rotation, among the processes of one machine: a locked file with a lease in it, while it is driven.

Rule 1: a file is put in its place, and taken out of it, under the guard of the folder alone; a lease is renewed
without it, in the file that its holder has open, so that it never writes to a file of another one.
Rule 2: time is counted since boot, so that no jump of the wall clock makes a lease longer or shorter.
Rule 3: a lease that has run out is not renewed before it was seen, under the guard, that nobody took it over.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import UUID
from zlib import crc32

import msgspec

from adapters.renewing import RENEWER
from adapters.system import StateFolderUnusable, SystemClock, process_name
from engine.errors import ExitCode, Fenced, KeyturnError, OwnedElsewhere
from engine.ports import Clock
from engine.values import SECOND, Microseconds, Moment

GUARD: Final = "guard"
"""The file whose lock is the guard of the folder. It stays: a removed one could be locked twice."""

_GUARD_SECONDS_MAX: Final = 10.0
"""Under the guard a process makes some ten calls of the system; one that stands still there must not freeze us too."""

_POLL_SECONDS: Final = 0.001
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_RECORD_BYTES_MAX: Final = 1024


class HoldLost(KeyturnError):
    """Rotation {rotation_id} is not driven any further by this process, which could not renew its lease: {why}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn resume {rotation_id} drives it on."


class Lease(msgspec.Struct, frozen=True):
    """What the file of a rotation says: who holds it, and from when to when. Times are microseconds since boot."""

    owner: str
    boot: str
    renewed: Microseconds
    until: Microseconds

    def has_run_out(self, now: Moment) -> bool:
        """Tell whether its holder stood still for longer than it said that it would; never of another boot."""
        return self.boot == now.boot and now.uptime >= self.until

    def told(self, now: Moment) -> str:
        """Say for people since when it was not renewed, and when it can be taken over."""
        ago, left = (now.uptime - self.renewed) / SECOND, (self.until - now.uptime) / SECOND
        return f"its lease was renewed {ago:.1f} s ago and can be taken over in {left:.1f} s, unless it is renewed"


_NO_LEASE: Final = "its file says nothing of a lease, so that it keeps it until it ends"
"""Of a file that was damaged by hand, or is from a keyturn that had no leases."""


class FileOwnership:
    """The port `Ownership` for the processes of one machine.

    The kernel lets go of a lock when its process dies, however it dies. A process that is stopped keeps its lock, and
    loses the rotation when its lease has run out. One that works keeps it however long a call takes: a thread renews.
    """

    def __init__(self, folder: Path, *, lease: Microseconds, clock: Clock | None = None) -> None:
        self._folder = folder
        self._lease = lease
        self._clock = clock or SystemClock()
        self._owner = process_name()

    @property
    def owner(self) -> str:
        """Name this process: `host:pid:start`."""
        return self._owner

    @contextmanager
    def hold(self, rotation_id: UUID) -> Iterator[Callable[[], None]]:
        """Hold a rotation while the block runs.

        Raises `OwnedElsewhere` where a live process holds it, `StateFolderUnusable` where nothing can be locked. What
        is yielded raises `Fenced` once another process took over, and `HoldLost` where the lease cannot be renewed.
        """
        path = self._folder / f"{rotation_id}.lock"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with guarded(self._folder):
                self._refuse_if_held(path, rotation_id)
                hold = _Hold(path, rotation_id, self._owner, self._lease, self._clock)
        except OSError as error:
            raise StateFolderUnusable(path=path, why=error.strerror) from error
        try:
            yield hold.check
        finally:
            hold.end()

    def _refuse_if_held(self, path: Path, rotation_id: UUID) -> None:
        """Raise `OwnedElsewhere` unless there is no holder, it is dead, or its lease has run out."""
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lease, now = _read(descriptor), self._clock.now()
            if lease is None or not lease.has_run_out(now):
                owner, told = (lease.owner, lease.told(now)) if lease else ("unknown", _NO_LEASE)
                raise OwnedElsewhere(rotation_id=rotation_id, owner=owner, lease=told) from None
        finally:
            os.close(descriptor)


class _Hold:
    """One rotation that is held: its file, with a lease that another thread renews. Made under the guard."""

    def __init__(self, path: Path, rotation_id: UUID, owner: str, lease: Microseconds, clock: Clock) -> None:
        self._path = path
        self._rotation_id = rotation_id
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._process = os.getpid()
        self._until = Microseconds(0)
        """When the lease in the file has run out; never later than what stands there."""
        self._writing = Lock()
        self._descriptor = self._put_in_place()
        self._renewal = RENEWER.add(self._lease / 4 / SECOND, self._renew)

    def check(self) -> None:
        """Raise `Fenced` where another process took over, `HoldLost` where the lease ran out and cannot be renewed.

        A process that forked off does not hold what this one does. Where the lease has run out and nobody took it over
        (the machine slept), it is taken anew.
        """
        try:
            if os.getpid() != self._process or not self._is_mine():
                raise Fenced(rotation_id=self._rotation_id)
            if self._clock.now().uptime < self._until:
                return
            with guarded(self._path.parent):
                if not self._is_mine():
                    raise Fenced(rotation_id=self._rotation_id)
                self._write()
        except OSError as error:
            raise HoldLost(rotation_id=self._rotation_id, why=error.strerror) from error
        except StateFolderUnusable as error:
            raise HoldLost(rotation_id=self._rotation_id, why=error.message) from error

    def end(self) -> None:
        """Let go: the file goes if it is still the one under its name, and the lock in any case."""
        if os.getpid() == self._process:
            RENEWER.remove(self._renewal)
            # A file that stays is no harm: nobody has it locked, so that it is taken at once.
            with suppress(OSError, StateFolderUnusable):
                self._remove()
        os.close(self._descriptor)

    def _remove(self) -> None:
        if self._is_mine():
            with guarded(self._path.parent):
                if self._is_mine():
                    self._path.unlink()

    def _is_mine(self) -> bool:
        """Tell whether the file that is held is still the one that the name leads to."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except FileNotFoundError:
            return False

    def _put_in_place(self) -> int:
        """Return a locked file, complete before it has the name, where that of a dead or stopped process may be."""
        draft = self._path.with_suffix(".new")
        draft.unlink(missing_ok=True)  # Who makes one has the guard, so this one is of a process that was killed.
        descriptor = self._descriptor = os.open(draft, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write()
            draft.rename(self._path)
            self._require_mine()
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        return descriptor

    def _require_mine(self) -> None:
        """Refuse a file system that numbers its files anew: there, nobody could tell who holds what."""
        if not self._is_mine():
            raise StateFolderUnusable(path=self._path, why="its file system shows another file than the one put there")

    def _renew(self) -> None:
        """Renew the lease, four times in its length; one that was lost is not renewed."""
        # What cannot be written (a full disk) runs out, and `check` says why.
        with suppress(OSError):
            self._write(unless_run_out=True)

    def _write(self, *, unless_run_out: bool = False) -> None:
        """Write a lease from now on. The time is taken first: standing still in here makes it shorter, never longer."""
        with self._writing:
            now = self._clock.now()
            if unless_run_out and now.uptime >= self._until:
                return
            until = Microseconds(now.uptime + self._lease)
            os.pwrite(self._descriptor, _record(Lease(self._owner, now.boot, now.uptime, until)), 0)
            self._until = until


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Be the only one who puts files of holders in their place or removes them there, while the block runs.

    Raises `StateFolderUnusable` where another process keeps the guard, and OSError.
    """
    path = folder / GUARD
    descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + _GUARD_SECONDS_MAX
        while not _is_locked(descriptor):
            if time.monotonic() >= until:
                why = f"another process has had it locked for {_GUARD_SECONDS_MAX:g} s"
                advice = "Look for a keyturn process that is stopped, and let it go on or end it."
                raise StateFolderUnusable(path=path, why=why, advice=advice)
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record(lease: Lease) -> bytes:
    """Return the bytes of a lease: its check sum, and JSON on a line. A later one of the same holder is no shorter."""
    text = msgspec.json.encode(lease)
    return b"%08x %b\n" % (crc32(text), text)


def _read(descriptor: int) -> Lease | None:
    """Return the lease in an open file; None where it is not whole."""
    for _ in range(3):  # It may be renewed while it is read.
        check, _, text = os.pread(descriptor, _RECORD_BYTES_MAX, 0).strip().partition(b" ")
        if check == f"{crc32(text):08x}".encode():
            try:
                return msgspec.json.decode(text, type=Lease)
            except msgspec.DecodeError:
                return None
    return None
