"""The store that lives in this process: for rehearsals and for the simulator.

Rule: nothing is written anywhere; what it holds ends with the process.
"""

from __future__ import annotations

from threading import Lock

import msgspec

from adapters.stores.shelf import Shelf, check_names, check_value
from engine.adapter import StoreAdapter, StoreContext
from engine.ports import Holdings, SecretStore, StoreCapabilities
from engine.values import CredentialValue

_CAPABILITIES = StoreCapabilities(versioned=True, compare_and_set=True, label_switch=True, readable=True)
_EMPTY = Shelf()


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The memory store has nothing to configure."""


class MemoryStore:
    """A versioned store in memory; safe to use from several threads."""

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._lock = Lock()

    @property
    def capabilities(self) -> StoreCapabilities:
        """Everything."""
        return _CAPABILITIES

    def stage(self, path: str, version: str, value: CredentialValue) -> None:
        """Hold `value` under `version` and label it pending."""
        check_names(path, version)
        check_value(version, value)
        with self._lock:
            self._shelves.setdefault(path, Shelf()).stage(version, value)

    def promote(self, path: str, version: str, value: CredentialValue, *, expected: str | None) -> None:
        """Make `version` current where current is `expected` or `version` already, else `Rejected`."""
        check_names(path, version)
        check_value(version, value)
        with self._lock:
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


def _build(_options: Options, _context: StoreContext) -> SecretStore:
    return MemoryStore()


ADAPTER = StoreAdapter(
    name="memory",
    summary="Lives in this process only; for rehearsals and tests.",
    options=Options,
    build=_build,
)
