"""Repairs in the simulated world: whatever was done by hand, and whatever breaks while it is put right, it is settled."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.simulation.faults import CALLS, Crash, Fault
from adapters.simulation.hands import Hand, act
from adapters.simulation.invariants import Violation
from adapters.simulation.world import ENVIRONMENT, PROCESSES_MAX, SERVICE, Simulation
from adapters.targets.memory_options import MemoryOptions
from engine.credential import Version
from engine.drift import Decision, Step
from engine.errors import KeyturnError
from engine.machine import State
from engine.plan import Strategy
from engine.process import Wait
from engine.repair import Repair, settle
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND, CredentialValue, Microseconds
from tests.simulation.test_mutants import Unguarded

OVERLAPPING = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)


class Watched(Simulation):
    """A world in which the invariants of values and labels are watched after things were done by hand, too."""

    served = False
    """What the stores call current was accepted when this was looked at last."""

    def leave(self) -> None:
        """Check I7 and I3 besides what the world checks itself."""
        super().leave()
        for version, value in self.seen_values.items():
            held = self.value(version)
            if held is not None and held != value:
                raise Violation(f"I7: the value of {version} changed")
        current = self.value(self.store.versions(self.path).current)
        accepted = current is not None and self.target.accepts(current)
        if self.served and not accepted and self.strategy in OVERLAPPING:
            raise Violation("I3: what the stores call current worked, and does not any more")
        self.served = accepted


def patient(rotation: Rotation, wait: Wait) -> bool:
    """Wait for everything but a grace period, until somebody would look."""
    return rotation.state is not State.GRACE and rotation.failures < 8


def repaired(world: Simulation, *, calm: bool = False) -> list[Decision]:
    """Repair, in a new process after every death, until nothing more is to be done; return what was done."""
    done: list[Decision] = []
    for _ in range(PROCESSES_MAX):
        engine = world.world()
        repair = Repair(engine, SERVICE, ENVIRONMENT, world.plan(), logins=world.logins)
        try:
            _, decision = settle(
                repair,
                approve=lambda observed, decision: done.append(decision),
                drive=lambda rotation_id: Runner(engine).drive(rotation_id, patience=patient),
            )
        except Crash:
            world.story.append("the process died")
            continue
        except KeyturnError as error:
            world.story.append(f"the process ended: {error.message}")
            continue
        world.story.append(f"repair: {decision.step}: {decision.why}")
        if decision.step is Step.NOTHING:
            return done
        world.clock.wait(Microseconds(901 * SECOND))  # a person comes back when wrong logins count no more
    raise AssertionError(f"it was never settled: {world.story[-20:]}")


def drifted(strategy: Strategy, hand: Hand, *, rotations: int = 2, **options: Any) -> Watched:
    """Return a world that was rotated some times, and then something was done by hand."""
    world = Watched(strategy, **options)
    for _ in range(rotations):
        world.rotate()
    world.calls.clear()
    world.faultable.clear()
    world.touched = True
    act(world, hand)
    world.works, world.served = world.anything_works(), False
    return world


def assert_settled(world: Watched) -> None:
    """What the stores call current works and is what the log calls so; looking again finds nothing; a rotation works."""
    world.calm = True
    held = world.store.versions(world.path)
    current = world.value(held.current)
    assert current is not None
    assert world.target.accepts(current)
    assert world.place.value == current
    logged = world.world().credential(SERVICE, ENVIRONMENT).current
    assert logged == Version(held.current or "", current.username)
    head = world.log.head()
    assert repaired(world) == []
    assert world.log.head() == head or world.capabilities.login_budget is not None
    assert world.log.verify().ok
    world.lead_on()


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("hand", Hand)
def test_whatever_was_done_by_hand_is_repaired(strategy: Strategy, hand: Hand) -> None:
    """In every strategy, without a person."""
    world = drifted(strategy, hand)
    repaired(world)
    assert_settled(world)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("hand", Hand)
def test_any_single_fault_in_a_repair(strategy: Strategy, hand: Hand) -> None:
    """Every kind of fault at every call of a repair: repairing again settles it, and nothing is made worse."""
    calm = drifted(strategy, hand)
    repaired(calm)
    used = 0
    for call, kinds in CALLS.items():
        for nth in range(1, calm.faultable[call] + 1):
            for kind in kinds:
                world = drifted(strategy, hand)
                world.faults = [Fault(call, nth, kind, late=2.0)]
                repaired(world)
                used += len(world.used)
                assert_settled(world)
    print(f"{strategy}, {hand}: {used} faults")
    assert used or not calm.faultable
