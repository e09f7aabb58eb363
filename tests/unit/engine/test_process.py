"""What comes next follows from the state and the time alone: an effect, a time to wait for, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine import events as e
from engine.attempts import Attempt
from engine.credential_events import LATENESS_MAX
from engine.machine import ENDED, LEAVING, State
from engine.plan import LoginBudget, Plan, RetryClass, Strategy
from engine.process import EFFECTS, Effect, Wait, fence, next_effect, until_free
from engine.runner import PERFORMERS
from engine.values import SECOND, Deadline, Instant, Microseconds, Moment
from tests.unit.engine.rotations import attempt, grace, moment, plan, rotation, seconds

BUDGET = LoginBudget(3, Microseconds(60 * SECOND))


def tries(*times: float, login: str = "app") -> tuple[e.LoginUse, ...]:
    return tuple(e.LoginUse(login, seconds(time)) for time in times)


# --- which effect -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "effect"), EFFECTS.items())
def test_a_state_stands_for_one_effect(state: State, effect: Effect) -> None:
    assert next_effect(rotation(state), moment()) is effect


@pytest.mark.parametrize("state", [*sorted(ENDED), *LEAVING, State.WAITING])
def test_what_rests_has_nothing_outstanding(state: State) -> None:
    """Also where a time to wait for is left over."""
    assert next_effect(rotation(state, postponed=Deadline(seconds(9))), moment()) is None


def test_every_effect_can_be_performed() -> None:
    """What it stands for in its state, or what comes before that."""
    assert set(Effect) == set(PERFORMERS)
    assert {*EFFECTS.values(), Effect.PROBE, Effect.RECALL} == set(Effect)


def test_a_postponed_effect_waits_for_its_time() -> None:
    later = rotation(State.PROMOTING, postponed=Deadline(seconds(3)))
    assert next_effect(later, moment(2)) == Wait(seconds(3), "trying again")
    assert next_effect(later, moment(3)) is Effect.PROMOTE


# --- looking before applying ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "effect"),
    [
        ((), Effect.APPLY),
        ((attempt(),), Effect.PROBE),
        ((attempt(closed=True),), Effect.APPLY),
        ((attempt(settled=True),), Effect.APPLY),
    ],
    ids=["none", "lost", "answered", "looked into"],
)
def test_a_lost_answer_is_settled_by_looking_and_never_by_repeating_blindly(
    attempts: tuple[Attempt, ...], effect: Effect
) -> None:
    assert next_effect(rotation(State.APPLYING, attempts=attempts), moment(9)) is effect


def test_a_given_value_is_looked_for_once_before_it_is_applied() -> None:
    """The target may accept it already."""
    given_value = rotation(State.APPLYING, imported=True)
    assert next_effect(given_value, moment()) is Effect.PROBE
    assert next_effect(rotation(State.APPLYING, imported=True, probed=True), moment()) is Effect.APPLY


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({"retry": RetryClass.IDEMPOTENT}, Effect.APPLY),
        ({"retry": RetryClass.PROBE_FIRST}, Effect.PROBE),
        ({"retry": RetryClass.NEVER_REPEAT}, Effect.PROBE),
        ({"retry": RetryClass.IDEMPOTENT, "issues_value": True}, Effect.PROBE),
    ],
)
def test_a_look_that_showed_nothing_clear_is_followed_by_applying_where_that_is_harmless(
    changes: dict[str, Any], effect: Effect
) -> None:
    """Else by another look, as often as it takes."""
    looked = {"failures": 1, "cause": e.Cause("probe", "unavailable", "no clear answer")}
    doubtful = rotation(State.APPLYING, plan(**changes), attempts=(attempt(),), **looked)
    assert next_effect(doubtful, moment(9)) is effect
    asked = {"failures": 1, "cause": e.Cause("apply", "uncertain", "lost")}
    assert (
        next_effect(rotation(State.APPLYING, plan(**changes), attempts=(attempt(),), **asked), moment(9))
        is Effect.PROBE
    )
    fresh = {**looked, "failures": 0}
    assert (
        next_effect(rotation(State.APPLYING, plan(**changes), attempts=(attempt(),), **fresh), moment(9))
        is Effect.PROBE
    )


@pytest.mark.parametrize(
    ("changes", "at_once"),
    [
        ({"retry": RetryClass.IDEMPOTENT}, True),
        ({"retry": RetryClass.PROBE_FIRST}, False),
        ({"retry": RetryClass.NEVER_REPEAT}, False),
        ({"retry": RetryClass.IDEMPOTENT, "issues_value": True}, False),
    ],
)
def test_what_a_lost_attempt_did_is_judged_when_it_can_do_nothing_more(
    changes: dict[str, Any], *, at_once: bool
) -> None:
    """Unless repeating is harmless: then nothing is lost by looking at once."""
    doubtful = rotation(State.APPLYING, plan(**changes), attempts=(attempt(until=5),))
    waiting = Wait(seconds(5), "an attempt without an answer may still take effect")
    assert next_effect(doubtful, moment(4)) == (Effect.PROBE if at_once else waiting)
    assert next_effect(doubtful, moment(5)) is Effect.PROBE


# --- the fence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "waits"),
    [
        (attempt(version="v1"), True),
        (attempt(version="-v1"), True),
        (attempt(version="v2"), False),
        (attempt(version="v1", closed=True), False),
        (attempt(version="v1", settled=True), True),
        (attempt(version="v1", login="app_b"), False),
    ],
    ids=["open", "retiring", "same value", "answered", "looked into", "other login"],
)
def test_applying_waits_for_every_other_value_on_its_login(other: Attempt, *, waits: bool) -> None:
    """A change that lands late would overwrite what comes now."""
    fenced = rotation(State.APPLYING, attempts=(other,))
    due = next_effect(fenced, moment(4))
    if waits:
        assert due == Wait(seconds(5), "an earlier attempt may still take effect")
    else:
        assert due is not None
        assert not isinstance(due, Wait)
    assert not isinstance(next_effect(fenced, moment(5)), Wait)


def test_applying_waits_for_what_earlier_rotations_left() -> None:
    left = (e.Fence("app", "v1", seconds(3)), e.Fence("app", "v0", seconds(4)), e.Fence("other", "v1", seconds(9)))
    assert next_effect(rotation(State.APPLYING, fences=left), moment()) == Wait(
        seconds(4), "an earlier attempt may still take effect"
    )
    own = (e.Fence("app", "v2", seconds(9)),)
    assert next_effect(rotation(State.APPLYING, fences=own), moment()) is Effect.APPLY


def test_restoring_waits_for_the_candidate_on_both_logins() -> None:
    """It writes the previous version's login, and takes the candidate out of its own."""
    lost = rotation(State.ROLLING_BACK, login="app_b", previous_login="app_a", attempts=(attempt(login="app_b"),))
    assert next_effect(lost, moment(4)) == Wait(seconds(5), "an earlier attempt may still take effect")
    carried = (e.Fence("app_a", "v0", seconds(7)),)
    both = rotation(State.ROLLING_BACK, login="app_b", previous_login="app_a", fences=carried)
    assert next_effect(both, moment()) == Wait(seconds(7), "an earlier attempt may still take effect")
    again = rotation(State.ROLLING_BACK, attempts=(attempt(version="v1"),))
    assert next_effect(again, moment()) is Effect.RESTORE


