"""Restore points: which version was current when, and which of them a rollback can still reach.

Rule: pure; what a store holds, and the facts, are given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from engine import credential as credentials
from engine.credential import Credential, Version
from engine.errors import NoRestorePoint, NoSuchPosition
from engine.facts import Recorded
from engine.ports import Holdings
from engine.values import Instant
from projections.times import from_text

_POSITION: Final = re.compile(r"#([0-9]{1,18})", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9]).*", re.ASCII)


class ByVersion(msgspec.Struct, frozen=True):
    """A version by its id, or by the beginning of it."""

    text: str


class AtPosition(msgspec.Struct, frozen=True):
    """What was current after the event at a position."""

    position: int


class AtTime(msgspec.Struct, frozen=True):
    """What was current at a time."""

    at: Instant


Wanted: TypeAlias = ByVersion | AtPosition | AtTime
"""What `--to` may name."""


def parse(text: str) -> Wanted:
    """Return what `--to` names: `#41` a position, `2026-03-01T12:00:00Z` (or another offset) a time, else a version.

    Never fails: what is no position and no time is looked for among the versions.
    """
    if match := _POSITION.fullmatch(text):
        return AtPosition(int(match[1]))
    if _DATE.fullmatch(text):
        try:
            return AtTime(Instant(from_text(text)))
        except ValueError:
            pass
    return ByVersion(text)


def version_current_at(facts: Iterable[Recorded], credential_id: UUID, position: int) -> Version | None:
    """Return what the stores called current after the event at `position`, by replay; None for nothing.

    `facts` may be of the whole log, in order.
    """
    credential = Credential(credential_id, "", "")
    for recorded in facts:
        if recorded.position > position:
            break
        if recorded.fact.originator_id == credential_id:
            credential = credentials.evolve(credential, recorded.fact)
    return credential.current


def position_at(facts: Iterable[Recorded], at: Instant) -> int:
    """Return the last position whose event was recorded at `at` or before; 0 where there is none.

    After a jump of the clock several answers are possible; this is the one that loses the fewest events.
    """
    return max((recorded.position for recorded in facts if recorded.fact.at <= at), default=0)


def restore_points(credential: Credential, holdings: Holdings) -> tuple[Version, ...]:
    """Return the versions that a rollback can go to, oldest first.

    They were current, are not now, were not destroyed, and the store holds them.
    """
    return tuple(
        version for version in credential.known if version != credential.current and version.id in holdings.versions
    )


def resolve(
    wanted: Wanted,
    *,
    facts: Sequence[Recorded],
    credential: Credential,
    points: Sequence[Version],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Version:
    """Return the restore point that is wanted. `refused` says of a version id why it is none although it is held.

    A version is named by its id, by its number (`v3` for `v3-9c1f2a`), or by a beginning that only one of
    the points has. `facts` are those of the credential and its rotations, in order. Raises `NoRestorePoint`
    saying why, and `NoSuchPosition` for an event that is not among the facts.
    """
    if isinstance(wanted, ByVersion):
        return _by_version(wanted.text, credential, points, refused)
    if isinstance(wanted, AtPosition):
        if all(recorded.position != wanted.position for recorded in facts):
            raise NoSuchPosition(position=f"#{wanted.position}", service=credential.service)
        position, text = wanted.position, f"event #{wanted.position}"
    else:
        position, text = position_at(facts, wanted.at), "that time"
    version = version_current_at(facts, credential.id, position)
    if version is None:
        raise _refused(credential, text, "no version was current then", points)
    if version not in points:
        why = _absence(version, credential, refused)
        raise _refused(credential, text, f"{version.id} was current then, and {why}", points)
    return version


def _by_version(text: str, credential: Credential, points: Sequence[Version], refused: Mapping[str, str]) -> Version:
    # Surest first, among all: where v1 cannot be reached, it does not mean v12.
    for matching, known in zip(_matches(text, points), _matches(text, credential.known), strict=True):
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise _refused(credential, text, f"that may be {' or '.join(each.id for each in matching)}", points)
        if len(known) == 1:
            raise _refused(credential, text, _absence(known[0], credential, refused), points)
    raise _refused(credential, text, "no version that is still held is called so", points)


def _matches(text: str, versions: Sequence[Version]) -> Iterator[list[Version]]:
    """Yield the versions that `text` may mean, the surest way of naming one first."""
    yield [each for each in versions if each.id == text]
    yield [each for each in versions if each.id.startswith(f"{text}-")]
    yield [each for each in versions if text and each.id.startswith(text)]


def _absence(version: Version, credential: Credential, refused: Mapping[str, str]) -> str:
    """Return why a version that was current once is no restore point."""
    if version == credential.current:
        return "it is the current version"
    return refused.get(version.id, "the store does not hold it any more")


def _refused(credential: Credential, wanted: str, why: str, points: Sequence[Version]) -> NoRestorePoint:
    listed = ", ".join(version.id for version in reversed(points)) or "none"
    return NoRestorePoint(service=credential.service, wanted=wanted, why=why, points=listed)
