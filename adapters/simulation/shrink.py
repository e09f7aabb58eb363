"""From a scenario that violates an invariant to the shortest one that still violates the same: a story one can read.

Rule: nothing is drawn here: the same scenario is shortened to the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from msgspec.structs import replace

from adapters.simulation.scenario import Played, Scenario, play

T = TypeVar("T")
Play = Callable[[Scenario], Played]

TRIES_MAX: Final = 400
"""Runs that one violation is worth: a second or two."""


def shortest(violating: Played, *, play: Play = play) -> Played:
    """Return the shortest run found that violates the same invariant: nothing can be left out of it any more.

    Delta debugging (Zeller and Hildebrandt, 2002): leave out halves, then quarters, at last one by one; from the
    start again whenever something could be left out.
    """
    found, tries, has_shrunk = violating, 0, True
    while has_shrunk:
        has_shrunk = False
        for simpler in _simpler(found.scenario):
            tries += 1
            if tries > TRIES_MAX:
                return found
            played = play(simpler)
            if played.invariant == violating.invariant:
                found, has_shrunk = played, True
                break
    return found


def _simpler(scenario: Scenario) -> Iterator[Scenario]:
    """Yield what is simpler by one thing, the largest first."""
    for faults in _without_some(scenario.faults):
        yield replace(scenario, faults=faults)
    for deeds in _without_some(scenario.deeds):
        yield replace(scenario, deeds=deeds)
    for rotations in range(1, scenario.rotations):
        yield replace(scenario, rotations=rotations)
    for name in ("takeover", "fresh"):
        if getattr(scenario, name):
            yield replace(scenario, **{name: False})


def _without_some(items: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """Yield the items without all, without each half, each quarter, and at last without each one of them."""
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            yield items[:start] + items[start + size :]
        size //= 2
