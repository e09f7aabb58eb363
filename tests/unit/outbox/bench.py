"""A bench for couriers: a log in memory, a sink that answers as planned, and time that moves when somebody waits.

Restarting takes a new courier and new views, as another process would have them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from adapters.config.load import parse
from adapters.event_store.memory import MemoryEventLog
from adapters.outbox.courier import Courier, Rest
from adapters.outbox.gate import Known
from adapters.outbox.outlets import Outlet, Subscription
from adapters.views import SqliteViews
from engine import channel_events as c
from engine import events as e
from engine.credential_events import Cause
from engine.errors import Conflict, PortError
from engine.facts import Fact, Recorded
from engine.machine import State
from engine.notices import Notice
from engine.notifier import Outgoing, Pace
from engine.plan import Kind, Plan, Strategy
from engine.values import SECOND, Instant, Microseconds, Secret
from projections.feed import catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.tables import Channel, Delivery
from tests.unit.engine.surroundings import Clock, Seeded

FAILURE: Final = Cause("verify", "refused", "the target refuses it", "Look.")
FOREVER: Final = Instant(2**62)
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR

Answer = Callable[[], str]
"""How the sink answers a message: with a receipt, or an error."""

_CONFIGURATION = b"""
version: 1
secretStores: {held: {type: memory}}
services:
  app:
    type: memory
    credential: {username: app, store: held, key: default/app}
    rotation: {strategy: dual, notifications: {file: {path: out, events: [failed]}}}
  other:
    type: memory
    credential: {username: app, store: held, key: default/other}
    rotation: {strategy: dual, notifications: {file: {path: out, events: [failed]}}}
"""


@dataclass(frozen=True)
class Sent:
    """A message that the sink was given."""

    at: int
    key: str
    thread: str
    outgoing: Outgoing

    @property
    def document(self) -> dict[str, Any]:
        """What stands in it."""
        found: dict[str, Any] = msgspec.json.decode(self.outgoing.content)
        return found

    @property
    def positions(self) -> list[int]:
        """The positions of its notices."""
        return list(self.document["positions"])


@dataclass
class Sink:
    """A sink in memory: it takes everything, unless answers are planned or it is down. The port `Notifier`."""

    clock: Clock
    pace: Pace = field(default_factory=lambda: Pace(per_second=1_000.0, burst=1_000))
    answers: deque[Answer] = field(default_factory=deque)
    down: Callable[[], PortError | None] = lambda: None
    rendering: Callable[[Sequence[Notice]], None] = lambda notices: None
    tries: list[Sent] = field(default_factory=list)
    taken: list[Sent] = field(default_factory=list)

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Take what is selected."""
        return selected

    def validate(self) -> Sequence[str]:
        """There is nothing to set."""
        return []

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return positions, reasons and causes."""
        self.rendering(notices)
        document = {
            "positions": [notice.position for notice in notices],
            "dropped": dropped,
            "texts": [[notice.reason, notice.cause.message if notice.cause else ""] for notice in notices],
        }
        return Outgoing(msgspec.json.encode(document), "application/json")

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Answer as planned."""
        sent = Sent(self.clock.wall, key, thread, outgoing)
        self.tries.append(sent)
        if self.answers:
            receipt = self.answers.popleft()()
        else:
            error = self.down()
            if error is not None:
                raise error
            receipt = f"r{len(self.taken) + 1}"
        self.taken.append(sent)
        return receipt

    def plan(self, *errors: PortError | None) -> None:
        """Answer so, in order; None takes the message."""
        self.answers.extend(map(_answer, errors))

    @property
    def delivered(self) -> list[int]:
        """The positions of all notices in messages that were taken, in the order of arrival."""
        return [position for sent in self.taken for position in sent.positions]


def _answer(error: PortError | None) -> Answer:
    def answer() -> str:
        if error is not None:
            raise error
        return "planned"

    return answer


def failing(number: int, at: Instant, *, service: str = "app", text: str = "", reason: str = "") -> list[Fact]:
    """Return the facts of a rotation that fails, the `number`-th of a log: that it started, and that it failed."""
    started = e.RotationStarted(
        service=service,
        environment="default",
        kind=Kind.ROTATION,
        plan=Plan(Strategy.SINGLE, overlap=False),
        version=f"v{number}",
        login="app",
        owner="host:1",
    )
    stream = UUID(int=number << 80, version=4)
    cause = Cause(FAILURE.step, FAILURE.kind, text or FAILURE.message, FAILURE.hint)
    return [
        Fact(stream, 1, at, "ada", started, State.STAGING),
        Fact(stream, 2, at, "ada", e.RotationFailed(cause, reason), State.FAILED),
    ]


