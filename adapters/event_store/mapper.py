"""From facts to the stored events of the eventsourcing library, and back.

Rule: the bytes are made and read in engine/facts.py alone. The library's transcoder, cipher, compressor and
Python topics have no part in them, so the log says the same whatever the library, the environment or the
names of our modules become.
"""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Notification, StoredEvent

from engine import facts
from engine.facts import Fact, Recorded

ChainedRow: TypeAlias = tuple[int, bytes, int, str, bytes, bytes]
"""An event as a log holds it: position, id of its aggregate (16 bytes), version, tag, state, hash (32 bytes).

A plain tuple, since it is read by the hundred thousand: a notification of the library takes twice as long.
"""


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

    @staticmethod
    def to_recorded(row: ChainedRow) -> Recorded:
        """Return the fact of a row with its position and hash. Raises `UnsupportedEvent` as above."""
        position, originator_id, version, tag, state, link = row
        # Makes a UUID in a fifth of the time of UUID(bytes=…).
        aggregate = msgspec.convert(originator_id, UUID)
        return Recorded(position, facts.decode(tag, state, originator_id=aggregate, originator_version=version), link)

    @staticmethod
    def to_notification(row: ChainedRow) -> Notification:
        """Return a row in the terms of the library."""
        position, originator_id, version, tag, state, _ = row
        return Notification(UUID(bytes=originator_id), version, tag, state, position)
