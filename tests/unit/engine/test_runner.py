"""The runner: it drives a rotation through crashes, waiting, lost answers and other processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.targets.memory_options import Fault, MemoryOptions
from engine import events as e
from engine import rotation as rotations
from engine.errors import Fenced, KeyturnError, NoSuchRotation, Rejected, Unavailable, Uncertain
from engine.machine import State, following
from engine.plan import Strategy
from engine.process import Wait
from engine.rotation import Rotation
from engine.runner import Runner, never
from engine.values import SECOND, Microseconds
from tests.unit.engine.bench import FIRST, HOUR, Bench, Died, Step, after, dies, dies_after, fails, lost, works

CALM = [
    "RotationStarted",
    "CandidateStaged",
    "AttemptStarted",
    "AttemptClosed",
    "CandidateApplied",
    "CandidateVerified",
    "RolloutCompleted",
    "AttemptStarted",
    "AttemptClosed",
    "Promoted",
    "MonitoringPassed",
    "GraceEnded",
    "AttemptStarted",
    "AttemptClosed",
    "PreviousRetired",
]


def test_a_calm_rotation_takes_its_course() -> None:
    """One list of facts, one value made, the old one refused, the new one current."""
    bench = Bench()
    ended = bench.rotate()
    assert bench.names(ended.id) == CALM
    assert (ended.state, bench.held.current, bench.held.previous) == (State.COMPLETED, ended.candidate, FIRST)
    assert (bench.accepts(ended.candidate), bench.accepts(FIRST)) == (True, False)
    assert (bench.credential.open, bench.credential.last) == (None, ended.id)


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_ends_with_one_value_that_works(strategy: Strategy) -> None:
    bench = Bench(strategy)
    ended = bench.rotate()
    assert ended.state is State.COMPLETED
    assert (bench.accepts("current"), bench.accepts("previous")) == (True, False)


def test_an_unknown_rotation_is_named() -> None:
    with pytest.raises(NoSuchRotation, match="00000000"):
        Runner(Bench().world()).drive(UUID(int=0))


def test_a_rotation_that_rests_is_left_alone() -> None:
    """It is not even held: another process may be at it."""
    bench = Bench()
    ended = bench.rotate()
    calls, held = len(bench.calls), len(bench.held_by)
    assert bench.drive(ended.id, owner="process-2") == ended
    assert bench.asked("target", "store")[calls:] == []
    assert len(bench.held_by) == held


def test_a_rotation_is_held_while_it_is_driven() -> None:
    bench = Bench()
    assert bench.held_by == [bench.rotate().id]


# --- waiting --------------------------------------------------------------------------------------------------------


def test_without_patience_it_comes_back_at_the_first_wait() -> None:
    """A grace period is left to a later process; nothing sleeps."""
    bench = Bench(Strategy.DUAL)
    rotation = Runner(bench.world()).drive(bench.start())
    assert rotation.state is State.GRACE
    assert bench.clock.waits == []
    assert not never(rotation, Wait(bench.clock.now().wall, "grace period"))


def test_a_wait_is_asked_about_and_then_waited_for() -> None:
    bench = Bench(Strategy.DUAL)
    asked: list[Wait] = []

    def patience(rotation: Rotation, wait: Wait) -> bool:
        asked.append(wait)
        return True

    assert bench.drive(bench.start(), patience=patience).state is State.COMPLETED
    assert [wait.why for wait in asked] == ["grace period"]
    assert bench.clock.waits == [HOUR]


def test_a_long_wait_is_cut_so_that_the_log_is_read_again() -> None:
    """Another process may have ended the grace period meanwhile."""
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    seen = 0

    def patience(rotation: Rotation, wait: Wait) -> bool:
        nonlocal seen
        seen += 1
        if seen == 3:
            bench.operations("process-2").end_grace(rotation_id)
        return True

    runner = Runner(bench.world(), wait_longest=Microseconds(10 * SECOND))
    assert runner.drive(rotation_id, patience=patience).state is State.COMPLETED
    assert bench.clock.waits == [10 * SECOND] * 3


def test_a_clock_set_forward_in_grace_does_not_retire_early() -> None:
    bench = Bench(Strategy.DUAL)
    rotation = Runner(bench.world()).drive(bench.start())
    bench.clock.jump(86_400)
    assert Runner(bench.world()).drive(rotation.id).state is State.GRACE
    assert bench.accepts(FIRST)


# --- what ports answer --------------------------------------------------------------------------------------------


def test_what_was_not_done_closes_its_attempt_and_is_tried_again() -> None:
    bench = Bench()
    bench.at("target.apply", fails(Unavailable))
    ended = bench.rotate()
    assert [attempt.done for attempt in bench.bodies(ended.id, e.AttemptClosed)] == [False, True, True, True]
    asked = [attempt.version for attempt in ended.attempts if attempt.login]
    assert asked == [ended.candidate, ended.candidate, f"-{FIRST}"]
    assert ended.state is State.COMPLETED


def test_what_is_in_doubt_leaves_its_attempt_open() -> None:
    """Only a look at the target settles it, and then nothing is applied twice."""
    bench = Bench()
    bench.at("target.apply", lost)
    ended = bench.rotate()
    assert bench.bodies(ended.id, e.AttemptClosed) == [e.AttemptClosed(number, done=True) for number in (2, 3)]
    assert bench.bodies(ended.id, e.CandidateApplied)[0].observed == "probe"
    assert bench.asked("target.apply") == ["target.apply"]


def test_what_was_rejected_ends_the_rotation() -> None:
    bench = Bench()
    bench.at("target.apply", fails(Rejected))
    ended = bench.rotate()
    assert (ended.state, ended.attempted) == (State.FAILED, False)
    assert ended.cause == e.Cause("apply", "rejected", "asking: as planned.")
    assert (bench.held.current, bench.accepts(FIRST)) == (FIRST, True)


def test_nothing_but_the_three_outcomes_is_caught() -> None:
    """A full disk is for the command line to tell, not for the rotation to take down."""

    def full(effect: Callable[[], Any]) -> Any:
        raise KeyturnError

    bench = Bench()
    rotation_id = bench.start()
    bench.at("store.stage", full)
    with pytest.raises(KeyturnError):
        bench.drive(rotation_id)
    assert bench.names(rotation_id) == ["RotationStarted"]


# --- crashes ----------------------------------------------------------------------------------------------------------

APPENDS = 12
"""Appends of a calm rotation: more than there are does no harm."""


@pytest.mark.parametrize("step", [dies, dies_after])
@pytest.mark.parametrize("nth", range(1, APPENDS))
@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.DUAL, Strategy.ISSUE])
def test_a_crash_at_any_append_changes_nothing(strategy: Strategy, nth: int, step: Step) -> None:
    """The next process finds the one outstanding effect: same end, one candidate, nothing left over."""
    bench = Bench(strategy)
    rotation_id = bench.start()
    bench.at("log.append", *[works] * (nth - 1), step)
    try:
        bench.drive(rotation_id)
    except Died:
        bench.drive(rotation_id, owner="process-2")
    ended = bench.rotation(rotation_id)
    assert ended.state is State.COMPLETED
    assert (bench.held.current, bench.held.previous) == (ended.candidate, FIRST)
    assert len(bench.target.strangers([])) == 1


# --- other processes ----------------------------------------------------------------------------------------------


def test_another_process_takes_over_by_name_and_epoch() -> None:
    bench = Bench()
    rotation_id = bench.start()
    ended = bench.drive(rotation_id, owner="process-2")
    assert (ended.owner, ended.epoch) == ("process-2", 2)
    assert bench.names(rotation_id)[1] == "OwnerChanged"
    assert bench.names(rotation_id).count("OwnerChanged") == 1


def test_the_process_that_started_it_owns_it_already() -> None:
    bench = Bench()
    assert "OwnerChanged" not in bench.names(bench.rotate().id)


def test_whatever_is_asked_of_the_outside_is_asked_by_the_plan_of_the_rotation() -> None:
    """What is configured meanwhile counts for the next one."""
    bench = Bench(Strategy.DUAL)
    assert bench.rotate().state is State.COMPLETED
    assert None not in bench.bound


def test_an_owner_that_was_frozen_and_wakes_up_is_fenced_off() -> None:
    """Another process took over while it was asking the store; it stops before it touches anything else."""
    bench = Bench()
    rotation_id = bench.start()

    def take_over() -> None:
        bench.performance(rotation_id, owner="process-2").record(e.OwnerChanged("process-2", 2))

    bench.at("store.stage", after(take_over))
    with pytest.raises(Fenced, match=f"{rotation_id}.*taken over by another process"):
        bench.drive(rotation_id)
    assert bench.names(rotation_id) == ["RotationStarted", "OwnerChanged"]
    assert bench.asked("target") == []
    assert bench.drive(rotation_id, owner="process-2").state is State.COMPLETED


def test_it_does_not_take_back_what_was_taken_from_it() -> None:
    """The other owner may be at work this very moment."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("store.stage", after(lambda: bench.performance(rotation_id).record(e.OwnerChanged("process-2", 2))))
    with pytest.raises(Fenced):
        bench.drive(rotation_id)
    assert bench.rotation(rotation_id).owner == "process-2"


