"""Consumers at their worst: who read just before another version became current has the old one until the next time.

Rule: no instance is simulated. What is looked at is the policy: whether a grace period outlasts the time until they
re-read, and how long one that comes fresh is refused with what the store calls current.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from adapters.simulation.invariants import Violation
from engine import events as e
from engine.adapter import Duration
from engine.facts import Fact, Recorded
from engine.plan import Kind
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation


class Readers:
    """Those who re-read the credential of one world every so often; told of every append."""

    def __init__(self, world: Simulation, refresh: Microseconds) -> None:
        self.locked_out = Microseconds(0)
        """The longest time in which what the store calls current was refused."""
        self._world = world
        self._refresh = refresh
        self._promoted: dict[UUID, int] = {}
        self._refused_since: int | None = None
        self._judged: object = None

    def __call__(self, recorded: Sequence[Recorded]) -> None:
        """Look how they are after an append; raises `Violation` where some are refused because of a grace period."""
        if self._world.touched:
            return
        for each in recorded:
            self._note(each.fact)
        self._measure()

    def _note(self, fact: Fact) -> None:
        match fact.body:
            case e.Promoted():
                self._promoted[fact.originator_id] = self._world.clock.at
            case e.GraceEnded(early=True):
                self._promoted.pop(fact.originator_id, None)  # a person answers for that
            case e.PreviousRetired():
                self._judge(fact.originator_id)
            case _:
                return

    def _judge(self, rotation_id: UUID) -> None:
        """I3 for those that have the old version still, where both could have been valid for longer."""
        rotation, promoted = self._world.fold[rotation_id], self._promoted.get(rotation_id)
        if promoted is None or rotation.label is None or not rotation.plan.overlap or rotation.kind is Kind.ROLLBACK:
            return
        passed = self._world.clock.at - promoted
        if passed >= self._refresh:
            return
        left = Duration(round((self._refresh - passed) / SECOND) * SECOND)
        raise Violation(
            f"I3: {rotation.previous} was made unusable {Duration(round(passed / SECOND) * SECOND)} after "
            f"{rotation.candidate} became current; consumers that re-read every {Duration(self._refresh)} "
            f"are refused for up to {left}"
        )

    def _measure(self) -> None:
        world = self._world
        if world.judged is self._judged:
            return  # nothing has changed since
        self._judged = world.judged
        current = world.value(world.store.versions(world.path).current) or (world.initial if world.takeover else None)
        if current is None or world.accepts(current):
            if self._refused_since is not None:
                self.locked_out = max(self.locked_out, Microseconds(world.clock.at - self._refused_since))
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = world.clock.at
