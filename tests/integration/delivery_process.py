"""Delivers what an outbox holds in forked children that are killed at a point; no tests here.

`python -m tests.integration.delivery_process FOLDER` reads one order a line, the point and how often it is passed
before the death, and answers with how the child ended. A child that is not killed delivers everything and ends with 0.

Rule: what is run is the real courier on the real log, views and sink; they are only watched on their way.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.outbox.courier import Courier, Rest
from adapters.outbox.outlets import Outlet, Subscription, outlets
from adapters.quick_status import LOG_FILE, VIEWS_FILE
from adapters.system import SystemClock, SystemEntropy
from adapters.views import SqliteViews
from engine.facts import Fact, Recorded
from engine.notices import Notice
from engine.notifier import Notifier, Outgoing, Pace
from engine.values import Instant, Microseconds

POINTS: Final = ("before render", "before send", "after send", "inside append", "after append")


class Death:
    """Kills this process where it was told to."""

    def __init__(self, point: str, passed: int) -> None:
        self._point, self._left = point, passed

    def pass_by(self, point: str) -> None:
        """The process may end here."""
        if point == self._point:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """A notifier, watched; the port `Notifier`. `batch`: it takes digests, at once."""

    def __init__(self, real: Notifier, death: Death, batch: int) -> None:
        self._real, self._death, self._batch = real, death, batch

    @property
    def pace(self) -> Pace:
        """That of the real one, but for digests."""
        return Pace(per_second=1_000.0, burst=1_000, batch=Microseconds(self._batch))

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Ask the real one."""
        return self._real.supports(notice, selected=selected)

    def validate(self) -> Sequence[str]:
        """Ask the real one."""
        return self._real.validate()

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Render, or end."""
        self._death.pass_by("before render")
        return self._real.render(notices, key=key, dropped=dropped)

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Send, or end before or behind it."""
        self._death.pass_by("before send")
        receipt = self._real.send(outgoing, key=key, thread=thread)
        self._death.pass_by("after send")
        return receipt


class WatchedLog:
    """The log: the process may end between writing and committing, or behind that."""

    def __init__(self, log: SqliteEventLog, death: Death) -> None:
        self._log = log
        recorder: Any = log.recorder
        insert: Callable[..., Any] = recorder._insert_chained

        def watched(*arguments: Any) -> Any:
            done = insert(*arguments)
            death.pass_by("inside append")  # the transaction is open
            return done

        recorder._insert_chained = watched
        self._death = death

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append, or end."""
        recorded = self._log.append(facts)
        self._death.pass_by("after append")
        return recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def _deliver(folder: Path, point: str, passed: int, batch: int) -> None:
    death = Death(point, passed)
    configuration = load(folder / "keyturn.yaml")
    (outlet,) = outlets(Wiring(configuration, folder / "state")).values()
    watched = Outlet(outlet.id, outlet.name, outlet.adapter)
    for name, each in outlet.subscriptions.items():
        watched.subscriptions[name] = Subscription(each.service, each.channel, Watched(each.notifier, death, batch))
    log: Any = WatchedLog(SqliteEventLog(folder / "state" / LOG_FILE, must_exist=True), death)
    with SqliteViews(folder / "state" / VIEWS_FILE) as views:
        courier = Courier(watched, log, views, SystemClock(), SystemEntropy(), "eve", lambda _: lambda: ())
        why, _ = courier.run(until=Instant(2**62))
        assert why is Rest.EMPTY, why


def _serve(folder: Path) -> None:
    for line in sys.stdin:
        point, passed, batch = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            code = 99
            try:
                _deliver(folder, point, int(passed), int(batch))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