def test_what_a_person_decided_meanwhile_is_read_before_anything_else_is_done() -> None:
    """The append meets a conflict, and the rotation goes back instead of on."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.verify", after(lambda: bench.operations("person").go_back(rotation_id, command="abort")))
    ended = bench.drive(rotation_id)
    assert ended.state is State.ROLLED_BACK
    assert "CandidateVerified" not in bench.names(rotation_id)
    assert bench.accepts(FIRST)


def test_a_conflict_over_a_failure_is_read_again_too() -> None:
    bench = Bench()
    rotation_id = bench.start()

    def abort_and_fail(effect: Callable[[], Any]) -> Any:
        bench.operations("person").go_back(rotation_id, command="abort")
        raise Unavailable(what="asking", why="as planned")

    bench.at("store.stage", abort_and_fail)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert "EffectPostponed" not in bench.names(rotation_id)


def test_what_was_tried_enough_is_left_even_where_there_is_nothing_to_wait_for() -> None:
    """A retry that is due by the time it is looked at is no wait, so that nobody's patience is asked for."""
    at_once = Microseconds(1)
    bench = Bench(
        Strategy.DUAL,
        options=MemoryOptions(faults=(Fault.KEEP_RETIRED,)),
        retry_first=at_once,
        retry_longest=at_once,
        grace=Microseconds(0),
    )
    runner = Runner(bench.world())
    left = runner.drive(bench.start(), enough=lambda rotation: rotation.failures >= 3)
    assert (left.state, left.failures, bench.clock.waits) == (State.RETIRING, 3, [])


