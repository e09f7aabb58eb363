"""Runs that a number stands for: the same seed is the same run, so that a violation can be looked at again."""

from __future__ import annotations

import random

from adapters.targets.memory_options import MemoryOptions
from engine.plan import Strategy
from tests.simulation.faults import CALLS, Fault
from tests.simulation.world import Simulation, run


def seeded(seed: int, *, options: MemoryOptions | None = None) -> Simulation:
    """Return the run of a seed: one to three rotations under up to twelve faults; a violation names the seed."""
    source = random.Random(seed)
    strategy = source.choice(list(Strategy))
    faults = []
    for _ in range(source.randint(1, 12)):
        call = source.choice(sorted(CALLS))
        nth = source.randint(1, 30 if call == "log.append" else 10)
        faults.append(Fault(call, nth, source.choice(CALLS[call]), source.choice([0.01, 1.0, 2.5, 4.9])))
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
