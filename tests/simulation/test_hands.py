"""People change things past keyturn: it makes nothing worse, and once it was put right, a rotation completes."""

from __future__ import annotations

import pytest

from adapters.simulation.hands import Deed, Hand, act
from adapters.simulation.seeds import handled
from adapters.simulation.world import ENVIRONMENT, GRACE, SERVICE, Simulation, run
from engine.machine import ENDED, State
from engine.operations import Operations
from engine.plan import Strategy
from engine.runner import Runner, never
from tests.simulation.mutants import Unguarded

CHANGES = 16
"""Changes of state in two rotations."""
REVOKING = (Hand.REVOKE_CURRENT, Hand.RESTORE_TARGET)
"""What may revoke a value that the target made, which nobody can set again."""


def in_grace(strategy: Strategy) -> Simulation:
    """Return a world whose rotation waits for its grace period to end, at a target that does not guard itself."""
    world = Simulation(strategy, around=Unguarded)
    operations = Operations(world.world())
    rotation_id = operations.start(SERVICE, ENVIRONMENT, world.plan(), logins=world.logins)
    assert Runner(world.world()).drive(rotation_id, patience=never).state is State.GRACE
    world.touched = True
    return world


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("hand", Hand)
def test_anything_by_hand_at_any_moment(strategy: Strategy, hand: Hand) -> None:
    """Only what the target made, and a person revoked, cannot be put right: it is given up, and a rotation follows."""
    given_up = 0
    for nth in range(1, CHANGES + 1):
        world = run(strategy, deeds=[Deed(nth, hand)], around=Unguarded)
        assert world.touched
        given_up += world.given_up
    assert (given_up > 0) is (strategy is Strategy.ISSUE and hand in REVOKING)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
def test_anything_by_hand_just_before_any_call(strategy: Strategy) -> None:
    """What a call was decided on may be gone by then: from the next outcome on nothing is made worse, and all ends."""
    calls = [(call, nth) for call, count in run(strategy).faultable.items() for nth in range(1, count + 1)]
    for hand in Hand:
        worlds = [run(strategy, deeds=[Deed(nth, hand, call)], around=Unguarded) for call, nth in calls]
        assert all(world.touched for world in worlds)


@pytest.mark.slow
def test_seeds_of_deeds_and_faults() -> None:
    """Six hundred seeds of things done by hand while calls fail, at a target that does not guard itself."""
    for seed in range(600):
        handled(seed, around=Unguarded)


@pytest.mark.parametrize("hand", [Hand.CHANGE, Hand.REVOKE_CURRENT])
def test_the_old_version_stays_while_the_current_one_does_not_work(hand: Hand) -> None:
    """It may be the last that works; once the current one does again, the rotation completes."""
    world = in_grace(Strategy.ALTERNATING)
    (rotation,) = world.fold.values()
    act(world, hand)
    world.clock.wait(GRACE)
    assert world.rotate().state is State.COMPLETED
    refused = world.story.index("EffectPostponed -> retiring")
    assert "AttemptStarted -> retiring" not in world.story[:refused]
    right = world.story.index("a person puts it right")
    assert "AttemptStarted -> retiring" not in world.story[refused:right]
    assert world.fold[rotation.id].state in ENDED


def test_consumers_stay_on_what_works_where_the_old_version_was_revoked() -> None:
    """A key that was revoked does not come back: the store goes on calling the new one current."""
    world = in_grace(Strategy.ISSUE)
    (rotation,) = world.fold.values()
    act(world, Hand.REVOKE_PREVIOUS)
    Operations(world.world()).go_back(rotation.id, command="rollback", reason="simulated operator")
    ended = Runner(world.world()).drive(rotation.id, patience=never)
    assert ended.state is State.ROLLBACK_FAILED
    candidate = world.value(rotation.candidate)
    assert candidate is not None
    assert world.store.versions(world.path).current == rotation.candidate
    assert world.target.accepts(candidate)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_store_that_was_emptied_between_rotations_is_filled_by_the_next(strategy: Strategy) -> None:
    """The log knows versions that nobody holds any more: they are not what the rotation expects or goes back to."""
    world = Simulation(strategy)
    assert world.rotate().state is State.COMPLETED
    world.touched = True
    act(world, Hand.EMPTY)
    ended = world.rotate()
    assert (ended.state, ended.previous, ended.label) == (State.COMPLETED, None, None)
    assert world.store.versions(world.path).current == ended.candidate


@pytest.mark.parametrize("strategy", Strategy)
def test_a_version_that_was_lost_in_grace_holds_nothing_up(strategy: Strategy) -> None:
    """It is retired without its value."""
    world = Simulation(strategy, deeds=[Deed(7, Hand.LOSE)])
    assert world.rotate().state is State.COMPLETED
    assert "a person puts it right" not in world.story
    world.settle()
    world.lead_on()
