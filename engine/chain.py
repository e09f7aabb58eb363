"""The hash chain over the log: how an event is bound to all before it, and what a check of it finds.

Rule 1: pure and streaming: links come in one after the other, nothing is read or kept but the last one.
Rule 2: the bytes under a hash never change, or every log ever written fails its check.

The chain has no key: it tells an accident, a careless edit and a partial one. Who may write the whole file
can also compute the whole chain anew; only an `Anchor` that was kept elsewhere tells that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

GENESIS: Final = sha256(b"keyturn event log 1").digest()
"""What the first event is chained to."""

_NUMBER_AND_LENGTH: Final = struct.Struct(">IqI").pack
_LENGTH: Final = struct.Struct(">I").pack

_REMOVED_MAX: Final = 1_000
"""How many removed and renumbered events in a row are still told from a changed one."""


class Content(NamedTuple):
    """What an event says, as the bytes and numbers that the log holds."""

    originator_id: bytes
    """The 16 bytes of the UUID."""
    version: int
    tag: bytes
    state: bytes


class Link(NamedTuple):
    """One event as it stands in the log; None for what is there but cannot have been written by us."""

    position: int
    content: Content | None
    hash: bytes | None


class Anchor(msgspec.Struct, frozen=True):
    """A position and the hash that stood there when somebody looked; kept away from the log."""

    position: int
    hash: bytes


class Reason(StrEnum):
    """What is wrong at the first bad position."""

    CHANGED = "changed"
    """What stands there is not what was written there."""
    MISSING = "missing"
    """What was written there is gone."""
    ADDED = "added"
    """What stands there was put in between; what was written there comes later."""
    REORDERED = "reordered"
    """What stands there was written at another position, and the other way round."""


class Flaw(msgspec.Struct, frozen=True):
    """The first bad position, from 1, and what is wrong there."""

    position: int
    reason: Reason


class Verdict(msgspec.Struct, frozen=True):
    """What a check of a chain found.

    `events` counts the links seen, good or bad. `head_hash` is the hash of the last one that is proven good;
    `GENESIS` where there is none.
    """

    events: int
    head_hash: bytes
    flaw: Flaw | None = None

    @property
    def ok(self) -> bool:
        """Whether every event is as it was written."""
        return self.flaw is None

    @property
    def first_bad_position(self) -> int | None:
        """The first position that is not as it was written; None where all are."""
        return self.flaw.position if self.flaw else None

    @property
    def reason(self) -> Reason | None:
        """What is wrong at the first bad position; None where nothing is."""
        return self.flaw.reason if self.flaw else None


def chained(previous: bytes, position: int, content: Content) -> bytes:
    """Return the hash of an event: 32 bytes that change with any of its values, and with any event before it.

    SHA-256 over a zero byte, the hash before it, and position, id, version, tag and state, each behind its
    length in four bytes (numbers as eight bytes, big-endian), so that no two events share the hashed bytes.
    """
    originator_id, version, tag, state = content
    parts = (
        b"\x00",
        previous,
        _NUMBER_AND_LENGTH(8, position, len(originator_id)),
        originator_id,
        _NUMBER_AND_LENGTH(8, version, len(tag)),
        tag,
        _LENGTH(len(state)),
        state,
    )
    return sha256(b"".join(parts)).digest()


def verify(links: Iterable[Link], *, issued: int = 0, anchor: Anchor | None = None) -> Verdict:
    """Check a chain from its first event, given in the order of the log, and name the first bad position.

    `issued` is the last position that the store says it gave out: fewer links mean that the end was cut off.
    `anchor` must be met: a log that is shorter, or has another hash there, was cut off or written anew.
    """
    ahead = iter(links)
    previous, last = GENESIS, 0
    for link in ahead:
        if link.position != last + 1 or not _follows(link, previous, link.position):
            counted = _Counted(ahead)
            reason = _diagnose(previous, last + 1, link, counted)
            return Verdict(last + 1 + counted.finish(), previous, Flaw(last + 1, reason))
        if anchor and anchor.position == link.position and anchor.hash != link.hash:
            events = last + 1 + _Counted(ahead).finish()
            return Verdict(events, previous, Flaw(link.position, Reason.CHANGED))
        assert link.hash is not None, "a link without a hash follows nothing"
        previous, last = link.hash, link.position
    if max(issued, anchor.position if anchor else 0) > last:
        return Verdict(last, previous, Flaw(last + 1, Reason.MISSING))
    return Verdict(last, previous)


def _follows(link: Link, previous: bytes | None, position: int) -> bool:
    """Tell whether `link` was written at `position` behind the event whose hash is `previous`."""
    if previous is None or link.content is None or link.hash is None:
        return False
    return chained(previous, position, link.content) == link.hash


class _Counted(Iterator[Link]):
    """Links, counted as they go by."""

    def __init__(self, links: Iterator[Link]) -> None:
        self._links = links
        self._count = 0

    def __next__(self) -> Link:
        link = next(self._links)
        self._count += 1
        return link

    def finish(self) -> int:
        """Return how many links there were in all."""
        for _ in self:
            pass
        return self._count


def _diagnose(previous: bytes, position: int, suspect: Link, ahead: Iterator[Link]) -> Reason:
    """Return why `suspect`, found where the event of `position` belongs, does not follow `previous`.

    The event that does follow is looked for further on. Where it stands there, the suspect was put before
    it: swapped with it if the suspect was itself written where that one stands now, else added.
    """
    follower = next(ahead, None)
    before, candidate = suspect, follower
    while candidate is not None:
        if _follows(candidate, previous, position):
            behind = candidate if before is suspect else before
            swapped = _follows(suspect, behind.hash, candidate.position)
            return Reason.REORDERED if swapped else Reason.ADDED
        before, candidate = candidate, next(ahead, None)
    if suspect.position > position or _was_renumbered(suspect, follower):
        return Reason.MISSING
    return Reason.ADDED if suspect.position < position else Reason.CHANGED


def _was_renumbered(suspect: Link, follower: Link | None) -> bool:
    """Tell whether the two were written one behind the other at later positions: those before them were removed."""
    return follower is not None and any(
        _follows(follower, suspect.hash, follower.position + removed) for removed in range(1, _REMOVED_MAX + 1)
    )
