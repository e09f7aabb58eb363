"""From facts to the stored events of the eventsourcing library, and back.

Rule: the bytes are made and read in engine/facts.py alone. The library's transcoder, cipher, compressor and
Python topics have no part in them, so the log says the same whatever the library, the environment or the
names of our modules become.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Notification, StoredEvent

from engine import facts
from engine.facts import Fact, Recorded


@dataclass(frozen=True)
class ChainedNotification(Notification):
    """A stored event with its position (`id`) and its place in the hash chain."""

    hash: bytes
    """32 bytes; see engine/chain.py."""


class FactMapper(Mapper[UUID]):
    """Maps a fact to the tag of its event and its bytes."""

    def __init__(self) -> None:
        # The parent asks for a transcoder, a compressor and a cipher; a fact needs none.
        pass

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """Return the stored event of a fact."""
        assert isinstance(domain_event, Fact), "the log takes facts"
        return StoredEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            facts.tag_of(domain_event.body),
            facts.encode(domain_event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Fact:
        """Return the fact of a stored event. Raises `UnsupportedEvent` where its tag is not known."""
        assert isinstance(stored_event.originator_id, UUID), "the log names aggregates by UUID"
        return facts.decode(
            stored_event.topic,
            stored_event.state,
            originator_id=stored_event.originator_id,
            originator_version=stored_event.originator_version,
        )

    def to_recorded(self, notification: ChainedNotification) -> Recorded:
        """Return the fact of a notification with its position and hash. Raises as `to_domain_event` does."""
        return Recorded(notification.id, self.to_domain_event(notification), notification.hash)
