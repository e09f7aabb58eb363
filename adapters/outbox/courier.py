"""A courier: takes what waits for one channel to its sink, in order, and records what became of it.

Rule 1: what was sent is recorded before the next is sent, so that a crash repeats one message at most, under its key.
Rule 2: one courier a channel, among all processes: it works under the lock of its channel.
Rule 3: nothing here is waited for by a rotation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

from adapters.outbox.gate import Known, found_in
from adapters.outbox.outlets import Outlet
from adapters.outbox.pacing import Bucket, backoff, rest
from engine import channel_events as c
from engine.credential_events import Cause
from engine.errors import Conflict, PortError, Rejected, SinkGone, Throttled, Uncertain
from engine.facts import Fact
from engine.ports import Clock, Entropy, EventLog
from engine.values import SECOND, Instant, Microseconds
from projections.feed import Views, catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.queries import Waiting
from projections.notifications.tables import Channel

QUEUE_MAX: Final = 100
"""Notices that wait in memory for one channel; what is more drops the oldest, which the log still has."""

FLOOD: Final = Microseconds(60 * SECOND)
"""How long more than a channel holds is gathered before a digest tells it: a flood is one message, not many."""

GIVE_UP_AFTER: Final = Microseconds(7 * 86_400 * SECOND)
"""A notice that could not be delivered for so long is given up: nobody acts on it any more."""

ASKED_MAX: Final = Microseconds(5 * SECOND)
"""A sink that asks for more time than this is left alone, and the log says until when: the next process keeps to it."""

STEP: Final = "notify"


class Rest(StrEnum):
    """Why a courier stops."""

    EMPTY = "empty"
    """Nothing waits."""
    LATER = "later"
    """Something waits for a time."""
    DISABLED = "disabled"
    """The sink takes nothing any more."""
    STOPPED = "stopped"
    """Its time is over."""


def key_of(channel: str, waiting: Sequence[Waiting]) -> str:
    """Return the key of a message: the same for every try, and for no other message of any installation.

    The hashes of the facts chain the whole log before them, random ids among it.
    """
    digest = sha256(channel.encode())
    for each in waiting:
        digest.update(each.hash)
    return f"kt_{digest.hexdigest()[:32]}"


@dataclass(slots=True)
class Courier:
    """Delivers what waits for an outlet. One object serves one thread.

    `known` tells the secrets that may not leave in a message about a service.
    """

    outlet: Outlet
    log: EventLog
    views: Views
    clock: Clock
    entropy: Entropy
    actor: str
    known: Callable[[str], Known]
    heard: Callable[[c.ChannelEvent], None] = lambda event: None
    """Told what was recorded, once it is."""
    _queue: deque[Waiting] = field(default_factory=deque)
    _scanned: int = -1
    _version: int = -1
    _bucket: Bucket | None = None

    def run(self, *, until: Instant, stopped: Callable[[], bool] = lambda: False) -> tuple[Rest, Instant]:
        """Deliver until nothing waits that may go now, or the time is over; return why, and when there is more to do.

        The second is when something can go at the earliest, 0 where nothing waits. Raises what the log and the views
        raise.
        """
        while not stopped() and self.clock.now().wall < until:
            try:
                state = self._refresh()
                if state.disabled is not None:
                    return Rest.DISABLED, Instant(0)
                if not self._queue:
                    return Rest.EMPTY, Instant(0)
                goes_at = self._goes_at(state)
                if goes_at > self.clock.now().wall:
                    return Rest.LATER, goes_at
                if not self._deliver(state, until, stopped):
                    break
            except Conflict:
                self._version = -1  # a person, or a process that was frozen, was here: look again
        return Rest.STOPPED, self.clock.now().wall

    def _refresh(self) -> Channel:
        """Bring the view up to the log, and the queue up to the view; drop what is too much."""
        while True:
            catch_up(OUTBOX, self.log, self.views)
            with self.views.reading(OUTBOX) as rows:
                state = queries.channel(rows, self.outlet.id)
                assert state is not None, "a channel is opened before it is delivered to"
                if state.version != self._version:
                    before = queries.before(rows, state)
                    self._queue, self._scanned = deque(self._taken(before)), state.position
                    self._version = state.version
                found = queries.behind(rows, self._scanned, services=tuple(self.outlet.subscriptions))
            if found:
                self._scanned = found[-1].notice.position
                self._queue.extend(self._taken(found))
            waiting = [position for position in self._positions() if position not in state.digest]
            excess = len(waiting) - QUEUE_MAX
            if excess <= 0:
                return state
            self._record(state, c.NotificationsDropped(self.outlet.id, tuple(waiting[:excess])))

    def _positions(self) -> list[int]:
        return [each.notice.position for each in self._queue]

    def _taken(self, found: Sequence[Waiting]) -> list[Waiting]:
        return [each for each in found if self.outlet.subscription(each.notice) is not None]

    def _goes_at(self, state: Channel) -> Instant:
        """Return when the next message may go: after a rest, and when a digest has been gathered."""
        batch = self.outlet.pace.batch
        if state.digest:
            gathered = 0
        elif state.unsaid:
            gathered = state.unsaid_since + max(batch, FLOOD)
        else:
            gathered = self._queue[0].notice.at + batch if batch else 0
        return Instant(max(state.not_before, gathered))

    def _deliver(self, state: Channel, until: Instant, stopped: Callable[[], bool]) -> bool:
        """Send the next message, and record what became of it; of a digest, record first what is in it.

        Tells whether there was time to come to an end.
        """
        message = [each for each in self._queue if each.notice.position in state.digest]
        if not message and (self.outlet.pace.batch or state.unsaid):
            self._record(state, c.DigestGathered(self.outlet.id, tuple(self._positions()), state.unsaid))
            return True
        dropped = state.said if message else 0
        message = message or [self._queue[0]]
        first = message[0].notice
        subscription = self.outlet.subscription(first)
        assert subscription is not None, "only what goes to the channel is queued"
        name, positions = self.outlet.id, tuple(each.notice.position for each in message)
        key = key_of(name, message)
        try:
            with _unbroken(name, Rejected):
                outgoing = subscription.notifier.render([each.notice for each in message], key=key, dropped=dropped)
        except PortError as error:
            self._record(state, c.NotificationGivenUp(name, positions, 0, _cause(error)))
            return True
        services = {each.notice.service or subscription.service.name for each in message}
        for service in sorted(services):
            what = found_in(outgoing, self.known(service)())
            if what:
                cause = Cause(STEP, "secret_found", f"the message was not sent: {what} stands in it", _LEAK_HINT)
                self._record(state, c.NotificationBlocked(name, positions, cause))
                return True
        with self.views.reading(OUTBOX) as rows:
            thread = queries.thread(rows, name, first.rotation_id) if first.rotation_id else ""

        def send() -> str:
            with _unbroken(name, Uncertain):
                return subscription.notifier.send(outgoing, key=key, thread=thread)

        event = self._tried(send, state, positions, first.at, until, stopped)
        if event is not None:
            self._record(state, event)
        return event is not None

    def _tried(
        self,
        send: Callable[[], str],
        state: Channel,
        positions: tuple[int, ...],
        since: Instant,
        until: Instant,
        stopped: Callable[[], bool],
    ) -> c.ChannelEvent | None:
        """Try to send; return what is to be recorded, None where there was no time to come to an end.

        A sink that was not there the last time is tried once, to see whether it is back.
        """
        name, pace = self.outlet.id, self.outlet.pace
        tries = 1 if state.failures else pace.attempts
        for number in range(1, tries + 1):
            if not self._wait_for_turn(state, until, stopped):
                return None
            try:
                receipt = send()
            except SinkGone as error:
                return c.ChannelDisabled(name, _cause(error))
            except Rejected as error:
                return c.NotificationGivenUp(name, positions, number, _cause(error))
            except PortError as error:
                now = self.clock.now().wall
                if now - since > GIVE_UP_AFTER:
                    return c.NotificationGivenUp(name, positions, number, _cause(error))
                asked = Microseconds(error.after) if isinstance(error, Throttled) else Microseconds(0)
                if number == tries or min(asked, pace.longest) > ASKED_MAX:
                    pause = rest(pace, state.failures, asked=asked, jitter=self._jitter())
                    return c.NotificationPostponed(name, positions, number, _cause(error), Instant(now + pause))
                wait = backoff(pace, number, asked=asked, jitter=self._jitter())
                if not self._wait(wait, until, stopped):
                    return None
            else:
                return c.NotificationDelivered(name, positions, number, receipt)
        return None

    def _wait_for_turn(self, state: Channel, until: Instant, stopped: Callable[[], bool]) -> bool:
        """Wait until the sink may be given another message; tell whether there is time for that."""
        if self._bucket is None:
            self._bucket = Bucket(self.outlet.pace, self.clock.now().wall, state.delivered_at)
        return self._wait(self._bucket.take(self.clock.now().wall), until, stopped)

    def _wait(self, duration: Microseconds, until: Instant, stopped: Callable[[], bool]) -> bool:
        """Wait, in slices, so that who stops the courier need not wait; tell whether it was waited to the end."""
        end = self.clock.now().wall + duration
        if end >= until:
            return False
        while (left := end - self.clock.now().wall) > 0:
            if stopped():
                return False
            self.clock.wait(Microseconds(min(left, SECOND // 10)))
        return True

    def _record(self, state: Channel, event: c.ChannelEvent) -> None:
        at = self.clock.now().wall
        self.log.append([Fact(c.channel_id(self.outlet.id), state.version + 1, at, self.actor, event)])
        self._version = state.version + 1
        self.heard(event)
        if not isinstance(event, c.NotificationPostponed | c.ChannelDisabled | c.DigestGathered):
            settled = set(getattr(event, "positions", ()))
            self._queue = deque(each for each in self._queue if each.notice.position not in settled)

    def _jitter(self) -> float:
        return int.from_bytes(self.entropy.draw(4)) / 2**32


_LEAK_HINT: Final = "Find out how it came there: keyturn notify preview shows the message; change that credential."


@contextmanager
def _unbroken(channel: str, meaning: type[Rejected | Uncertain]) -> Iterator[None]:
    """Give an error that the port does not know a meaning: one broken channel must not end the thread of all its own.

    Its text could hold anything, a secret among it, so its kind alone is told.
    """
    try:
        yield
    except PortError:
        raise
    except Exception as error:  # noqa: BLE001 - a channel may be a plugin, which may raise anything
        why, advice = f"it broke with {type(error).__name__}", "This is a bug of the channel; report it to its authors."
        raise meaning(what=f"the channel {channel}", why=why, advice=advice) from None


def _cause(error: PortError) -> Cause:
    return Cause(STEP, error.kind, error.message, error.advice)
