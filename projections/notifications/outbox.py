"""The outbox: every notice, what each channel did with it, and how each channel stands; folded from the log.

Rule 1: a channel is done with everything up to its position, but for what a person requeued.
Rule 2: which notices go to which channel is configuration, and not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeAlias, assert_never, cast, get_args

import msgspec
from msgspec.structs import replace

from engine import channel_events as c
from engine import events as e
from engine import rotation as rotations
from engine.credential_events import Cause
from engine.errors import Rejected
from engine.facts import Fact, Recorded
from engine.machine import State
from engine.notices import Notice, NoticeKind
from engine.rotation import Rotation
from engine.values import Instant
from projections import shapes
from projections.feed import Folding, Row, Rows, Table, shape_of
from projections.notifications import queries
from projections.notifications.notices import TROUBLING, of_overdue, of_rotation, of_trouble
from projections.notifications.tables import (
    CHANNELS,
    CREDENTIALS,
    DELIVERIES,
    NOTICES,
    RUNS,
    THREADS,
    Channel,
    Concern,
    Delivery,
    DeliveryState,
)

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_NOTICE: Final = msgspec.msgpack.Decoder(Notice).decode
_ROTATION: Final = msgspec.msgpack.Decoder(Rotation).decode
_CHANNEL: Final = msgspec.msgpack.Decoder(Channel).decode
_CAUSE: Final = msgspec.msgpack.Decoder(Cause | None).decode
_OF_ROTATION: Final = frozenset(get_args(e.RotationEvent))
_OF_CHANNEL: Final = frozenset(get_args(c.ChannelEvent))
_Put: TypeAlias = Callable[[Table, Row], None]


class OutboxProjection:
    """Folds the log into notices and their deliveries."""

    name = shapes.OUTBOX
    schema = shapes.OUTBOX_SCHEMA
    tables = (NOTICES, RUNS, CREDENTIALS, CHANNELS, DELIVERIES, THREADS)

    @cached_property
    def shape(self) -> str:
        """Differs wherever what is kept differs."""
        return shape_of(Notice, Rotation, Channel, Concern, Delivery)

    def begin(self) -> Folding:
        """Return a fold that goes on from whatever the rows hold."""
        return _Fold()


OUTBOX: Final = OutboxProjection()


class _Fold:
    """What a fold has touched, as of the last fact."""

    def __init__(self) -> None:
        self._rotations: dict[bytes, Rotation] = {}
        self._concerns: dict[str, Concern] = {}
        self._channels: dict[str, Channel] = {}
        self._notices: dict[int, Notice] = {}
        self._threads: set[str] = set()

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return the rows of the notices that facts make, and of the channels that they are about."""
        changes: dict[Table, dict[object, Row]] = {table: {} for table in OUTBOX.tables}

        def put(table: Table, row: Row) -> None:
            changes[table][row[0]] = row

        self._notices = {}
        for recorded in facts:
            body = recorded.fact.body
            if type(body) in _OF_CHANNEL:
                self._follow(recorded, cast("c.ChannelEvent", body), rows, put)
            elif isinstance(body, c.CredentialOverdue):
                self._tell(of_overdue(recorded.fact, body, position=recorded.position), recorded, rows, put)
            elif type(body) in _OF_ROTATION:
                self._move(recorded, rows, put)
        return {table: list(those.values()) for table, those in changes.items()}

    def _move(self, recorded: Recorded, rows: Rows, put: _Put) -> None:
        """Fold a fact of a rotation, and tell it where people are told of it."""
        fact = recorded.fact
        key = fact.originator_id.bytes
        before = self._rotation(key, rows)
        after = rotations.start(fact) if before is None else rotations.evolve(before, fact)
        self._rotations[key] = after
        is_over = after.ended_at is not None and after.state is not State.FAILED  # from there it may still go back
        put(RUNS, (key, None if is_over else _ENCODE(after)))
        if is_over:
            del self._rotations[key]
        credential = f"{after.environment}/{after.service}"
        troubled = self._concern(credential, rows).troubled
        notice = of_rotation(fact, after, position=recorded.position, in_trouble=troubled)
        if notice is not None:
            self._tell(notice, recorded, rows, put)

    def _tell(self, notice: Notice, recorded: Recorded, rows: Rows, put: _Put) -> None:
        self._notices[notice.position] = notice
        put(NOTICES, (notice.position, notice.service, notice.kind.value, _ENCODE(notice), recorded.hash))
        if notice.kind is NoticeKind.COMPLETED:
            self._take_down(Concern(notice.credential), put)
        elif notice.kind is not NoticeKind.UNDELIVERED and (notice.is_critical or notice.kind in TROUBLING):
            concern = replace(self._concern(notice.credential, rows), troubled=True)
            if notice.is_critical and self._is_anybody_there(rows):
                concern = replace(concern, unheard=notice.position, unheard_at=notice.at)
            self._take_down(concern, put)

    def _is_anybody_there(self, rows: Rows) -> bool:
        """Tell whether there was a channel by then: where there was none, nobody was to be told."""
        return bool(self._channels) or bool(rows.select(CHANNELS, limit=1))

    def _take_down(self, concern: Concern, put: _Put) -> None:
        self._concerns[concern.credential] = concern
        put(CREDENTIALS, (concern.credential, int(concern.troubled), concern.unheard, concern.unheard_at))

    def _hear(self, positions: Sequence[int], rows: Rows, put: _Put) -> None:
        """Take down that somebody was told: who hears of the newest need not be told of the ones before."""
        for position in positions:
            notice = self._notice(position, rows)
            if notice is None or not _tells_of_trouble(notice):
                continue
            concern = self._concern(notice.credential, rows)
            if concern.unheard is not None and concern.unheard <= position:
                self._take_down(replace(concern, unheard=None, unheard_at=None), put)

    def _follow(self, recorded: Recorded, body: c.ChannelEvent, rows: Rows, put: _Put) -> None:
        """Fold a fact of a channel, and tell the others where it is in trouble."""
        fact = recorded.fact
        before = self._channel(body.channel, rows) or Channel(body.channel)
        after = _evolve(replace(before, version=fact.originator_version), body, fact)
        if isinstance(body, c.NotificationsDropped) and not before.unsaid:
            first = self._notice(body.positions[0], rows) if body.positions else None
            after = replace(after, unsaid_since=first.at if first else fact.at)
        self._channels[body.channel] = after
        put(CHANNELS, (after.name, _ENCODE(after)))
        for delivery in _deliveries(body, fact):
            put(DELIVERIES, _row(delivery))
        if isinstance(body, c.NotificationDelivered):
            self._hear(body.positions, rows, put)
            if body.receipt and len(body.positions) == 1:  # a digest is no root of a thread: it tells of many
                self._keep_receipt(body, rows, put)
        if isinstance(body, c.ChannelDisabled):
            self._tell(of_trouble(fact, body, None, position=recorded.position), recorded, rows, put)
        elif isinstance(body, c.NotificationGivenUp | c.NotificationBlocked):
            # What could not be told about a channel is not told again, or two broken channels would never end.
            notices = (self._notice(position, rows) for position in body.positions)
            about = next((each for each in notices if each and each.kind is not NoticeKind.UNDELIVERED), None)
            if about is not None:
                self._tell(of_trouble(fact, body, about, position=recorded.position), recorded, rows, put)

    def _keep_receipt(self, body: c.NotificationDelivered, rows: Rows, put: _Put) -> None:
        """Keep the first receipt of a rotation: what comes later joins it."""
        notice = self._notice(body.positions[0], rows)
        if notice is not None and notice.rotation_id:
            key = f"{body.channel}/{notice.rotation_id}"
            if key not in self._threads and rows.get(THREADS, key) is None:
                put(THREADS, (key, body.receipt))
            self._threads.add(key)

    def _rotation(self, key: bytes, rows: Rows) -> Rotation | None:
        if key not in self._rotations:
            row = rows.get(RUNS, key)
            if row is None or row[1] is None:
                return None
            self._rotations[key] = _ROTATION(cast("bytes", row[1]))
        return self._rotations[key]

    def _concern(self, credential: str, rows: Rows) -> Concern:
        if credential not in self._concerns:
            self._concerns[credential] = queries.concern(rows, credential)
        return self._concerns[credential]

    def _channel(self, name: str, rows: Rows) -> Channel | None:
        return self._channels.get(name) or queries.channel(rows, name)

    def _notice(self, position: int, rows: Rows) -> Notice | None:
        return self._notices.get(position) or queries.notice_at(rows, position)


