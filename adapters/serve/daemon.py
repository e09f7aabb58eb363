"""The daemon: a heap of times, and a few workers that do what is due.

Rule 1: nothing is remembered here that the log does not say: killed and started again, it goes on.
Rule 2: a thread waits for a port, never for a time: what waits is an entry of the heap.
Rule 3: one task a rotation or service at a time; what happens meanwhile has it looked at again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from threading import Condition, Thread
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from adapters.event_store.sqlite import SqliteEventLog
from engine import events as e
from engine.credential import credential_id
from engine.facts import Recorded
from engine.ports import Clock
from engine.values import SECOND, Instant, Microseconds

TROUBLE_PAUSE: Final = Microseconds(30 * SECOND)
"""How long a task rests whose work ended in an error."""

TICK: Final = 1.0
"""Seconds after which the loop looks around, whatever happens: it shows that it lives."""

Task: TypeAlias = UUID | str
"""A rotation by its id, or a service by its name."""


class Work(Protocol):
    """What a worker can do, in a thread of its own; whatever a method raises is told, and the task tried again."""

    def advance(self, rotation_id: UUID) -> Instant | None:
        """Drive a rotation as far as it goes now; return when there is more to do, None where it rests."""
        ...

    def begin(self, service: str) -> Instant | None:
        """Begin a rotation of a service if it is due; return when to look again, None where never."""
        ...


@dataclass(slots=True)
class Late:
    """How late tasks were begun: microseconds after they were due, of the last ones."""

    kept: list[int] = field(default_factory=list)

    def note(self, microseconds: int) -> None:
        """Take one down."""
        self.kept.append(max(microseconds, 0))
        if len(self.kept) > 20_000:
            del self.kept[:10_000]

    def percentile(self, share: float) -> float:
        """Return the lateness, in seconds, that a share of the tasks kept below; 0 where there were none."""
        if not self.kept:
            return 0.0
        ordered = sorted(self.kept)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / SECOND


class Daemon:
    """Does what is due. `run` returns when `stop` was called and what had begun has ended."""

    def __init__(
        self,
        log: SqliteEventLog,
        clock: Clock,
        work: Callable[[], Work],
        *,
        workers: int,
        services: Iterable[tuple[str, str]],
        told: Callable[[Task, Exception], None],
        observe: Callable[[Sequence[Recorded]], None] = lambda recorded: None,
    ) -> None:
        """Serve `services` (name, environment). `work` is called once in each worker; `told` hears of errors.

        `observe` is told of every fact, whichever process appended it.
        """
        self._log = log
        self._clock = clock
        self._make = work
        self._workers = workers
        self._services = {credential_id(name, environment): name for name, environment in services}
        self._told = told
        self._observe = observe
        self._condition = Condition()
        self._heap: list[tuple[Instant, int, Task]] = []
        self._due: dict[Task, Instant] = {}
        """When each task is due; an entry of the heap that says otherwise is out of date."""
        self._busy: set[Task] = set()
        self._again: set[Task] = set()
        """Tasks about which something happened while they were worked on."""
        self._idle: list[Work] = []
        self._order = count()
        self._stopped = False
        self.late = Late()
        self.ticked: Instant = Instant(0)
        """When the loop looked around last: a loop that hangs shows here."""

    def schedule(self, task: Task, at: Instant) -> None:
        """Have a task done at a time, or at the time that was said before, if that is earlier.

        One that is being worked on is looked at again as soon as that has ended: what it looked at may be of before.
        """
        with self._condition:
            self._schedule(task, at)
            self._condition.notify_all()

    def run(self, rotations: Sequence[UUID], *, position: int) -> None:
        """Serve until `stop`: what is unfinished, what falls due, and what happens in the log behind `position`."""
        now = self._clock.now().wall
        tasks: list[Task] = [*rotations, *self._services.values()]
        for task in tasks:
            self.schedule(task, now)
        follower = Thread(target=self._follow, args=(position,), name="follow", daemon=True)
        follower.start()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="work") as pool:
            while True:
                with self._condition:
                    if self._stopped:
                        break
                    for task in self._take():
                        pool.submit(self._do, task)
                    self.ticked = self._clock.now().wall
                    self._condition.wait(self._pause())
        follower.join(TICK)

    def stop(self) -> None:
        """Begin nothing more; what has begun comes to its next record. Fit for a signal handler's thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def _schedule(self, task: Task, at: Instant) -> None:
        before = self._due.get(task)
        if task in self._busy:
            self._again.add(task)
        elif before is None or at < before:
            self._due[task] = at
            heapq.heappush(self._heap, (at, next(self._order), task))

    def _take(self) -> list[Task]:
        """Return the tasks that are due and that a worker is free for."""
        taken: list[Task] = []
        now = self._clock.now().wall
        while self._heap and self._heap[0][0] <= now and len(self._busy) < self._workers:
            at, _, task = heapq.heappop(self._heap)
            if self._due.get(task) != at:
                continue
            del self._due[task]
            self._busy.add(task)
            self.late.note(now - at)
            taken.append(task)
        return taken

    def _pause(self) -> float:
        """Return for how many seconds there is nothing to do, `TICK` at most."""
        if not self._heap or len(self._busy) >= self._workers:
            return TICK
        return min(max(self._heap[0][0] - self._clock.now().wall, 0) / SECOND, TICK)

    def _do(self, task: Task) -> None:
        next_at: Instant | None = None
        try:
            next_at = self._work(task)
        except Exception as error:  # noqa: BLE001 - a bug that one task meets must not end the others, nor be silent
            self._told(task, error)
            next_at = Instant(self._clock.now().wall + TROUBLE_PAUSE)
        finally:
            with self._condition:
                self._busy.discard(task)
                if task in self._again:
                    self._again.discard(task)
                    next_at = self._clock.now().wall
                if next_at is not None:
                    self._schedule(task, next_at)
                self._condition.notify_all()

    def _work(self, task: Task) -> Instant | None:
        """Do a task with a worker of this thread's own for as long as it takes."""
        with self._condition:
            work = self._idle.pop() if self._idle else None
        work = work or self._make()
        try:
            return work.advance(task) if isinstance(task, UUID) else work.begin(task)
        finally:
            with self._condition:
                self._idle.append(work)

    def _follow(self, position: int) -> None:
        """Look at every fact, whichever process appended it, for what is to be done because of it.

        A worker's own facts come by here as well, and have its task looked at once more; that finds nothing to do.
        """
        with self._log.subscribe(position) as subscription:
            while not self._stopped:
                facts = subscription.batch(seconds_max=TICK)
                self._observe(facts)
                for recorded in facts:
                    self._notice(recorded)

    def _notice(self, recorded: Recorded) -> None:
        fact, now = recorded.fact, self._clock.now().wall
        match fact.body:
            case e.RotationOpened() | e.RotationQueued():
                self.schedule(fact.body.rotation_id, now)
            case e.RotationClosed() | e.CurrentChanged():
                if fact.originator_id in self._services:
                    self.schedule(self._services[fact.originator_id], now)
            case _:
                decided = (e.RollbackStarted, e.RollbackRetried, e.RolloutResumed, e.GraceEnded, e.PauseRequested)
                if isinstance(fact.body, decided):
                    self.schedule(fact.originator_id, now)
