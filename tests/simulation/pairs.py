"""Every pair of faults of two rotations: numbered, so that a number is a run, and a range of numbers a piece of work.

Rule: a second fault is one at a call that is made after the first, as the run of the first alone shows: pairs at calls
that nobody makes without a first fault (going back, trying again) are among them, and each pair is there once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import gcd
from typing import Final, NamedTuple

from adapters.simulation.faults import Fault, kinds_at
from adapters.simulation.world import run
from engine.plan import Strategy

LATE: Final = 2.0
"""Seconds after which what lands late does: within the attempt that it belongs to."""
_GOLDEN: Final = 0.618034


class Calls(NamedTuple):
    """The calls of one port method that a second fault may hit: how many come first, how many are made in all."""

    call: str
    before: int
    made: int


class Seconds(NamedTuple):
    """What may go wrong after a first fault."""

    strategy: Strategy
    first: Fault
    calls: Sequence[Calls]

    def size(self) -> int:
        """Return how many second faults there are."""
        return sum((each.made - each.before) * len(kinds_at(each.call, self.strategy)) for each in self.calls)

    def at(self, number: int) -> tuple[Fault, Fault]:
        """Return the pair of a number, from 0."""
        for call, before, made in self.calls:
            kinds = kinds_at(call, self.strategy)
            nth, kind = divmod(number, len(kinds))
            if nth < made - before:
                return self.first, Fault(call, before + 1 + nth, kinds[kind], late=LATE)
            number -= (made - before) * len(kinds)
        raise IndexError(number)


def singles(strategy: Strategy) -> list[Fault]:
    """Return every single fault at every call of two calm rotations."""
    return [
        Fault(call, nth, kind, late=LATE)
        for call, calls in sorted(run(strategy).faultable.items())
        for nth in range(1, calls + 1)
        for kind in kinds_at(call, strategy)
    ]


def seconds_after(strategy: Strategy, first: Fault) -> Seconds:
    """Return what may go wrong after a fault; plays the run of that fault alone, which raises what it violates."""
    world = run(strategy, [first])
    before = world.used[first]
    calls = [Calls(call, min(before[call], made), made) for call, made in sorted(world.faultable.items())]
    return Seconds(strategy, first, calls)


class Pairs:
    """The pairs of some first faults, in an order of which every beginning is spread over all of them."""

    def __init__(self, seconds: Sequence[Seconds]) -> None:
        self._seconds = seconds
        self._ends = list(accumulate(each.size() for each in seconds))
        self._step = self._stride()

    def _stride(self) -> int:
        """Return a step that comes by every number once before it comes by one again."""
        step = max(int(len(self) * _GOLDEN), 1)
        while gcd(step, len(self)) != 1:
            step += 1
        return step

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return self._ends[-1] if self._ends else 0

    def at(self, number: int) -> tuple[Strategy, tuple[Fault, Fault]]:
        """Return the strategy and the pair of a number, from 0; another number is another pair."""
        place = number * self._step % len(self)
        index = bisect_right(self._ends, place)
        seconds = self._seconds[index]
        return seconds.strategy, seconds.at(place - (self._ends[index - 1] if index else 0))
