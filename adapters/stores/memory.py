"""The store that lives in this process: for rehearsals and for the simulator.

Rule: nothing is written anywhere; what it holds ends with the process.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import msgspec

from adapters.deadlines import require_time, wall_time
from adapters.stores.shelf import Shelf, check_names, check_value
from engine.adapter import StoreAdapter, StoreContext
from engine.ports import Holdings, SecretStore, StoreCapabilities
from engine.values import CredentialValue, Instant

_CAPABILITIES = StoreCapabilities(versioned=True, compare_and_set=True, label_switch=True, readable=True)
_EMPTY = Shelf()


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The memory store has nothing to configure."""


class MemoryStore:
    """A versioned store in memory; safe to use from several threads. Without a clock it holds nobody to a deadline."""

    def __init__(self, *, now: Callable[[], Instant] | None = None) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._lock = Lock()
        self._now = now

    @property
    def capabilities(self) -> StoreCapabilities:
        """Everything."""
        return _CAPABILITIES

    def stage(self, path: str, version: str, value: CredentialValue, *, deadline: Instant | None = None) -> None:
        """Hold `value` under `version` and label it pending."""
        check_names(path, version)
        check_value(version, value)
        with self._lock:
            self._require_time(deadline, f"staging version {version}")
            self._shelves.setdefault(path, Shelf()).stage(version, value)

    def promote(
        self,
        path: str,
        version: str,
        value: CredentialValue,
        *,
        expected: str | None,
        deadline: Instant | None = None,
    ) -> None:
        """Make `version` current where current is `expected` or `version` already, else `Rejected`."""
        check_names(path, version)
        check_value(version, value)
        with self._lock:
            self._require_time(deadline, f"making version {version} current")
            self._shelves.setdefault(path, Shelf()).promote(version, value, expected=expected)

    def read(self, path: str, version: str) -> CredentialValue | None:
        """Return the value of a version or of a label; None where there is none."""
        with self._lock:
            return self._shelves.get(path, _EMPTY).read(version)

    def versions(self, path: str) -> Holdings:
        """Return what is held at the path."""
        with self._lock:
            return self._shelves.get(path, _EMPTY).holdings()

    def discard(self, path: str, version: str, *, destroy: bool) -> None:
        """Take the pending label off `version`; with `destroy`, forget its value."""
        with self._lock:
            if path in self._shelves:
                self._shelves[path].discard(version, destroy=destroy)

    def _require_time(self, deadline: Instant | None, what: str) -> None:
        if self._now is not None:
            require_time(deadline, now=self._now(), what=what)


def _build(_options: Options, _context: StoreContext) -> SecretStore:
    return MemoryStore(now=wall_time)


ADAPTER = StoreAdapter(
    name="memory",
    summary="Lives in this process only; for rehearsals and tests.",
    options=Options,
    build=_build,
)
