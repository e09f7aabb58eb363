"""The ways out: what is named is legal in that state, and where nothing more can be done nothing is named."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.leaving import in_words, is_half_way, ways_out
from engine.machine import ENDED, LEAVING, State, following
from engine.plan import Strategy
from engine.rotation import Rotation
from tests.unit.engine.rotations import CAUSE, ROTATION, attempt, plan, rotation

CHANGED = (attempt(closed=True, done=True),)
EVENT = {
    "continue": "RolloutResumed",
    "abort": "RollbackStarted",
    "retry": "RollbackRetried",
    "rollback": "RollbackStarted",
    "retire": "GraceEnded",
}
OTHER = {(State.ROLLBACK_FAILED, "abort"): "RollbackAbandoned", (State.WAITING, "abort"): "RotationCancelled"}


def names(standing: Rotation) -> list[str]:
    """Return the names of the commands."""
    return [way.command.split()[1] for way in ways_out(standing)]


@pytest.mark.parametrize("state", [state for state in State if state not in ENDED])
def test_every_state_that_is_not_over_has_a_way_out(state: State) -> None:
    assert ways_out(rotation(state))


@pytest.mark.parametrize("state", LEAVING)
def test_what_rests_names_what_the_machine_says(state: State) -> None:
    """`rollback` of an open rotation is `abort`, and of one that failed it is a command of the service."""
    found = names(rotation(state, attempts=CHANGED))
    assert set(found) <= {*LEAVING[state]}
    of_waves = {"promote", "accept-inconclusive", "retry"} if state is State.PAUSED else set()
    assert {*LEAVING[state]} - set(found) <= {"rollback"} | of_waves


@pytest.mark.parametrize("state", State)
def test_what_is_named_is_legal(state: State) -> None:
    for name in names(rotation(state, attempts=CHANGED)):
        event = OTHER.get((state, name)) or EVENT.get(name)
        assert event is None or following(state, event) is not None, (state, name)


def test_a_failed_rotation_is_taken_back_where_there_is_something_to_take_back() -> None:
    """Otherwise a new one leads forward, and `rollback` would go to the version before. Two values leave no room."""
    assert names(rotation(State.FAILED, attempts=CHANGED)) == ["rollback", "rotate"]
    assert names(rotation(State.FAILED)) == ["rotate"]
    assert names(rotation(State.FAILED, attempts=CHANGED, previous=None)) == ["rotate"]
    assert names(rotation(State.FAILED, plan(Strategy.DUAL), attempts=CHANGED)) == ["rollback"]
    assert not is_half_way(rotation(State.APPLYING, attempts=CHANGED))


def test_retiring_can_be_given_up_once_it_has_had_its_tries() -> None:
    standing = rotation(State.RETIRING, plan(effect_attempts=2), cause=CAUSE, failures=1)
    assert names(standing) == ["resume"]
    stuck = rotation(State.RETIRING, plan(effect_attempts=2), cause=CAUSE, failures=2)
    assert names(stuck) == ["resume", "abort"]


def test_what_cannot_be_gone_back_to_is_not_tried_again() -> None:
    cause = e.Cause("restore", "no_way_back", "revoked")
    assert names(rotation(State.ROLLBACK_FAILED, cause=cause)) == ["abort"]
    assert names(rotation(State.ROLLBACK_FAILED, cause=CAUSE)) == ["retry", "abort"]


def test_without_a_way_back_none_is_named() -> None:
    asked = attempt(login="", closed=True, done=True)
    standing = rotation(State.MONITORING, previous=None, promotable=True, attempts=(asked,))
    assert names(standing) == ["resume"]
    grace = rotation(State.GRACE, previous=None, promotable=True, attempts=(asked,))
    assert names(grace) == ["resume", "retire"]


def test_ways_are_told_in_one_sentence() -> None:
    assert in_words(ways_out(rotation(State.PAUSED))) == (
        f"keyturn continue {ROTATION} lets it go on; keyturn abort {ROTATION} takes it back."
    )
    assert in_words(()) == ""
