"""The event log in memory: for simulations and tests, under the same conformance suite as the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from eventsourcing.persistence import InfrastructureFactory, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder, POPOFactory
from eventsourcing.utils import Environment

from adapters.event_store.application import ChainedRecorder, FactApplication, Links, Place, content_of
from adapters.event_store.mapper import ChainedRow
from engine.chain import GENESIS, Link, chained


class MemoryChainedRecorder(POPOApplicationRecorder, ChainedRecorder):
    """The library's recorder in memory, with the hash chain beside it."""

    def __init__(self) -> None:
        super().__init__()
        self._hashes: list[bytes] = []

    def insert_chained(self, stored_events: Sequence[StoredEvent]) -> Sequence[Place]:
        """Record all or none. Raises the library's `IntegrityError` where a place is taken."""
        with self._database_lock:
            positions = self.insert_events(stored_events) or []
            return [Place(position, self._hashes[position - 1]) for position in positions]

    def _update_table(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        positions = super()._update_table(stored_events) or []
        previous = self._hashes[-1] if self._hashes else GENESIS
        for position, stored in zip(positions, stored_events, strict=True):
            previous = chained(previous, position, content_of(stored))
            self._hashes.append(previous)
        return positions

    def select_chained(self, position: int, limit: int) -> Sequence[ChainedRow]:
        """Return at most `limit` events behind `position`, in order."""
        with self._database_lock:
            stored = self._stored_events[position : position + limit]
            return [
                (number, *content_of(each)[:2], each.topic, each.state, self._hashes[number - 1])
                for number, each in enumerate(stored, start=position + 1)
            ]

    @contextmanager
    def whole_chain(self) -> Iterator[Links]:
        """Yield the chain as it stands now."""
        with self._database_lock:
            stored, hashes = list(self._stored_events), list(self._hashes)
        places = enumerate(zip(stored, hashes, strict=True), start=1)
        yield Links(len(stored), (Link(position, content_of(s), link) for position, (s, link) in places))


class MemoryEventLog(FactApplication):
    """The `EventLog` port in memory. It keeps bytes, so that what cannot be stored cannot be simulated either."""

    def construct_factory(self, env: Environment) -> InfrastructureFactory:
        """Return the library's factory for memory."""
        # The type of the tracking recorder, which is not used here, sets the two classes apart.
        return cast("InfrastructureFactory", POPOFactory(env))

    def construct_recorder(self) -> MemoryChainedRecorder:
        """Return a recorder that holds nothing yet."""
        return MemoryChainedRecorder()