def test_going_back_waits_for_a_promotion_without_an_answer() -> None:
    """The label that moves late would send everybody to the version that was taken back."""
    lost = rotation(State.ROLLING_BACK, attempts=(attempt(login=""),))
    assert next_effect(lost, moment(4)) == Wait(seconds(5), "an earlier attempt may still take effect")
    assert next_effect(lost, moment(5)) is Effect.RESTORE
    answered = rotation(State.ROLLING_BACK, attempts=(attempt(login="", closed=True),))
    assert next_effect(answered, moment()) is Effect.RESTORE


def test_promoting_waits_for_what_an_earlier_rotation_told_the_stores() -> None:
    """And for nothing that was asked of the target, nor for its own promotion, which is only repeated."""
    left = (e.Fence("", "v1", seconds(3)), e.Fence("app", "v1", seconds(9)))
    promoting = rotation(State.PROMOTING, fences=left, attempts=(attempt(login="", until=8),))
    assert next_effect(promoting, moment()) == Wait(seconds(3), "an earlier attempt may still take effect")
    assert next_effect(promoting, moment(3)) is Effect.PROMOTE


def jumped(hours: float, passed: float, *, boot: str = "boot-1") -> Moment:
    """Return what the clock shows when some seconds have passed and the wall clock was set by some hours."""
    return moment(passed + hours * 3600, uptime=passed, boot=boot)