class Bench:
    """One channel of two services."""

    def __init__(
        self, folder: Path, pace: Pace | None = None, *, name: str = "ops-1", log: MemoryEventLog | None = None
    ) -> None:
        self.folder, self.name = folder, name
        self.clock, self.log = Clock(), log or MemoryEventLog()
        self.sink = Sink(self.clock, pace or Pace(per_second=1_000.0, burst=1_000))
        self.known: Mapping[str, Sequence[tuple[str, Secret]]] = {}
        self._rotations = 0
        configuration = parse(_CONFIGURATION, path=Path("/etc/keyturn.yaml"), shown="keyturn.yaml")
        self.outlet = Outlet(name, "ops", "file")
        for service in configuration.services.values():
            self.outlet.subscriptions[service.name] = Subscription(service, service.channels[0], self.sink)
        self.views: SqliteViews | None = None
        self.courier = self.restarted()
        self.note(c.ChannelOpened(name, 0))

    def restarted(self) -> Courier:
        """Return a courier as a new process would have it, with views that were kept, and use it from here on."""
        self.close()
        self.views = SqliteViews(self.folder / "views.db")
        known: Callable[[str], Known] = lambda service: lambda: self.known.get(service, ())
        self.courier = Courier(self.outlet, self.log, self.views, self.clock, Seeded(), "eve", known)
        return self.courier

    def close(self) -> None:
        """Close the views."""
        if self.views is not None:
            self.views.close()

    def fail(self, count: int = 1, *, service: str = "app", text: str = "", reason: str = "") -> list[int]:
        """Have rotations fail at once; return the positions of the failures, which the channel is told."""
        found: list[int] = []
        for _ in range(count):
            self._rotations += 1
            when = Instant(self.clock.wall)
            facts = failing(self._rotations, when, service=service, text=text, reason=reason)
            found.append(self.log.append(facts)[-1].position)
        return found

    def note(self, event: c.ChannelEvent) -> Recorded:
        """Append a fact of the channel, as another process would."""
        place = len(self.log.stream(c.channel_id(event.channel))) + 1
        fact = Fact(c.channel_id(event.channel), place, Instant(self.clock.wall), "zoe", event)
        (recorded,) = self.log.append([fact])
        return recorded

    def run(self, seconds: float | None = None) -> Rest:
        """Have the courier work for so long, or until it stops by itself."""
        until = FOREVER if seconds is None else Instant(self.clock.wall + int(seconds * SECOND))
        why, _ = self.courier.run(until=until)
        return why

    def run_on(self, seconds: float, *, rounds_max: int = 10_000) -> None:
        """Have the courier work whenever there is something to do, as a dispatcher does, until so much time passed."""
        until = Instant(self.clock.wall + int(seconds * SECOND))
        for _ in range(rounds_max):
            why, at = self.courier.run(until=until)
            if why is not Rest.LATER or at >= until:
                break
            self.clock.wait(Microseconds(max(at - self.clock.wall, 1)))
        self.clock.wall = max(self.clock.wall, until)

    @property
    def channel(self) -> Channel:
        """How the channel stands."""
        with self._rows() as rows:
            found = queries.channel(rows, self.name)
        assert found is not None
        return found

    def deliveries(self) -> list[Delivery]:
        """What became of the notices."""
        with self._rows() as rows:
            return queries.deliveries(rows, channel=self.name)

    def events(self, kind: type | None = None) -> list[Any]:
        """The facts of the channel, of one kind where one is given."""
        bodies = [fact.body for fact in self.log.stream(c.channel_id(self.name))]
        return [body for body in bodies if kind is None or isinstance(body, kind)]

    def _rows(self) -> Any:
        assert self.views is not None
        catch_up(OUTBOX, self.log, self.views)
        return self.views.reading(OUTBOX)


class ContestedLog:
    """The log, to which somebody else appends just before this process does, so many times."""

    def __init__(self, log: MemoryEventLog, times: int) -> None:
        self._log, self.left = log, times

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Refuse, as if the place were taken."""
        if self.left:
            self.left -= 1
            raise Conflict(stream="the channel")
        return self._log.append(facts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)
