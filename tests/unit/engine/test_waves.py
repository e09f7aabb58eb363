"""Rollouts, wave by wave: who is told when, what each proves, and when the next wave begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from adapters.discovery.memory import numbered
from adapters.distributors.memory import Fault
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.commands import accept_inconclusive, promote
from engine.credential import Version
from engine.errors import IllegalCommand, StrategyImpossible
from engine.health import CheckResult
from engine.leaving import rests_for
from engine.machine import State
from engine.plan import Strategy
from engine.process import Wait
from engine.rollout import OnTrouble, RolloutPolicy, Stage
from engine.rollout_events import PauseKind
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds
from tests.unit.engine.bench import ENVIRONMENT, FIRST, SERVICE, Bench
from tests.unit.engine.looks import Look
from tests.unit.engine.rotations import plan
from tests.unit.engine.rotations import rotation as rotation_in

S = SECOND


class Fewer:
    """Waits so many times, and then no more."""

    def __init__(self, waits: int) -> None:
        self._left = waits

    def __call__(self, rotation: Rotation, wait: Wait) -> bool:
        """Wait once more, or not."""
        self._left -= 1
        return self._left >= 0


def policy(**changes: Any) -> RolloutPolicy:
    """Return a canary of one, then all; each is watched for a minute."""
    given = {"stages": (Stage(100, soak=Microseconds(60 * S)),), "canary_soak": Microseconds(60 * S), **changes}
    return RolloutPolicy(**given)


def bench(count: int = 4, **changes: Any) -> Bench:
    """Return a service of two logins in turn with so many instances, whose one check sees that all is well."""
    made = Bench(
        Strategy.ALTERNATING,
        instances=numbered(count),
        rollout=policy(**changes),
        checks=("connection",),
        monitoring_period=Microseconds(0),
    )
    made.checks.append(Look(CheckResult.PASS))
    return made


def test_a_canary_comes_first_then_the_others_then_it_becomes_current() -> None:
    """Nobody of the second wave is told before the first one soaked, and nothing is current before all have it."""
    made = bench()
    rotation = made.rotate()
    assert rotation.state is State.COMPLETED
    told = made.bodies(rotation.id, e.InstancesTold)
    assert [len(each.instances) for each in told] == [1, 3]
    assert set(made.distributor.held().values()) == {rotation.candidate}
    names = made.names(rotation.id)
    order = ["RolloutPlanned", "WaveDistributed", "WavePassed", "RolloutCompleted", "Promoted", "GraceEnded"]
    assert [name for name in dict.fromkeys(names) if name in order] == order
    assert names.count("WavePassed") == 2
    assert FIRST not in made.distributor.held().values()


# --- what a person decides ------------------------------------------------------------------------------------------


def _resting(
    kind: PauseKind, results: tuple[CheckResult, ...] = (CheckResult.PASS,), **changes: Any
) -> tuple[Bench, UUID]:
    """Return a rollout that rests for a reason."""
    made = bench(**changes)
    made.checks[0] = Look(*results)
    rotation_id = made.start()
    rotation = made.drive(rotation_id)
    assert (rotation.state, rests_for(rotation)) == (State.PAUSED, kind)
    return made, rotation_id


def test_a_failed_wave_is_tried_again_from_its_first_look() -> None:
    """Nobody is told a second time: they have it."""
    made, rotation_id = _resting(PauseKind.FAILURE, (CheckResult.FAIL,), on_failure=OnTrouble.PAUSE)
    told = len(made.bodies(rotation_id, e.InstancesTold))
    cause = made.rotation(rotation_id).cause
    assert cause is not None
    assert (cause.kind, cause.message) == (
        "unhealthy",
        "the health check connection failed 2 times in a row: look 2: fail",
    )
    made.checks[0] = Look(CheckResult.PASS)
    made.operations().retry(rotation_id, reason="mended")
    assert made.drive(rotation_id).state is State.COMPLETED
    assert len(made.bodies(rotation_id, e.InstancesTold)) == told + 1


def test_what_is_accepted_is_not_asked_again_in_that_wave_and_asked_in_the_next() -> None:
    """Whoever accepted it is recorded; a failure still counts."""
    made, rotation_id = _resting(PauseKind.INCONCLUSIVE, (CheckResult.UNKNOWN,))
    made.operations().accept_inconclusive(rotation_id, reason="the probe is being rebuilt")
    assert rests_for(made.drive(rotation_id)) is PauseKind.INCONCLUSIVE
    assert made.rotation(rotation_id).waves == 1
    assert made.bodies(rotation_id, e.RolloutResumed) == [e.RolloutResumed("the probe is being rebuilt", accept=True)]
    made.operations().accept_inconclusive(rotation_id)
    made.checks[0] = Look(CheckResult.FAIL)
    assert made.drive(rotation_id).state is State.ROLLED_BACK


def test_to_go_on_without_accepting_asks_again() -> None:
    made, rotation_id = _resting(PauseKind.INCONCLUSIVE, (CheckResult.UNKNOWN,))
    made.operations().let_go_on(rotation_id)
    assert rests_for(made.drive(rotation_id)) is PauseKind.INCONCLUSIVE
    assert made.rotation(rotation_id).waves == 0


@pytest.mark.parametrize(("full", "waves"), [(False, 1), (True, 2)])
def test_promoting_passes_this_soak_or_all_of_them(*, full: bool, waves: int) -> None:
    """Each instance still proves what it uses."""
    made, rotation_id = _resting(PauseKind.FAILURE, (CheckResult.FAIL,), on_failure=OnTrouble.PAUSE)
    made.operations().promote(rotation_id, reason="it is the check", full=full)
    rotation = made.drive(rotation_id)
    assert rotation.waves == waves
    assert ("Promoted" in made.names(rotation_id)) is full  # and what fails then is for the checks after it
    assert made.bodies(rotation_id, e.RolloutResumed)[0].advance


def test_promoting_while_it_soaks_passes_that_soak() -> None:
    made = bench()
    rotation_id = made.start()
    made.until("soaking", rotation_id)
    made.operations().promote(rotation_id)
    made.until("distributing", rotation_id)
    assert made.rotation(rotation_id).waves == 1
    assert not made.bodies(rotation_id, e.HealthSampled)


def test_an_instance_that_does_not_prove_it_holds_even_a_full_promotion_up() -> None:
    made = bench(on_failure=OnTrouble.PAUSE)
    made.distributor.faults["instance-0002"] = frozenset({Fault.IGNORE})
    rotation_id = made.start()
    made.until("soaking", rotation_id)
    made.operations().promote(rotation_id, full=True)
    rotation = made.drive(rotation_id)
    assert (rotation.state, rests_for(rotation)) == (State.PAUSED, PauseKind.FAILURE)
    assert rotation.cause is not None
    assert rotation.cause.message == "instance-0002 did not prove within 30 s to use v1-50a4a3 (it uses v0-initial)"


@pytest.mark.parametrize("decide", [promote, accept_inconclusive])
def test_nothing_is_passed_where_nothing_is_rolled_out(decide: Callable[..., object]) -> None:
    with pytest.raises(IllegalCommand):
        decide(rotation_in(State.PAUSED), reason="")
    with pytest.raises(IllegalCommand):
        decide(rotation_in(State.GRACE, plan(Strategy.DUAL, rollout=policy())), reason="")


def test_a_strategy_with_one_valid_version_is_refused_by_name() -> None:
    made = Bench(Strategy.SINGLE, instances=numbered(2), rollout=policy())
    with pytest.raises(StrategyImpossible, match="strategy single is not possible here") as caught:
        made.start()
    assert "alternating, dual, issue" in caught.value.advice


# --- who comes and goes ---------------------------------------------------------------------------------------------


def test_who_joins_a_wave_that_has_passed_gets_it_at_once() -> None:
    """Before the wave at hand begins."""
    made = bench(8, approval=True)
    rotation_id = made.start()
    assert made.drive(rotation_id).state is State.PAUSED
    made.discovery.there |= {each.id: each for each in numbered(40) if int(each.id[-4:]) > 8}
    made.operations().let_go_on(rotation_id)
    assert made.drive(rotation_id).state is State.COMPLETED
    joined = {
        each.instance.id: each.wave for body in made.bodies(rotation_id, e.InstancesJoined) for each in body.joiners
    }
    assert len(joined) == 32
    assert set(made.distributor.held()) == {each.id for each in numbered(40)}
    assert set(made.distributor.held().values()) == {made.rotation(rotation_id).candidate}


def test_nobody_listed_is_not_taken_for_nobody_there() -> None:
    """It rests, and goes on without instances only where a person says that there are none."""
    made = bench(0)
    rotation_id = made.start()
    rotation = made.drive(rotation_id)
    assert (rotation.state, rests_for(rotation)) == (State.PAUSED, PauseKind.INCONCLUSIVE)
    made.operations().let_go_on(rotation_id)
    assert made.drive(rotation_id).state is State.PAUSED
    made.operations().accept_inconclusive(rotation_id)
    assert made.drive(rotation_id).state is State.COMPLETED


# --- the gate -------------------------------------------------------------------------------------------------------


def test_the_old_version_stays_while_the_target_has_sessions_of_it() -> None:
    """It is tried again, and never given up; the message says how many there are, and as whom."""
    made = Bench(
        Strategy.ALTERNATING,
        instances=numbered(1),
        options=MemoryOptions(sessions=3),
        rollout=policy(canary_soak=Microseconds(0), stages=(Stage(100),)),
        grace=Microseconds(0),
    )
    rotation_id = made.start()
    rotation = made.drive(rotation_id, patience=Fewer(12))
    assert (rotation.state, rotation.failures > made.plan().effect_attempts) == (State.GRACE, True)
    assert rotation.cause is not None
    assert rotation.cause.message == "seeing that nobody uses v0-initial: 3 sessions are open at the target as app_a."
    made.operations().go_back(rotation_id, command="abort")
    assert made.drive(rotation_id).state is State.ROLLED_BACK
    assert set(made.distributor.held().values()) == {FIRST}


def test_the_old_version_is_not_retired_because_nobody_is_listed_any_more() -> None:
    """A person may say that nobody is left."""
    made = bench()
    rotation_id = made.start()
    made.until("grace", rotation_id)
    made.discovery.there.clear()
    rotation = made.drive(rotation_id, patience=Fewer(20))
    assert rotation.state is State.GRACE
    assert rotation.cause is not None
    assert "discovery lists no instance" in rotation.cause.message
    assert f"keyturn retire {rotation_id}" in rotation.cause.hint
    made.operations().end_grace(rotation_id, reason="it is gone for good")
    assert made.drive(rotation_id).state is State.COMPLETED


def test_a_grace_period_that_a_person_ends_asks_the_instances_first() -> None:
    """Whoever started with something else is handed the current version before the old one goes."""
    made = bench()
    rotation_id = made.start()
    made.until("grace", rotation_id)
    made.distributor.forget("instance-0003")
    made.operations().end_grace(rotation_id, reason="soon over")
    assert made.drive(rotation_id).state is State.COMPLETED
    assert made.bodies(rotation_id, e.InstancesLapsed) == [
        e.InstancesLapsed(("instance-0003",), "it was given nothing")
    ]
    assert made.bodies(rotation_id, e.GraceEnded) == [e.GraceEnded(early=True)]
    assert sum(made.clock.waits) < 600 * S


def test_a_rollback_to_an_earlier_version_reaches_every_instance_at_once() -> None:
    """Without canary, soak or window."""
    made = bench(8)
    made.rotate()
    made.opens = lambda now: Instant(now + 3600 * S)
    before = len(made.clock.waits)
    back = made.operations().roll_back_to(
        SERVICE, ENVIRONMENT, made.plan(), Version(FIRST, "app_a"), logins=made.logins
    )
    assert made.drive(back).state is State.COMPLETED
    assert set(made.distributor.held().values()) == {FIRST}
    assert made.clock.waits[before:] == []
