"""More runs than a test suite has time for, by hand: seeds, crowds, and pairs of faults, for so many seconds.

`python -m tests.simulation.campaign seeds 0 600` plays seeds from 0 for 600 seconds; `crowds` lets one to four
processes at once; `pairs` draws two single faults of two rotations at random, and says of how many pairs. Prints what
is violated as it is found, and the figures at the end; exits with 1 where anything was.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from adapters.simulation.faults import Fault, kinds_at
from adapters.simulation.jobs import crowd_of
from adapters.simulation.seeds import handled, seeded
from adapters.simulation.world import run
from engine.plan import Strategy

Run = tuple[str, Callable[[], object]]


def _singles(strategy: Strategy) -> list[Fault]:
    """Return every single fault at every call of two calm rotations."""
    calm = run(strategy)
    return [
        Fault(call, nth, kind, late=2.0)
        for call, calls in sorted(calm.faultable.items())
        for nth in range(1, calls + 1)
        for kind in kinds_at(call, strategy)
    ]


def seeds(first: int) -> Iterator[Run]:
    """Yield runs of seeds: nine in which calls fail, and one in which people do things by hand."""
    number = first
    while True:
        play = handled if number % 10 == 9 else seeded
        yield f"{play.__name__} {number}", lambda play=play, number=number: play(number)  # type: ignore[misc]
        number += 1


def crowds(first: int) -> Iterator[Run]:
    """Yield runs of one to four processes."""
    number = first
    while True:
        yield f"crowd {number}", lambda number=number: crowd_of(number)  # type: ignore[misc]
        number += 1


def pairs(first: int) -> Iterator[Run]:
    """Yield runs of two faults, drawn from all pairs of a strategy."""
    source = random.Random(first)
    singles = {strategy: _singles(strategy) for strategy in Strategy}
    for strategy, faults in singles.items():
        print(f"{strategy}: {len(faults)} single faults, {len(faults) * (len(faults) - 1) // 2} pairs")
    while True:
        strategy = source.choice(list(Strategy))
        two = source.sample(singles[strategy], 2)
        yield f"{strategy} {two}", lambda strategy=strategy, two=two: run(strategy, two)  # type: ignore[misc]


KINDS: Final = {"seeds": seeds, "crowds": crowds, "pairs": pairs}


def main(kind: str, first: str, seconds: str) -> int:
    """Play until the time is over; return 1 where anything was violated."""
    began, used, count, violations = time.monotonic(), time.process_time(), 0, 0
    for name, play in KINDS[kind](int(first)):
        if time.monotonic() - began > float(seconds):
            break
        count += 1
        try:
            play()
        except AssertionError as violation:
            violations += 1
            print(f"{name}: {violation}", flush=True)
    cpu, wall = time.process_time() - used, time.monotonic() - began
    rates = f"{count / wall:.0f} a second, {count / cpu:.0f} a second of processor time"
    print(f"{kind} from {first}: {count} runs in {wall:.0f} s ({rates}), {violations} violations")
    return min(violations, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
