"""What holds the versions in the simulated world: stores of different capabilities, their backups, a further place.

Rule: what a store means stands in adapters/stores; here it is only copied, put back, or made less capable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import msgspec

from adapters.stores.memory import MemoryStore
from adapters.stores.shelf import Shelf
from engine.ports import StoreCapabilities
from engine.values import CredentialValue, Instant


class StoreKind(StrEnum):
    """What the store can do."""

    FULL = "full"
    """Versions, labels, compare and set."""
    BLIND = "blind"
    """Versions and labels; a promotion ignores what is expected to be current."""


class FullStore(MemoryStore):
    """The store in memory, which can be looked into as it is."""

    def shelf(self, path: str) -> Shelf:
        """Return what is held at the path, to be looked at and not to be changed."""
        return self._shelves.setdefault(path, Shelf())


class BlindStore(FullStore):
    """A store without compare-and-set: whoever promotes last is right."""

    @property
    def capabilities(self) -> StoreCapabilities:
        """Everything but compare-and-set."""
        return msgspec.structs.replace(super().capabilities, compare_and_set=False)

    def promote(
        self,
        path: str,
        version: str,
        value: CredentialValue,
        *,
        expected: str | None,
        deadline: Instant | None = None,
    ) -> None:
        """Make `version` current, whatever was."""
        super().promote(path, version, value, expected=self.versions(path).current, deadline=deadline)


STORES = {StoreKind.FULL: FullStore, StoreKind.BLIND: BlindStore}


def image_of(store: FullStore, path: str) -> Shelf:
    """Return a copy of what a store holds."""
    shelf = store.shelf(path)
    return replace(shelf, values=dict(shelf.values))


def put_back(image: Shelf, path: str, kind: StoreKind, now: Callable[[], Instant]) -> FullStore:
    """Return a store that holds what was copied."""
    store = STORES[kind](now=now)
    for version, value in image.values.items():
        store.stage(path, version, value)
    for before, label in ((None, image.previous), (image.previous, image.current)):
        if label is not None:
            store.promote(path, label, image.values[label], expected=before)
    pending = store.versions(path).pending
    if pending is not None and pending != image.pending:
        store.discard(path, pending, destroy=False)
    return store


class RememberedPlace:
    """A further place: it remembers the last value."""

    name = "dotenv:PASSWORD"

    def __init__(self) -> None:
        self.value: CredentialValue | None = None
        self.version: str | None = None

    def publish(self, value: CredentialValue, *, version: str, deadline: Instant | None = None) -> None:
        """Remember the value."""
        self.value, self.version = value, version

    def has(self, value: CredentialValue, *, version: str) -> bool:
        """Tell whether it is the remembered value."""
        return self.value == value
