"""What happens to a channel of notifications, and to a due date: the facts that keep a notice from being lost.

Rule 1: the rules of engine/events.py hold here; import the names from there.
Rule 2: a notice is named by the position of the fact that it tells; what it says is computed from the log.
"""

from __future__ import annotations

from typing import Final, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from engine.credential_events import Cause, EventStruct
from engine.values import Instant

_CHANNELS: Final = uuid5(NAMESPACE_URL, "keyturn:channel")
_DUE_DATES: Final = uuid5(NAMESPACE_URL, "keyturn:due-date")


def channel_id(name: str) -> UUID:
    """Return the id of the stream that a channel's facts are in."""
    return uuid5(_CHANNELS, name)


def due_date_id(service: str, environment: str, version: str) -> UUID:
    """Return the id of the stream that holds, once, that a version was due and is still current."""
    return uuid5(_DUE_DATES, f"{environment}/{service}/{version}")


class ChannelOpened(EventStruct, frozen=True, tag="channel-opened.1"):
    """The channel is told what stands in the log behind `position`; nothing of before."""

    channel: str
    position: int


class ChannelDisabled(EventStruct, frozen=True, tag="channel-disabled.1"):
    """The sink said that it will take nothing any more; what comes waits until a person enables it."""

    channel: str
    cause: Cause


class ChannelEnabled(EventStruct, frozen=True, tag="channel-enabled.1"):
    """A test was accepted by the sink, so the channel is used again."""

    channel: str


class DigestGathered(EventStruct, frozen=True, tag="digest-gathered.1"):
    """The notices of a digest are settled: every try of it is the same message, under the same key.

    `dropped` is how many more it tells of.
    """

    channel: str
    positions: tuple[int, ...]
    dropped: int = 0


class NotificationDelivered(EventStruct, frozen=True, tag="notification-delivered.1"):
    """The sink accepted a message: one notice, or several in a digest.

    `positions` are those of the facts that it told. `receipt` is what the sink names the message by; where it
    told one notice, later ones of the same rotation join it. `attempts` counts this one.
    """

    channel: str
    positions: tuple[int, ...]
    attempts: int = 1
    receipt: str = ""


class NotificationPostponed(EventStruct, frozen=True, tag="notification-postponed.1"):
    """The sink did not take the message, and may later: it is offered again from `not_before` on."""

    channel: str
    positions: tuple[int, ...]
    attempts: int
    cause: Cause
    not_before: Instant


class NotificationGivenUp(EventStruct, frozen=True, tag="notification-given-up.1"):
    """The sink refused the message for good, or its tries are used up; it is sent again only when a person asks."""

    channel: str
    positions: tuple[int, ...]
    attempts: int
    cause: Cause


class NotificationBlocked(EventStruct, frozen=True, tag="notification-blocked.1"):
    """The message was not sent, because a secret stood in it; `cause` tells which, never what."""

    channel: str
    positions: tuple[int, ...]
    cause: Cause


class NotificationsDropped(EventStruct, frozen=True, tag="notifications-dropped.1"):
    """More was waiting than the channel holds, so the oldest were passed over; a digest tells how many."""

    channel: str
    positions: tuple[int, ...]


class NotificationsRequeued(EventStruct, frozen=True, tag="notifications-requeued.1"):
    """A person had notices sent again that were given up, dropped or blocked, and what waits tried at once."""

    channel: str
    positions: tuple[int, ...]


class CredentialOverdue(EventStruct, frozen=True, tag="credential-overdue.1"):
    """The version was due for rotation at `due_at`, and is still current."""

    service: str
    environment: str
    version: str
    due_at: Instant


ChannelEvent: TypeAlias = (
    ChannelOpened
    | ChannelDisabled
    | ChannelEnabled
    | DigestGathered
    | NotificationDelivered
    | NotificationPostponed
    | NotificationGivenUp
    | NotificationBlocked
    | NotificationsDropped
    | NotificationsRequeued
)
"""Every event of a channel."""