# --- running and replaying are the same ----------------------------------------------------------------------------

STEPS = st.sampled_from([works, lost, fails(Unavailable), fails(Uncertain), fails(Rejected)])
TROUBLE = st.dictionaries(
    st.sampled_from(["target.apply", "target.retire", "target.restore", "store.stage", "store.promote", "store.read"]),
    st.lists(STEPS, min_size=1, max_size=3),
    max_size=3,
)


@pytest.mark.slow
@given(strategy=st.sampled_from(Strategy), trouble=TROUBLE)
def test_replaying_gives_what_was_running(strategy: Strategy, trouble: dict[str, list[Step]]) -> None:
    """Folding what was told of each append, as it happened, is folding the log; each state is the machine's."""
    bench = Bench(strategy)
    rotation_id = bench.start()
    for call, steps in trouble.items():
        bench.at(call, *steps)
    ended = bench.drive(rotation_id)
    running: Rotation | None = None
    for fact in (recorded.fact for recorded in bench.observed):
        if fact.originator_id == rotation_id:
            before = running.state if running else State.WAITING
            assert fact.state is following(before, type(fact.body).__name__)
            running = rotations.evolve(running, fact) if running else rotations.start(fact)
    assert running == rotations.fold(bench.facts(rotation_id)) == ended
