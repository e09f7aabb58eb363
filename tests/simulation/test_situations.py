"""Situations that people ask about by name: runs are driven there until each was met a hundred times."""

from __future__ import annotations

from collections import Counter

import pytest

from adapters.simulation.situations import SITUATIONS, Situation, drive_toward, met
from adapters.simulation.world import run
from engine.plan import Strategy

WANTED = 100
"""How often each is to be met, with none to two faults more than it needs."""
RUNS_MAX = 400
"""A course that leads there less often than every fourth time is not one."""


def test_a_calm_run_meets_none_of_them() -> None:
    """Each takes something going wrong, somebody who decides, or company."""
    for strategy in Strategy:
        assert met(run(strategy)) == []


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name.replace(" ", "-"))
def test_a_situation_is_met_a_hundred_times(situation: Situation) -> None:
    """No invariant is broken in any of them."""
    count: Counter[str] = Counter()
    for seed in range(RUNS_MAX):
        if count[situation.name] == WANTED:
            break
        count[situation.name] += situation.holds(drive_toward(situation, seed))
    assert count[situation.name] == WANTED


def test_names_are_told_apart() -> None:
    assert len({situation.name for situation in SITUATIONS}) == len(SITUATIONS) >= 25
