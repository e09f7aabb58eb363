"""What people do by hand while a rotation is under way, past keyturn; and how a person puts it right again.

Rule 1: after a deed only what keyturn itself does is judged; it must not make a bad thing worse (invariants.py).
Rule 2: what keyturn does at once on a look of before the deed is not judged either: no program can see what is changed
between a look and what follows. From the next fact that says how an effect went on, it is again.
"""

from __future__ import annotations

import copy
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from adapters.simulation.shelves import image_of, put_back
from adapters.simulation.trace import Happening
from adapters.stores.shelf import Shelf
from adapters.targets.memory_accounts import Accounts
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
    RESTORE_TARGET = "the target is restored from a backup"
    RESTORE_STORE = "the store is restored from a backup"


BACKUPS = (Hand.RESTORE_TARGET, Hand.RESTORE_STORE)
"""The hands that need a backup of before."""


class Deed(NamedTuple):
    """A hand acts as soon as the `nth` change of state (from 1) is recorded, or just before the `nth` call of `call`.

    Later, where a call without an answer may still take effect then.
    """

    nth: int
    hand: Hand
    call: str = ""


class Backup(NamedTuple):
    """What target and store held at some time."""

    accounts: list[Accounts]
    shelf: Shelf


def back_up(world: Simulation) -> Backup:
    """Take a backup of target and store."""
    return Backup([accounts.image() for accounts in world.accounts], image_of(world.store, world.path))


def act(world: Simulation, hand: Hand) -> None:
    """Do it, where there is something to do it to."""
    held = world.store.versions(world.path)
    rotation = world.open
    before = rotation.previous if rotation and rotation.previous != held.current else held.previous
    world.story.append(f"by hand: {hand}")
    world.happened(Happening.HAND, hand.name)
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
        case Hand.RESTORE_TARGET:
            for accounts, backup in zip(world.accounts, _backup(world).accounts, strict=True):
                accounts.accounts = copy.deepcopy(backup)
        case Hand.RESTORE_STORE:
            _lose(world)
            world.store = put_back(_backup(world).shelf, world.path, world.store_kind)


def _backup(world: Simulation) -> Backup:
    """Return a backup of half way until now."""
    return world.backups[len(world.backups) // 2]


def _lose(world: Simulation) -> None:
    """Remember what the store holds, for the person who puts it right."""
    for version, value in image_of(world.store, world.path).values.items():
        world.lost.setdefault(version, value)


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
    """Have the store hold nothing but these, with the label that it had."""
    _lose(world)
    held = image_of(world.store, world.path)
    values = {version: value for version, value in held.values.items() if version in versions}
    current = held.current if held.current in values else None
    world.store = put_back(Shelf(values, current), world.path, world.store_kind)


def put_right(world: Simulation, rotation: Rotation) -> None:
    """Be the person who is needed: bring back what the rotation lacks, and nothing else."""
    world.story.append("a person puts it right")
    world.happened(Happening.PERSON, "puts it right")
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
    if not world.accepts(value) and world.capabilities.settable:
        world.target.restore(value, candidate=_in_the_way(world, rotation), tag="by hand", deadline=_soon(world))


def _in_the_way(world: Simulation, rotation: Rotation) -> CredentialValue | None:
    """Return a value in force that the rotation has no use for; None where there is none, or room enough."""
    wanted = (rotation.previous, rotation.candidate)
    others = [value for version, value in world.seen_values.items() if version not in wanted]
    others += [*world.by_hand, *([world.initial] if world.initial and world.takeover else [])]
    return next((value for value in others if world.target.accepts(value)), None)


def is_dead_end(world: Simulation, rotation: Rotation) -> bool:
    """Tell whether what the rotation needs is gone for ever: a value that the target made, and that was revoked."""
    wanted = rotation.candidate if rotation.state is State.RETIRING else rotation.previous
    value = world.value(wanted)
    return not world.capabilities.settable and value is not None and not world.accepts(value)
