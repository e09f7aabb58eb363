"""The dispatcher: has couriers deliver beside the work, each in a thread of its own, and never holds the work up.

Rule 1: what is in memory may be lost at any time: the log has it, and the next process sends it.
Rule 2: nothing is waited for but by `flush`, when the work is done, and there for a few seconds at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from adapters.config.build import Wiring
from adapters.event_store.sqlite import SqliteEventLog
from adapters.outbox.courier import Courier, Rest
from adapters.outbox.outlets import Outlet
from adapters.outbox.secrets import Secrets
from adapters.ownership import FileOwnership
from adapters.quick_status import LOG_FILE, VIEWS_FILE
from adapters.system import SystemClock, SystemEntropy
from adapters.views import SqliteViews
from engine import channel_events as c
from engine import events as e
from engine.errors import Conflict, Fenced, KeyturnError, OwnedElsewhere
from engine.facts import Fact, Recorded
from engine.values import SECOND, Instant, Microseconds
from projections.feed import Rows, catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.tables import REPLAYABLE

FLUSH: Final = Microseconds(5 * SECOND)
"""How long a command waits, when its work is done, for what is on its way."""

WORKERS_MAX: Final = 64
"""Channels that are delivered to at once; what is more waits for one of them to end."""

_NEVER: Final = Instant(2**62)
_AGAIN: Final = Microseconds(SECOND // 5)
"""How soon a channel is looked at again that another process delivers to."""

_LOCKS: Final = "locks"
_UNTOLD: Final = (e.AttemptStarted, e.AttemptClosed, e.LoginTried, e.Published, e.CandidateStaged, e.CandidateApplied)
"""Facts that follow each other closely and of which nobody is told: nobody is woken for them."""


@dataclass(slots=True)
class Dispatcher:
    """Delivers what the outbox of an installation holds, on channels that are opened. `start` begins, `flush` ends."""

    state: Path
    wiring: Wiring
    outlets: Mapping[str, Outlet]
    actor: str
    lease: Microseconds
    trouble: Callable[[KeyturnError], None] = lambda error: None
    """Told what kept a courier from its work: the log, the views or the state folder cannot be used."""
    bug: Callable[[Exception], None] = lambda error: None
    """Told an error that nobody foresaw, whose text could hold anything."""
    _condition: Condition = field(default_factory=Condition)
    _due: dict[str, Instant] = field(default_factory=dict)
    """The channels that something waits for, and when they are looked at."""
    _working: set[str] = field(default_factory=set)
    _woken: bool = True
    _idle: bool = False
    """Everything in the log was looked at."""
    _stopped: bool = False
    _seen: int = -1

    def start(self) -> None:
        """Begin to deliver, in threads that end with the process."""
        Thread(target=self._guarded(self._feed), name="notifications", daemon=True).start()

    def observe(self, recorded: Sequence[Recorded]) -> None:
        """Be told of an append of this process; returns at once."""
        if any(not isinstance(each.fact.body, _UNTOLD) for each in recorded):
            self.wake()

    def wake(self) -> None:
        """Look at the log again."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def flush(self, limit: Microseconds = FLUSH) -> bool:
        """Wait until everything was delivered that can be now, `limit` at most, and stop; tell whether it was.

        What was in trouble is not waited for.
        """
        self.wake()
        with self._condition:
            done = self._condition.wait_for(self._is_done, timeout=limit / SECOND)
            self._stop()
        return done

    def _is_done(self) -> bool:
        now = SystemClock().now().wall
        if self._stopped:
            return True
        return self._idle and not self._woken and not self._working and not any(at <= now for at in self._due.values())

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what does the work of a thread: an error ends the thread, is told, and touches nothing else."""

        def guarded() -> None:
            try:
                work()
            except KeyturnError as error:
                self.trouble(error)
                self._stop()
            except Exception as error:  # noqa: BLE001 - the last resort of the thread
                self.bug(error)
                self._stop()

        return guarded

    def _stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def _feed(self) -> None:
        """Follow the log, and have a courier work wherever something waits."""
        log = self._log()
        with self._views() as views:
            while self._wait():
                catch_up(OUTBOX, log, views)
                with views.reading(OUTBOX) as rows:
                    due = self._found(rows)
                with self._condition:
                    for name, at in due.items():
                        self._due.setdefault(name, at)
                    self._begin()
                    self._idle = True
                    self._condition.notify_all()

    def _wait(self) -> bool:
        """Wait for something to do; tell whether to go on."""
        with self._condition:
            while not self._stopped and not self._woken:
                self._begin()
                now = SystemClock().now().wall
                waits = [max(at - now, 0) / SECOND for name, at in self._due.items() if name not in self._working]
                self._condition.wait(min([*waits, 60.0]))
            self._woken, self._idle = False, False
            return not self._stopped

    def _found(self, rows: Rows) -> dict[str, Instant]:
        """Return the channels for which there is something in the log that was not seen here, and when it may go."""
        states = {each.name: each for each in queries.channels(rows) if each.name in self.outlets}
        if self._seen < 0:
            self._seen = min((each.position for each in states.values()), default=0)
        services = {service for outlet in self.outlets.values() for service in outlet.subscriptions}
        found: set[str] = set()
        for each in queries.behind(rows, self._seen, services=tuple(services)):
            self._seen = each.notice.position
            found |= {
                name
                for name, outlet in self.outlets.items()
                if name in states
                and each.notice.position > states[name].position
                and outlet.subscription(each.notice) is not None
            }
        found |= {name for name, state in states.items() if queries.before(rows, state)}
        return {name: states[name].not_before for name in found if states[name].disabled is None}

    def _begin(self) -> None:
        """Start couriers for what is due now; called with the condition held."""
        now = SystemClock().now().wall
        for name, at in list(self._due.items()):
            if at <= now and name not in self._working and len(self._working) < WORKERS_MAX and not self._stopped:
                del self._due[name]
                self._working.add(name)
                work = self._guarded(lambda name=name: self._work(self.outlets[name]))  # type: ignore[misc]
                Thread(target=work, name=f"notifications {name}", daemon=True).start()

    def _work(self, outlet: Outlet) -> None:
        """Deliver what waits for a channel, unless another process does so."""
        next_at: Instant | None = None
        try:
            next_at = self._deliver(outlet)
        finally:
            with self._condition:
                self._working.discard(outlet.id)
                if next_at is not None:
                    self._due[outlet.id] = min(next_at, self._due.get(outlet.id, _NEVER))
                self._condition.notify_all()

    def _deliver(self, outlet: Outlet) -> Instant | None:
        """Deliver; return when to look again, None where nothing waits."""
        clock = SystemClock()
        ownership = FileOwnership(self.state / _LOCKS, lease=self.lease, clock=clock)
        with self._views() as views:
            secrets = Secrets(Wiring(self.wiring.configuration, self.state))  # a thread of its own, stores of its own
            log, entropy = self._log(), SystemEntropy()
            courier = Courier(outlet, log, views, clock, entropy, self.actor, secrets.known, self._hear)
            try:
                with ownership.hold(c.channel_id(outlet.id)) as check:
                    why, at = courier.run(until=_NEVER, stopped=self._stopping(check))
            except OwnedElsewhere:
                return Instant(clock.now().wall + _AGAIN)
            except Fenced:
                return Instant(clock.now().wall + _AGAIN)
        return at if why is Rest.LATER else None

    def _hear(self, event: c.ChannelEvent) -> None:
        """Look at the log again where a channel recorded what the others are told."""
        if isinstance(event, c.ChannelDisabled | c.NotificationGivenUp | c.NotificationBlocked):
            self.wake()

    def _stopping(self, check: Callable[[], None]) -> Callable[[], bool]:
        def stopping() -> bool:
            check()
            return self._stopped

        return stopping

    def _log(self) -> SqliteEventLog:
        return SqliteEventLog(self.state / LOG_FILE, must_exist=True)

    def _views(self) -> SqliteViews:
        return SqliteViews(self.state / VIEWS_FILE)


def open_channels(log: SqliteEventLog, names: Iterable[str], actor: str) -> None:
    """Have channels that are new told of what comes from now on; raises what the log raises.

    The log alone is asked: whoever is about to change something waits for this.
    """
    head, at = log.head(), SystemClock().now().wall
    for name in sorted(set(names)):
        with suppress(Conflict):  # it is open already
            log.append([Fact(c.channel_id(name), 1, at, actor, c.ChannelOpened(name, head))])


def requeue(
    log: SqliteEventLog, views: SqliteViews, *, channels: Iterable[str], actor: str, at: Instant
) -> dict[str, int]:
    """Have what was given up, blocked or dropped on channels sent again, and what waits tried at once.

    Returns how many notices of each channel are sent again.
    """
    catch_up(OUTBOX, log, views)
    counts: dict[str, int] = {}
    with views.reading(OUTBOX) as rows:
        for name in channels:
            state = queries.channel(rows, name)
            found = queries.deliveries(rows, channel=name, states=REPLAYABLE)
            if state is None or (not found and state.not_before <= at):
                continue
            event = c.NotificationsRequeued(name, tuple(each.position for each in found))
            log.append([Fact(c.channel_id(name), state.version + 1, at, actor, event)])
            counts[name] = len(found)
    return counts
