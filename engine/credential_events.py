"""What happens to a credential, and what all events are made of: causes, fences, spent logins.

Rule: the rules of engine/events.py hold here; import the names from there.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from engine.machine import State
from engine.values import SECOND, Deadline, Instant, Microseconds

LATENESS_MAX: Final = Microseconds(30 * SECOND)
"""How long after its record a login may be tried: a slow disk, a process that stood still for less than a lease."""


class Cause(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why something went wrong: at which step, of which kind, in redacted words, and what to do."""

    step: str
    kind: str
    message: str
    hint: str = ""


class Fence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An attempt without a definite answer: `version` may become valid on `login` until `until`.

    Without a login it is what the stores call current that may still change.
    """

    login: str
    version: str
    until: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)

    @property
    def limit(self) -> Deadline:
        """When it can take effect no more."""
        return Deadline(self.until, self.boot, self.uptime)


class LoginUse(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A login that may have been refused, and when."""

    login: str
    at: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)

    def counts_until(self, window: Microseconds) -> Deadline:
        """Return when it is `window` ago for certain: it may have been tried a little after it was recorded."""
        after = window + LATENESS_MAX
        return Deadline(Instant(self.at + after), self.boot, Microseconds(self.uptime + after))


class EventStruct(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What all events share: frozen, and defaults are not stored."""


class RotationOpened(EventStruct, frozen=True, tag="rotation-opened.1"):
    """A rotation of the credential is open; no other may open until it is closed."""

    rotation_id: UUID
    service: str
    environment: str
    version: str
    ordinal: int
    login: str = ""


class RotationQueued(EventStruct, frozen=True, tag="rotation-queued.1"):
    """A rotation was asked for while another one was open; it begins when its turn comes."""

    rotation_id: UUID
    service: str
    environment: str


class LoginSpent(EventStruct, frozen=True, tag="login-spent.1"):
    """A login that may be refused is about to be tried by somebody who looks, with no rotation at work."""

    login: str
    boot: str = ""
    uptime: Microseconds = Microseconds(0)


class VersionAdopted(EventStruct, frozen=True, tag="version-adopted.1"):
    """A version that the log did not call current (held by the store, or captured from the target) is the current one.

    `reason` is given where a person had it taken down, with no rotation that began.
    """

    version: str
    login: str
    reason: str = ""


class CurrentChanged(EventStruct, frozen=True, tag="current-changed.1"):
    """The stores call another version current; None where there is no current version again."""

    rotation_id: UUID
    version: str | None
    login: str | None


class VersionRetired(EventStruct, frozen=True, tag="version-retired.1"):
    """The target was seen to refuse a version that is not current any more."""

    version: str


class VersionDestroyed(EventStruct, frozen=True, tag="version-destroyed.1"):
    """The stores are told to delete the value of a version that is old enough."""

    version: str


class RotationClosed(EventStruct, frozen=True, tag="rotation-closed.1"):
    """The rotation is over; what it leaves behind: unanswered attempts and spent logins."""

    rotation_id: UUID
    outcome: State
    fences: tuple[Fence, ...] = ()
    tries: tuple[LoginUse, ...] = ()
