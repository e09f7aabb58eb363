"""Folding a rotation: total, without asking the machine, and the same as what was seen while it ran."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as e
from engine import rotation as rotations
from engine.attempts import Attempt
from engine.facts import Fact, Recorded, decode, encode, tag_of
from engine.machine import State, following
from engine.rotation import Rotation
from engine.values import Deadline
from tests.histories import histories
from tests.unit.engine.rotations import AT, CAUSE, ROTATION, attempt, grace, plan, rotation, seconds, started


def then(before: Rotation, body: e.Event, state: State | None = None, *, after: float = 1) -> Rotation:
    """Return the rotation after one more event."""
    return rotations.evolve(before, Fact(ROTATION, before.version + 1, seconds(after), "bob", body, state))


# --- replay -----------------------------------------------------------------------------------------------------


@given(histories())
def test_replaying_what_was_stored_gives_what_was_running(history: list[Recorded]) -> None:
    """From the bytes, one aggregate at a time: the state is what the machine says, fact by fact."""
    running: dict[Any, Rotation] = {}
    stored: dict[Any, list[Fact]] = {}
    for fact in (recorded.fact for recorded in history):
        if fact.state is None:
            continue
        before = running.get(fact.originator_id)
        assert following(before.state if before else State.WAITING, type(fact.body).__name__) is fact.state
        running[fact.originator_id] = rotations.evolve(before, fact) if before else rotations.start(fact)
        place: dict[str, Any] = {"originator_id": fact.originator_id, "originator_version": fact.originator_version}
        stored.setdefault(fact.originator_id, []).append(decode(tag_of(fact.body), encode(fact), **place))
    assert {key: rotations.fold(facts) for key, facts in stored.items()} == running


@given(state=st.sampled_from(State), to=st.sampled_from(State))
def test_folding_never_asks_the_machine(state: State, to: State) -> None:
    """A log of a version with another table replays as it was written, however odd the step looks today."""
    assert then(rotation(state), e.CandidateVerified(), to).state is to
    assert then(rotation(state), e.LoginTried("app")).state is state


def test_no_facts_are_no_rotation() -> None:
    assert rotations.fold([]) is None


def test_a_rotation_begins_with_its_start() -> None:
    with pytest.raises(TypeError, match="begins with RotationStarted, not with Promoted"):
        rotations.fold([Fact(ROTATION, 1, AT, "ada", e.Promoted(), State.MONITORING)])


def test_a_rotation_that_waits_for_its_turn_begins_with_being_asked_for() -> None:
    """It has no candidate yet; when its turn comes it is as if it had begun then, but for its place in the stream."""
    requested = e.RotationRequested("app-db", "production", plan(), "host:1", "leaked")
    waiting = rotations.start(Fact(ROTATION, 1, AT, "ada", requested, State.WAITING))
    assert (waiting.state, waiting.candidate, waiting.previous, waiting.reason) == (State.WAITING, "", None, "leaked")
    first = started()
    begun = then(waiting, first.body, State.STAGING)
    assert (begun.state, begun.version, begun.candidate) == (State.STAGING, 2, "v2")
    assert then(waiting, e.RotationCancelled(), State.CANCELLED).ended_at == seconds(1)


def test_who_asked_for_a_rotation_stays_whoever_begins_it() -> None:
    requested = e.RotationRequested("app-db", "production", plan(), "host:1")
    waiting = rotations.start(Fact(ROTATION, 1, AT, "eve", requested, State.WAITING))
    begun = rotations.evolve(waiting, Fact(ROTATION, 2, seconds(9), "bob", started().body, State.STAGING))
    assert (begun.actor, begun.started_at) == ("eve", seconds(9))


def test_what_a_credential_takes_down_is_no_event_of_a_rotation() -> None:
    with pytest.raises(TypeError, match="VersionRetired is not an event of a rotation"):
        then(rotation(), e.VersionRetired("v1"))


def test_a_start_fixes_what_the_rotation_is_about() -> None:
    fences, tries = (e.Fence("app", "v0", seconds(3)),), (e.LoginUse("app", seconds(-9)),)
    first = rotations.start(started(reason="leaked", imported=True, fences=fences, tries=tries))
    assert (first.id, first.version, first.state, first.entered, first.epoch) == (ROTATION, 1, State.STAGING, 1, 1)
    assert (first.candidate, first.login, first.previous, first.previous_login) == ("v2", "app", "v1", "app")
    assert (first.owner, first.actor, first.started_at, first.entered_at) == ("host:1", "ada", AT, AT)
    assert (first.reason, first.imported, first.fences, first.tries) == ("leaked", True, fences, tries)


def test_facts_from_before_the_state_was_stored_are_read_too() -> None:
    """The first leads to staging, and the others leave the state as it was."""
    fact = started()
    assert rotations.start(Fact(fact.originator_id, 1, AT, "ada", fact.body)).state is State.STAGING
    assert then(rotation(State.VERIFYING), e.CandidateVerified()).state is State.VERIFYING


# --- entering a state ----------------------------------------------------------------------------------------


def test_entering_a_state_begins_its_counts_anew() -> None:
    """Tries, refusals, waiting and what was published belong to a state; the key of its effect changes with it."""
    tired = rotation(
        State.PROMOTING,
        failures=3,
        refusals=1,
        postponed=Deadline(seconds(9)),
        published=("dotenv:A",),
        version=7,
        entered=4,
    )
    fresh = then(tired, e.Promoted(), State.MONITORING, after=2)
    assert (fresh.failures, fresh.refusals, fresh.not_before, fresh.published) == (0, 0, 0, ())
    assert (fresh.entered, fresh.version, fresh.entered_at) == (8, 8, seconds(2))


def test_a_remark_leaves_the_state_and_its_counts() -> None:
    tired = rotation(State.PROMOTING, failures=3, version=7, entered=4)
    later = then(tired, e.Published("dotenv:A", "v2"))
    assert (later.state, later.failures, later.entered, later.version) == (State.PROMOTING, 3, 4, 8)
    assert later.published == ("dotenv:A",)
    assert later.reached == ("dotenv:A",)
    assert then(tired, e.Published("dotenv:A", "v1")).reached == (), "it has the version of before again"


def test_promotion_that_has_begun_is_never_forgotten() -> None:
    """From there on a store may call the candidate current, so that going back has to look there."""
    began = then(rotation(State.DISTRIBUTING), e.RolloutCompleted(), State.PROMOTING)
    assert not rotation(State.DISTRIBUTING).promotable
    assert began.promotable
    assert then(began, e.RollbackStarted(automatic=True), State.ROLLING_BACK).promotable


@pytest.mark.parametrize(
    ("body", "state", "ended"),
    [
        (e.PreviousRetired(), State.COMPLETED, True),
        (e.RollbackVerified(), State.ROLLED_BACK, True),
        (e.RotationCancelled(), State.CANCELLED, True),
        (e.RotationFailed(CAUSE), State.FAILED, True),
        (e.RollbackFailed(CAUSE), State.ROLLBACK_FAILED, False),
        (e.GraceEnded(), State.RETIRING, False),
        (e.PreviousRestored(), State.VERIFYING_ROLLBACK, False),
    ],
)
def test_a_rotation_that_is_over_has_an_end(body: e.RotationEvent, state: State, *, ended: bool) -> None:
    assert then(rotation(), body, state).ended_at == (seconds(1) if ended else None)


def test_taking_back_a_failed_rotation_opens_it_again() -> None:
    """Its cause stays unless another one is given."""
    failed = then(rotation(), e.RotationFailed(CAUSE), State.FAILED)
    again = then(failed, e.RollbackStarted(automatic=False), State.ROLLING_BACK)
    assert (again.ended_at, again.cause, again.automatic) == (None, CAUSE, False)
    other = e.Cause("verify", "refused", "no")
    assert then(failed, e.RollbackStarted(automatic=True, cause=other), State.ROLLING_BACK).cause == other
    assert then(failed, e.RollbackStarted(automatic=True), State.ROLLING_BACK).automatic


def test_staging_leaves_its_fingerprint_and_whether_the_login_was_vacant() -> None:
    staged = then(rotation(), e.CandidateStaged("00ff", vacant=True), State.APPLYING)
    assert (staged.fingerprint, staged.vacant) == ("00ff", True)


def test_an_applied_candidate_settles_its_attempt() -> None:
    """Nobody has to look for it any more. A value that the target made brings its fingerprint."""
    doubtful = rotation(State.APPLYING, attempts=(attempt(1), attempt(2)), fingerprint="aa")
    applied = then(doubtful, e.CandidateApplied(2, observed="probe"), State.VERIFYING)
    assert [(a.settled, a.closed) for a in applied.attempts] == [(False, False), (True, False)]
    assert applied.fingerprint == "aa"
    assert then(doubtful, e.CandidateApplied(2, fingerprint="bb"), State.VERIFYING).fingerprint == "bb"


def test_monitoring_leaves_the_deadline_of_grace_and_waves_are_counted() -> None:
    assert then(rotation(), e.MonitoringPassed(grace(60)), State.GRACE).grace == grace(60)
    assert then(rotation(), e.WavePassed(0), State.DISTRIBUTING).waves == 1
    assert then(rotation(), e.RollbackFailed(CAUSE), State.ROLLBACK_FAILED).cause == CAUSE
    assert then(rotation(), e.RotationFailed(CAUSE), State.FAILED).cause == CAUSE


# --- remarks -------------------------------------------------------------------------------------------------------


def test_another_owner_takes_over_with_its_epoch() -> None:
    taken = then(rotation(), e.OwnerChanged("host:2", 2))
    assert (taken.owner, taken.epoch) == ("host:2", 2)


def test_a_postponed_effect_counts_as_a_failure() -> None:
    later = then(rotation(failures=1), e.EffectPostponed(CAUSE, seconds(4)))
    assert (later.failures, later.not_before, later.cause) == (2, seconds(4), CAUSE)


@pytest.mark.parametrize("refused", [True, False])
def test_a_failed_verification_counts_and_so_does_a_refusal(*, refused: bool) -> None:
    later = then(rotation(refusals=1), e.VerificationFailed(CAUSE, refused=refused, not_before=seconds(2)))
    assert (later.failures, later.refusals, later.not_before) == (1, 1 + refused, seconds(2))
    assert later.cause == CAUSE


def test_what_was_captured_is_what_the_rotation_goes_back_to() -> None:
    captured = then(rotation(previous=None), e.PreviousCaptured("v0", "app", "00"))
    assert (captured.previous, captured.previous_login, captured.captured) == ("v0", "app", True)


def test_marks_of_an_attempt_are_never_taken_off() -> None:
    """An answer, a look and a revocation each add what they know, to the attempt they speak of."""
    begun = then(rotation(State.APPLYING), e.AttemptStarted(1, "v2", "app", seconds(5)))
    assert begun.attempts == (attempt(1),)
    settled = then(begun, e.AttemptSettled(1))
    assert (settled.attempts, settled.probed) == ((attempt(1, settled=True),), True)
    closed = then(settled, e.AttemptClosed(1, done=True))
    assert closed.attempts == (attempt(1, settled=True, closed=True, done=True),)
    assert then(closed, e.AttemptClosed(1)).attempts == closed.attempts
    assert then(closed, e.OrphanRevoked(2)).attempts == closed.attempts
    assert then(begun, e.OrphanRevoked(1)).attempts == (attempt(1, settled=True),)
    assert then(begun, e.AttemptClosed(1)).attempts == (attempt(1, closed=True),)


def test_logins_that_were_tried_are_kept_with_their_time() -> None:
    assert then(rotation(), e.LoginTried("app"), after=3).tries == (e.LoginUse("app", seconds(3)),)


# --- what follows from attempts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "attempted"),
    [
        ((), False),
        ((attempt(),), True),
        ((attempt(closed=True),), False),
        ((attempt(closed=True, done=True),), True),
        ((attempt(settled=True),), True),
        ((attempt(version="v1"), attempt(version="-v1")), False),
        ((attempt(1, closed=True), attempt(2)), True),
    ],
    ids=["none", "open", "refused", "done", "looked into", "of others", "refused, then open"],
)
def test_the_target_may_hold_the_candidate_unless_every_attempt_was_refused(
    attempts: tuple[Attempt, ...], *, attempted: bool
) -> None:
    """A look that saw it refused does not rule out that it lands later."""
    assert rotation(attempts=attempts).attempted is attempted


@pytest.mark.parametrize(
    ("attempts", "number"),
    [
        ((), None),
        ((attempt(1),), 1),
        ((attempt(1), attempt(2)), 2),
        ((attempt(1), attempt(2, closed=True)), 1),
        ((attempt(1, settled=True),), None),
        ((attempt(1, version="v1"),), None),
    ],
)
def test_in_doubt_is_the_newest_attempt_without_answer_or_look(
    attempts: tuple[Attempt, ...], number: int | None
) -> None:
    doubtful = rotation(attempts=attempts).in_doubt
    assert (doubtful.number if doubtful else None) == number
