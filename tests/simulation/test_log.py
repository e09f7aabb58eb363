"""The simulated log keeps aggregates folded as far as they were asked for: they are what the whole streams give."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.simulation.scenario import build, play_in
from adapters.simulation.seeds import scenario_of
from adapters.simulation.world import ENVIRONMENT, SERVICE, Simulation
from engine import credential as credentials
from engine import rotation as rotations
from engine.credential import credential_id
from engine.facts import Recorded
from engine.performance import World
from engine.plan import Strategy


class Comparison:
    """Compares, at every so-manieth append, what the log keeps with what folding the whole streams gives."""

    def __init__(self, world: Simulation, *, every: int) -> None:
        self.compared = 0
        self._world = world
        self._every = every
        self._appends = 0

    def __call__(self, recorded: Sequence[Recorded]) -> None:
        """Ask for every rotation and the credential, as a process would, and fold each from its first fact."""
        self._appends += 1
        if self._appends % self._every:
            return
        log = self._world.log
        process = self._world.undisturbed("onlooker")
        for rotation_id in self._world.fold:
            whole = rotations.fold(log.stream(rotation_id))
            assert process.load(rotation_id) == whole == World.load(process, rotation_id)
        whole_credential = credentials.fold(SERVICE, ENVIRONMENT, log.stream(credential_id(SERVICE, ENVIRONMENT)))
        assert process.credential(SERVICE, ENVIRONMENT) == whole_credential
        self.compared += 1


@pytest.mark.parametrize("seed", range(40))
def test_what_is_kept_is_what_the_whole_stream_gives(seed: int) -> None:
    """In forty runs under faults, after one append or some, with every rotation that there was."""
    scenario = scenario_of(seed)
    world = build(scenario)
    comparison = Comparison(world, every=1 + seed % 5)
    world.onlookers.append(comparison)
    assert play_in(world, scenario).violation is None
    assert comparison.compared > 0


def test_what_is_kept_does_not_change_under_who_has_it() -> None:
    """An aggregate that was read stays as it was read, however the log grows; the next reading shows the growth."""
    world = Simulation(Strategy.SINGLE)
    process = world.undisturbed("onlooker")
    before = process.credential(SERVICE, ENVIRONMENT)
    ended = world.rotate()
    assert (before.version, before.last) == (0, None)
    assert process.credential(SERVICE, ENVIRONMENT).last == ended.id
    assert process.load(ended.id) == ended


def test_what_was_after_a_fact_can_be_asked_for_once_the_log_has_grown() -> None:
    """In any order; the next reading shows the newest again."""
    world = Simulation(Strategy.DUAL)
    ended = world.rotate()
    facts = world.log.stream(ended.id)
    for number in (1, len(facts), 3, 2, len(facts) - 1):
        assert world.log.rotation_after(facts[number - 1]) == rotations.fold(facts[:number])
    assert world.log.rotation(ended.id) == ended