@pytest.mark.parametrize("hours", [-24, -1, 0, 1, 24])
def test_a_jump_of_the_wall_clock_opens_no_fence_and_holds_none(hours: float) -> None:
    """What passed since boot is what counts, in attempts, in fences that were left, and in tries that are postponed."""
    until = grace(5)
    fence_left = e.Fence("app", "v1", until.wall, until.boot, until.uptime)
    own = replace(attempt(version="v1"), boot=until.boot, uptime=until.uptime)
    for waiting in (
        rotation(State.APPLYING, fences=(fence_left,)),
        rotation(State.APPLYING, attempts=(own,)),
        rotation(State.APPLYING, postponed=until),
    ):
        due = next_effect(waiting, jumped(hours, 4))
        assert isinstance(due, Wait)
        assert due.until - jumped(hours, 4).wall == SECOND
        assert next_effect(waiting, jumped(hours, 5)) is Effect.APPLY


def test_after_a_restart_of_the_machine_the_wall_clock_is_all_there_is() -> None:
    until = grace(5)
    fence_left = e.Fence("app", "v1", until.wall, until.boot, until.uptime)
    waiting = rotation(State.APPLYING, fences=(fence_left,))
    assert isinstance(next_effect(waiting, moment(4, uptime=9, boot="boot-2")), Wait)
    assert next_effect(waiting, moment(5, uptime=1, boot="boot-2")) is Effect.APPLY


@pytest.mark.parametrize("hours", [-24, 1])
def test_wrong_logins_count_by_the_clock_since_boot(hours: float) -> None:
    """A wall clock that is set forward gives no further tries."""
    spent = tuple(e.LoginUse("app", seconds(0), "boot-1", Microseconds(0)) for _ in range(BUDGET.tries))
    budgeted = rotation(State.VERIFYING, plan(login_budget=BUDGET), tries=spent)
    within = (BUDGET.window + LATENESS_MAX) / SECOND - 1
    assert isinstance(next_effect(budgeted, jumped(hours, within)), Wait)
    assert next_effect(budgeted, jumped(hours, within + 2)) is Effect.VERIFY


@pytest.mark.parametrize(
    ("version", "login", "waits"),
    [("v1", "app_a", True), ("v2", "app_a", False), ("-v0", "app_a", False), ("v1", "app_b", False)],
    ids=["another value", "the current one", "taken away", "other login"],
)
def test_retiring_waits_for_what_could_bring_a_value_back(version: str, login: str, *, waits: bool) -> None:
    """The old version that is set late, after it was seen refused, would be valid for ever."""
    fences = (e.Fence(login, version, seconds(5)),)
    retiring = rotation(State.RETIRING, fences=fences, login="app_b", previous_login="app_a")
    assert isinstance(next_effect(retiring, moment(4)), Wait) is waits
    assert next_effect(retiring, moment(5)) is Effect.RETIRE


@pytest.mark.parametrize("effect", Effect)
def test_without_attempts_nothing_is_fenced(effect: Effect) -> None:
    assert fence(rotation(), effect, moment()) == 0


