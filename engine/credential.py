"""The Credential aggregate: the versions of one service in one environment, and the rotation that is open.

Its version number is the lock that lets one rotation open at a time: opening appends to its stream.
Rule: nothing here decides; decisions are in commands.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from engine import events as e
from engine.facts import Fact

_NAMESPACE: Final = UUID("5f7b6a86-2d0c-4a57-9a55-0f2f6a9d3c11")
"""Made once for keyturn; the id of a credential follows from its name."""


class Version(msgspec.Struct, frozen=True, gc=False):
    """One version that the log knows: its id and who logs in with it."""

    id: str
    login: str


class Credential(msgspec.Struct, frozen=True, gc=False):
    """One service in one environment, as of the last fact."""

    id: UUID
    service: str
    environment: str
    version: int = 0
    """How many facts it has."""
    ordinal: int = 0
    """The number of the newest version."""
    open: UUID | None = None
    last: UUID | None = None
    """The newest rotation, open or not."""
    lineage: tuple[Version, ...] = ()
    """The versions that led to the current one, oldest first, the current one last; a rollback shortens it."""
    known: tuple[Version, ...] = ()
    """The versions that were current at some time and that the store still holds, oldest first."""
    strays: tuple[Version, ...] = ()
    """Versions besides the current one that the target may accept: no one saw them refused, oldest first."""
    queued: UUID | None = None
    """The rotation that waits for its turn."""
    fences: tuple[e.Fence, ...] = ()
    tries: tuple[e.LoginUse, ...] = ()

    @property
    def current(self) -> Version | None:
        """Return what the stores call current, as far as the log knows."""
        return self.lineage[-1] if self.lineage else None

    @property
    def previous(self) -> Version | None:
        """Return what a rollback without a target goes back to."""
        return self.lineage[-2] if len(self.lineage) > 1 else None


@cache
def credential_id(service: str, environment: str) -> UUID:
    """Return the id of the aggregate: the same for the same names, on every machine."""
    return uuid5(_NAMESPACE, f"credential/{environment}/{service}")


def evolve(credential: Credential, fact: Fact) -> Credential:
    """Return the credential after one more fact."""
    after = replace(credential, version=fact.originator_version)
    match fact.body:
        case e.RotationOpened() as body:
            return replace(
                after,
                open=body.rotation_id,
                last=body.rotation_id,
                queued=None if after.queued == body.rotation_id else after.queued,
                ordinal=max(after.ordinal, body.ordinal),
                strays=_with(after.strays, Version(body.version, body.login)),
            )
        case e.VersionAdopted() as body:
            return _become_current(after, Version(body.version, body.login))
        case e.CurrentChanged() as body:
            if body.version is None:
                return replace(after, lineage=())
            return _become_current(after, Version(body.version, body.login or ""))
        case e.VersionRetired() as body:
            return replace(after, strays=_without(after.strays, body.version))
        case e.VersionDestroyed() as body:
            # Forgotten here as well, so that a credential that is rotated for years stays small.
            return replace(
                after,
                known=_without(after.known, body.version),
                lineage=_without(after.lineage, body.version),
            )
        case e.RotationQueued() as body:
            return replace(after, queued=body.rotation_id)
        case e.LoginSpent() as body:
            use = e.LoginUse(body.login, fact.at, body.boot, body.uptime)
            return replace(after, tries=(*after.tries, use))
        case e.RotationClosed() as body if body.rotation_id == after.queued:
            return replace(after, queued=None)  # it never began
        case e.RotationClosed() as body:
            return replace(after, open=None, fences=body.fences, tries=body.tries)
        case _:
            return after


def _become_current(credential: Credential, version: Version) -> Credential:
    ids = [v.id for v in credential.lineage]
    kept = credential.lineage[: ids.index(version.id)] if version.id in ids else credential.lineage
    known = _with(credential.known, version)
    strays = _without(credential.strays, version.id)
    if credential.current is not None and credential.current.id != version.id:
        strays = _with(strays, credential.current)
    return replace(credential, lineage=(*kept, version), known=known, strays=strays)


def _with(versions: tuple[Version, ...], version: Version) -> tuple[Version, ...]:
    return versions if version.id in [v.id for v in versions] else (*versions, version)


def _without(versions: tuple[Version, ...], version: str) -> tuple[Version, ...]:
    return tuple(v for v in versions if v.id != version)


def fold(service: str, environment: str, facts: Iterable[Fact], *, since: Credential | None = None) -> Credential:
    """Return the credential after all `facts`, oldest first; a fresh one where there are none.

    `since` is what the facts before them led to.
    """
    credential = since or Credential(credential_id(service, environment), service, environment)
    for fact in facts:
        credential = evolve(credential, fact)
    return credential
