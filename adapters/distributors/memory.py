"""Instances of a rehearsal that take what they are handed, and can be told to misbehave.

Rule 1: nothing here holds a secret: of a value only a salted SHA-256 is kept, in memory and on disk.
Rule 2: it keeps the promises of `engine.instances.Distributor` to the letter, but for the faults that it is told.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Annotated, Final, Protocol
from urllib.parse import quote

import msgspec

from engine.adapter import DistributorAdapter, DistributorContext
from engine.errors import Rejected, Unavailable, Uncertain
from engine.instances import Instance, Proof, Usage
from engine.values import CredentialValue, Instant


class Fault(StrEnum):
    """How an instance misbehaves."""

    UNAVAILABLE = "unavailable"
    """It cannot be reached."""
    REJECT = "reject"
    """It refuses every version for good."""
    LOSE_REPLY = "lose_reply"
    """It takes the version, and the answer is lost."""
    IGNORE = "ignore"
    """It answers that it was told, and goes on using what it has."""
    UNKNOWN = "unknown"
    """It never says what it uses."""


class MemoryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the instances behave."""

    looks: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """An instance proves a version only after it was looked at so often."""
    faults: tuple[Fault, ...] = ()
    instances: tuple[str, ...] = ()
    """The ids that `faults` are of; all where there are none."""


class Held(msgspec.Struct):
    """What one instance has: the version, a salted hash of its value, and how many looks do not show it yet."""

    version: str
    mark: str
    behind: int = 0


class Holdings(msgspec.Struct):
    """What each instance has, by id."""

    held: dict[str, Held] = {}


class Keeping(Protocol):
    """Where the holdings are between two operations."""

    def opened(self) -> AbstractContextManager[Holdings]:
        """Give the holdings to one operation at a time; what it changed stays. Raises `Unavailable` or `Rejected`."""
        ...


class InProcess:
    """Holdings that live as long as the object."""

    def __init__(self) -> None:
        self.holdings = Holdings()
        self._lock = Lock()

    @contextmanager
    def opened(self) -> Iterator[Holdings]:
        """Give the holdings to one thread at a time."""
        with self._lock:
            yield self.holdings


class InFile:
    """Holdings in a JSON file of 0600, locked over processes and threads, and replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def opened(self) -> Iterator[Holdings]:
        """Lock, read, give, and save if anything changed."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._path.with_suffix(".lock"), flags, 0o600)
        except OSError as error:
            raise self._unavailable(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._path.read_bytes() if self._path.exists() else b"{}"
            holdings = self._decoded(before)
            yield holdings
            after = msgspec.json.encode(holdings)
            if after != before:
                fresh = self._path.with_suffix(".new")
                with os.fdopen(os.open(fresh, flags | os.O_TRUNC, 0o600), "wb") as file:
                    file.write(after)
                fresh.replace(self._path)
        except OSError as error:
            raise self._unavailable(error) from None
        finally:
            os.close(lock)

    def _decoded(self, raw: bytes) -> Holdings:
        try:
            return msgspec.json.decode(raw, type=Holdings)
        except msgspec.DecodeError:
            raise Rejected(what="using the rehearsal's instances", why=f"{self._path} is damaged") from None

    def _unavailable(self, error: OSError) -> Unavailable:
        why = error.strerror or "input or output failed"
        return Unavailable(what=f"using the rehearsal's instances in {self._path}", why=why)


def _wall_time() -> Instant:
    return Instant(time.time_ns() // 1_000)


class MemoryDistributor:
    """Instances in this process, or in a file with `keeping`. `now` is their own clock: deadlines are held to it."""

    def __init__(
        self,
        *,
        options: MemoryOptions | None = None,
        keeping: Keeping | None = None,
        now: Callable[[], Instant] = _wall_time,
    ) -> None:
        self._options = options or MemoryOptions()
        self._keeping = keeping or InProcess()
        self._now = now
        self.faults: dict[str, frozenset[Fault]] = {}
        """How single instances misbehave, besides what the options say."""

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Have the instance use `version`; after the deadline nothing happens."""
        what = f"handing {version} to {instance.id}"
        faults = self._faults(instance.id)
        if Fault.UNAVAILABLE in faults or self._now() >= deadline:
            late = "the deadline was over" if self._now() >= deadline else "it cannot be reached, as `faults` asks"
            raise Unavailable(what=what, why=late)
        if Fault.REJECT in faults:
            raise Rejected(what=what, why="it refuses that, as `faults` asks")
        if Fault.IGNORE not in faults:
            with self._keeping.opened() as holdings:
                before = holdings.held.get(instance.id)
                if before is None or not _is(before, version, value):
                    holdings.held[instance.id] = Held(version, _mark(value, os.urandom(16)), self._options.looks)
        if Fault.LOSE_REPLY in faults:
            raise Uncertain(what=what, why="the answer was lost, as `faults` asks")

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Say whether the instance uses `version` now."""
        if value.secret is None:
            return Proof(Usage.UNKNOWN, "the password of the version is not known, so nothing can prove it")
        faults = self._faults(instance.id)
        if Fault.UNKNOWN in faults or Fault.UNAVAILABLE in faults:
            return Proof(Usage.UNKNOWN, "it does not answer, as `faults` asks")
        try:
            with self._keeping.opened() as holdings:
                held = holdings.held.get(instance.id)
                if held is None:
                    return Proof(Usage.OTHER, "it was given nothing")
                if held.behind:
                    held.behind -= 1
                    return Proof(Usage.OTHER, "it has not reloaded yet")
                is_it = _is(held, version, value)
                return Proof(Usage.USED) if is_it else Proof(Usage.OTHER, f"it uses {held.version}")
        except (Unavailable, Rejected) as error:
            return Proof(Usage.UNKNOWN, error.message)

    def held(self) -> Mapping[str, str]:
        """Return the version that each instance has, by id."""
        with self._keeping.opened() as holdings:
            return {each: held.version for each, held in holdings.held.items()}

    def forget(self, instance: str) -> None:
        """Have an instance be started anew, with nothing."""
        with self._keeping.opened() as holdings:
            holdings.held.pop(instance, None)

    def _faults(self, instance: str) -> frozenset[Fault]:
        of_all = not self._options.instances or instance in self._options.instances
        return self.faults.get(instance, frozenset()) | frozenset(self._options.faults if of_all else ())


def _mark(value: CredentialValue, salt: bytes) -> str:
    return f"{salt.hex()}${sha256(salt + value.revealed().encode()).hexdigest()}"


def _is(held: Held, version: str, value: CredentialValue) -> bool:
    salt = bytes.fromhex(held.mark.partition("$")[0])
    return held.version == version and hmac.compare_digest(held.mark, _mark(value, salt))


def _build(options: MemoryOptions, context: DistributorContext) -> MemoryDistributor:
    name = f"{quote(context.environment, safe='')}.{quote(context.service, safe='')}.instances.json"
    return MemoryDistributor(options=options, keeping=InFile(context.state / "memory" / name))


ADAPTER: Final = DistributorAdapter(
    name="memory",
    summary="instances that live in the state folder, for rehearsals",
    options=MemoryOptions,
    build=_build,
)
