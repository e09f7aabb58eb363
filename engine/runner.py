"""The runner: load, look up the next effect, perform it through a port, append the outcome, repeat.

Rule 1: the only code that calls ports on behalf of a rotation, with the files of its effects (PERFORMERS).
Rule 2: the only code that catches the three outcomes of an effect; what follows is decided in policies.py. What became
of one instance among many is caught in handing.py, and recalling.py goes back on those that were listed last. Outside
of effects, operations.py catches them for the start of a rotation that waited, and sightings.py for a look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from engine import backward, forward, gate, monitoring, recalling, soaking, waves
from engine import events as e
from engine.errors import Conflict, Fenced, NoSuchRotation, Rejected, Unavailable, Uncertain
from engine.machine import rests
from engine.performance import Performance, World
from engine.policies import after_failure
from engine.process import Effect, Wait, next_effect
from engine.rotation import Rotation
from engine.values import Microseconds, Secret

PERFORMERS: Final[dict[Effect, Callable[[Performance], None]]] = {
    Effect.STAGE: forward.stage,
    Effect.PROBE: forward.look,
    Effect.APPLY: forward.apply,
    Effect.VERIFY: forward.verify,
    Effect.DISTRIBUTE: waves.distribute,
    Effect.SOAK: soaking.soak,
    Effect.PROMOTE: forward.promote,
    Effect.MONITOR: monitoring.monitor,
    Effect.END_GRACE: gate.end_grace,
    Effect.RETIRE: forward.retire,
    Effect.RECALL: recalling.recall,
    Effect.RESTORE: backward.restore,
    Effect.VERIFY_ROLLBACK: backward.verify_rollback,
}
"""How each effect is performed."""


def never(rotation: Rotation, wait: Wait) -> bool:
    """Wait for nothing: the patience of a process that only carries on."""
    return False


def endlessly(rotation: Rotation) -> bool:
    """Never have enough: retiring is tried for as long as it is waited for."""
    return False


class Runner:
    """Drives rotations, one at a time, in this process."""

    def __init__(self, world: World, *, wait_longest: Microseconds | None = None) -> None:
        self._world = world
        self._wait_longest = wait_longest
        """The longest single wait, after which the log is read again: another process may have decided."""

    def drive(
        self,
        rotation_id: UUID,
        *,
        patience: Callable[[Rotation, Wait], bool] = never,
        enough: Callable[[Rotation], bool] = endlessly,
        given: Secret | None = None,
    ) -> Rotation:
        """Drive a rotation until it rests, was tried `enough`, or has to wait longer than `patience` allows.

        `given` is the value of a candidate that the user brought. Raises `NoSuchRotation`,
        `OwnedElsewhere` where a live process drives it, and `Fenced` where one took it over.
        """
        rotation = self._load(rotation_id)
        if rests(rotation.state):
            return rotation
        with self._world.hold(rotation_id) as held:
            return self._drive(rotation_id, patience=patience, enough=enough, given=given, held=held)

    def _drive(
        self,
        rotation_id: UUID,
        *,
        patience: Callable[[Rotation, Wait], bool],
        enough: Callable[[Rotation], bool],
        given: Secret | None,
        held: Callable[[], None],
    ) -> Rotation:
        epoch = 0
        while True:
            rotation = self._load(rotation_id)
            held()  # One that was taken over stops here, whatever became of the rotation meanwhile.
            now = self._world.clock.now()
            due = next_effect(rotation, now)
            if due is None or enough(rotation):
                return rotation
            if isinstance(due, Wait):
                if not patience(rotation, due):
                    return rotation
                left = Microseconds(due.until - now.wall)
                self._world.clock.wait(min(left, self._wait_longest) if self._wait_longest else left)
                continue
            if epoch and rotation.epoch != epoch:
                raise Fenced(rotation_id=rotation_id)
            try:
                performance = Performance(self._world, rotation, given=given, held=held)
                if rotation.owner != self._world.owner:
                    performance.record(e.OwnerChanged(self._world.owner, rotation.epoch + 1))
                epoch = performance.rotation.epoch
                self._perform(performance, due)
            except Conflict:
                continue  # another process appended first; what it decided is read before anything else is done

    def _perform(self, performance: Performance, effect: Effect) -> None:
        try:
            PERFORMERS[effect](performance)
        except (Unavailable, Rejected, Uncertain) as error:
            if performance.attempt is not None and not isinstance(error, Uncertain):
                performance.record(e.AttemptClosed(performance.attempt))
            follow = after_failure(
                performance.rotation,
                effect,
                error,
                now=self._world.clock.now(),
                jitter=forward.jitter(performance),
            )
            performance.record(*follow)

    def _load(self, rotation_id: UUID) -> Rotation:
        rotation = self._world.load(rotation_id)
        if rotation is None:
            raise NoSuchRotation(rotation=str(rotation_id))
        return rotation
