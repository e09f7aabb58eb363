"""Who uses the credential: instances that read what the store calls current now and then, and log in with it.

Rule 1: consumers only read; nothing in a run depends on whether there are any.
Rule 2: nothing is sampled: between two calls nothing changes, so that every moment of a refused login is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from adapters.simulation.invariants import Violation
from engine.machine import State
from engine.plan import Kind
from engine.values import CURRENT, CredentialValue, Microseconds

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation

SESSIONS: Final = 3
"""Sessions in the pool of a consumer: at each reading the oldest is closed, and a fresh one opened."""
GOING_BACK: Final = frozenset(
    {State.ROLLING_BACK, State.VERIFYING_ROLLBACK, State.ROLLED_BACK, State.ROLLBACK_FAILED, State.FAILED}
)


@dataclass(eq=False)
class Consumer:
    """One instance: what it read last, and the sessions that it opened with what it read before."""

    refresh: Microseconds
    reads_at: int
    held: CredentialValue | None = None
    pool: deque[CredentialValue] = field(default_factory=lambda: deque(maxlen=SESSIONS))
    refused_since: int | None = None
    is_going_back: bool = False
    """What it holds was taken back from it."""


class Consumers:
    """The consumers of one world, and how long a fresh login of one of them was refused at most, in microseconds."""

    def __init__(self, world: Simulation, refreshes: Sequence[Microseconds]) -> None:
        self.longest = 0
        """Of those who hold what was current: on the way forward."""
        self.longest_back = 0
        """Of those who hold a candidate that was taken back, or whose grace period a person ended."""
        self.outliving = 0
        """The most sessions at a time that went on with a value that a fresh login is refused with."""
        self._world = world
        self._members = [Consumer(refresh, world.clock.at) for refresh in refreshes]
        self.advance(world.clock.at)

    def advance(self, until: int) -> None:
        """Let those read whose time comes until then; nothing changes before."""
        for consumer in self._members:
            if consumer.reads_at > until:
                continue
            held = self._world.store.read(self._world.path, CURRENT) or consumer.held
            if held != consumer.held:
                self._end(consumer, consumer.reads_at)
                consumer.held = held
            if held is not None and self._world.accepts(held):
                consumer.pool.append(held)
            missed = (until - consumer.reads_at) // consumer.refresh
            consumer.reads_at += (missed + 1) * consumer.refresh
        self.look()

    def look(self) -> None:
        """See who is refused now; raises `Violation` where nobody may be."""
        now = self._world.clock.at
        for consumer in self._members:
            if consumer.held is None:
                continue
            if self._world.accepts(consumer.held):
                self._end(consumer, now)
            elif consumer.refused_since is None:
                consumer.refused_since = now
                consumer.is_going_back = self._is_taken_back(consumer.held)
                self._judge(consumer)
            outliving = sum(not self._world.accepts(value) for value in consumer.pool)
            self.outliving = max(self.outliving, outliving)

    def _end(self, consumer: Consumer, at: int) -> None:
        """Count how long a consumer was refused until now."""
        if consumer.refused_since is None:
            return
        refused, consumer.refused_since = at - consumer.refused_since, None
        if consumer.is_going_back:
            self.longest_back = max(self.longest_back, refused)
        else:
            self.longest = max(self.longest, refused)

    def _judge(self, consumer: Consumer) -> None:
        """I3, seen from its other side: who reads within the grace period is never refused.

        But for who holds a candidate that is taken back: going back takes it away at once, since it may be what failed.
        """
        world = self._world
        rotations = world.fold.values()
        overlaps = bool(rotations) and all(rotation.plan.overlap for rotation in rotations)
        is_in_time = all(consumer.refresh <= rotation.plan.grace for rotation in rotations)
        if overlaps and is_in_time and not consumer.is_going_back and not world.touched:
            raise Violation("I3: a consumer that reads within the grace period is refused")

    def _is_taken_back(self, held: CredentialValue) -> bool:
        """Tell whether what is held is the candidate of a rotation that goes back, or a person ended its grace."""
        taken = {r.candidate for r in self._world.fold.values() if r.state in GOING_BACK or r.kind is Kind.ROLLBACK}
        versions = {version for version, value in self._world.seen_values.items() if value == held}
        return bool(versions & taken) or bool(self._world.ended_early)
