"""The state machine of a rotation: every state against every event, and that no state is a dead end.

The table below was written from the description of the machine, not from its code: the two must agree.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transitions import MachineError

from engine.machine import ENDED, EVENTS, LEAVING, MACHINE, TABLE, State, following, rests

FORWARD = """
    waiting            RotationStarted     staging
    staging            CandidateStaged     applying
    staging            CandidateReserved   applying
    applying           CandidateApplied    verifying
    verifying          CandidateVerified   distributing
    distributing       WaveDistributed     soaking
    soaking            WavePassed          distributing
    distributing       RolloutPaused       paused
    soaking            RolloutPaused       paused
    paused             RolloutResumed      distributing
    distributing       RolloutCompleted    promoting
    promoting          Promoted            monitoring
    monitoring         MonitoringPassed    grace
    grace              GraceEnded          retiring
    retiring           PreviousRetired     completed
    waiting            RotationCancelled   cancelled
"""
BACK = """
    rolling_back       PreviousRestored    verifying_rollback
    verifying_rollback RollbackVerified    rolled_back
    rolling_back       RollbackFailed      rollback_failed
    verifying_rollback RollbackFailed      rollback_failed
    rollback_failed    RollbackRetried     rolling_back
    rollback_failed    RollbackAbandoned   failed