def _tells_of_trouble(notice: Notice) -> bool:
    """Tell whether who hears of it knows how the credential stands."""
    is_critical = notice.is_critical and notice.kind is not NoticeKind.UNDELIVERED
    return is_critical or notice.kind is NoticeKind.ROLLED_BACK


def _evolve(channel: Channel, body: c.ChannelEvent, fact: Fact) -> Channel:
    """Return the channel after one more fact."""
    match body:
        case c.ChannelOpened():
            return replace(channel, position=body.position)
        case c.ChannelDisabled():
            return replace(channel, disabled=body.cause)
        case c.ChannelEnabled():
            return replace(channel, disabled=None, failures=0, not_before=Instant(0), cause=None)
        case c.DigestGathered():
            left = channel.unsaid - body.dropped
            return replace(channel, digest=body.positions, said=body.dropped, unsaid=left, unsaid_since=fact.at)
        case c.NotificationDelivered():
            settled = _settle(channel, body.positions)
            return replace(
                settled,
                delivered=channel.delivered + len(body.positions),
                said=0 if not settled.digest else channel.said,
                failures=0,
                not_before=Instant(0),
                cause=None,
                delivered_at=fact.at,
            )
        case c.NotificationPostponed():
            return replace(channel, failures=channel.failures + 1, not_before=body.not_before, cause=body.cause)
        case c.NotificationGivenUp():
            settled = _unsaid_again(_settle(channel, body.positions))
            settled = replace(settled, given_up=channel.given_up + len(body.positions), cause=body.cause)
            # A sink that refuses is there.
            is_there = body.attempts > 0 and body.cause.kind == Rejected.kind
            return replace(settled, failures=0, not_before=Instant(0)) if is_there else settled
        case c.NotificationBlocked():
            settled = _unsaid_again(_settle(channel, body.positions))
            return replace(settled, blocked=channel.blocked + len(body.positions), cause=body.cause)
        case c.NotificationsDropped():
            count = len(body.positions)
            settled = _settle(channel, body.positions)
            return replace(settled, dropped=channel.dropped + count, unsaid=channel.unsaid + count)
        case c.NotificationsRequeued():
            return replace(channel, not_before=Instant(0))
        case _:
            assert_never(body)


