"""Rollouts, wave by wave: who is told when, what each proves, and when the next wave begins."""

from __future__ import annotations

from typing import Any

from adapters.discovery.memory import numbered
from engine import events as e
from engine.health import CheckResult
from engine.machine import State
from engine.plan import Strategy
from engine.rollout import RolloutPolicy, Stage
from engine.values import SECOND, Microseconds
from tests.unit.engine.bench import FIRST, Bench
from tests.unit.engine.looks import Look

S = SECOND


def policy(**changes: Any) -> RolloutPolicy:
    """Return a canary of one, then all; each is watched for a minute."""
    given = {"stages": (Stage(100, soak=Microseconds(60 * S)),), "canary_soak": Microseconds(60 * S), **changes}
    return RolloutPolicy(**given)


def bench(count: int = 4, *, checks: bool = True, plan: Any = None, **changes: Any) -> Bench:
    """Return a service of two logins in turn with so many instances, whose one check sees that all is well."""
    made = Bench(
        Strategy.ALTERNATING,
        instances=numbered(count),
        rollout=policy(**changes),
        checks=("connection",) if checks else (),
        monitoring_period=Microseconds(0),
        **(plan or {}),
    )
    if checks:
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
