"""What operators decide while a rotation is driven by another process, and what another process appends first.

Rule: everything here goes through the engine's own operations; what is done past keyturn stands in hands.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.simulation.trace import Happening
from engine import events as e
from engine.errors import Conflict, IllegalCommand, NoWayBack
from engine.machine import State, rests
from engine.operations import Operations
from engine.performance import Performance
from engine.rotation import Rotation

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation

REASON = "simulated operator"
RETRIES_MAX = 4
"""How often a person has a rollback tried again before it is given up."""


def command(world: Simulation, kind: str) -> None:
    """Be the operator who decides something about the open rotation, or else the last; a refusal changes nothing."""
    rotation = world.open or next(reversed(world.fold.values()), None)
    if rotation is None:
        return
    operations = Operations(world.undisturbed("operator"))
    state = rotation.state
    try:
        decide(world, operations, rotation, kind)
    except (IllegalCommand, Conflict) as refusal:
        world.happened(Happening.COMMAND_REFUSED, kind, state=state)
        world.story.append(refusal.message)
    else:
        world.happened(Happening.COMMAND, kind, state=state)


def decide(world: Simulation, operations: Operations, rotation: Rotation, kind: str) -> None:
    """Record one decision; raises `IllegalCommand` or `Conflict`."""
    match kind:
        case "abort" | "rollback":
            operations.go_back(rotation.id, command=kind, reason=REASON)
        case "retry":
            operations.retry(rotation.id, reason=REASON)
        case "pause":
            operations.pause(rotation.id, reason=REASON)
        case "continue":
            operations.let_go_on(rotation.id, reason=REASON)
        case _:
            assert kind == "retire", kind
            if rotation.state is State.GRACE:
                world.ended_early.add(rotation.id)
            operations.end_grace(rotation.id, reason=REASON)


def set_going(world: Simulation, operations: Operations, rotation: Rotation) -> None:
    """Be the person whom a resting rotation waits for; nobody is waited for in any other state.

    Going back is given up where there is no way back, or it fails again and again: the next rotation leads forward.
    """
    if rotation.state is State.PAUSED:
        operations.let_go_on(rotation.id, reason=REASON)
    elif rotation.state is State.ROLLBACK_FAILED:
        world.retries[rotation.id] += 1
        has_no_way = rotation.cause is not None and rotation.cause.kind == NoWayBack.kind
        if has_no_way or world.retries[rotation.id] > RETRIES_MAX:
            operations.abandon(rotation.id, reason=REASON)
        else:
            operations.retry(rotation.id, reason=REASON)


def come_first(world: Simulation) -> None:
    """Be the process that appends first: it takes the open rotation over, or begins one."""
    rotation = world.open
    fresh = world.undisturbed("other")
    if rotation is None:
        Operations(fresh).start(*world.names, world.plan(), logins=world.logins)
    elif not rests(rotation.state):
        Performance(fresh, rotation).record(e.OwnerChanged("other", rotation.epoch + 1))
    world.happened(Happening.COMMAND, "appends first")