@pytest.mark.parametrize("state", [State.STAGING, State.VERIFYING, State.PROMOTING, State.VERIFYING_ROLLBACK])
def test_what_writes_no_login_waits_for_no_attempt(state: State) -> None:
    busy = rotation(state, attempts=(attempt(version="v1"),))
    assert next_effect(busy, moment()) is EFFECTS[state]


# --- grace ------------------------------------------------------------------------------------------------------------


def test_a_grace_period_ends_at_its_deadline() -> None:
    in_grace = rotation(State.GRACE, grace=grace(60))
    assert next_effect(in_grace, moment(59)) == Wait(seconds(60), "grace period")
    assert next_effect(in_grace, moment(60)) is Effect.END_GRACE


def test_a_wall_clock_that_is_set_forward_does_not_shorten_grace() -> None:
    """Within one boot a day's jump leaves the whole minute to wait, by the new time."""
    in_grace = rotation(State.GRACE, grace=grace(60))
    assert next_effect(in_grace, moment(86_400, uptime=10)) == Wait(seconds(86_450), "grace period")
    assert next_effect(in_grace, moment(86_400, uptime=60)) is Effect.END_GRACE
    assert next_effect(in_grace, moment(60, uptime=1, boot="boot-2")) is Effect.END_GRACE


def test_a_wall_clock_that_is_set_back_makes_grace_longer() -> None:
    in_grace = rotation(State.GRACE, grace=grace(60))
    assert next_effect(in_grace, moment(-100, uptime=70)) == Wait(seconds(60), "grace period")


def test_a_grace_period_without_a_deadline_is_over() -> None:
    assert next_effect(rotation(State.GRACE), moment()) is Effect.END_GRACE


# --- the budget of wrong logins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "changes", "spent", "free"),
    [
        (State.VERIFYING, {}, (0, 1), 90),
        (State.VERIFYING, {}, (0,), None),
        (State.APPLYING, {"imported": True}, (0, 1, 2), 90),
        (State.APPLYING, {"imported": True}, (0, 1), None),
        (State.APPLYING, {}, (0, 1, 2), None),
        (State.RETIRING, {}, (0, 1, 2), 90),
        (State.RETIRING, {}, (0, 1), None),
        (State.RETIRING, {"failures": 1}, (0, 1), 90),
        (State.VERIFYING_ROLLBACK, {"attempts": (attempt(done=True),)}, (0, 1, 2), 90),
        (State.VERIFYING_ROLLBACK, {"attempts": (attempt(done=True),)}, (0, 1), None),
        (State.VERIFYING_ROLLBACK, {"attempts": (attempt(done=True),), "captured": True}, (0, 1, 2), None),
        (State.VERIFYING_ROLLBACK, {}, (0, 1, 2), None),
        (State.PROMOTING, {}, (0, 1, 2), None),
    ],
)
def test_a_login_that_may_be_refused_waits_until_the_target_would_not_lock_it(
    state: State, changes: dict[str, Any], spent: tuple[float, ...], free: float | None
) -> None:
    """Verifying costs two, looking and proving one each; what asks for no login waits for none."""
    pressed = rotation(state, plan(login_budget=BUDGET), tries=tries(*spent), **changes)
    due = next_effect(pressed, moment(10))
    if free is None:
        assert not isinstance(due, Wait)
        return
    # A refusal counts to the end of its window, and it may be thirty seconds later than its record.
    until = Instant(seconds(free) + 1)
    assert due == Wait(until, "wrong logins of this window are used up")
    assert not isinstance(next_effect(pressed, moment(90.000001)), Wait)


@pytest.mark.parametrize("state", [State.RETIRING, State.VERIFYING_ROLLBACK])
def test_proving_the_old_version_spends_on_its_own_login(state: State) -> None:
    """The candidate's login may be used up, and the old one's not; or the other way round."""
    two = {"login": "app_b", "previous_login": "app_a", "attempts": (attempt(done=True, login="app_b"),)}
    the_plan = plan(Strategy.ALTERNATING, login_budget=BUDGET)
    on_new = rotation(state, the_plan, tries=tries(0, 1, 2, login="app_b"), **two)
    on_old = rotation(state, the_plan, tries=tries(0, 1, 2, login="app_a"), **two)
    assert next_effect(on_new, moment(10)) is EFFECTS[state]
    assert isinstance(next_effect(on_old, moment(10)), Wait)


