"""Groups of services: steps in order, what follows from a failure, the way back, and a death at any append."""

from __future__ import annotations

import random

import pytest

from engine import group_events as g
from engine.errors import GroupIllegal, GroupOpen
from engine.group import begin
from engine.group_events import FailurePolicy, GroupState, MemberOutcome
from engine.health import CheckResult
from engine.machine import State
from engine.operations import Operations
from tests.unit.engine.bench import Died
from tests.unit.engine.group_bench import FIRST, NAME, GroupBench

FAIL, UNKNOWN, PASS = CheckResult.FAIL, CheckResult.UNKNOWN, CheckResult.PASS


def test_the_services_are_rotated_step_by_step() -> None:
    bench = GroupBench()
    group = bench.rotate()
    assert group.state is GroupState.COMPLETED
    assert bench.order == ["primary", "replica-1", "replica-2"]
    assert {each.outcome for each in group.members} == {MemberOutcome.ROTATED}
    assert all(bench.is_sound(name) and bench.current(name) != FIRST for name in bench.services)
    assert bench.names() == [
        "GroupStarted",
        *("MemberBegun", "MemberEnded", "StepRotated", "StepPassed"),
        *("MemberBegun", "MemberBegun", "MemberEnded", "MemberEnded", "StepRotated", "StepPassed"),
        "GroupCompleted",
    ]


def test_a_failure_takes_all_back_the_last_first() -> None:
    bench = GroupBench([["a"], ["b"], ["c"]])
    bench.targets["c"].broken = True
    group = bench.rotate()
    assert group.state is GroupState.ROLLED_BACK
    assert group.automatic
    assert bench.order == ["a", "b", "c", "b", "a"]  # c went back by itself
    assert [bench.current(name) for name in bench.services] == [FIRST] * 3
    assert all(map(bench.is_sound, bench.services))
    assert group.cause is not None
    assert "refuses the new version" in group.cause.message


def test_only_the_one_that_failed_goes_back_and_no_further_one_is_rotated() -> None:
    bench = GroupBench([["a"], ["b"], ["c"]], policy=FailurePolicy.ROLLBACK_FAILED_ONLY)
    bench.targets["b"].broken = True
    group = bench.rotate()
    assert group.state is GroupState.FAILED
    assert [bench.current(name) == FIRST for name in bench.services] == [False, True, True]
    assert bench.order == ["a", "b"]
    assert all(map(bench.is_sound, bench.services))


def test_the_others_are_rotated_all_the_same() -> None:
    bench = GroupBench([["a"], ["b"], ["c"]], policy=FailurePolicy.CONTINUE)
    bench.targets["b"].broken = True
    group = bench.rotate()
    assert group.state is GroupState.FAILED
    assert [bench.current(name) == FIRST for name in bench.services] == [False, True, False]


def test_a_rotation_that_is_left_half_way_is_taken_back_by_its_group() -> None:
    """Going back by itself is off for the service; the group's policy is what counts in a group."""
    bench = GroupBench([["a"], ["b"]], policy=FailurePolicy.ROLLBACK_FAILED_ONLY, automatic=False)
    bench.targets["b"].broken = True
    group = bench.rotate()
    assert group.state is GroupState.FAILED
    rotation = bench.rotation(group.standing("b"))
    assert rotation is not None
    assert rotation.state is State.ROLLED_BACK


def test_a_service_that_cannot_begin_has_failed() -> None:
    bench = GroupBench([["a"], ["b"]])
    Operations(bench.world).start("b", "production", bench.plan, logins=("app",))
    group = bench.rotate()
    assert group.state is GroupState.ROLLED_BACK
    assert group.cause is not None
    assert "already has an open rotation" in group.cause.message
    assert bench.current("a") == FIRST


def test_one_run_at_a_time() -> None:
    bench = GroupBench()
    group = bench.start()
    with pytest.raises(GroupOpen):
        begin(group, bench.group_plan, [], run_id=bench.random.new(), reason="")
    assert bench.runner.drive(NAME).state is GroupState.COMPLETED
    assert len(bench.start().members) == 3


# --- whether all go together -----------------------------------------------------------------------------------------


def test_the_next_step_waits_until_the_checks_pass() -> None:
    bench = GroupBench([["a"], ["b"]], checks=["lag"])
    bench.seen["lag"] = [FAIL, UNKNOWN, PASS]
    assert bench.rotate().state is GroupState.COMPLETED
    assert bench.looked == 4
    seen = [body.result for body in bench.bodies() if isinstance(body, g.GroupChecked)]
    assert seen == [FAIL, UNKNOWN, PASS, PASS]


@pytest.mark.parametrize("result", [FAIL, UNKNOWN])
def test_checks_that_do_not_pass_in_time_take_all_back(result: CheckResult) -> None:
    """What shows nothing is no better than what fails."""
    bench = GroupBench([["a"], ["b"]], checks=["lag", "link"])
    bench.seen["link"] = [result]
    group = bench.rotate()
    assert group.state is GroupState.ROLLED_BACK
    assert group.cause is not None
    assert "link did not pass in time" in group.cause.message
    assert bench.order == ["a", "a"]
    assert bench.clock.now().wall - group.started_at >= bench.group_plan.check_timeout


def test_checks_that_do_not_pass_end_a_run_that_goes_on_after_failures() -> None:
    bench = GroupBench([["a"], ["b"]], checks=["lag"], policy=FailurePolicy.CONTINUE)
    bench.seen["lag"] = [FAIL]
    group = bench.rotate()
    assert group.state is GroupState.FAILED
    assert bench.current("a") != FIRST


