"""Runs that a number stands for: the same seed is the same run, so that a violation can be looked at again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from adapters.simulation.faults import CALLS, WRITES, Fault
from adapters.simulation.hands import Deed, Hand
from adapters.simulation.world import Simulation, run
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine.plan import Strategy


def handled(
    seed: int, *, options: MemoryOptions | None = None, around: Callable[[MemoryTarget], Any] = lambda target: target
) -> Simulation:
    """Return the run of a seed in which people do one or two things by hand, under up to three faults."""
    source = random.Random(seed)
    strategy = source.choice(list(Strategy))
    deeds = [Deed(source.randint(1, 20), source.choice(list(Hand))) for _ in range(source.randint(1, 2))]
    calls = [call for call in sorted(CALLS) if call not in WRITES]
    drawn = [source.choice(calls) for _ in range(source.randint(0, 3))]
    faults = [Fault(call, source.randint(1, 10), source.choice(CALLS[call])) for call in drawn]
    if source.random() < 0.5:
        faults.append(Fault("log.append", source.randint(8, 20), "abort"))
    try:
        return run(
            strategy,
            faults,
            deeds=deeds,
            takeover=source.random() < 0.3,
            options=options,
            around=around,
            seed=seed,
        )
    except AssertionError as violation:
        violation.add_note(f"seed {seed}: {strategy}, {deeds}, {faults}")
        raise


def seeded(seed: int, *, options: MemoryOptions | None = None) -> Simulation:
    """Return the run of a seed: one to three rotations under up to twelve faults; a violation names the seed."""
    source = random.Random(seed)
    strategy = source.choice(list(Strategy))
    faults = []
    for _ in range(source.randint(1, 12)):
        call = source.choice(sorted(CALLS))
        nth = source.randint(1, 30 if call == "log.append" else 10)
        faults.append(Fault(call, nth, source.choice(CALLS[call]), source.choice([0.01, 1.0, 2.5, 4.9])))
    if options is not None and options.shows_restorable and strategy is Strategy.ISSUE:
        options = None  # it shows what it made once, and takes nothing back
    try:
        return run(
            strategy,
            faults,
            rotations_wanted=source.randint(1, 3),
            takeover=source.random() < 0.3,
            fresh=source.random() < 0.2,
            automatic=source.random() < 0.8,
            options=options,
            seed=seed,
        )
    except AssertionError as violation:
        violation.add_note(f"seed {seed}: {strategy}, {faults}")
        raise
