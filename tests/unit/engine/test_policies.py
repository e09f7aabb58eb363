"""Policies: how long to wait, what a failure leads to, what a verification means, which versions may go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine import events as e
from engine.attempts import Attempt
from engine.credential import Credential, Version, credential_id
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable, Uncertain
from engine.machine import State
from engine.plan import Kind, Strategy
from engine.policies import after_failure, can_go_back, cause_of, delay, destroyable, give_up, judge
from engine.ports import Holdings, Probe, Verification
from engine.process import Effect
from engine.rotation import Rotation
from engine.values import SECOND, Microseconds
from tests.unit.engine.rotations import CAUSE, attempt, moment, plan, rotation, seconds

APPLIED = (attempt(closed=True, done=True),)
ASKED = (*APPLIED, attempt(2, login=""))
"""The store was asked to call the candidate current, and did not answer."""
REFUSED = (*APPLIED, attempt(2, login="", closed=True))
GOOD = Verification(Probe.ACCEPTED, Probe.REFUSED, query=True)


# --- waiting --------------------------------------------------------------------------------------------------------


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_a_delay_stays_within_a_tenth_and_the_whole_of_its_step(failures: int, jitter: float) -> None:
    """Never at once, never longer than the longest; the step doubles."""
    the_plan = plan(retry_first=SECOND, retry_longest=Microseconds(60 * SECOND))
    step = min(SECOND * 2 ** (failures - 1), 60 * SECOND) if failures < 40 else 60 * SECOND
    assert step // 10 <= delay(the_plan, failures, jitter=jitter) <= step


def test_jitter_spreads_over_the_whole_step() -> None:
    """So that what failed together does not come back together."""
    the_plan = plan(retry_first=SECOND, retry_longest=Microseconds(60 * SECOND))
    assert [delay(the_plan, 3, jitter=jitter) for jitter in (0.0, 0.5, 1.0)] == [400_000, 2_200_000, 4_000_000]


# --- going back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "changes", "possible"),
    [
        (Strategy.SINGLE, {}, True),
        (Strategy.SINGLE, {"promotable": True, "attempts": APPLIED, "label": "v1"}, True),
        (Strategy.SINGLE, {"attempts": APPLIED}, True),
        (Strategy.SINGLE, {"promotable": True, "attempts": ASKED}, False),
        (Strategy.DUAL, {"promotable": True, "attempts": ASKED}, False),
        (Strategy.DUAL, {"promotable": True, "attempts": REFUSED}, True),
        (Strategy.DUAL, {"promotable": True, "attempts": APPLIED}, True),
        (Strategy.SINGLE, {"previous": None}, True),
        (Strategy.SINGLE, {"previous": None, "attempts": APPLIED}, False),
        (Strategy.SINGLE, {"previous": None, "attempts": APPLIED, "vacant": True}, True),
        (Strategy.SINGLE, {"previous": None, "attempts": ASKED, "vacant": True, "promotable": True}, False),
        (Strategy.ALTERNATING, {"previous": None, "attempts": APPLIED}, False),
        (Strategy.DUAL, {"previous": None, "attempts": APPLIED}, True),
        (Strategy.ISSUE, {"previous": None, "attempts": APPLIED}, True),
        (Strategy.DUAL, {"previous": None, "attempts": ASKED, "promotable": True}, False),
        (Strategy.DUAL, {"previous": None, "attempts": REFUSED, "promotable": True}, True),
        (Strategy.DUAL, {"previous": None, "attempts": APPLIED, "promotable": True, "label": "v1"}, False),
        (Strategy.ISSUE, {"previous": None, "attempts": APPLIED, "label": "v1"}, False),
        (Strategy.DUAL, {"previous": None, "attempts": APPLIED, "kind": Kind.ROLLBACK}, False),
        (Strategy.DUAL, {"previous": None, "kind": Kind.ROLLBACK}, True),
        (Strategy.SINGLE, {"captured": True, "attempts": APPLIED, "kind": Kind.ROLLBACK, "label": "v2"}, True),
        (Strategy.SINGLE, {"captured": True, "promotable": True, "kind": Kind.ROLLBACK, "label": "v2"}, False),
    ],
)
def test_there_is_a_way_back_where_something_works_at_its_end(
    strategy: Strategy, changes: dict[str, Any], *, possible: bool
) -> None:
    """While nothing was replaced, where none is known; until the store may call it current, where it called none so."""
    assert can_go_back(rotation(State.PROMOTING, plan(strategy), **changes)) is possible


@pytest.mark.parametrize(
    ("changes", "attempts", "possible"),
    [
        ({"settable": False}, APPLIED, False),
        ({"settable": False}, (attempt(),), True),
        ({"settable": False}, (attempt(closed=True),), True),
        ({"settable": False}, (), True),
        ({"settable": False, "overlap": True}, APPLIED, True),
        ({"settable": True}, APPLIED, True),
    ],
    ids=["replaced", "no answer", "refused", "not asked", "both valid", "settable"],
)
def test_there_is_no_way_back_to_what_was_replaced_and_cannot_be_set_again(
    changes: dict[str, Any], attempts: tuple[Attempt, ...], *, possible: bool
) -> None:
    """Going back would fail, and leave consumers with a version that nobody accepts."""
    stuck = rotation(State.PROMOTING, plan(**changes), promotable=True, attempts=attempts, label="v1")
    assert can_go_back(stuck) is possible
    (event,) = give_up(stuck, CAUSE)
    assert isinstance(event, e.RollbackStarted) is possible


def test_what_cannot_go_forward_goes_back() -> None:
    stuck = rotation(State.PROMOTING, attempts=APPLIED)
    assert give_up(stuck, CAUSE) == [e.RollbackStarted(automatic=True, cause=CAUSE)]


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (State.APPLYING, {}),
        (State.APPLYING, {"attempts": (attempt(closed=True),)}),
        (State.APPLYING, {"attempts": APPLIED, "previous": None}),
    ],
    ids=["nothing asked", "all refused", "no way back"],
)
def test_where_nothing_is_to_be_undone_it_fails(state: State, changes: dict[str, Any]) -> None:
    assert give_up(rotation(state, **changes), CAUSE) == [e.RotationFailed(CAUSE)]


def test_a_store_that_may_call_the_candidate_current_is_taken_back() -> None:
    """Even where the target was never changed: a rollback to what was in force."""
    assert give_up(rotation(State.PROMOTING, promotable=True, label="v1"), CAUSE) == [
        e.RollbackStarted(automatic=True, cause=CAUSE)
    ]


def test_a_store_that_called_nothing_current_is_not_taken_back() -> None:
    """There is nothing else that it could call current, so that the candidate stays what it is."""
    unlabelled = rotation(State.PROMOTING, promotable=True, attempts=ASKED)
    assert (unlabelled.previous, unlabelled.label) == ("v1", None)
    assert give_up(unlabelled, CAUSE) == [e.RotationFailed(CAUSE)]


@pytest.mark.parametrize(
    ("state", "automatic", "on_verification", "goes_back"),
    [
        (State.VERIFYING, True, True, True),
        (State.VERIFYING, True, False, False),
        (State.VERIFYING, False, True, False),
        (State.PROMOTING, True, False, True),
        (State.PROMOTING, False, True, False),
        (State.PROMOTING, False, False, False),
    ],
)
def test_going_back_by_itself_can_be_turned_off(
    state: State, *, automatic: bool, on_verification: bool, goes_back: bool
) -> None:
    """All of it, or after a failed verification alone; then a person decides."""
    the_plan = plan(rollback_automatic=automatic, rollback_on_verification_failure=on_verification)
    (event,) = give_up(rotation(state, the_plan, attempts=APPLIED), CAUSE)
    assert isinstance(event, e.RollbackStarted) is goes_back
    assert isinstance(event, e.RotationFailed) is not goes_back


@pytest.mark.parametrize("state", [State.ROLLING_BACK, State.VERIFYING_ROLLBACK])
def test_a_rollback_that_cannot_go_on_needs_a_person(state: State) -> None:
    """It never goes back from going back."""
    assert give_up(rotation(state, attempts=APPLIED), CAUSE) == [e.RollbackFailed(CAUSE)]


# --- after a failure ------------------------------------------------------------------------------------------------


def follow(of: Rotation, effect: Effect, error: PortError | None = None, *, at: float = 1) -> e.RotationEvent:
    (event,) = after_failure(of, effect, error or Unavailable(what="w", why="y"), now=moment(at), jitter=1.0)
    return event


def test_a_cause_tells_step_kind_words_and_what_to_do() -> None:
    error = OwnLoginRejected(what="logging in", why="refused", advice="Look.")
    assert cause_of(Effect.APPLY, error) == e.Cause("apply", "own_login_rejected", "logging in: refused.", "Look.")


def postponed(effect: Effect, error: PortError, until: float) -> e.EffectPostponed:
    """Return the fact that an effect is tried again so many seconds after the rotation began, by either clock."""
    later = moment(until)
    return e.EffectPostponed(cause_of(effect, error), later.wall, later.boot, later.uptime)


@pytest.mark.parametrize("error", [Unavailable(what="w", why="y"), Uncertain(what="w", why="y")])
def test_what_may_succeed_later_is_tried_again_later(error: PortError) -> None:
    """Each time after a longer wait."""
    first = follow(rotation(State.APPLYING), Effect.APPLY, error)
    third = follow(rotation(State.APPLYING, failures=2), Effect.APPLY, error)
    assert first == postponed(Effect.APPLY, error, 2)
    assert third == postponed(Effect.APPLY, error, 5)


@pytest.mark.parametrize("error", [Rejected(what="w", why="y"), OwnLoginRejected(what="w", why="y")])
def test_what_was_rejected_is_not_tried_again(error: PortError) -> None:
    assert isinstance(follow(rotation(State.PROMOTING, attempts=APPLIED), Effect.PROMOTE, error), e.RollbackStarted)
    assert isinstance(follow(rotation(State.STAGING), Effect.STAGE, error), e.RotationFailed)
    assert isinstance(follow(rotation(State.ROLLING_BACK), Effect.RESTORE, error), e.RollbackFailed)


@pytest.mark.parametrize(
    ("state", "effect", "tries"),
    [
        (State.APPLYING, Effect.APPLY, 5),
        (State.PROMOTING, Effect.PROMOTE, 5),
        (State.VERIFYING, Effect.VERIFY, 3),
        (State.ROLLING_BACK, Effect.RESTORE, 3),
        (State.VERIFYING_ROLLBACK, Effect.VERIFY_ROLLBACK, 3),
    ],
)
def test_an_effect_has_so_many_tries(state: State, effect: Effect, tries: int) -> None:
    """Five; three to verify; one and two more to go back."""
    last_but_one = rotation(state, attempts=APPLIED, failures=tries - 2)
    assert isinstance(follow(last_but_one, effect), e.EffectPostponed)
    assert not isinstance(follow(replace(last_but_one, failures=tries - 1), effect), e.EffectPostponed)


@pytest.mark.parametrize("error", [Unavailable(what="w", why="y"), Rejected(what="w", why="y")])
def test_behind_the_point_of_no_return_the_only_way_is_forward(error: PortError) -> None:
    """Retiring is tried for ever: the new version is current, and the old one must go."""
    tired = rotation(State.RETIRING, attempts=APPLIED, failures=10_000)
    assert follow(tired, Effect.RETIRE, error) == postponed(Effect.RETIRE, error, 61)


@pytest.mark.parametrize(
    ("state", "effect"),
    [
        (State.APPLYING, Effect.APPLY),
        (State.ROLLING_BACK, Effect.RESTORE),
        (State.VERIFYING_ROLLBACK, Effect.VERIFY_ROLLBACK),
    ],
)
def test_time_that_passed_is_no_failure(state: State, effect: Effect) -> None:
    """A process may have been away for days; what is counted is tries, on the way back as well."""
    the_plan = plan(rollback_timeout=Microseconds(10 * SECOND), rollback_retries=1)
    assert isinstance(follow(rotation(state, the_plan), effect, at=10**6), e.EffectPostponed)


# --- judging a verification ---------------------------------------------------------------------------------------


def judged(seen: Verification, **changes: Any) -> list[e.RotationEvent]:
    verifying = rotation(State.VERIFYING, **{"attempts": APPLIED, **changes})
    return judge(verifying, seen, now=moment(1), jitter=1.0)


def test_a_candidate_is_verified_by_acceptance_control_and_query() -> None:
    assert judged(GOOD) == [e.CandidateVerified()]


REMEDIES = {
    "refused": "See whether something else answers in place of the target",
    "unusable": "Check what the login may do: connection limit, database, permission to log in.",
    "unknown": "See whether the target is there, and answers logins",
    "query": "Check what the login may do: the query runs as the new version",
}
"""What a person is to do, which stands in every notice of it."""


@pytest.mark.parametrize(
    ("seen", "kind", "words"),
    [
        (replace(GOOD, candidate=Probe.REFUSED), "refused", "the target refuses the new version"),
        (replace(GOOD, candidate=Probe.UNUSABLE), "unusable", "the target accepts the new version but not the login"),
        (
            replace(GOOD, candidate=Probe.UNKNOWN),
            "unknown",
            "the target gave no clear answer to a login with the new version",
        ),
        (
            replace(GOOD, control=Probe.UNKNOWN),
            "unknown",
            "the target gave no clear answer to the wrong control value",
        ),
        (replace(GOOD, query=False), "query", "the login works, but the verification query does not"),
    ],
)
def test_what_is_not_proven_is_tried_again(seen: Verification, kind: str, words: str) -> None:
    """Silence is not success; neither is a login without its query."""
    (failed,) = judged(seen)
    assert isinstance(failed, e.VerificationFailed)
    assert (failed.cause.step, failed.cause.kind, failed.not_before) == ("verify", kind, seconds(2))
    assert failed.cause.message == words
    assert failed.cause.hint.startswith(REMEDIES[kind])
    assert failed.refused is (seen.candidate is Probe.REFUSED)


def test_what_the_target_said_stands_in_the_cause() -> None:
    (failed,) = judged(replace(GOOD, query=False, detail="permission denied"))
    assert isinstance(failed, e.VerificationFailed)
    assert failed.cause.message.endswith("(permission denied)")


@pytest.mark.parametrize("control", [Probe.ACCEPTED, Probe.UNUSABLE])
def test_a_target_that_takes_any_value_proves_nothing(control: Probe) -> None:
    """Trying again will not change that: it goes back at once."""
    failed, back = judged(replace(GOOD, control=control))
    assert isinstance(failed, e.VerificationFailed)
    assert failed.cause.kind == "undiscriminating"
    assert failed.cause.message == "the target accepts a random wrong value as well"
    assert failed.cause.hint == (
        "The target does not check the secret (trust authentication, nopass): a login there proves nothing."
    )
    assert isinstance(back, e.RollbackStarted)


def test_a_value_that_was_refused_twice_is_given_up() -> None:
    """A third try would only bring the login nearer to a lockout."""
    refused = Verification(Probe.REFUSED, Probe.UNKNOWN, query=False)
    assert len(judged(refused)) == 1
    assert isinstance(judged(refused, refusals=1)[-1], e.RollbackStarted)
    unknown = Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False)
    assert len(judged(unknown, refusals=2)) == 1, "only a refusal counts as one"


def test_verification_ends_with_its_tries() -> None:
    unknown = Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False)
    assert len(judged(unknown, failures=1)) == 1
    assert isinstance(judged(unknown, failures=2)[-1], e.RollbackStarted)


# --- which versions may go ------------------------------------------------------------------------------------------

IDS = [f"v{number}" for number in range(1, 9)]


def gone(kept: int = 3, *, held: Holdings | None = None, strays: tuple[str, ...] = (), **changes: Any) -> list[str]:
    """Return what may go after a rotation from v7 to v8, all of which were current once."""
    versions = tuple(Version(version, "app") for version in IDS)
    credential = Credential(credential_id("a", "b"), "a", "b", known=versions, lineage=versions)
    credential = replace(credential, strays=tuple(Version(stray, "app") for stray in strays))
    done = rotation(State.RETIRING, plan(versions_kept=kept), **{"candidate": "v8", "previous": "v7", **changes})
    held = held or Holdings(tuple(IDS), current="v8", previous="v7")
    return destroyable(done, credential, held, now=moment(5))


@pytest.mark.parametrize(("kept", "expected"), [(3, IDS[:5]), (5, IDS[:3]), (8, []), (100, []), (1, IDS[:5])])
def test_the_newest_versions_stay(kept: int, expected: list[str]) -> None:
    """As many as the plan keeps, and three at the least: two newer generations, and the one itself."""
    assert gone(kept) == expected


def test_what_a_label_points_at_stays() -> None:
    assert gone(held=Holdings(tuple(IDS), current="v1", pending="v2", previous="v3")) == ["v4", "v5"]


def test_what_the_rotation_is_about_stays() -> None:
    assert gone(candidate="v1", previous="v2") == ["v3", "v4", "v5"]


def test_what_the_target_was_not_seen_to_refuse_stays() -> None:
    """A value that still works is the last thing to forget."""
    assert gone(strays=("v1", "v3")) == ["v2", "v4", "v5"]


def test_what_may_still_land_stays() -> None:
    """Whatever the attempt was answered; of this rotation or an earlier one."""
    late = (attempt(version="v1", until=6, closed=True), attempt(version="v2", until=5))
    assert gone(attempts=late) == ["v2", "v3", "v4", "v5"]
    fences = (e.Fence("app", "v3", seconds(6)), e.Fence("app", "v4", seconds(5)))
    assert gone(fences=fences) == ["v1", "v2", "v4", "v5"]


def test_what_was_never_current_is_quarantined_for_ever() -> None:
    """It failed: a late answer may make it live."""
    held = Holdings(("failed-1", *IDS, "failed-2"), current="v8", previous="v7")
    assert gone(held=held) == IDS[:5]


def test_what_the_store_does_not_hold_is_not_counted() -> None:
    """Generations are those that can be gone back to."""
    assert gone(held=Holdings(("v1", "v2", "v7", "v8"), current="v8", previous="v7")) == ["v1"]
    assert gone(held=Holdings()) == []
