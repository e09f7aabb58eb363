"""A violation is shortened to what it needs, and to nothing else."""

from __future__ import annotations

from typing import Any

from adapters.simulation.faults import Fault
from adapters.simulation.hands import Deed, Hand
from adapters.simulation.invariants import Violation
from adapters.simulation.scenario import Played, Scenario, build
from adapters.simulation.shrink import TRIES_MAX, shortest
from engine.plan import Strategy

NEEDED = (Fault("target.apply", 1, "lost"), Fault("store.promote", 2, "crash_after"))
OTHERS = tuple(Fault("store.read", nth, "error_before") for nth in range(1, 11))
LONG = Scenario(
    strategy=Strategy.SINGLE,
    takeover=True,
    rotations=3,
    faults=(*OTHERS[:5], NEEDED[0], *OTHERS[5:], NEEDED[1]),
    deeds=(Deed(1, Hand.EMPTY), Deed(2, Hand.LOSE)),
)


class Judge:
    """Plays nothing: tells by the scenario alone what is violated, and counts how often it was asked."""

    def __init__(self, *needed: Any, rotations: int = 1) -> None:
        self.needed = needed
        self.rotations = rotations
        self.asked = 0

    def __call__(self, scenario: Scenario) -> Played:
        """Say that I3 is violated where everything that it needs is there, else L2 where anything is."""
        self.asked += 1
        trouble = (*scenario.faults, *scenario.deeds)
        violated = set(self.needed) <= set(trouble) and scenario.rotations >= self.rotations
        name = "I3" if violated else "L2" if trouble else ""
        return Played(scenario, build(scenario), Violation(f"{name}: as asked") if name else None)


def test_only_what_the_violation_needs_is_left() -> None:
    """Two faults of twelve, none of the deeds, one rotation, nothing taken over."""
    judge = Judge(*NEEDED)
    assert shortest(judge(LONG), play=judge).scenario == Scenario(strategy=Strategy.SINGLE, rotations=1, faults=NEEDED)


def test_another_invariant_is_another_violation() -> None:
    """What is left must violate the same: leaving more out violates L2 here, and not I3."""
    judge = Judge(*NEEDED, Deed(2, Hand.LOSE), rotations=2)
    found = shortest(judge(LONG), play=judge)
    assert (found.invariant, found.message) == ("I3", "as asked")
    assert found.scenario == Scenario(strategy=Strategy.SINGLE, rotations=2, faults=NEEDED, deeds=(Deed(2, Hand.LOSE),))


def test_a_scenario_that_cannot_be_shortened_stays() -> None:
    judge = Judge(*NEEDED)
    short = Scenario(strategy=Strategy.SINGLE, rotations=1, faults=NEEDED)
    assert shortest(judge(short), play=judge).scenario == short


def test_shortening_ends() -> None:
    """However long the scenario is."""
    many = tuple(Fault("store.read", nth, "error_before") for nth in range(1, 401))
    judge = Judge(*many)
    shortest(judge(Scenario(strategy=Strategy.SINGLE, faults=many)), play=judge)
    assert judge.asked <= TRIES_MAX + 1
