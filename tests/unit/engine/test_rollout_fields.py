"""Every field of the policy of a rollout decides something: each has two values that lead to different ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from adapters.discovery.memory import numbered
from adapters.distributors.memory import Fault
from engine import events as e
from engine.health import CheckResult
from engine.instances import Instance
from engine.machine import State
from engine.plan import Strategy
from engine.rollout import OnTrouble, RolloutPolicy, Stage
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds
from tests.unit.engine.bench import Bench
from tests.unit.engine.looks import Look

MINUTE: Final = Microseconds(60 * SECOND)
FLEET: Final = [
    Instance(each.id, each.zone, labels={"role": "spare"} if each.id.endswith("7") else {})
    for each in numbered(8, zones=2)
]


def policy(**changes: Any) -> RolloutPolicy:
    """Return a canary and then all, each watched for a minute."""
    return RolloutPolicy(**{"stages": (Stage(100, MINUTE),), "canary_soak": MINUTE, **changes})


def rolled_out(*results: CheckResult, **changes: Any) -> tuple[Bench, Rotation]:
    """Roll out to eight instances, whose one check sees these, until it is over or rests."""
    bench = Bench(
        Strategy.DUAL,
        instances=FLEET,
        rollout=policy(**changes),
        checks=("connection",),
        monitoring_period=Microseconds(0),
        grace=Microseconds(0),
    )
    bench.checks.append(Look(*(results or (CheckResult.PASS,))))
    return bench, bench.drive(bench.start())


def told(bench: Bench, rotation: Rotation) -> list[int]:
    """Return how many were told at once, each time."""
    return [len(each.instances) for each in bench.bodies(rotation.id, e.InstancesTold)]


def waves(bench: Bench, rotation: Rotation) -> list[int]:
    """Return how many are in each wave."""
    (planned,) = bench.bodies(rotation.id, e.RolloutPlanned)
    return [len(wave.instances) for wave in planned.waves]


def looks(bench: Bench, rotation: Rotation) -> int:
    """Return how often a check looked while waves soaked."""
    facts = bench.facts(rotation.id)
    return len(
        [fact for fact in facts if isinstance(fact.body, e.HealthSampled) and fact.state is not State.MONITORING]
    )


def stages(value: tuple[Stage, ...]) -> list[int]:
    """How many instances each wave has."""
    return waves(*rolled_out(stages=value))


def canary(value: bool) -> list[int]:  # noqa: FBT001 - a field of the table
    """How many instances each wave has."""
    return waves(*rolled_out(canary=value))


def selector(value: str) -> bool:
    """Whether the one with the label goes first."""
    bench, rotation = rolled_out(selector=value)
    return bench.bodies(rotation.id, e.InstancesTold)[0].instances == ("instance-0007",)


def canary_soak(value: Microseconds) -> int:
    """How long the first wave is watched."""
    bench, rotation = rolled_out(canary_soak=value)
    facts = bench.facts(rotation.id)
    begun, passed = (next(f.at for f in facts if isinstance(f.body, k)) for k in (e.WaveDistributed, e.WavePassed))
    return passed - begun


def failure_threshold(value: int) -> int:
    """How many failures it takes."""
    return looks(*rolled_out(CheckResult.FAIL, failure_threshold=value))


def inconclusive_threshold(value: int) -> int:
    """How many looks that show nothing it takes."""
    return looks(*rolled_out(CheckResult.UNKNOWN, inconclusive_threshold=value, canary_soak=60 * MINUTE))


def on_failure(value: OnTrouble) -> State:
    """How it ends where a check fails."""
    return rolled_out(CheckResult.FAIL, on_failure=value)[1].state


def on_inconclusive(value: OnTrouble) -> State:
    """How it ends where a check sees nothing for the whole soak."""
    return rolled_out(CheckResult.UNKNOWN, on_inconclusive=value)[1].state


def interval(value: Microseconds) -> int:
    """How often is looked within two soaks of a minute."""
    return looks(*rolled_out(interval=value))


def approval(value: bool) -> State:  # noqa: FBT001 - a field of the table
    """Where it stands when nobody did anything."""
    return rolled_out(approval=value)[1].state


def max_unverified(value: int | None) -> list[int]:
    """How many instances each wave has."""
    return waves(*rolled_out(max_unverified=value))


def max_unverified_zone(value: int | None) -> list[int]:
    """How many instances each wave has, of two zones."""
    return waves(*rolled_out(max_unverified_zone=value))


def parallelism(value: int) -> list[int]:
    """How many are told at once."""
    return told(*rolled_out(parallelism=value))


def _stuck(**changes: Any) -> tuple[Bench, Rotation]:
    """Roll out to an instance that goes on using what it has."""
    bench = Bench(Strategy.DUAL, instances=numbered(1), rollout=policy(**changes))
    bench.distributor.faults["instance-0001"] = frozenset({Fault.IGNORE})
    return bench, bench.drive(bench.start())


def instance_timeout(value: Microseconds) -> int:
    """How long an instance has, from being told to its proof."""
    bench, rotation = _stuck(instance_timeout=value)
    facts = bench.facts(rotation.id)
    begun, failed = (next(f.at for f in facts if isinstance(f.body, k)) for k in (e.InstancesTold, e.InstancesFailed))
    return (failed - begun) // SECOND


def progress_deadline(value: Microseconds) -> bool:
    """Whether it rests because nothing moves on, before the instance has had its tries."""
    bench, rotation = _stuck(progress_deadline=value)
    return bool(bench.bodies(rotation.id, e.RolloutPaused))


def missed_looks(value: int) -> int:
    """How often an instance is missed before it counts as gone."""
    bench = Bench(Strategy.DUAL, instances=numbered(2), rollout=policy(missed_looks=value))
    rotation_id = bench.start()
    bench.until("soaking", rotation_id)
    del bench.discovery.there["instance-0001"]
    bench.drive(rotation_id)
    return len(bench.bodies(rotation_id, e.InstancesMissed)) + len(bench.bodies(rotation_id, e.InstancesLeft))


class Field(NamedTuple):
    """A field, and two values of it with what each leads to."""

    leads_to: Callable[[Any], Any]
    cases: tuple[tuple[Any, Any], tuple[Any, Any]]


HALVES = (Stage(50), Stage(100))
FIELDS: Final = [
    Field(stages, (((Stage(100),), [1, 7]), (HALVES, [1, 3, 4]))),
    Field(canary, ((True, [1, 7]), (False, [8]))),
    Field(selector, (("role=spare", True), ("role=none", False))),
    Field(canary_soak, ((MINUTE, MINUTE), (Microseconds(2 * MINUTE), 2 * MINUTE))),
    Field(failure_threshold, ((1, 1), (2, 2))),
    Field(inconclusive_threshold, ((2, 2), (5, 5))),
    Field(on_failure, ((OnTrouble.ABORT, State.ROLLED_BACK), (OnTrouble.PAUSE, State.PAUSED))),
    Field(on_inconclusive, ((OnTrouble.ABORT, State.ROLLED_BACK), (OnTrouble.PAUSE, State.PAUSED))),
    Field(interval, ((Microseconds(30 * SECOND), 6), (MINUTE, 4))),
    Field(approval, ((True, State.PAUSED), (False, State.COMPLETED))),
    Field(max_unverified, ((None, [1, 7]), (4, [1, 4, 3]))),
    Field(max_unverified_zone, ((None, [1, 7]), (2, [1, 4, 3]))),
    Field(parallelism, ((10, [1, 7]), (3, [1, 3, 3, 1]))),
    Field(instance_timeout, ((Microseconds(10 * SECOND), 10), (Microseconds(20 * SECOND), 20))),
    Field(progress_deadline, ((MINUTE, True), (Microseconds(60 * MINUTE), False))),
    Field(missed_looks, ((1, 1), (3, 3))),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.leads_to.__name__)
def test_a_field_decides_what_it_says(field: Field) -> None:
    """Both values lead to what they should, and that is not the same."""
    (first, one), (second, other) = field.cases
    assert one != other
    assert field.leads_to(first) == one
    assert field.leads_to(second) == other


def test_the_table_holds_every_field() -> None:
    assert list(RolloutPolicy.__struct_fields__) == [field.leads_to.__name__ for field in FIELDS]


def test_a_wave_waits_as_long_as_its_stage_says() -> None:
    """After its soak, before the next one begins."""
    bench, rotation = rolled_out(stages=(Stage(50, wait=Microseconds(7 * MINUTE)), Stage(100)), canary=False)
    at = [fact.at for fact in bench.facts(rotation.id) if isinstance(fact.body, e.InstancesTold)]
    assert at[1] - at[0] == 7 * MINUTE


def test_a_wave_begins_when_its_window_opens() -> None:
    """It is taken down until when it is held, and why."""
    bench = Bench(Strategy.DUAL, instances=numbered(2), rollout=policy(canary=False))
    opens = Instant(bench.clock.wall + 5 * MINUTE)
    bench.opens = lambda now: max(now, opens)
    rotation = bench.rotate()
    (held,) = bench.bodies(rotation.id, e.WaveHeld)
    assert (held.wave, held.until.wall, held.why) == (0, opens, "the window opens")
    assert next(f.at for f in bench.facts(rotation.id) if isinstance(f.body, e.InstancesTold)) == opens