def test_without_patience_the_next_look_is_left_to_another_time() -> None:
    bench = GroupBench([["a"], ["b"]], checks=["lag"])
    bench.seen["lag"] = [FAIL, PASS]
    bench.patient = False
    bench.start()
    assert bench.runner.drive(NAME).state is GroupState.CHECKING
    bench.clock.wait(bench.group_plan.check_interval)
    assert bench.runner.drive(NAME).state is GroupState.COMPLETED


# --- a person takes it back ------------------------------------------------------------------------------------------


def test_a_completed_group_is_taken_back_the_last_step_first() -> None:
    """Within the grace period the rotations themselves go back."""
    bench = GroupBench()
    bench.rotate()
    bench.order.clear()
    group = bench.roll_back()
    assert group.state is GroupState.ROLLED_BACK
    assert bench.order == ["replica-1", "replica-2", "primary"]
    assert [bench.current(name) for name in bench.services] == [FIRST] * 3
    assert all(map(bench.is_sound, bench.services))


def test_behind_the_grace_period_new_rotations_lead_back() -> None:
    bench = GroupBench(grace=0)
    bench.rotate()
    group = bench.roll_back()
    assert group.state is GroupState.ROLLED_BACK
    assert [bench.current(name) for name in bench.services] == [FIRST] * 3
    assert all(each.returning is not None for each in group.members)
    assert all(map(bench.is_sound, bench.services))


def test_each_service_goes_to_the_version_that_is_asked_for() -> None:
    bench = GroupBench([["a"], ["b"]], grace=0)
    bench.rotate()
    wanted = {name: bench.current(name) for name in bench.services}
    bench.rotate()
    group = bench.roll_back([g.Destination(name, version) for name, version in wanted.items() if version])
    assert group.state is GroupState.ROLLED_BACK
    assert {name: bench.current(name) for name in bench.services} == wanted


def test_a_service_that_cannot_go_back_calls_a_person_and_is_tried_again() -> None:
    bench = GroupBench([["a"], ["b"]], grace=0)
    bench.rotate()
    value = bench.stores["a"].read("path", FIRST)
    assert value is not None
    bench.stores["a"].discard("path", FIRST, destroy=False)
    bench.targets["a"].broken = True
    group = bench.roll_back()
    assert group.state is GroupState.ROLLBACK_FAILED
    assert group.cause is not None
    assert group.standing("b").is_back
    with pytest.raises(GroupIllegal):
        bench.roll_back()


# --- deaths ----------------------------------------------------------------------------------------------------------


def _stories() -> list[tuple[str, GroupBench]]:
    fails = GroupBench([["a"], ["b", "c"]])
    fails.targets["c"].broken = True
    only = GroupBench([["a"], ["b"], ["c"]], policy=FailurePolicy.CONTINUE, checks=["lag"])
    only.targets["b"].broken = True
    only.seen["lag"] = [FAIL, PASS]
    return [("through", GroupBench([["a"], ["b", "c"]], checks=["lag"])), ("back", fails), ("continues", only)]


def _ended(bench: GroupBench) -> tuple[object, ...]:
    group = bench.group
    return (
        group.state,
        [each.outcome for each in group.members],
        [bench.current(name) == FIRST for name in bench.services],
        [bench.is_sound(name) for name in bench.services],
    )


@pytest.mark.parametrize("story", range(3), ids=["through", "back", "continues"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_any_append_leads_to_the_same_end(story: int, *, after: bool) -> None:
    """Each service is rotated once, whatever dies: its rotation has its id before it begins."""
    _, calm = _stories()[story]
    calm.rotate()
    for dies_at in range(2, calm.log.appends + 1):
        _, bench = _stories()[story]
        bench.log.dies_at, bench.log.dies_behind = dies_at, after
        with pytest.raises(Died):
            bench.rotate()
        bench.runner.drive(NAME)
        assert _ended(bench) == _ended(calm), f"died at append {dies_at}"
        begun = [body.rotation_id for body in bench.bodies() if isinstance(body, g.MemberBegun)]
        assert len(begun) == len({*begun}) == sum(name == "MemberBegun" for name in calm.names())


def test_random_histories_end_as_the_policy_says() -> None:
    """Any groups, any failures, any deaths: what is rotated works, what is not is where it was."""
    for seed in range(150):
        source = random.Random(seed)
        steps = [[f"s{n}-{m}" for m in range(source.randint(1, 3))] for n in range(source.randint(1, 3))]
        policy = source.choice(list(FailurePolicy))
        bench = GroupBench(steps, policy=policy, checks=source.choice([[], ["lag"]]), grace=source.choice([0, 3600]))
        for name in bench.services:
            bench.targets[name].broken = source.random() < 0.2
        bench.seen["lag"] = [*source.choices([FAIL, UNKNOWN, PASS], k=source.randint(0, 4)), PASS]
        bench.start()
        for _ in range(50):
            bench.log.dies_at = bench.log.appends + source.randint(1, 12)
            bench.log.dies_behind = source.random() < 0.5
            try:
                group = bench.runner.drive(NAME)
            except Died:
                continue
            break
        broken = {name for name in bench.services if bench.targets[name].broken}
        kept = {name for name in bench.services if bench.current(name) != FIRST}
        assert all(map(bench.is_sound, bench.services)), seed
        assert not kept & broken, seed
        if policy is FailurePolicy.ROLLBACK_ALL:
            assert group.state is (GroupState.ROLLED_BACK if broken else GroupState.COMPLETED), seed
            assert kept == (set() if broken else {*bench.services}), seed
        elif policy is FailurePolicy.CONTINUE:
            assert kept == {*bench.services} - broken, seed