def test_once_the_current_version_was_refused_its_login_is_spent_on_too() -> None:
    changes: dict[str, Any] = {"login": "app_b", "previous_login": "app_a", "tries": tries(0, 1, 2, login="app_b")}
    the_plan = plan(Strategy.ALTERNATING, login_budget=BUDGET)
    assert next_effect(rotation(State.RETIRING, the_plan, **changes), moment(10)) is Effect.RETIRE
    assert isinstance(next_effect(rotation(State.RETIRING, the_plan, failures=1, **changes), moment(10)), Wait)


@pytest.mark.parametrize(
    ("the_plan", "promotable", "waits"),
    [
        (plan(Strategy.DUAL, login_budget=BUDGET), True, True),
        (plan(Strategy.DUAL, login_budget=BUDGET), False, False),
        (plan(Strategy.DUAL, login_budget=BUDGET, settable=False), False, True),
        (plan(Strategy.SINGLE, login_budget=BUDGET), True, False),
        (plan(Strategy.SINGLE, login_budget=BUDGET, settable=False), False, False),
    ],
    ids=["sent back", "never sent", "the last that works", "set first", "set, whatever it was"],
)
def test_going_back_spends_a_login_where_the_old_version_is_tried_first(
    the_plan: Plan, *, promotable: bool, waits: bool
) -> None:
    """It is where something depends on it before it is set: consumers, or that anything works at all."""
    goes = rotation(State.ROLLING_BACK, the_plan, promotable=promotable, tries=tries(0, 1, 2))
    assert isinstance(next_effect(goes, moment(10)), Wait) is waits


@pytest.mark.parametrize("strategy", Strategy)
def test_a_rollback_is_proven_by_two_logins_where_both_versions_have_one_login(strategy: Strategy) -> None:
    """The old version is tried, and so is the candidate where it may have been left beside it."""
    back = rotation(
        State.VERIFYING_ROLLBACK,
        plan(strategy, login_budget=BUDGET),
        attempts=(attempt(done=True),),
        tries=tries(0, 1),
    )
    assert isinstance(next_effect(back, moment(10)), Wait) is (strategy in (Strategy.DUAL, Strategy.ISSUE))


def test_a_target_that_locks_nobody_has_no_budget() -> None:
    assert next_effect(rotation(State.VERIFYING, tries=tries(*range(50))), moment(10)) is Effect.VERIFY


def test_what_costs_more_than_the_whole_budget_takes_the_whole_budget() -> None:
    """Else it would wait for ever."""
    narrow = plan(login_budget=LoginBudget(1, BUDGET.window))
    assert next_effect(rotation(State.VERIFYING, narrow), moment()) is Effect.VERIFY
    assert isinstance(next_effect(rotation(State.VERIFYING, narrow, tries=tries(0)), moment(10)), Wait)


@given(
    times=st.lists(st.integers(0, 300), max_size=12),
    limit=st.integers(1, 5),
    cost=st.integers(1, 5),
)
def test_from_the_time_it_is_free_no_window_holds_more_than_the_budget(times: list[int], limit: int, cost: int) -> None:
    """And a moment earlier it would have."""
    cost = min(cost, limit)
    budget = LoginBudget(limit, Microseconds(60 * SECOND))
    spent = rotation(tries=tries(*times) + tries(0, login="other"))
    now = moment(300)
    left = until_free(spent.tries, "app", budget, cost, now)
    free = now.wall + left
    window = budget.window + LATENESS_MAX
    counted = [seconds(time) for time in times if seconds(time) + window >= free]
    assert len(counted) + cost <= limit
    if left:
        before = [seconds(time) for time in times if seconds(time) + window >= free - 1]
        assert len(before) + cost > limit
