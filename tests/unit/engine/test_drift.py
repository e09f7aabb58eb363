"""What log, stores and target say, and what brings them together again: a row for each case."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from engine.credential import Version
from engine.drift import RESTING, Decision, Observed, PlaceSeen, Step, decide, worth_asking
from engine.machine import ENDED, State, following
from engine.sightings import Acceptance, Seen
from tests.unit.engine.rotations import CAUSE, rotation

YES, NO, LOCKED, NOBODY_KNOWS, UNTRIED = (
    Acceptance.ACCEPTED,
    Acceptance.REFUSED,
    Acceptance.UNUSABLE,
    Acceptance.UNKNOWN,
    Acceptance.NOT_TRIED,
)
HERE = PlaceSeen("env:A", current=True)
BEHIND = PlaceSeen("env:A", current=False)
HIDDEN = PlaceSeen("env:A", current=None)


def version(name: str) -> Version:
    return Version(name, "app")


def observed(label: str | None, logged: str | None, held: str = "v3 v2 v1", **looks: Any) -> Observed:
    """Return what was seen: the labels, what is held, and what the target said of a version (`v3=YES`)."""
    seen = {name: looks.pop(name) for name in ("v1", "v2", "v3") if name in looks}
    return Observed(
        label=label,
        logged=version(logged) if logged else None,
        held=tuple(map(version, held.split())),
        looks=tuple(Seen(name, accepted, None) for name, accepted in seen.items()),
        **looks,
    )


def step(seen: Observed, *done: Decision) -> tuple[Step, str | None]:
    decision = decide(seen, done)
    return decision.step, decision.version.id if decision.version else None


# --- no rotation is open ----------------------------------------------------------------------------------------------

FREE = [
    # Consumers are fine: the rest is brought to what they have.
    ("all agree", observed("v3", "v3", v3=YES), Step.NOTHING, None),
    ("all agree, places too", observed("v3", "v3", v3=YES, places=(HERE, HIDDEN)), Step.NOTHING, None),
    ("the log is behind", observed("v3", "v2", v3=YES), Step.ADOPT, "v3"),
    ("the label was moved to what works as well", observed("v2", "v3", v2=YES), Step.ADOPT, "v2"),
    ("the log knows nothing current", observed("v3", None, v3=YES), Step.ADOPT, "v3"),
    ("a place is behind", observed("v3", "v3", v3=YES, places=(BEHIND,)), Step.PUBLISH, "v3"),
    ("a place and the log are behind", observed("v3", "v2", v3=YES, places=(BEHIND,)), Step.PUBLISH, "v3"),
    ("something is left over", observed("v3", "v3", v3=YES, left_over="v4", places=(BEHIND,)), Step.CLEAR, "v3"),
    # Consumers are locked out, and the log knows the way.
    ("the label was moved by hand", observed("v2", "v3", v2=NO, v3=YES), Step.GO_TO, "v3"),
    ("so where nothing can be set", observed("v2", "v3", v2=NO, v3=YES, settable=False), Step.GO_TO, "v3"),
    # The target was restored from a backup.
    ("it accepts what was before", observed("v3", "v3", v3=NO, v2=YES), Step.SET_AGAIN, "v3"),
    ("neither label nor log", observed("v3", "v2", v3=NO, v2=NO, v1=YES), Step.SET_AGAIN, "v3"),
    ("nothing can be set", observed("v3", "v3", v3=NO, v2=YES, settable=False), Step.GO_TO, "v2"),
    # The target accepts nothing that is held.
    ("somebody changed it", observed("v3", "v3", v3=NO, v2=NO), Step.SET_AGAIN, "v3"),
    ("the store is older, and the log's is lost", observed("v2", "v3", "v2 v1", v2=NO, v1=NO), Step.SET_AGAIN, "v2"),
    ("the log's was not tried", observed("v2", "v3", v2=NO, v3=UNTRIED), Step.SET_AGAIN, "v2"),
    ("nothing works, nothing can be set", observed("v3", "v3", v3=NO, v2=NO, settable=False), Step.ROTATE, None),
    # The store lost what was current.
    ("the label is gone", observed(None, "v3", v3=YES), Step.GO_TO, "v3"),
    ("the label is gone, and it is refused", observed(None, "v3", v3=NO), Step.GO_TO, "v3"),
    ("the same, and nothing can be set", observed(None, "v3", v3=NO, v2=NO, settable=False), Step.ROTATE, None),
    ("the same, and another works", observed(None, "v3", v3=NO, v2=YES, settable=False), Step.GO_TO, "v2"),
    ("only an older one is held, and works", observed(None, "v3", "v1", v1=YES), Step.GO_TO, "v1"),
    ("only an older one is held", observed(None, "v3", "v1", v1=NO), Step.ROTATE, None),
    ("everything is gone", observed(None, "v3", ""), Step.ROTATE, None),
    ("the label points at what nobody can log in with", observed("v0", "v3", v3=YES), Step.GO_TO, "v3"),
    ("so, and the log's is lost", observed("v0", "v3", "v1", v1=NO), Step.ROTATE, None),
    # What was not seen clearly is not repaired.
    ("no clear answer", observed("v3", "v3", v3=NOBODY_KNOWS), Step.WAIT, None),
    ("no clear answer about the log's", observed("v2", "v3", v2=NO, v3=NOBODY_KNOWS), Step.WAIT, None),
    ("no clear answer, and the label is gone", observed(None, "v3", v3=NOBODY_KNOWS), Step.WAIT, None),
    ("not asked", observed("v3", "v3", v3=UNTRIED), Step.WAIT, None),
    (
        "no clear answer, and a place is behind",
        observed("v3", "v3", v3=NOBODY_KNOWS, places=(BEHIND,)),
        Step.WAIT,
        None,
    ),
    ("the login is refused", observed("v3", "v3", v3=LOCKED), Step.ASK, None),
    ("the login of the log's is refused", observed("v2", "v3", v2=NO, v3=LOCKED), Step.ASK, None),
    # There is nothing to compare.
    ("never rotated", observed("v1", None, v1=NO, begun=False), Step.NOTHING, None),
    ("nobody calls anything current", observed(None, None, "v1"), Step.NOTHING, None),
]


@pytest.mark.parametrize(("seen", "wanted", "which"), [row[1:] for row in FREE], ids=[row[0] for row in FREE])
def test_what_is_free_is_brought_to_what_consumers_have(seen: Observed, wanted: Step, which: str | None) -> None:
    assert step(seen) == (wanted, which)


# --- a rotation is open: of `app` from v1 to v2 -----------------------------------------------------------------------

OPEN = [
    ("interrupted", State.APPLYING, observed("v1", "v1"), Step.RESUME),
    ("interrupted while promoting", State.PROMOTING, observed("v2", "v1"), Step.RESUME),
    ("interrupted, the store emptied", State.VERIFYING, observed(None, "v1", ""), Step.RESUME),
    ("going back", State.ROLLING_BACK, observed("v3", "v1"), Step.RESUME),
    ("interrupted, and the stores went on", State.APPLYING, observed("v3", "v1"), Step.END),
    ("in grace", State.GRACE, observed("v2", "v2", v2=YES), Step.NOTHING),
    ("in grace, which is over", State.GRACE, observed("v2", "v2", v2=YES, grace_over=True), Step.RESUME),
    ("in grace, and not asked", State.GRACE, observed("v2", "v2", v2=UNTRIED), Step.WAIT),
    ("in grace, a place edited", State.GRACE, observed("v2", "v2", v2=YES, places=(BEHIND,)), Step.ASK),
    ("in grace, the candidate refused", State.GRACE, observed("v2", "v2", v2=NO, v1=YES), Step.END),
    ("in grace, no clear answer", State.GRACE, observed("v2", "v2", v2=NOBODY_KNOWS), Step.WAIT),
    ("in grace, the label moved back", State.GRACE, observed("v1", "v2", v1=YES), Step.END),
    ("in grace, the candidate lost", State.GRACE, observed(None, "v2", "v1"), Step.END),
    ("retiring", State.RETIRING, observed("v2", "v2", v2=YES), Step.RESUME),
    ("retiring, and not asked", State.RETIRING, observed("v2", "v2", v2=UNTRIED), Step.RESUME),
    ("retiring, the candidate revoked", State.RETIRING, observed("v2", "v2", v2=NO), Step.END),
    ("retiring, the candidate lost", State.RETIRING, observed(None, "v2", "v1"), Step.END),
    ("retiring, no clear answer", State.RETIRING, observed("v2", "v2", v2=NOBODY_KNOWS), Step.WAIT),
    ("paused", State.PAUSED, observed("v1", "v1"), Step.ASK),
    ("going back failed", State.ROLLBACK_FAILED, observed("v1", "v1", v1=NO), Step.RETRY),
    ("going back failed, all is lost", State.ROLLBACK_FAILED, observed(None, "v1", ""), Step.RETRY),
    ("going back failed, no clear answer", State.ROLLBACK_FAILED, observed("v1", "v1", v1=NOBODY_KNOWS), Step.WAIT),
]


def open_in(state: State, seen: Observed) -> Observed:
    return replace(seen, rotation=rotation(state, label="v1", cause=CAUSE))


@pytest.mark.parametrize(("state", "seen", "wanted"), [row[1:] for row in OPEN], ids=[row[0] for row in OPEN])
def test_what_is_open_comes_first(state: State, seen: Observed, wanted: Step) -> None:
    assert step(open_in(state, seen)) == (wanted, None)


def test_every_state_of_an_open_rotation_is_decided() -> None:
    """And what is decided is legal: only a rotation that may fail is ended."""
    for state in (state for state in State if state not in ENDED and state is not State.WAITING):
        for label in ("v1", "v2", "v3", None):
            for accepted in Acceptance:
                decision = decide(open_in(state, observed(label, "v1", **({label: accepted} if label else {}))))
                assert decision.step is not Step.END or following(state, "RotationFailed")
                assert decision.step in RESTING or decision.version is None


def test_going_back_that_failed_is_tried_once_more_and_then_given_up() -> None:
    seen = open_in(State.ROLLBACK_FAILED, observed("v1", "v1", v1=NO))
    first = decide(seen)
    assert first.step is Step.RETRY
    assert decide(seen, [first]).step is Step.ABANDON


def test_a_person_is_told_what_leads_out_of_a_pause() -> None:
    advice = decide(open_in(State.PAUSED, observed("v1", "v1"))).advice
    assert "keyturn continue" in advice
    assert "keyturn abort" in advice


# --- a repair that does not settle it ---------------------------------------------------------------------------------


def test_nothing_is_done_twice() -> None:
    """Somebody else undoes it, or it does not help: a person is asked."""
    seen = observed("v3", "v2", v3=YES)
    assert step(seen, decide(seen)) == (Step.ASK, None)
    still = open_in(State.RETIRING, observed("v2", "v2", v2=YES))
    asked = decide(still, [decide(still)])
    assert asked.step is Step.ASK
    assert CAUSE.message in asked.why


def test_a_rotation_that_failed_tells_why() -> None:
    """Also where the wrong logins are spent, so that the target is not asked again."""
    failed = rotation(State.FAILED, cause=replace(CAUSE, hint="Make room."))
    seen = replace(observed("v3", "v3", v3=NO), failed=failed)
    again = decide(seen, [decide(seen)])
    assert (again.step, again.advice) == (Step.ASK, "Make room.")
    assert CAUSE.message in again.why
    spent = replace(observed("v3", "v3", v3=UNTRIED), failed=failed)
    assert decide(spent).step is Step.ASK


def test_a_target_that_went_away_is_waited_for_whatever_failed() -> None:
    seen = replace(observed("v3", "v3", v3=NOBODY_KNOWS), failed=rotation(State.FAILED, cause=CAUSE))
    assert decide(seen).step is Step.WAIT


def test_what_failed_may_be_settled_by_another_step() -> None:
    """The version is current, and a place refused it: the log takes it down, for a start."""
    seen = replace(observed("v3", "v2", v3=YES), failed=rotation(State.FAILED, cause=CAUSE))
    tried = Decision(Step.GO_TO, "", version("v3"))
    assert step(seen, tried) == (Step.ADOPT, "v3")


# --- what is worth a wrong login --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "worth"),
    [
        (observed("v3", "v3"), "v3 v2 v1"),
        (observed(None, "v3"), "v3 v2 v1"),
        (observed("v3", None), "v3 v2 v1"),
        (observed(None, None), ""),
        (observed("v1", None, begun=False), ""),
        (open_in(State.APPLYING, observed("v1", "v1")), ""),
        (open_in(State.PAUSED, observed("v1", "v1")), ""),
        (open_in(State.GRACE, observed("v2", "v2")), "v2"),
        (open_in(State.GRACE, observed("v1", "v2")), ""),
        (open_in(State.RETIRING, observed("v2", "v2")), "v2"),
        (open_in(State.ROLLBACK_FAILED, observed("v1", "v1")), "v1"),
        (open_in(State.ROLLBACK_FAILED, observed(None, "v1", "")), ""),
    ],
)
def test_the_target_is_asked_only_where_its_answer_decides(seen: Observed, worth: str) -> None:
    assert [version.id for version in worth_asking(seen)] == worth.split()


def test_each_step_is_told_in_words() -> None:
    """With the version that it is done with; nobody has to know the names of steps."""
    for each in Step:
        words = Decision(each, "", version("v7")).words
        assert words
        assert "{" not in words
    assert "v7" in Decision(Step.SET_AGAIN, "", version("v7")).words
