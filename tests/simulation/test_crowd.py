"""Several processes at once: whoever stands still, dies or comes too late, nothing is lost or done twice."""

from __future__ import annotations

import pytest

from adapters.simulation import crowd
from adapters.simulation.crowd import Freeze
from adapters.simulation.faults import Fault
from adapters.simulation.jobs import crowd_of, crowded, operator, resume, rotate
from adapters.simulation.trace import Happening
from engine.machine import ENDED, State
from engine.plan import Strategy

CROWDS = 1200


@pytest.mark.slow
def test_crowds_of_seeds() -> None:
    """One to four processes under faults, some of them frozen; a violation names the seed to run again."""
    seen = {step.kind for seed in range(CROWDS) for step in crowd_of(seed).trace}
    assert seen >= {Happening.FROZEN, Happening.WOKE, Happening.TAKEN_OVER, Happening.DIED, Happening.STOPPED}


def test_the_same_seed_is_the_same_log() -> None:
    """Threads take turns as the seed says: ten crowds, run twice, byte-identical logs."""
    for seed in range(10):
        assert crowd_of(seed).log.verify() == crowd_of(seed).log.verify()


@pytest.mark.parametrize("strategy", Strategy)
def test_who_resumes_beside_a_live_process_does_nothing(strategy: Strategy) -> None:
    """Three of them are told who holds the rotation; it is begun and driven by one process."""
    world = crowded(strategy, jobs=[rotate, resume, resume, resume], seed=1)
    owners = {step.owner for step in world.trace if step.kind is Happening.STOPPED and step.name == "owned_elsewhere"}
    assert len(owners) >= 3
    assert [rotation.epoch for rotation in world.fold.values()] == [1, 1]


def test_a_frozen_owner_that_wakes_after_it_was_taken_over_is_fenced() -> None:
    """It makes no call any more, and the rotation ends under the one that took over."""
    fenced = 0
    for nth in range(1, 44):
        world = crowded(Strategy.SINGLE, jobs=[rotate, resume], freezes=[Freeze(0, nth, 300)], seed=2)
        assert all(rotation.state is State.COMPLETED for rotation in world.fold.values())
        fenced += any(step.kind is Happening.STOPPED and step.name == "fenced" for step in world.trace)
    assert fenced >= 20


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
def test_any_place_to_stand_still(strategy: Strategy) -> None:
    """Frozen for longer than a lease wherever the baton is given away, beside one who resumes and one who aborts."""
    for nth in range(1, 60):
        for others in ([resume], [rotate], [resume, operator(nth)]):
            world = crowded(strategy, jobs=[rotate, *others], freezes=[Freeze(0, nth, 100)], seed=nth)
            assert all(rotation.state in ENDED for rotation in world.fold.values())


def test_a_crash_hands_over_at_once() -> None:
    """Who died holds nothing: the other process goes on without waiting for a lease."""
    world = crowded(Strategy.DUAL, [Fault("target.verify", 1, "crash_before")], jobs=[rotate, resume], seed=3)
    died = next(step.at for step in world.trace if step.kind is Happening.DIED)
    verified = next(step.at for step in world.trace if step.name == "CandidateVerified")
    assert verified - died < crowd.LEASE
