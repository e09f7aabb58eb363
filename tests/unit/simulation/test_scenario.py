"""A scenario is plain data, and all that a run depends on: played twice, the log is the same byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest
from msgspec.structs import replace

from adapters.simulation.faults import Fault
from adapters.simulation.invariants import Violation, check_log
from adapters.simulation.readers import Readers
from adapters.simulation.scenario import OWN_MISTAKE, Played, Scenario, build, play
from adapters.simulation.seeds import FAILING, HANDS, KINDS, scenario_of
from adapters.simulation.subject import Subject, like
from adapters.simulation.world import ENVIRONMENT, SERVICE
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine.machine import State
from engine.operations import Operations
from engine.plan import LoginBudget, Plan, RetryClass, Strategy
from engine.ports import TargetCapabilities
from engine.runner import Runner, never
from engine.values import SECOND, CredentialValue, Microseconds, Secret
from tests.architecture.source import ROOT

HEADS = """
from adapters.simulation.scenario import play
from adapters.simulation.seeds import scenario_of
for seed in range(40):
    print(seed, play(scenario_of(seed)).world.log.verify().head_hash.hex())
"""
"""The hash of the last event is over the bytes of all."""

HOUR = Microseconds(3600 * SECOND)


def unattended(strategy: Strategy, *, automatic: bool = True, on_verification_failure: bool = True) -> Plan:
    """Return a policy that somebody could configure."""
    return Plan(
        strategy,
        overlap=False,
        rollback_automatic=automatic,
        rollback_on_verification_failure=on_verification_failure,
    )


NEVER_VERIFIED = tuple(Fault("target.verify", nth, "query") for nth in range(1, 4))


@pytest.mark.slow
def test_a_scenario_is_the_same_log_whatever_python_hashes_by() -> None:
    """Forty seeds in processes of their own: nothing depends on the order of a set."""
    heads = [
        subprocess.run(
            [sys.executable, "-c", HEADS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": by},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for by in ("0", "1", "random", "random")
    ]
    assert len(set(heads)) == 1
    assert len(set(heads[0].splitlines())) == 40


def test_played_twice_it_is_the_same_log() -> None:
    for seed in range(5):
        first, second = play(scenario_of(seed)).world.log, play(scenario_of(seed)).world.log
        assert first.after(0) == second.after(0)
        assert first.head() > 0


def test_it_can_be_written_down_and_read_again() -> None:
    """As JSON, with nothing lost: what a colleague sends can be played."""
    for seed in range(30):
        scenario = scenario_of(seed, refresh=HOUR)
        assert msgspec.json.decode(msgspec.json.encode(scenario), type=Scenario) == scenario


def test_the_policy_is_the_one_that_is_given() -> None:
    """But where it is held: that is the simulation's own store."""
    plan = Plan(
        Strategy.DUAL, overlap=True, store="vault", path="a/b", grace=Microseconds(5 * SECOND), effect_attempts=7
    )
    world = play(Scenario(strategy=Strategy.DUAL, plan=plan, rotations=1)).world
    (first, _) = world.fold.values()
    assert (first.plan.grace, first.plan.effect_attempts) == (plan.grace, 7)
    assert first.plan.store != "vault"
    assert first.plan.places == ()


@pytest.mark.parametrize(
    ("off", "named"),
    [({"automatic": False}, "rollback.automatic"), ({"on_verification_failure": False}, "on_verification_failure")],
)
def test_who_turned_going_back_off_is_told_whom_that_locks_out(off: dict[str, bool], named: str) -> None:
    """With one value a login, the old version is gone when verification fails: L3."""
    plan = unattended(Strategy.SINGLE, **off)
    played = play(Scenario(strategy=Strategy.SINGLE, plan=plan, rotations=1, faults=NEVER_VERIFIED))
    assert played.invariant == "L3"
    assert named in played.message
    assert "keyturn rollback" in played.message


def test_where_no_value_is_taken_a_second_time_a_new_one_leads_on() -> None:
    """Nobody turned anything off: going back is not possible at all, and the way out is another one."""
    plan, options = unattended(Strategy.SINGLE), MemoryOptions(settable=False)
    plan = replace(plan, settable=False)
    scenario = Scenario(strategy=Strategy.SINGLE, plan=plan, options=options, rotations=1, faults=NEVER_VERIFIED)
    played = play(scenario)
    assert played.invariant == "L3"
    assert "keyturn rotate" in played.message
    assert "is false" not in played.message


def test_nobody_is_locked_out_where_it_goes_back_or_both_are_valid() -> None:
    for plan in (unattended(Strategy.SINGLE), unattended(Strategy.DUAL, automatic=False)):
        played = play(Scenario(strategy=plan.strategy, plan=plan, rotations=1, faults=NEVER_VERIFIED))
        assert played.invariant is None, played.message


@pytest.mark.parametrize(("grace", "invariant"), [(0, "I3"), (1, "I3"), (59, "I3"), (60, None)])
def test_a_grace_period_has_to_outlast_what_consumers_take_to_read_again(grace: int, invariant: str | None) -> None:
    """A consumer that read just before the promotion has the old version for an hour."""
    plan = Plan(Strategy.ALTERNATING, overlap=True, grace=Microseconds(grace * 60 * SECOND))
    played = play(Scenario(strategy=Strategy.ALTERNATING, plan=plan, refresh=HOUR))
    assert played.invariant == invariant
    if invariant:
        assert f"refused for up to {60 - grace}m" in played.message.replace("1h", "60m")


