"""What people do by hand while a rotation is under way, past keyturn; and how a person puts it right again.

Rule 1: a deed is done where a rotation enters a state, never between a look and what follows it at once: no program
can see what is changed in between.
Rule 2: after a deed only what keyturn itself does is judged; it must not make a bad thing worse (invariants.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from adapters.stores.memory import MemoryStore
from engine.machine import State
from engine.plan import Strategy
from engine.rotation import Rotation
from engine.values import CredentialValue, Instant, Secret

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation


class Hand(StrEnum):
    """What is done by hand."""

    CHANGE = "another value is set at the target, where the current version is in force"
    REVOKE_CURRENT = "the current version is revoked at the target"
    REVOKE_PREVIOUS = "the version before is revoked at the target"
    MOVE_LABEL = "the store is made to call another version current"
    LOSE = "the store loses the version before"
    EMPTY = "the store is emptied"


class Deed(NamedTuple):
    """A hand acts as soon as the `nth` change of state (from 1) is recorded."""

    nth: int
    hand: Hand


def act(world: Simulation, hand: Hand) -> None:
    """Do it, where there is something to do it to."""
    held = world.store.versions(world.path)
    rotation = world.open
    before = rotation.previous if rotation and rotation.previous != held.current else held.previous
    world.story.append(f"by hand: {hand}")
    match hand:
        case Hand.CHANGE:
            _change(world, world.value(held.current))
        case Hand.REVOKE_CURRENT:
            _revoke(world, world.value(held.current))
        case Hand.REVOKE_PREVIOUS:
            _revoke(world, world.value(before))
        case Hand.MOVE_LABEL:
            value = world.value(before)
            if before is not None and value is not None:
                world.store.promote(world.path, before, value, expected=held.current)
        case Hand.LOSE:
            _keep(world, [version for version in held.versions if version != before])
        case Hand.EMPTY:
            _keep(world, [])


def _soon(world: Simulation) -> Instant:
    return Instant(world.clock.at + 10**12)


def _change(world: Simulation, value: CredentialValue | None) -> None:
    if value is None or world.capabilities.issues_value or world.strategy is Strategy.DUAL:
        return  # there a value is added, and nothing is replaced
    changed = CredentialValue(value.username, Secret(f"canary-by-hand-{len(world.by_hand)}"))
    world.by_hand.append(changed)
    world.target.apply(changed, tag=f"by hand {len(world.by_hand)}", deadline=_soon(world))


def _revoke(world: Simulation, value: CredentialValue | None) -> None:
    if value is not None:
        world.target.retire(value, keep=None, tag="by hand", deadline=_soon(world))


def _keep(world: Simulation, versions: list[str]) -> None:
    """Have the store hold nothing but these, with the labels that it had."""
    held, old = world.store.versions(world.path), world.store
    world.store = MemoryStore()
    for version in held.versions:
        value = old.read(world.path, version)
        assert value is not None, "a store lists a version that it does not hold"
        world.lost.setdefault(version, value)
        if version in versions:
            world.store.stage(world.path, version, value)
            if version == held.current:
                world.store.promote(world.path, version, value, expected=None)


def put_right(world: Simulation, rotation: Rotation) -> None:
    """Be the person who is needed: bring back what the rotation lacks, and nothing else."""
    world.story.append("a person puts it right")
    for version in (rotation.previous, rotation.candidate):
        if version in world.lost and world.value(version) is None:
            world.store.stage(world.path, version, world.lost[version])
    wanted = rotation.candidate if rotation.state is State.RETIRING else rotation.previous
    value = world.value(wanted)
    if wanted is None or value is None:
        return
    current = world.store.versions(world.path).current
    is_strange = current not in (rotation.candidate, rotation.previous, None)
    if rotation.promotable and (is_strange or (rotation.state is State.RETIRING and current != wanted)):
        world.store.promote(world.path, wanted, value, expected=current)
    if not world.target.accepts(value) and world.capabilities.settable:
        world.target.restore(value, candidate=None, tag="by hand", deadline=_soon(world))


def is_dead_end(world: Simulation, rotation: Rotation) -> bool:
    """Tell whether what the rotation needs is gone for ever: a value that the target made, and that was revoked."""
    wanted = rotation.candidate if rotation.state is State.RETIRING else rotation.previous
    value = world.value(wanted)
    if rotation.state not in (State.ROLLBACK_FAILED, State.RETIRING):
        return False
    return not world.capabilities.settable and value is not None and not world.target.accepts(value)
