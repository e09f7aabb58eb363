"""Simulated runs: the real engine in the simulated world, every invariant judged, on one core.

There is no raw side: without the engine and the invariants nothing would be left of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from adapters.simulation.campaign import batch
from adapters.simulation.seeds import FAILING
from adapters.simulation.subject import Subject
from benchmarks.table import Goal, Row, rates
from engine.plan import Strategy
from engine.values import SECOND, Microseconds

RUNS: Final = 200
"""Runs that are timed at once: about two rotations under faults each, settled, and one more rotation."""


def rows() -> Iterator[Row]:
    """Yield the figures; takes half a minute."""
    for strategy in Strategy:
        subject = Subject(strategy=strategy, kinds=FAILING, refresh=Microseconds(3600 * SECOND))
        seeds = count(step=RUNS)

        def play(subject: Subject = subject, seeds: Iterator[int] = seeds) -> None:
            first = next(seeds)
            tally = batch(subject, range(first, first + RUNS))
            assert tally.runs == RUNS

        (ours,) = rates(RUNS, play)
        yield Row(f"simulated runs, {strategy}", "1/s", ours, goal=Goal(at_least=300))
