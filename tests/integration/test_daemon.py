"""The daemon's loop on a real log: what is due is done once at a time, and what happens meanwhile is not missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from uuid import UUID

import pytest

from adapters.event_store.sqlite import SqliteEventLog
from adapters.serve.daemon import Daemon, Late
from adapters.system import SystemClock
from engine.credential import credential_id
from engine.events import PauseRequested, RotationOpened
from engine.facts import Fact
from engine.machine import State
from engine.values import SECOND, Instant

ONE, OTHER = UUID(int=1), UUID(int=2)
PATIENCE = 30.0


@dataclass
class Slow:
    """Work that takes until it is allowed to end, each time it is called for `ONE`; what it was called for is kept."""

    called: list[UUID | str] = field(default_factory=list)
    begun: Event = field(default_factory=Event)
    allowed: Event = field(default_factory=Event)
    other: Event = field(default_factory=Event)
    again: Event = field(default_factory=Event)

    def advance(self, rotation_id: UUID) -> Instant | None:
        """Work on a rotation, which rests then."""
        self.called.append(rotation_id)
        if rotation_id == OTHER:
            self.other.set()
        elif self.begun.is_set():
            self.again.set()
        else:
            self.begun.set()
            assert self.allowed.wait(PATIENCE)
        return None

    def begin(self, service: str) -> Instant | None:
        """Find that a service is never due."""
        self.called.append(service)
        return None


@contextmanager
def running(log: SqliteEventLog, work: Slow) -> Iterator[Daemon]:
    """Run a daemon with two workers, to which `ONE` is unfinished."""
    troubles: list[Exception] = []
    daemon = Daemon(
        log, SystemClock(), lambda: work, workers=2, services=[], told=lambda task, error: troubles.append(error)
    )
    thread = Thread(target=daemon.run, args=([ONE],), kwargs={"position": 0})
    thread.start()
    try:
        yield daemon
    finally:
        work.allowed.set()
        daemon.stop()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not troubles


@pytest.mark.slow
def test_what_is_decided_while_a_rotation_is_worked_on_has_it_looked_at_again(tmp_path: Path) -> None:
    """The worker may have read the log before: without another look, the decision would wait for the next deadline."""
    work, at = Slow(), Instant(1)
    opened = RotationOpened(OTHER, "app-db", "production", "v2", 2)
    with SqliteEventLog(tmp_path / "events.db") as log, running(log, work):
        assert work.begun.wait(PATIENCE)
        log.append([Fact(ONE, 1, at, "somebody", PauseRequested("wait"), State.APPLYING)])
        log.append([Fact(credential_id("app-db", "production"), 1, at, "somebody", opened)])
        assert work.other.wait(PATIENCE), "the daemon has seen both facts"
        assert work.called.count(ONE) == 1, "one task at a time"
        work.allowed.set()
        assert work.again.wait(PATIENCE)


def test_lateness_is_told_by_what_a_share_of_the_tasks_was_begun_within() -> None:
    """In seconds, of the last tasks; what was begun too early is not late, and where there was none, nothing is."""
    late = Late()
    assert late.percentile(0.99) == 0
    for hundredths in (*range(100), -5):
        late.note(hundredths * SECOND // 100)
    assert (late.percentile(0), late.percentile(0.5), late.percentile(0.99)) == (0, 0.49, 0.98)
    for _ in range(30_000):
        late.note(2 * SECOND)
    assert late.percentile(0) == 2
    assert len(late.kept) <= 20_000
