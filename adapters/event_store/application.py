"""The log as an application of the eventsourcing library: what it does whatever it is kept in.

Rule: nothing here knows SQLite. A way to keep the log is a `ChainedRecorder`.
"""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.persistence import ApplicationRecorder, EventStore, IntegrityError, StoredEvent
from eventsourcing.utils import Environment, EnvType

from adapters.event_store.mapper import ChainedRow, FactMapper
from engine import chain
from engine.chain import Anchor, Content, Link, Verdict
from engine.errors import Conflict
from engine.facts import Fact, Recorded

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH: Final = 500
"""Events read at once: 500 to 1,000 are read fastest, 10,000 a third slower."""


class Place(NamedTuple):
    """Where an event was put: its position, and the hash that binds it there."""

    position: int
    hash: bytes


class Links(NamedTuple):
    """The whole chain at one moment, and the last position that was ever given out."""

    issued: int
    links: Iterable[Link]


class ChainedRecorder(ApplicationRecorder):
    """A recorder of the library that also keeps the hash chain."""

    @abstractmethod
    def insert_chained(self, stored_events: Sequence[StoredEvent]) -> Sequence[Place]:
        """Record all or none, durably. Raises the library's `IntegrityError` where a place is taken."""

    @abstractmethod
    def select_chained(self, position: int, limit: int) -> Sequence[ChainedRow]:
        """Return at most `limit` events behind `position`, in order."""

    @abstractmethod
    def whole_chain(self) -> AbstractContextManager[Links]:
        """Return the chain as it stands now, to be read while the block runs; appending goes on meanwhile."""


class FactApplication(Application[UUID]):
    """The `EventLog` port, and what an audit asks of a log besides."""

    recorder: ChainedRecorder
    events: EventStore[UUID]
    mapper: FactMapper

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Return an empty environment: no stray variable decides how the log is written."""
        return Environment()

    def construct_mapper(self) -> FactMapper:
        """Return our own mapper, whatever is set."""
        return FactMapper()

    @abstractmethod
    def construct_recorder(self) -> ChainedRecorder:
        """Return what keeps the events and their chain."""

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append all or none, durably, and return them with their positions.

        Raises `Conflict` where a fact's place in its stream is taken.
        """
        if not facts:
            return []
        stored = [self.mapper.to_stored_event(fact) for fact in facts]
        try:
            places = self.recorder.insert_chained(stored)
        except IntegrityError:
            # The library's message may quote the event.
            raise Conflict(stream=self._contested(facts)) from None
        return [Recorded(place.position, fact, place.hash) for place, fact in zip(places, facts, strict=True)]

    def stream(self, originator_id: UUID) -> Sequence[Fact]:
        """Return the facts of one aggregate, oldest first; empty where there are none."""
        to_fact = self.mapper.to_domain_event
        return [to_fact(stored) for stored in self.recorder.select_events(originator_id)]

    def after(self, position: int, *, limit: int = _BATCH) -> Sequence[Recorded]:
        """Return at most `limit` facts of all aggregates behind `position`, in order."""
        to_recorded = self.mapper.to_recorded
        return [to_recorded(row) for row in self.recorder.select_chained(position, limit)]

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        return self.recorder.max_notification_id() or 0

    def verify(self, *, anchor: Anchor | None = None) -> Verdict:
        """Check the hash chain of the whole log over the bytes that are stored (engine/chain.py)."""
        with self.recorder.whole_chain() as (issued, links):
            return chain.verify(links, issued=issued, anchor=anchor)

    def export(self, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yield every event behind `after` as a document that JSON can hold, for an audit by others.

        `data` is for reading; `bytes` (base64) holds what `hash` is over. The event stands as it was
        written: a retired tag keeps its name and shape.
        """
        while batch := self.recorder.select_chained(after, _BATCH):
            yield from map(_document, batch)
            after, *_ = batch[-1]

    def _contested(self, facts: Sequence[Fact]) -> str:
        """Return the streams that have grown past the first fact meant for them."""
        firsts: dict[UUID, int] = {}
        for fact in facts:
            firsts.setdefault(fact.originator_id, fact.originator_version)
        taken = [
            str(originator_id)
            for originator_id, version in firsts.items()
            if self.recorder.select_events(originator_id, gt=version - 1, limit=1)
        ]
        return ", ".join(taken or map(str, firsts))


def content_of(stored: StoredEvent) -> Content:
    """Return what the chain binds of a stored event."""
    assert isinstance(stored.originator_id, UUID), "the log names aggregates by UUID"
    return Content(stored.originator_id.bytes, stored.originator_version, stored.topic.encode(), stored.state)


def _document(row: ChainedRow) -> dict[str, Any]:
    position, originator_id, version, tag, stored, link = row
    # What was added to the envelope later is absent from older events.
    at, actor, body, *added = msgspec.msgpack.decode(stored)
    body.pop("type")
    return {
        "position": position,
        "id": str(UUID(bytes=originator_id)),
        "version": version,
        "at": (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "actor": actor,
        "tag": tag,
        "state": added[0] if added else None,
        "data": body,
        "bytes": base64.b64encode(stored).decode(),
        "hash": link.hex(),
    }