"""
CAN_GO_BACK = "staging applying verifying distributing soaking paused promoting monitoring grace failed"
CAN_FAIL = "waiting staging applying verifying distributing soaking paused promoting monitoring grace retiring"
AT_WORK = (
    "staging applying verifying distributing soaking paused promoting monitoring grace retiring "
    "rolling_back verifying_rollback"
)
HANDING = "distributing soaking grace retiring"
STAYS = {
    "OwnerChanged": AT_WORK,
    "EffectPostponed": AT_WORK,
    "RotationRequested": "waiting",
    "PauseRequested": "staging applying verifying",
    "LoginTried": f"{AT_WORK} rollback_failed",
    "PreviousCaptured": "staging applying",
    "AttemptStarted": "applying promoting retiring rolling_back",
    "AttemptClosed": "applying promoting retiring rolling_back",
    "AttemptSettled": "applying rolling_back",
    "OrphanRevoked": "applying",
    "VerificationFailed": "verifying verifying_rollback",
    "MonitoringStarted": "monitoring",
    "HealthSampled": "monitoring soaking",
    "RolloutPlanned": "distributing",
    "WaveHeld": "distributing",
    "RolloutAdvanced": "distributing soaking",
    "SoakStarted": "soaking",
    "InstancesJoined": f"{HANDING} rolling_back",
    "InstancesMissed": f"{HANDING} rolling_back",
    "InstancesLeft": f"{HANDING} rolling_back",
    "InstancesTold": f"{HANDING} rolling_back",
    "InstancesFailed": f"{HANDING} rolling_back",
    "InstancesUnproved": f"{HANDING} rolling_back",
    "InstancesMoved": HANDING,
    "InstancesLapsed": "soaking grace retiring rolling_back",
    "InstancesReturned": "rolling_back",
    "RetirementRequested": "grace",
    "OverlapWarned": "grace",
    "Published": "promoting rolling_back",
}


def _golden() -> dict[tuple[str, str], str]:
    rows = [row.split() for row in (FORWARD + BACK).splitlines() if row.strip()]
    table = {(source, event): to for source, event, to in rows}
    table |= {(source, "RollbackStarted"): "rolling_back" for source in CAN_GO_BACK.split()}
    table |= {(source, "RotationFailed"): "failed" for source in CAN_FAIL.split()}
    table |= {(source, event): source for event, sources in STAYS.items() for source in sources.split()}
    return table


GOLDEN = _golden()
NAMES = sorted({event for _, event in GOLDEN})


@pytest.mark.parametrize("state", State)
def test_every_event_is_decided_in_every_state(state: State) -> None:
    """A pair is a change, a stay, or refused; all of the grid is as it was described."""
    assert {event: following(state, event) for event in EVENTS} == {
        event: GOLDEN.get((state.value, event)) for event in NAMES
    }


def test_the_grid_has_no_other_states_and_events() -> None:
    """Nothing was described that the machine lacks, and the machine has nothing beside."""
    assert set(TABLE) == set(GOLDEN)
    assert sorted(EVENTS) == NAMES
    assert {State(state) for state in MACHINE.states} == set(State)


def test_an_unknown_event_is_refused() -> None:
    """A name that is no event leads nowhere, from any state."""
    assert [following(state, "RotationExploded") for state in State] == [None] * len(State)


def test_the_machine_has_no_conditions_and_no_callbacks() -> None:
    """What follows depends on state and event alone, so the table is the whole of it."""
    for event in MACHINE.events.values():
        for transitions in event.transitions.values():
            (transition,) = transitions
            assert not transition.conditions
            assert not [*transition.prepare, *transition.before, *transition.after]
    assert not [callback for state in MACHINE.states.values() for callback in (*state.on_enter, *state.on_exit)]
    assert not MACHINE.models


@pytest.mark.parametrize("state", [state for state in State if state not in ENDED])
def test_every_state_leads_to_an_end(state: State) -> None:
    """From wherever a rotation stands there is a way for it to be over."""
    reached, waiting = {state}, [state]
    while waiting:
        standing = waiting.pop()
        steps = {to for (source, _), to in TABLE.items() if source == standing} - reached
        reached |= steps
        waiting += steps
    assert reached & ENDED


@pytest.mark.parametrize("state", State)
def test_every_state_is_reached(state: State) -> None:
    """A state that no event leads to would be a promise that nobody keeps."""
    assert state is State.WAITING or [source for (source, _), to in TABLE.items() if to == state != source]


@pytest.mark.parametrize("state", [State.PAUSED, State.ROLLBACK_FAILED, State.FAILED])
def test_a_state_that_rests_names_the_commands_that_leave_it(state: State) -> None:
    """A person who finds it is told what to do, and the machine lets it happen."""
    assert LEAVING[state]
    assert rests(state)
    assert [to for (source, _), to in TABLE.items() if source == state != to]


def test_what_rests_is_over_or_waits_for_a_person() -> None:
    """And nothing else rests: in all other states there is work outstanding."""
    assert {state for state in State if rests(state)} == {
        State.COMPLETED,
        State.ROLLED_BACK,
        State.CANCELLED,
        State.FAILED,
        State.PAUSED,
        State.ROLLBACK_FAILED,
    }
    assert set(LEAVING) <= {state for state in State if rests(state)}


@pytest.mark.parametrize("state", [State.COMPLETED, State.ROLLED_BACK, State.CANCELLED])
def test_what_is_over_is_over(state: State) -> None:
    """No event follows; a failed rotation alone can still be taken back."""
    assert [event for event in EVENTS if following(state, event)] == []


def test_there_is_no_way_back_once_the_old_version_is_being_retired() -> None:
    """The grace period is the rollback window; after it a new rotation goes back."""
    assert following(State.GRACE, "RollbackStarted") is State.ROLLING_BACK
    assert following(State.RETIRING, "RollbackStarted") is None


class _Model:
    """What the library moves along; `state` is where it stands."""

    def __init__(self, state: State) -> None:
        self.state = state.value


def _trigger(model: _Model, event: str) -> bool:
    """Let the library itself move the model; False where it refuses."""
    trigger: Any = MACHINE.events[event]
    try:
        return bool(trigger.trigger(model))
    except MachineError:
        return False


@given(st.lists(st.tuples(st.booleans(), st.randoms(use_true_random=False)), max_size=60))
def test_the_library_moves_as_the_table_says(walk: list[tuple[bool, Any]]) -> None:
    """On a walk of legal and of random events, both stand in the same state after each."""
    state = State.WAITING
    model = _Model(state)
    for legal, random in walk:
        choices = sorted(event for source, event in TABLE if source == state) if legal else NAMES
        if not choices:
            break
        event = random.choice(choices)
        to = following(state, event)
        assert _trigger(model, event) is (to is not None)
        state = to or state
        assert model.state == state.value


@pytest.mark.parametrize(("state", "event"), list(product(State, NAMES)))
def test_the_library_refuses_what_the_table_has_not(state: State, event: str) -> None:
    """The look-up that the engine uses and the trigger of the library agree on the whole grid."""
    model = _Model(state)
    assert _trigger(model, event) is (following(state, event) is not None)
    assert model.state == (following(state, event) or state)