def test_a_grace_period_that_a_person_ends_is_that_persons() -> None:
    """Who runs `keyturn retire` answers for it."""
    world = build(Scenario(strategy=Strategy.DUAL))
    world.onlookers.append(Readers(world, HOUR))
    operations = Operations(world.world())
    rotation_id = operations.start(SERVICE, ENVIRONMENT, world.plan(), logins=world.logins)
    assert Runner(world.world()).drive(rotation_id, patience=never).state is State.GRACE
    operations.end_grace(rotation_id)
    world.ended_early.add(rotation_id)
    assert Runner(world.world()).drive(rotation_id, patience=never).state is State.COMPLETED


def test_how_long_consumers_were_locked_out_is_measured() -> None:
    """From the change of the one value to the promotion: here as long as three tries to promote."""
    calm = play(Scenario(strategy=Strategy.SINGLE, refresh=HOUR))
    down = tuple(Fault("store.promote", nth, "error_before") for nth in (1, 2, 3))
    assert 0 < calm.locked_out < SECOND
    assert play(Scenario(strategy=Strategy.SINGLE, refresh=HOUR, faults=down)).locked_out > SECOND
    assert play(Scenario(strategy=Strategy.DUAL, refresh=HOUR, faults=down)).locked_out == 0


def test_what_stands_in_the_log_is_judged_at_the_end() -> None:
    """A secret in it, or a chain that is broken, however well everything else went."""
    world = play(Scenario(strategy=Strategy.SINGLE, rotations=1)).world
    check_log(world)
    world.seen_values["v9"] = CredentialValue("app", Secret("simulation"))  # the name of the actor of every fact
    with pytest.raises(Violation, match="I9"):
        check_log(world)
    del world.seen_values["v9"]
    world.log._recorded[2] = msgspec.structs.replace(world.log._recorded[2], hash=bytes(32))
    with pytest.raises(Violation, match="I11: the chain is broken at 3"):
        check_log(world)


def test_an_invariant_is_told_from_a_mistake_of_the_program() -> None:
    scenario = Scenario(strategy=Strategy.SINGLE)
    world = build(scenario)
    own = Played(scenario, world, AssertionError("no attempt was begun"))
    assert (own.invariant, own.message) == (OWN_MISTAKE, "no attempt was begun")
    seen = Played(scenario, world, AssertionError("L1: no end after 60 processes: ['this', 'that']"))
    assert (seen.invariant, seen.message) == ("L1", "no end after 60 processes")


def test_a_seed_has_only_trouble_of_the_kinds_that_are_wanted() -> None:
    for seed in range(50):
        scenario = scenario_of(seed, kinds=("late", "change"))
        assert {fault.kind for fault in scenario.faults} <= {"late"}
        assert {deed.hand for deed in scenario.deeds} <= {HANDS["change"]}
        assert not scenario_of(seed, kinds=FAILING).deeds


def test_few_faults_are_drawn_often_and_many_sometimes() -> None:
    counts = [len(scenario_of(seed, kinds=FAILING).faults) for seed in range(300)]
    assert min(counts) == 0
    assert max(counts) > 10
    assert sorted(counts)[150] <= 5


def test_no_effect_lands_after_the_attempt_window_of_the_policy() -> None:
    plan = Plan(Strategy.SINGLE, overlap=False, attempt_window=Microseconds(60 * SECOND))
    late = [fault.late for seed in range(100) for fault in scenario_of(seed, plan=plan, kinds=("late",)).faults]
    assert 5 < max(late) < 60


CAPABILITIES = [
    (Strategy.SINGLE, TargetCapabilities(values_max=1)),
    (Strategy.ALTERNATING, TargetCapabilities(values_max=1, retry=RetryClass.PROBE_FIRST)),
    (Strategy.DUAL, TargetCapabilities(values_max=2, login_budget=LoginBudget(3, HOUR))),
    (Strategy.DUAL, TargetCapabilities(values_max=None)),
    (Strategy.ISSUE, TargetCapabilities(values_max=2, issues_value=True, settable=False)),
    (Strategy.SCRIPT, TargetCapabilities(values_max=1, settable=False, retry=RetryClass.NEVER_REPEAT)),
    (Strategy.SCRIPT, TargetCapabilities(values_max=1, issues_value=True, settable=False)),
]


@pytest.mark.parametrize(("strategy", "declared"), CAPABILITIES)
def test_the_simulated_target_can_do_what_the_real_one_declares(
    strategy: Strategy, declared: TargetCapabilities
) -> None:
    """No more, and no less."""
    made = MemoryTarget(strategy=strategy, options=like(declared, strategy)).capabilities
    if declared.values_max is None:
        assert made.values_max is not None
        assert made.values_max >= 1000
        made = msgspec.structs.replace(made, values_max=None)
    assert made == declared


@pytest.mark.parametrize("strategy", Strategy)
def test_a_subject_goes_back_by_itself_unless_its_policy_says_otherwise(strategy: Strategy) -> None:
    subject = Subject(strategy=strategy, kinds=KINDS, refresh=HOUR)
    assert all(subject.scenario(seed).automatic for seed in range(20))
    assert {subject.scenario(seed).strategy for seed in range(20)} == {strategy}
