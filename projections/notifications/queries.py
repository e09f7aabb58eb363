"""What is asked of the outbox: channels, notices and their deliveries.

Rule: reads rows and decides nothing; which notices go to which channel is configuration, and not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from engine.credential_events import Cause
from engine.notices import Notice
from engine.values import Instant
from projections.feed import Condition, Relation, Row, Rows
from projections.notifications.tables import (
    CHANNELS,
    CREDENTIALS,
    DELIVERIES,
    NOTICES,
    THREADS,
    Channel,
    Concern,
    Delivery,
    DeliveryState,
)

_NOTICE: Final = msgspec.msgpack.Decoder(Notice).decode
_CHANNEL: Final = msgspec.msgpack.Decoder(Channel).decode
_CAUSE: Final = msgspec.msgpack.Decoder(Cause | None).decode


class Waiting(msgspec.Struct, frozen=True):
    """A notice that may have to go somewhere, and the hash of its fact, which no other log has."""

    notice: Notice
    hash: bytes


def channel(rows: Rows, name: str) -> Channel | None:
    """Return a channel; None where it was never opened."""
    row = rows.get(CHANNELS, name)
    return None if row is None else _CHANNEL(cast("bytes", row[1]))


def channels(rows: Rows) -> list[Channel]:
    """Return all channels that were ever opened, by name."""
    return [_CHANNEL(cast("bytes", row[1])) for row in rows.select(CHANNELS)]


def notice_at(rows: Rows, position: int) -> Notice | None:
    """Return the notice of the fact at a position; None where people are not told of it."""
    row = rows.get(NOTICES, position)
    return None if row is None else _NOTICE(cast("bytes", row[3]))


def waiting_at(rows: Rows, position: int) -> Waiting | None:
    """Return the notice of the fact at a position, with the hash of that; None where there is none."""
    row = rows.get(NOTICES, position)
    return None if row is None else _waiting(row)


def behind(rows: Rows, position: int, *, services: Sequence[str], limit: int | None = None) -> list[Waiting]:
    """Return the notices behind a position that are about these services or about no service, oldest first."""
    conditions = [
        Condition("position", Relation.AT_LEAST, (position + 1,)),
        Condition("service", Relation.AMONG, (*services, "")),
    ]
    return [_waiting(row) for row in rows.select(NOTICES, conditions, limit=limit)]


def before(rows: Rows, channel: Channel) -> list[Waiting]:
    """Return what a channel has still to do up to its position: what was requeued, and a digest on its way."""
    digest = (waiting_at(rows, position) for position in channel.digest)
    found = [*requeued(rows, channel), *(each for each in digest if each is not None)]
    by_position = {each.notice.position: each for each in found}
    return [by_position[position] for position in sorted(by_position) if position <= channel.position]


def requeued(rows: Rows, channel: Channel) -> list[Waiting]:
    """Return the notices that a person had sent again on a channel and that are not settled, oldest first."""
    conditions = [
        Condition("channel", Relation.AMONG, (channel.name,)),
        Condition("state", Relation.AMONG, (DeliveryState.REQUEUED.value, DeliveryState.POSTPONED.value)),
        # What is postponed behind the position of the channel has its first turn still to come.
        Condition("position", Relation.AT_MOST, (channel.position,)),
    ]
    found = [rows.get(NOTICES, row[2]) for row in rows.select(DELIVERIES, conditions)]
    return [_waiting(row) for row in found if row is not None]


def deliveries(rows: Rows, *, channel: str | None = None, states: Sequence[DeliveryState] = ()) -> list[Delivery]:
    """Return what became of notices, by channel and position."""
    conditions: list[Condition] = []
    if channel is not None:
        conditions.append(Condition("channel", Relation.AMONG, (channel,)))
    if states:
        conditions.append(Condition("state", Relation.AMONG, tuple(state.value for state in states)))
    return [
        Delivery(
            str(row[1]),
            cast("int", row[2]),
            DeliveryState(str(row[3])),
            Instant(cast("int", row[4])),
            cast("int", row[5]),
            _CAUSE(cast("bytes", row[6])),
        )
        for row in rows.select(DELIVERIES, conditions)
    ]


def unheard(rows: Rows, *, before: Instant) -> list[Concern]:
    """Return the credentials of which a critical notice from before a time reached nobody, by name."""
    return [
        concern
        for concern in map(_concern, rows.select(CREDENTIALS))
        if concern.unheard_at is not None and concern.unheard_at < before
    ]


def concern(rows: Rows, credential: str) -> Concern:
    """Return what is known of a credential."""
    row = rows.get(CREDENTIALS, credential)
    return Concern(credential) if row is None else _concern(row)


def _concern(row: Row) -> Concern:
    at = None if row[3] is None else Instant(cast("int", row[3]))
    return Concern(str(row[0]), bool(row[1]), cast("int | None", row[2]), at)


def thread(rows: Rows, name: str, rotation_id: str) -> str:
    """Return the first receipt of a rotation on a channel; empty where there is none."""
    row = rows.get(THREADS, f"{name}/{rotation_id}")
    return "" if row is None else str(row[1])


def _waiting(row: Row) -> Waiting:
    return Waiting(_NOTICE(cast("bytes", row[3])), cast("bytes", row[4]))
