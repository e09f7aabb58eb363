"""Monitoring: rounds of looks whose times stand in the log, and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.errors import Unavailable
from engine.health import CheckResult
from engine.leaving import ways_out
from engine.machine import State
from engine.plan import LoginBudget, Strategy
from engine.policies import is_inconclusive
from engine.process import Wait
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds
from tests.unit.engine.bench import FIRST, PATH, Bench, Died, dies_after, fails
from tests.unit.engine.looks import Look

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN
PERIOD = Microseconds(600 * SECOND)
EVERY = Microseconds(30 * SECOND)


def watched(*looks: Look, strategy: Strategy = Strategy.DUAL, **plan: Any) -> Bench:
    """Return a bench whose service is looked at by these checks."""
    bench = Bench(strategy, checks=tuple(look.name for look in looks), **plan)
    bench.checks.extend(looks)
    return bench


def monitored(bench: Bench) -> Rotation:
    """Rotate, and wait for everything but the grace period and what is not seen."""
    rotation_id = bench.start()
    rounds = [0]

    def patient(rotation: Rotation, wait: Wait) -> bool:
        rounds[0] += 1
        assert rounds[0] < 200, "it never ends"
        return rotation.state is not State.GRACE and not is_inconclusive(rotation)

    return bench.drive(rotation_id, patience=patient)


def test_it_passes_when_the_checks_passed_for_the_whole_period() -> None:
    """A look every 30 s for 10 minutes: at 0, 30, … and 600 s."""
    look = Look(PASS)
    bench = watched(look)
    rotation = monitored(bench)
    assert rotation.state is State.GRACE
    assert len(look.subjects) == PERIOD // EVERY + 1
    started, *_ = bench.bodies(rotation.id, e.MonitoringStarted)
    samples = bench.bodies(rotation.id, e.HealthSampled)
    assert started.until.wall == samples[0].due.wall - EVERY + PERIOD
    assert [sample.due.wall for sample in samples] == [samples[0].due.wall + n * EVERY for n in range(len(samples))]


def test_without_a_check_there_is_no_monitoring() -> None:
    bench = Bench(Strategy.DUAL)
    rotation = monitored(bench)
    assert rotation.state is State.GRACE
    assert not bench.bodies(rotation.id, e.MonitoringStarted)


def test_a_check_is_told_of_both_versions_and_that_the_old_one_is_the_way_back() -> None:
    look = Look(PASS)
    bench = watched(look)
    rotation = monitored(bench)
    subject = look.subjects[0]
    assert subject.new is not None
    assert subject.old is not None
    assert (subject.new_version, subject.old_version, subject.old_works) == (rotation.candidate, FIRST, True)
    assert subject.new.secret == bench.value(rotation.candidate).secret
    assert subject.old.secret == bench.value(FIRST).secret
    assert subject.rotation_id == str(rotation.id)


def test_where_only_one_version_is_valid_nothing_is_said_of_the_old_one() -> None:
    look = Look(PASS)
    monitored(watched(look, strategy=Strategy.SINGLE))
    assert look.subjects[0].old is None
    assert look.subjects[0].old_works is None


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE])
def test_a_check_that_fails_often_enough_in_a_row_takes_the_rotation_back(strategy: Strategy) -> None:
    """Three failures; the stores call the old version current again, and the line says which check, and what it saw."""
    look = Look(PASS, PASS, FAIL)
    bench = watched(look, strategy=strategy)
    rotation = monitored(bench)
    assert rotation.state is State.ROLLED_BACK
    assert len(look.subjects) == 5
    assert rotation.automatic
    assert rotation.cause is not None
    assert rotation.cause.message == "the health check connection failed 3 times in a row: look 5: fail"
    assert bench.held.current == FIRST


def test_a_breach_is_followed_at_once() -> None:
    """Between the third failure and the rollback nothing is waited for."""
    bench = watched(Look(FAIL))
    rotation = monitored(bench)
    facts = bench.log.stream(rotation.id)
    last = max(fact.at for fact in facts if isinstance(fact.body, e.HealthSampled))
    assert [fact.at - last for fact in facts if isinstance(fact.body, e.RollbackStarted)] == [0]


def test_failures_count_in_a_row_and_for_each_check_by_itself() -> None:
    """A pass ends a streak, a warning as well; seeing nothing does not; failures of two checks do not add up."""
    first = Look(FAIL, FAIL, PASS, FAIL, FAIL, WARN, PASS, name="first")
    second = Look(PASS, FAIL, UNKNOWN, FAIL, PASS, FAIL, PASS, name="second")
    assert monitored(watched(first, second)).state is State.GRACE
    assert monitored(watched(Look(FAIL, UNKNOWN, FAIL, UNKNOWN, FAIL))).state is State.ROLLED_BACK


def test_a_check_that_fails_when_the_period_ends_is_not_passed_over() -> None:
    """It is looked on until it is well, or the rotation goes back."""
    at_the_end = [*[PASS] * 20, FAIL]
    assert monitored(watched(Look(*at_the_end))).state is State.ROLLED_BACK
    recovers = Look(*at_the_end, FAIL, PASS)
    assert monitored(watched(recovers)).state is State.GRACE
    assert len(recovers.subjects) == 23


def test_silence_passes_nothing_and_rests_for_a_person() -> None:
    """A check that sees nothing keeps the rotation where it is, however long; the ways out are said."""
    look = Look(*[PASS] * 19, UNKNOWN)
    bench = watched(look)
    rotation = monitored(bench)
    assert rotation.state is State.MONITORING
    assert is_inconclusive(rotation)
    assert len(look.subjects) == 19 + 10
    assert [way.command.split()[1] for way in ways_out(rotation)] == ["resume", "abort"]


def test_a_check_that_sees_again_goes_on() -> None:
    look = Look(*[UNKNOWN] * 9, PASS)
    assert monitored(watched(look)).state is State.GRACE


@pytest.mark.parametrize(
    ("plan", "ends"),
    [
        ({}, State.ROLLED_BACK),
        ({"rollback_on_health_failure": False}, State.FAILED),
        ({"rollback_automatic": False}, State.FAILED),
        ({"rollback_on_verification_failure": False}, State.ROLLED_BACK),
    ],
)
def test_whether_it_goes_back_is_configured(plan: dict[str, Any], ends: State) -> None:
    assert monitored(watched(Look(FAIL), **plan)).state is ends


def test_a_failed_look_counts_as_a_login_that_may_have_been_refused() -> None:
    bench = watched(Look(FAIL, PASS), login_budget=LoginBudget(9, Microseconds(900 * SECOND)))
    rotation = monitored(bench)
    facts = bench.log.stream(rotation.id)
    sampled = next(n for n, fact in enumerate(facts) if isinstance(fact.body, e.HealthSampled))
    assert any(isinstance(fact.body, e.LoginTried) for fact in facts[sampled - 2 : sampled])


def test_a_check_that_is_taken_out_of_the_configuration_looks_no_more() -> None:
    look, other = Look(PASS, name="one"), Look(FAIL, name="other")
    bench = watched(look, other)
    bench.checks.remove(other)
    assert monitored(bench).state is State.GRACE
    assert not other.subjects


def test_a_check_that_is_configured_later_is_not_of_this_rotation() -> None:
    other = Look(FAIL, name="other")
    bench = watched(Look(PASS, name="one"))
    bench.checks.append(other)
    assert monitored(bench).state is State.GRACE
    assert not other.subjects


def test_a_rollback_is_not_monitored() -> None:
    """It is to be over soon, and goes to what was seen to work before."""
    look = Look(PASS)
    bench = watched(look)
    rotation = monitored(bench)
    bench.operations().end_grace(rotation.id)
    bench.drive(rotation.id)
    seen = len(look.subjects)
    first = next(version for version in bench.credential.known if version.id == FIRST)
    back = bench.operations().roll_back_to("app-db", "production", bench.plan(), first, logins=bench.logins)
    assert bench.drive(back).state is State.COMPLETED
    assert len(look.subjects) == seen


def test_a_process_that_dies_in_a_look_looks_again() -> None:
    """And where it died after the record, the next look is when it was due, whoever comes."""
    deaths = [True]

    def die_once() -> None:
        if deaths:
            deaths.clear()
            raise Died

    look = Look(PASS, during=die_once)
    bench = watched(look)
    rotation_id = bench.start()
    with pytest.raises(Died):
        bench.drive(rotation_id)
    assert bench.rotation(rotation_id).state is State.MONITORING
    assert not bench.bodies(rotation_id, e.HealthSampled)
    bench.at("log.append", dies_after)
    with pytest.raises(Died):
        bench.drive(rotation_id, owner="process-2")
    due = bench.rotation(rotation_id).sampled.wall
    waits: list[Instant] = []

    def patient(rotation: Rotation, wait: Wait) -> bool:
        waits.append(wait.until)
        return False

    bench.drive(rotation_id, patience=patient, owner="process-2")
    assert waits == ([due] if due else [bench.rotation(rotation_id).sampled.wall])


def test_a_store_that_is_gone_for_a_moment_delays_the_look_and_ends_nothing() -> None:
    look = Look(PASS)
    bench = watched(look)
    rotation_id = bench.until("monitoring", bench.start()).id
    bench.at("store.read", fails(Unavailable))
    rotation = bench.drive(rotation_id, patience=lambda rotation, wait: rotation.state is not State.GRACE)
    assert rotation.state is State.GRACE
    assert bench.store.versions(PATH).current == rotation.candidate
