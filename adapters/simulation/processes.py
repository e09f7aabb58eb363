"""How processes live and die in the simulated world, one after another: rotate, settle, lead on.

Rule: one process at a time here, so that a run needs no threads; several at once are in crowd.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.simulation import people
from adapters.simulation.faults import WRITES, Crash
from adapters.simulation.hands import is_dead_end, put_right
from adapters.simulation.invariants import Violation, check_end
from adapters.simulation.trace import Happening
from engine.credential import Version
from engine.errors import KeyturnError
from engine.machine import ENDED, State
from engine.operations import Operations
from engine.plan import Strategy
from engine.process import Wait
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation

PROCESSES_MAX: Final = 60
"""Processes one rotation may take: more means that it does not end."""
FAILURES_MAX: Final = 8
"""Tries after which a person looks, where somebody did something by hand: retiring is tried for ever."""


def patient(rotation: Rotation, wait: Wait) -> bool:
    """Wait for everything: virtual time costs nothing."""
    return True


def rotate(world: Simulation, *, to: Version | None = None) -> Rotation:
    """Rotate once (back `to` a version where one is given), with a new process after every death."""
    begun: UUID | None = None
    for _ in range(PROCESSES_MAX):
        try:
            fresh = world.world()
            world.happened(Happening.BORN, "process", owner=fresh.owner)
            operations = Operations(fresh)
            rotation = operations.open_rotation(*world.names)
            if rotation is None and begun in world.fold:
                return world.fold[begun]
            if rotation is None:
                begun = operations.start(*world.names, world.plan(), logins=world.logins, to=to)
                rotation = operations.rotation(begun)
            begun = rotation.id
            people.set_going(world, operations, rotation)
            ended = Runner(fresh).drive(rotation.id, patience=until_a_person_looks(world, rotation))
            if ended.state in ENDED:
                return ended
            if world.touched:
                put_right(world, ended)
            # The store may have shown what was there before, so that the rotation wants back what was retired.
            was_misled = any(fault.kind == "stale" for fault in world.used)
            rests = ended.state in (State.ROLLBACK_FAILED, State.RETIRING)
            if (world.touched or was_misled) and rests and is_dead_end(world, ended):
                operations.abandon(ended.id, reason="simulated operator")
                world.given_up += 1
        except Crash:
            world.story.append("the process died")
            world.happened(Happening.DIED, "process")
        except KeyturnError as error:
            world.story.append(f"the process ended: {error.message}")
            world.happened(Happening.STOPPED, error.kind)
    raise Violation(f"L1: no end after {PROCESSES_MAX} processes: {world.story[-12:]}")


def until_a_person_looks(world: Simulation, begun: Rotation) -> Callable[[Rotation, Wait], bool]:
    """Return the patience of a process: where people did something by hand, one looks after some tries."""
    return lambda rotation, wait: not world.touched or rotation.failures < begun.failures + FAILURES_MAX


def settle(world: Simulation) -> None:
    """With no more faults, everything unfinished ends, and a second pass does nothing (L1)."""
    world.calm = True
    if world.dead_end:
        return
    world.clock.wait(Microseconds(60 * SECOND))
    credential = world.world().credential(*world.names)
    if credential.open is not None:
        rotate(world)
    if credential.last is not None:
        _check_second_pass(world, credential.last)
    check_end(world)


def lead_on(world: Simulation) -> None:
    """With no more faults and nobody about, one more rotation completes: no history is a dead end (L2).

    A wait for wrong logins of before is waited out. What a person turned off, or did, is a person's to undo: see
    `_has_no_room`.
    """
    world.calm = True
    if world.dead_end or _has_no_room(world):
        return
    ended = rotate(world)
    if ended.state is not State.COMPLETED:
        why = ended.cause.message if ended.cause else "nothing"
        raise Violation(f"L2: one more rotation is {ended.state}: {why} {world.story[-12:]}")
    check_end(world, led_on=True)


def _has_no_room(world: Simulation) -> bool:
    """Tell whether a login holds as many values as it may, of which only a person can take one away.

    Going back by itself is off, or somebody did something by hand; or the answer to a promotion was lost where the
    store called nothing current, so that there was nothing to go back to; or a person gave going back up with the
    candidate in force; or the target kept what nobody could see.
    """
    if world.strategy is not Strategy.DUAL or world.values_in_force() < 2:
        return False
    stuck = any(r.state is State.FAILED and r.labelled and r.label is None for r in world.fold.values())
    given_up = any(count > people.RETRIES_MAX for count in world.retries.values())
    return world.touched or not world.automatic or stuck or given_up or world.kept_unseen


def _check_second_pass(world: Simulation, rotation_id: UUID) -> None:
    head, calls = world.log.head(), world.calls.copy()
    Runner(world.world()).drive(rotation_id, patience=patient)
    if world.log.head() != head or any(world.calls[call] != calls[call] for call in WRITES):
        raise Violation("L1: a second resume did something")
