"""Calling instances back: who was told proves the old version before anything is taken away, or is named."""

from __future__ import annotations

from uuid import UUID

import pytest

from adapters.discovery.memory import Fault as ListingFault
from adapters.discovery.memory import numbered
from adapters.distributors.memory import Fault
from engine import events as e
from engine.errors import Rejected, Uncertain
from engine.machine import State
from engine.plan import Strategy
from engine.rollout import RolloutPolicy, Stage
from engine.values import Microseconds
from tests.unit.engine.bench import FIRST, Bench, dies_after, fails

POLICY = RolloutPolicy((Stage(50), Stage(100)), canary=False, parallelism=2)


def moved(count: int = 4, *, until: str = "grace", strategy: Strategy = Strategy.DUAL) -> tuple[Bench, UUID]:
    """Return a service whose instances have the candidate."""
    bench = Bench(strategy, instances=numbered(count), rollout=POLICY, monitoring_period=Microseconds(0))
    rotation_id = bench.start()
    bench.until(until, rotation_id)
    return bench, rotation_id


def abort(bench: Bench, rotation_id: UUID) -> None:
    """Have it go back."""
    bench.operations().go_back(rotation_id, command="abort")


@pytest.mark.parametrize("strategy", [Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE])
@pytest.mark.parametrize("until", ["promoting", "monitoring", "grace"])
def test_everybody_is_back_before_stores_and_target_are_touched(strategy: Strategy, until: str) -> None:
    bench, rotation_id = moved(until=until, strategy=strategy)
    before = len(bench.calls)
    abort(bench, rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert set(bench.distributor.held().values()) == {FIRST}
    asked = [call.name for call in bench.calls[before:]]
    last = max(number for number, name in enumerate(asked) if name == "distributor.hand")
    assert last < asked.index("target.restore")
    assert "store.promote" not in asked[:last]


def test_only_who_was_told_is_called_back_before_anything_was_current() -> None:
    bench, rotation_id = moved(until="soaking")
    abort(bench, rotation_id)
    bench.drive(rotation_id)
    (planned,) = bench.bodies(rotation_id, e.RolloutPlanned)
    returned = {each for body in bench.bodies(rotation_id, e.InstancesReturned) for each in body.instances}
    assert returned == set(planned.waves[0].instances)


def test_who_cannot_be_proven_back_is_named_with_what_to_run() -> None:
    """After its tries; once it answers, `retry` goes on from there, and nobody else is told again."""
    bench, rotation_id = moved()
    bench.distributor.faults["instance-0002"] = frozenset({Fault.IGNORE})
    abort(bench, rotation_id)
    rotation = bench.drive(rotation_id)
    assert (rotation.state, rotation.cause is not None) == (State.ROLLBACK_FAILED, True)
    assert rotation.cause is not None
    assert rotation.cause.message.endswith("; not back on v0-initial: instance-0002")
    assert f"keyturn retry {rotation_id}" in rotation.cause.hint
    told = [each for each in bench.bodies(rotation_id, e.InstancesTold) if each.version == FIRST]
    assert sum("instance-0002" in each.instances for each in told) == bench.plan().rollback_retries + 1
    bench.distributor.faults.clear()
    bench.operations().retry(rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    again = [each for each in bench.bodies(rotation_id, e.InstancesTold) if each.version == FIRST][len(told) :]
    assert [each.instances for each in again] == [("instance-0002",)]


def test_who_left_is_not_waited_for() -> None:
    """It counts as gone after so many looks that do not list it."""
    bench, rotation_id = moved()
    del bench.discovery.there["instance-0002"]
    bench.distributor.faults["instance-0002"] = frozenset({Fault.UNAVAILABLE})
    abort(bench, rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.bodies(rotation_id, e.InstancesLeft) == [e.InstancesLeft(("instance-0002",))]


def test_instances_that_cannot_be_listed_are_called_back_all_the_same() -> None:
    """What waits for the list is only taking the candidate away: it says so, and goes on once the list is back."""
    bench, rotation_id = moved()
    bench.discovery.faults = {ListingFault.UNAVAILABLE}
    abort(bench, rotation_id)
    rotation = bench.drive(rotation_id)
    assert rotation.state is State.ROLLBACK_FAILED
    assert set(bench.distributor.held().values()) == {FIRST}
    assert bench.held.current == FIRST
    assert bench.accepts(rotation.candidate)
    bench.discovery.faults.clear()
    bench.operations().retry(rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


def test_an_old_version_that_does_not_work_is_given_to_nobody() -> None:
    """They keep what works."""
    bench, rotation_id = moved()
    bench.target.retire(
        bench.value(FIRST), keep=None, tag="by-hand", deadline=bench.call("target.apply").kwargs["deadline"]
    )
    abort(bench, rotation_id)
    rotation = bench.drive(rotation_id)
    assert rotation.state is State.ROLLBACK_FAILED
    assert set(bench.distributor.held().values()) == {rotation.candidate}


def test_a_hand_without_an_answer_may_have_arrived() -> None:
    """So it is called back as well; one that was refused was never told, and is left alone."""
    bench = Bench(Strategy.DUAL, instances=numbered(2), rollout=POLICY)
    bench.at("distributor.hand", fails(Uncertain), fails(Rejected))
    bench.distributor.faults["instance-0001"] = frozenset({Fault.UNKNOWN})
    bench.distributor.faults["instance-0002"] = frozenset({Fault.UNKNOWN})
    rotation_id = bench.start()
    bench.until("distributing", rotation_id)
    bench.at("log.append", lambda effect: effect(), dies_after)
    with pytest.raises(BaseException):  # noqa: B017 - the process dies
        bench.drive(rotation_id)
    fleet = bench.rotation(rotation_id).fleet
    assert fleet is not None
    assert len(list(fleet.holding())) == 1
    bench.distributor.faults.clear()
    abort(bench, rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    returned = [each.instances for each in bench.bodies(rotation_id, e.InstancesReturned)]
    assert len(returned) == 1


def test_a_first_version_that_instances_have_cannot_be_taken_back() -> None:
    """Nobody has what they used before, so it rests where it would go back."""
    bench = Bench(Strategy.DUAL, known=False, instances=numbered(2), rollout=POLICY)
    rotation_id = bench.start()
    bench.until("soaking", rotation_id)
    for each in numbered(2):
        bench.distributor.faults[each.id] = frozenset({Fault.REJECT})
    rotation = bench.drive(rotation_id)
    assert rotation.state is State.PAUSED
    bench.distributor.faults.clear()
    bench.operations().retry(rotation.id)
    assert bench.drive(rotation.id).state is State.COMPLETED