def _settle(channel: Channel, positions: Sequence[int]) -> Channel:
    """Return the channel without notices that it is done with."""
    digest = () if set(positions) & set(channel.digest) else channel.digest
    return replace(channel, position=max((channel.position, *positions)), digest=digest)


def _unsaid_again(channel: Channel) -> Channel:
    """Return the channel as it is when a digest was not delivered: the next one tells what that would have told."""
    return channel if channel.digest else replace(channel, unsaid=channel.unsaid + channel.said, said=0)


def _deliveries(body: c.ChannelEvent, fact: Fact) -> list[Delivery]:
    """Return what became of each notice that a fact is about."""
    state = _STATES.get(type(body))
    if state is None:
        return []
    attempts: int = getattr(body, "attempts", 0)
    cause: Cause | None = getattr(body, "cause", None)
    positions: tuple[int, ...] = getattr(body, "positions", ())
    return [Delivery(body.channel, position, state, fact.at, attempts, cause) for position in positions]


_STATES: Final[dict[type, DeliveryState]] = {
    c.NotificationDelivered: DeliveryState.DELIVERED,
    c.NotificationPostponed: DeliveryState.POSTPONED,
    c.NotificationGivenUp: DeliveryState.GIVEN_UP,
    c.NotificationBlocked: DeliveryState.BLOCKED,
    c.NotificationsDropped: DeliveryState.DROPPED,
    c.NotificationsRequeued: DeliveryState.REQUEUED,
}


def _row(delivery: Delivery) -> Row:
    key = f"{delivery.channel}/{delivery.position:020d}"
    state, cause = delivery.state.value, _ENCODE(delivery.cause)
    return (key, delivery.channel, delivery.position, state, delivery.at, delivery.attempts, cause)
