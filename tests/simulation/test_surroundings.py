"""Targets and stores of other kinds: slow to show a change, of several nodes, without compare-and-set."""

from __future__ import annotations

import random
from typing import Any

import pytest

from adapters.simulation.jobs import draw_faults
from adapters.simulation.nodes import Nodes
from adapters.simulation.shelves import StoreKind
from adapters.simulation.surroundings import SERVER_TIMEOUT, SimulatedClock
from adapters.simulation.world import Simulation, run
from adapters.targets.memory_options import MemoryOptions
from engine.adapter import Duration
from engine.machine import State
from engine.plan import Strategy
from engine.ports import Probe
from engine.values import SECOND, CredentialValue, Deadline, Instant, Microseconds, Secret

KINDS: dict[str, dict[str, Any]] = {
    "shows a change late": {"options": MemoryOptions(propagation=Duration(7 * SECOND))},
    "three nodes": {"nodes": 3},
    "no compare-and-set": {"store": StoreKind.BLIND},
    "locks a login": {"options": MemoryOptions(lockout_after=3)},
    "many values": {"options": MemoryOptions(values_max=5)},
}
ONE_VALUE = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.SCRIPT)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_of_faults(kind: str) -> None:
    """Three hundred seeds of none to eight faults, two rotations, then one that completes."""
    for seed in range(300):
        source = random.Random(f"{kind} {seed}")
        strategies = [s for s in Strategy if kind != "many values" or s not in ONE_VALUE]
        strategy = source.choice(strategies)
        run(strategy, draw_faults(source, strategy, source.choice([0, 1, 2, 3, 8])), seed=seed, **KINDS[kind])


@pytest.mark.parametrize("strategy", Strategy)
def test_rotations_complete_where_a_change_takes_long_to_show(strategy: Strategy) -> None:
    """Forty seconds: some twenty logins with the new version are refused before it is accepted."""
    world = run(strategy, [], options=MemoryOptions(propagation=Duration(40 * SECOND)))
    assert {rotation.state for rotation in world.fold.values()} == {State.COMPLETED}


def test_nodes_that_disagree_show_nothing_clear() -> None:
    world = Simulation(Strategy.SINGLE, nodes=2)
    assert isinstance(world.target, Nodes)
    value = CredentialValue("app", Secret("canary-on-one-node"))
    world.watch.on_some_nodes(lambda: world.target.apply(value, tag="x", deadline=Instant(world.clock.at + 1)))
    assert world.target.probe(value).probe is Probe.UNKNOWN
    assert world.target.accepts(value)
    assert not world.accepts(value)


def test_a_change_that_reached_some_nodes_is_made_again() -> None:
    """The answer was lost and the look shows nothing clear: where that is harmless, it is applied once more."""
    from adapters.simulation.faults import Fault

    world = run(Strategy.SINGLE, [Fault("target.apply", 1, "partial")], rotations_wanted=1)
    assert [rotation.state for rotation in world.fold.values()] == [State.COMPLETED] * 2
    assert world.calls["target.apply"] == 3


def test_a_clock_that_is_set_moves_no_deadline_since_boot() -> None:
    """The wall shows five hours more; what is left by the time since boot is what it was."""
    clock = SimulatedClock()
    now = clock.now()
    deadline = Deadline(Instant(now.wall + 9 * SECOND), now.boot, Microseconds(now.uptime + 9 * SECOND))
    clock.jump(5 * 3600)
    assert deadline.left(clock.now()) == 9 * SECOND
    assert clock.now().uptime == now.uptime


def test_a_target_never_gives_a_change_longer_than_its_own_timeout_after_a_clock_was_set_back() -> None:
    clock = SimulatedClock()
    deadline = Instant(clock.now().wall + 5 * SECOND)
    assert clock.true_time_of(deadline) == clock.at + 5 * SECOND
    clock.jump(-3600)
    assert clock.true_time_of(deadline) == clock.at + SERVER_TIMEOUT
