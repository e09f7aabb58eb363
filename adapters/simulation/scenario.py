"""A run as plain data, and playing it: the same scenario is the same run, byte for byte.

Rule: whatever decides how a run goes stands in its scenario; a new kind of trouble is a new field with a default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from adapters.simulation.faults import Fault
from adapters.simulation.hands import Deed
from adapters.simulation.invariants import Violation
from adapters.simulation.readers import Readers
from adapters.simulation.world import Simulation
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine.machine import State
from engine.plan import Plan, Strategy
from engine.rotation import Rotation
from engine.values import Microseconds

_NAMED: Final = re.compile(r"([IL][0-9]+): (.*)", re.DOTALL)
_TRAIL: Final = re.compile(r":? \[.*", re.DOTALL)
"""What a violation tells of the way to it; a story tells it better."""
OWN_MISTAKE: Final = "assertion"
"""What is violated where the program itself says that it made a mistake."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One world, what happens in it, and what goes wrong."""

    strategy: Strategy
    plan: Plan | None = None
    """The policy of every rotation; None is the simulation's own. Where it is held is always the simulation's."""
    options: MemoryOptions | None = None
    """How the target behaves; None is what follows from the strategy."""
    takeover: bool = False
    """The login works before the first rotation, and no store knows its value."""
    fresh: bool = False
    """The login holds no value before the first rotation."""
    automatic: bool = True
    """Going back by itself is on, where the policy is the simulation's own."""
    rotations: int = 2
    """Rotations under faults; then all faults stop, what is open ends, and one more rotation must complete."""
    faults: tuple[Fault, ...] = ()
    deeds: tuple[Deed, ...] = ()
    """What people do by hand."""
    refresh: Microseconds | None = None
    """How often consumers re-read the credential; where it is None, nobody looks how they are."""
    seed: int = 0
    """Of every random byte and id."""


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was played: the world as it was in the end, and what did not hold."""

    scenario: Scenario
    world: Simulation
    violation: AssertionError | None
    locked_out: Microseconds = Microseconds(0)
    """The longest time in which what the store calls current was refused."""

    @property
    def invariant(self) -> str | None:
        """The invariant that does not hold, as in ARCHITECTURE.md (`I3`, `L1`); None where all do."""
        if self.violation is None:
            return None
        named = _NAMED.match(str(self.violation))
        return named[1] if named else OWN_MISTAKE

    @property
    def message(self) -> str:
        """What does not hold, in words; empty where all does."""
        text = _TRAIL.sub("", str(self.violation or ""))
        named = _NAMED.match(text)
        return named[2] if named else text


Around = Callable[[MemoryTarget], Any]
"""Puts something around the target, as the engine sees it."""


def unguarded(target: MemoryTarget) -> Any:
    """Put nothing around it."""
    return target


def build(scenario: Scenario, *, around: Around = unguarded) -> Simulation:
    """Return the world of a scenario, in which nothing has happened yet."""
    return Simulation(
        scenario.strategy,
        scenario.faults,
        seed=scenario.seed,
        takeover=scenario.takeover,
        fresh=scenario.fresh,
        options=scenario.options,
        automatic=scenario.automatic,
        deeds=scenario.deeds,
        around=around,
        policy=scenario.plan,
    )


def play(scenario: Scenario, *, around: Around = unguarded) -> Played:
    """Play a scenario to its end, or to the first violation."""
    return play_in(build(scenario, around=around), scenario)


def play_in(world: Simulation, scenario: Scenario) -> Played:
    """Play a scenario in its world, in which nothing has happened yet."""
    if scenario.refresh is None:
        return Played(scenario, world, _violation(world, scenario))
    readers = Readers(world, scenario.refresh)
    world.onlookers.append(readers)
    violation = _violation(world, scenario)
    return Played(scenario, world, violation, readers.locked_out)


def _violation(world: Simulation, scenario: Scenario) -> AssertionError | None:
    """Play it; return the first violation, None where every invariant held."""
    try:
        for _ in range(scenario.rotations):
            _check_left(world, scenario, world.rotate())
        world.settle()
        world.lead_on()
    except AssertionError as violation:
        return violation
    return None


def _check_left(world: Simulation, scenario: Scenario, ended: Rotation) -> None:
    """L3, judged of a policy that somebody configured: a rotation that fails leaves consumers with what works."""
    current = world.value(world.store.versions(world.path).current)
    if scenario.plan is None or ended.state is not State.FAILED or world.touched:
        return
    if current is not None and not world.accepts(current):
        off = "automatic" if not scenario.plan.rollback_automatic else "on_verification_failure"
        why = ended.cause.message.rstrip(".") if ended.cause else "it failed"
        until = f"until a person acts (keyturn rollback), because rollback.{off} is false"
        if ended.is_replaced:
            until = "until a person acts (keyturn rotate), because the target takes no earlier value back"
        raise Violation(f"L3: {why}; consumers are locked out {until}")
