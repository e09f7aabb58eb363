"""Whole rollouts on memory adapters: how long the engine takes for a fleet, and what it holds meanwhile.

Instances answer at once and nobody waits: what is left is deciding, recording and folding, and looking after each
append whether too many hold an unverified version. There is no raw side.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from adapters.simulation.rollouts import RolloutRun
from benchmarks.table import Goal, Row
from engine.machine import State
from engine.plan import Strategy
from engine.rollout import RolloutPolicy, Stage
from engine.values import SECOND, Microseconds

UNVERIFIED: Final = 50
"""The most instances that may hold an unverified version: a fleet of 4,000 has some eighty waves."""

_MINUTE: Final = Microseconds(60 * SECOND)
POLICY: Final = RolloutPolicy(
    stages=(Stage(25, _MINUTE), Stage(100, _MINUTE)), canary_soak=_MINUTE, max_unverified=UNVERIFIED, parallelism=10
)
WHOLE: Final = RolloutPolicy(stages=(Stage(100),), canary=False, parallelism=10)
"""All in one wave: as many batches, and the longest lists."""


def rows() -> Iterator[Row]:
    """Yield the figures; takes half a minute."""
    for count in (400, 4_000):
        for name, policy in (("waves of 50", POLICY), ("one wave", WHOLE)):
            seconds, run = _timed(count, policy)
            goal = Goal(at_most=60) if count == 4_000 else None
            yield Row(f"rollout over {count:,} instances, {name}", "s", seconds, goal=goal)
            if policy is POLICY:
                yield Row(
                    "  most that held an unverified version", "", run.most_unverified, goal=Goal(at_most=UNVERIFIED)
                )
    yield Row("  memory at its most, 4,000 instances, one wave", "MiB", _memory(4_000, WHOLE), goal=Goal(at_most=200))


def _timed(count: int, policy: RolloutPolicy) -> tuple[float, RolloutRun]:
    """Return the seconds of one rollout to its end; what is counted of unverified instances is looked at apart."""
    run = RolloutRun(1, script={}, count=count, strategy=Strategy.ALTERNATING, policy=policy, judged=False)
    start = perf_counter()
    ended = run.play()
    taken = perf_counter() - start
    assert ended.state is State.COMPLETED, ended.state
    return taken, run


def _memory(count: int, policy: RolloutPolicy) -> float:
    tracemalloc.start()
    run = RolloutRun(1, script={}, count=count, strategy=Strategy.ALTERNATING, policy=policy, judged=False)
    run.play()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20
