"""The simulation has teeth: engines with one deliberate bug each are caught, within few seeds.

A mutant that survives means that an invariant is not looked at, or that no run comes near it. Run with `-rA` (or
`-s`) to see which seed caught which mutant, what it saw, and the shortest story that still shows it.
"""

from __future__ import annotations

from functools import partial

import pytest

from adapters.simulation.invariants import Violation
from adapters.simulation.jobs import crowd_of
from adapters.simulation.scenario import Played, Scenario, play, unguarded
from adapters.simulation.seeds import by_hand, failing, scenario_of, seeded
from adapters.simulation.shrink import shortest
from tests.simulation.mutants import LOCKS, MUTANTS, Mutant, Unguarded

SEEDS = 4000
"""Seeds that a mutant may survive."""


def _scenario(seed: int, mutant: Mutant) -> Scenario:
    """Return the scenario of a seed, with the trouble that leads to the bug."""
    if mutant.by_hand:
        return by_hand(seed, options=mutant.options)
    if mutant.kinds:
        return scenario_of(seed, strategy=mutant.strategy, kinds=mutant.kinds, options=mutant.options)
    return failing(seed, options=mutant.options)


def _caught_in_a_crowd() -> str:
    """Return the first seed whose crowd breaks an invariant, and which; fails the test where none does."""
    for seed in range(SEEDS):
        try:
            crowd_of(seed)
        except Violation as violation:
            return f"{violation} (crowd {seed})"
    pytest.fail(f"{SEEDS} crowds saw nothing wrong with it")


def _caught(mutant: Mutant) -> Played:
    """Return the first run that breaks an invariant, made as short as it can be; fails the test where none does."""
    playing = partial(play, around=Unguarded if mutant.by_hand else unguarded)
    for seed in range(SEEDS):
        played = playing(_scenario(seed, mutant))
        if played.violation is not None:
            return shortest(played, play=playing)
    pytest.fail(f"{SEEDS} seeds saw nothing wrong with it")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an invariant that is about the bug, and not by chance."""
    mutant.mutate(monkeypatch)
    if mutant.crowd:
        violation = _caught_in_a_crowd()
        print(f"{mutant.name}: {violation}")
    else:
        played = _caught(mutant)
        violation = str(played.violation)
        told = ", ".join(f"{fault.call} {fault.nth} {fault.kind}" for fault in played.scenario.faults)
        deeds = ", ".join(f"{deed.hand.name} at {deed.nth}" for deed in played.scenario.deeds)
        where = f"seed {played.scenario.seed}, {played.scenario.strategy}"
        print(f"{mutant.name}: {violation} ({where}: {told or 'no fault'}{'; ' + deeds if deeds else ''})")
    assert violation.startswith(mutant.seen), violation


def test_there_are_at_least_twenty_five_of_them() -> None:
    """Each with a name of its own."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.slow
def test_the_engine_itself_survives_where_logins_are_locked() -> None:
    """What catches the mutants does not catch the engine; without lockout that is tested by more seeds elsewhere."""
    for seed in range(400):
        seeded(seed, options=LOCKS)
