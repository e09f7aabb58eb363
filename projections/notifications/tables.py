"""The tables of the outbox, and what their rows hold.

Rule: what is kept is folded in outbox.py, and asked for in queries.py.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from engine.credential_events import Cause
from engine.values import Instant
from projections import shapes
from projections.feed import Kind, Table

NOTICES: Final = Table(
    "notices",
    (
        ("position", Kind.INTEGER),
        ("service", Kind.TEXT),
        ("kind", Kind.TEXT),
        ("notice", Kind.BLOB),
        ("hash", Kind.BLOB),
    ),
)
RUNS: Final = Table("notices_rotations", (("id", Kind.BLOB), ("rotation", Kind.BLOB)))
CREDENTIALS: Final = Table(
    shapes.UNHEARD_TABLE,
    (("credential", Kind.TEXT), ("troubled", Kind.INTEGER), ("unheard", Kind.INTEGER), ("unheard_at", Kind.INTEGER)),
)
CHANNELS: Final = Table(shapes.CHANNELS_TABLE, (("channel", Kind.TEXT), ("standing", Kind.BLOB)))
DELIVERIES: Final = Table(
    "notices_deliveries",
    (
        ("id", Kind.TEXT),
        ("channel", Kind.TEXT),
        ("position", Kind.INTEGER),
        ("state", Kind.TEXT),
        ("at", Kind.INTEGER),
        ("attempts", Kind.INTEGER),
        ("cause", Kind.BLOB),
    ),
    indexes=(("channel", "state"),),
)
THREADS: Final = Table("notices_threads", (("id", Kind.TEXT), ("receipt", Kind.TEXT)))


class DeliveryState(StrEnum):
    """What a channel did with a notice."""

    DELIVERED = "delivered"
    POSTPONED = "postponed"
    GIVEN_UP = "given_up"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    REQUEUED = "requeued"


REPLAYABLE: Final = (DeliveryState.GIVEN_UP, DeliveryState.BLOCKED, DeliveryState.DROPPED)
"""What `notify outbox --replay` sends again."""


class Channel(msgspec.Struct, frozen=True):
    """A channel as of its last fact."""

    name: str
    version: int = 0
    """How many facts it has."""
    position: int = 0
    """It is done with everything up to here."""
    disabled: Cause | None = None
    failures: int = 0
    """How often in a row the sink was not there."""
    not_before: Instant = Instant(0)
    """When it may be tried again."""
    cause: Cause | None = None
    """What was wrong when it was tried last; None where it was taken."""
    delivered: int = 0
    given_up: int = 0
    blocked: int = 0
    dropped: int = 0
    unsaid: int = 0
    """How many were dropped that no digest tells of yet."""
    unsaid_since: Instant = Instant(0)
    """When the first of them happened."""
    digest: tuple[int, ...] = ()
    """The positions of a digest that is on its way."""
    said: int = 0
    """How many that were dropped it tells of."""
    delivered_at: Instant | None = None


class Concern(msgspec.Struct, frozen=True):
    """What is known of a credential: whether it is in trouble, and the last critical notice that reached nobody."""

    credential: str
    troubled: bool = False
    unheard: int | None = None
    unheard_at: Instant | None = None


class Delivery(msgspec.Struct, frozen=True):
    """What became of a notice on a channel."""

    channel: str
    position: int
    state: DeliveryState
    at: Instant
    attempts: int
    cause: Cause | None
