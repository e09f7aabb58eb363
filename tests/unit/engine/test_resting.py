"""Resting and giving up: what a person decides about a rotation that is to wait, or that can go neither way."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine import events as e
from engine.commands import abandon, let_go_on, pause, refuse_second
from engine.errors import IllegalCommand, Rejected, RotationOpen
from engine.machine import BEFORE_RETIRING, State
from engine.rotation import Rotation
from tests.unit.engine.bench import Bench, fails
from tests.unit.engine.rotations import ROTATION, attempt, moment, plan, rotation, seconds


@pytest.mark.parametrize("state", [State.STAGING, State.APPLYING, State.VERIFYING])
def test_before_the_candidate_is_verified_a_pause_is_asked_for(state: State) -> None:
    assert pause(rotation(state), reason="lunch") == [e.PauseRequested("lunch")]


@pytest.mark.parametrize("state", [State.DISTRIBUTING, State.SOAKING])
def test_while_the_candidate_is_handed_out_a_pause_is_at_once(state: State) -> None:
    assert pause(rotation(state), reason="lunch") == [e.RolloutPaused("lunch")]


@pytest.mark.parametrize("resting", [rotation(State.PAUSED), rotation(State.APPLYING, pausing=True)])
def test_a_pause_is_recorded_once(resting: Rotation) -> None:
    assert pause(resting, reason="again") == []


@pytest.mark.parametrize(
    "state",
    [state for state in State if state not in (*BEFORE_RETIRING[: BEFORE_RETIRING.index(State.PROMOTING)],)],
)
def test_once_the_candidate_is_given_out_it_is_too_late_to_pause(state: State) -> None:
    with pytest.raises(IllegalCommand, match=f"pause is not possible while the rotation is {state}"):
        pause(rotation(state), reason="")


def test_a_paused_rotation_goes_on() -> None:
    assert let_go_on(rotation(State.PAUSED), reason="go") == [e.RolloutResumed("go")]


@pytest.mark.parametrize("state", [state for state in State if state is not State.PAUSED])
def test_what_is_not_paused_cannot_go_on(state: State) -> None:
    with pytest.raises(IllegalCommand, match=f"continue is not possible while the rotation is {state}"):
        let_go_on(rotation(state), reason="")


def test_a_pause_that_is_only_asked_for_is_told_as_that() -> None:
    with pytest.raises(IllegalCommand, match="a pause is only requested") as caught:
        let_go_on(rotation(State.VERIFYING, pausing=True), reason="")
    assert caught.value.message == (
        "continue is not possible while the rotation is verifying: a pause is only requested."
    )
    assert f"keyturn resume {ROTATION}" in caught.value.advice
    assert caught.value.fields["rotation_id"] == ROTATION


def test_giving_up_going_back_ends_the_rotation_and_keeps_what_still_counts() -> None:
    """Attempts without an answer and logins that were spent are left to the credential."""
    failed = rotation(State.ROLLBACK_FAILED, attempts=(attempt(),))
    events, (closed,) = abandon(failed, reason="lost", now=moment(1))
    assert events == [e.RollbackAbandoned("lost")]
    assert isinstance(closed, e.RotationClosed)
    assert (closed.outcome, [fence.version for fence in closed.fences]) == (State.FAILED, ["v2"])


def test_retiring_is_given_up_once_it_has_had_its_tries() -> None:
    """Its last failure is the cause, and who gave it up says why."""
    cause = e.Cause("retire", "unavailable", "no answer")
    stuck = rotation(State.RETIRING, plan(effect_attempts=3), failures=3, cause=cause)
    assert abandon(stuck, reason="gone", now=moment())[0] == [e.RotationFailed(cause, "gone")]
    with pytest.raises(IllegalCommand, match="giving up is not possible while the rotation is retiring"):
        abandon(replace(stuck, failures=2), reason="gone", now=moment())


@pytest.mark.parametrize("state", [state for state in State if state is not State.ROLLBACK_FAILED])
def test_nothing_else_is_given_up(state: State) -> None:
    with pytest.raises(IllegalCommand, match="giving up is not possible"):
        abandon(rotation(state), reason="", now=moment())


@pytest.mark.parametrize(
    ("state", "names"),
    [(State.PAUSED, ["continue", "abort"]), (State.ROLLBACK_FAILED, ["retry", "abort"]), (State.APPLYING, ["resume"])],
)
def test_a_second_rotation_is_told_what_leads_out_of_the_first(state: State, names: list[str]) -> None:
    with pytest.raises(RotationOpen) as caught:
        refuse_second(rotation(state), now=seconds(1), until="")
    assert all(f"keyturn {name} {ROTATION}" in caught.value.advice for name in names)


# --- what is recorded ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["", "lunch"])
def test_a_rotation_rests_and_goes_on_for_the_reason_that_was_given(reason: str) -> None:
    """Whoever asks for it once more is told that it is recorded already."""
    given = {"reason": reason} if reason else {}
    bench = Bench()
    rotation_id, operations = bench.start(), bench.operations()
    assert operations.pause(rotation_id, **given)
    assert not operations.pause(rotation_id, **given)
    assert bench.bodies(rotation_id, e.PauseRequested) == [e.PauseRequested(reason)]
    assert bench.drive(rotation_id).state is State.PAUSED
    operations.let_go_on(rotation_id, **given)
    assert bench.bodies(rotation_id, e.RolloutResumed) == [e.RolloutResumed(reason)]
    assert bench.drive(rotation_id).state is State.COMPLETED


def test_what_is_given_up_without_a_reason_has_none() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.restore", fails(Rejected))
    assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED
    bench.operations().abandon(rotation_id)
    assert bench.bodies(rotation_id, e.RollbackAbandoned) == [e.RollbackAbandoned("")]
