"""The event log of a simulated world: a list, with the bytes and the hash chain that every log has.

Rule: under the conformance suite of the other logs. It is no way to keep a log: everything ends with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from engine import chain
from engine import credential as credentials
from engine import rotation as rotations
from engine.chain import GENESIS, Anchor, Content, Link, Verdict, chained
from engine.credential import Credential, credential_id
from engine.errors import Conflict
from engine.facts import Fact, Recorded, decode, encode, tag_of
from engine.performance import World
from engine.rotation import Rotation


class SimulatedLog:
    """The `EventLog` port as a list.

    A fact is written as bytes and read back once, when it is appended, and not at each reading: facts are frozen, so
    that what cannot be stored cannot be simulated either. Streams are found by the number of their UUID: to hash the
    UUID itself is a call.
    """

    def __init__(self) -> None:
        self._recorded: list[Recorded] = []
        self._contents: list[Content] = []
        self._streams: dict[int, list[Fact]] = {}
        self._rotations: dict[int, Rotation] = {}
        self._credentials: dict[int, Credential] = {}

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append all or none and return them with their positions. Raises `Conflict` where a place is taken."""
        self._refuse_taken(facts)
        appended: list[Recorded] = []
        link = self._recorded[-1].hash if self._recorded else GENESIS
        for position, fact in enumerate(facts, start=len(self._recorded) + 1):
            tag, state = tag_of(fact.body), encode(fact)
            stream, version = fact.originator_id, fact.originator_version
            content = Content(stream.bytes, version, tag.encode(), state)
            link = chained(link, position, content)
            stored = decode(tag, state, originator_id=stream, originator_version=version)
            self._contents.append(content)
            self._streams.setdefault(stream.int, []).append(stored)
            appended.append(Recorded(position, stored, link))
        self._recorded += appended
        return appended

    def stream(self, originator_id: UUID) -> Sequence[Fact]:
        """Return the facts of one aggregate, oldest first; empty where there are none."""
        return list(self._streams.get(originator_id.int, ()))

    def rotation(self, rotation_id: UUID) -> Rotation | None:
        """Return a rotation as of now; None where there is none."""
        facts = self._streams.get(rotation_id.int)
        return None if facts is None else self.rotation_after(facts[-1])

    def rotation_after(self, fact: Fact) -> Rotation:
        """Return a rotation as of one of its facts that stands here.

        What it was when it was asked for last is kept, and folded on from there: a stream only grows.
        """
        number, version = fact.originator_id.int, fact.originator_version
        kept = self._rotations.get(number)
        if kept is not None and kept.version == version:
            return kept
        since = kept if kept is not None and kept.version < version else None
        new = self._streams[number][since.version if since else 0 : version]
        rotation = rotations.fold(new, since=since)
        assert rotation is not None, "a fact that stands in the log makes a rotation"
        self._rotations[number] = rotation
        return rotation

    def credential(self, service: str, environment: str) -> Credential:
        """Return a credential as of now; what it was when it was asked for last is kept, and folded on likewise."""
        number = credential_id(service, environment).int
        kept = self._credentials.get(number)
        new = self._streams.get(number, [])[kept.version if kept else 0 :]
        credential = self._credentials[number] = credentials.fold(service, environment, new, since=kept)
        return credential

    def after(self, position: int, *, limit: int = 500) -> Sequence[Recorded]:
        """Return at most `limit` facts of all aggregates behind `position`, in order."""
        return self._recorded[position : position + limit]

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        return len(self._recorded)

    def verify(self, *, anchor: Anchor | None = None) -> Verdict:
        """Check the hash chain of the whole log over the bytes of its facts (engine/chain.py)."""
        pairs = zip(self._recorded, self._contents, strict=True)
        links = (Link(each.position, content, each.hash) for each, content in pairs)
        return chain.verify(links, issued=self.head(), anchor=anchor)

    def raw(self) -> bytes:
        """Return the bytes of all facts, to search in them."""
        return b"".join(content.state for content in self._contents)

    def _refuse_taken(self, facts: Sequence[Fact]) -> None:
        """Raise `Conflict`, naming the streams that have grown past the first fact meant for them."""
        heads: dict[int, int] = {}
        contested: dict[str, None] = {}
        for fact in facts:
            stream = fact.originator_id.int
            head = heads.get(stream) or len(self._streams.get(stream, ()))
            if fact.originator_version <= head:
                contested[str(fact.originator_id)] = None
            heads[stream] = fact.originator_version
        if contested:
            raise Conflict(stream=", ".join(contested))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWorld(World):
    """What a simulated process is given from outside; it reads aggregates as the log keeps them.

    They are what folding their whole streams gives: tests/simulation/test_log.py compares them.
    """

    kept: SimulatedLog

    def load(self, rotation_id: UUID) -> Rotation | None:
        """Return a rotation as of now; None where there is none."""
        return self.kept.rotation(rotation_id)

    def credential(self, service: str, environment: str) -> Credential:
        """Return a credential as of now."""
        return self.kept.credential(service, environment)
