"""More runs than a test suite has time for, by hand: `python -m tests.simulation.campaign KIND FIRST [SECONDS]`.

Every run has a number, and FIRST is where it begins. `seeds` are runs of seeds, nine in ten in which calls fail and one
in which people do things by hand; `targets` are seeds at targets of other kinds; `crowds` let one to four processes at
once; `rollouts` hand a version to instances wave by wave; `pairs` are two single faults of two rotations, drawn at
random; `all-pairs` are all that there are, and end.
`--count` stops after so many runs, and `--part 2/3` plays every third number only, from the second one on: three
processes play all. Prints what is violated as it is found, every minute how far it is, and in the end the figures and
where to go on; exits with 1 where anything was.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count as counting
from itertools import islice
from typing import Final, NamedTuple

from adapters.simulation.faults import Fault
from adapters.simulation.jobs import crowd_of
from adapters.simulation.rollouts import RolloutRun
from adapters.simulation.seeds import handled, seeded
from adapters.simulation.world import run
from adapters.targets.memory_options import MemoryOptions
from engine.adapter import Duration
from engine.plan import RetryClass, Strategy
from engine.values import SECOND
from tests.simulation.pairs import Pairs, seconds_after, singles

_MINUTE: Final = 60.0


class Kind(NamedTuple):
    """A kind of runs: what it plays under a number and returns a name of, and how many there are; None for no end."""

    name: Callable[[int], str]
    play: Callable[[int], object]
    size: int | None = None


def seeds() -> Kind:
    """Play seeds: nine in which calls fail, and one in which people do things by hand."""

    def play(number: int) -> Callable[[int], object]:
        return handled if number % 10 == 9 else seeded

    return Kind(lambda number: f"{play(number).__name__} {number}", lambda number: play(number)(number))


def targets() -> Kind:
    """Play seeds at targets that lock logins, show what they keep, take no value twice, or show changes late."""

    def options_of(number: int) -> MemoryOptions:
        source = random.Random(number)
        return MemoryOptions(
            lockout_after=source.choice([None, None, 3, 4, 6]),
            retry=source.choice([None, *RetryClass]),
            settable=source.choice([None, None, False]),
            shows_restorable=source.random() < 0.4,
            propagation=Duration(source.choice([0, 0, 0, 1, 7, 40]) * SECOND),
        )

    return Kind(
        lambda number: f"seed {number}: {options_of(number)}", lambda number: seeded(number, options=options_of(number))
    )


def crowds() -> Kind:
    """Play one to four processes."""
    return Kind(lambda number: f"crowd {number}", crowd_of)


def pairs() -> Kind:
    """Play two faults, drawn from all pairs of a strategy."""
    faults = {strategy: singles(strategy) for strategy in Strategy}
    for strategy, found in faults.items():
        print(f"{strategy}: {len(found)} single faults, {len(found) * (len(found) - 1) // 2} pairs")

    def drawn(number: int) -> tuple[Strategy, list[Fault]]:
        source = random.Random(number)
        strategy = source.choice(list(Strategy))
        return strategy, source.sample(faults[strategy], 2)

    return Kind(lambda number: f"pair {number}: {drawn(number)}", lambda number: run(*drawn(number)))


def all_pairs() -> Kind:
    """Play every pair of faults of every strategy."""
    found = [[seconds_after(strategy, first) for first in singles(strategy)] for strategy in Strategy]
    for strategy, seconds in zip(Strategy, found, strict=True):
        print(f"{strategy}: {len(seconds)} single faults, {sum(each.size() for each in seconds)} pairs", flush=True)
    every = Pairs([each for seconds in found for each in seconds])
    return Kind(
        lambda number: f"pair {number} of all: {every.at(number)}", lambda number: run(*every.at(number)), len(every)
    )


def rollouts() -> Kind:
    """Play rollouts over fleets of one to eight instances, with up to thirty things that happen to each."""
    return Kind(lambda number: f"rollout {number}", lambda number: RolloutRun(number).play())


KINDS: Final = {
    "seeds": seeds,
    "targets": targets,
    "crowds": crowds,
    "pairs": pairs,
    "all-pairs": all_pairs,
    "rollouts": rollouts,
}


def part_of(text: str) -> tuple[int, int]:
    """Return which part of how many `2/3` is."""
    part, parts = map(int, text.split("/"))
    if not 1 <= part <= parts:
        raise ValueError(text)
    return part, parts


def numbers(first: int, size: int | None, part: int, parts: int) -> Iterator[int]:
    """Return the numbers of a part, from `first` on: all parts together are all numbers, wherever each begins."""
    begin = first + (part - 1 - first) % parts
    return counting(begin, parts) if size is None else iter(range(begin, size, parts))


def campaign(kind: Kind, wanted: Iterator[int], *, seconds: float | None) -> int:
    """Play the wanted numbers until the time is over; return how many violated something."""
    began, used, told, played, violations = time.monotonic(), time.process_time(), _MINUTE, 0, 0

    def figures() -> str:
        cpu, wall = time.process_time() - used, time.monotonic() - began
        rates = f"{played / max(wall, 1e-9):.0f} a second, {played / max(cpu, 1e-9):.0f} a second of processor time"
        return f"{played} runs in {wall:.0f} s ({rates}), {violations} violations"

    for number in wanted:
        passed = time.monotonic() - began
        if seconds is not None and passed > seconds:
            print(f"to go on: {number}")
            break
        if passed > told:
            told = passed + _MINUTE
            print(f"{figures()}; at {number}{f' of {kind.size}' if kind.size else ''}", flush=True)
        played += 1
        try:
            kind.play(number)
        except AssertionError as violation:
            violations += 1
            print(f"{kind.name(number)}: {violation}", flush=True)
    print(figures())
    return violations


def main(arguments: Sequence[str]) -> int:
    """Play what is asked for; return 1 where anything was violated."""
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("first", type=int)
    parser.add_argument("seconds", type=float, nargs="?")
    parser.add_argument("--count", type=int)
    parser.add_argument("--part", type=part_of, default=(1, 1))
    asked = parser.parse_args(arguments)
    kind = KINDS[asked.kind]()
    wanted = islice(numbers(asked.first, kind.size, *asked.part), asked.count)
    return min(campaign(kind, wanted, seconds=asked.seconds), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
