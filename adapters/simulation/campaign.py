"""Many runs of one subject, one seed after another, and what they add up to; on several cores where that is wanted.

Rule: what a run adds depends on its seed alone, and what all add up to on no order: any number of cores finds the same.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

import msgspec

from adapters.simulation.coverage import EFFECT_FAULTS, REACHABLE
from adapters.simulation.scenario import Played, play
from adapters.simulation.subject import Subject
from adapters.simulation.trace import Happening
from engine import events as e
from engine.machine import State

_BATCH: Final = 25
"""Runs between two reports of how far it is: a tenth of a second."""


class Violated(msgspec.Struct, frozen=True, order=True):
    """A run in which an invariant did not hold."""

    seed: int
    invariant: str
    message: str


class Tally(msgspec.Struct, kw_only=True):
    """What runs add up to."""

    runs: int = 0
    endings: dict[str, int] = {}
    """How many rotations ended in each state, or rested in it until somebody acted."""
    transitions: set[tuple[str, str]] = set()
    """State and event."""
    faults: set[tuple[str, str, str]] = set()
    """Effect, call and kind."""
    violated: list[Violated] = []
    locked_out: int = 0
    """The longest time in which what the store calls current was refused, in microseconds."""

    def add(self, other: Tally) -> None:
        """Add what other runs found."""
        self.runs += other.runs
        for ending, count in other.endings.items():
            self.endings[ending] = self.endings.get(ending, 0) + count
        self.transitions |= other.transitions
        self.faults |= other.faults
        self.locked_out = max(self.locked_out, other.locked_out)
        self.violated = sorted([*self.violated, *other.violated])


TRANSITIONS: Final = len(REACHABLE)
"""Pairs of state and event that the code leads to."""
FAULTS: Final = len(EFFECT_FAULTS)
"""Faults in the effects that make the call."""


def tally_of(played: Played) -> Tally:
    """Return what one run adds."""
    world = played.world
    endings: dict[str, int] = {}
    for rotation in world.fold.values():
        endings[rotation.state] = endings.get(rotation.state, 0) + 1
    bodies = (recorded.fact.body for recorded in world.log.after(0, limit=world.log.head()))
    if rested := sum(isinstance(body, e.RollbackFailed) for body in bodies):
        endings[State.ROLLBACK_FAILED] = rested
    found = Violated(played.scenario.seed, played.invariant, played.message) if played.invariant else None
    return Tally(
        runs=1,
        endings=endings,
        transitions={(state.value, event) for state, event in world.pairs},
        faults={(step.detail, step.call, step.name) for step in world.trace if step.kind is Happening.FAULT},
        violated=[found] if found else [],
        locked_out=played.locked_out,
    )


def batch(subject: Subject, seeds: range) -> Tally:
    """Play the scenarios of some seeds, and return what they add up to."""
    tally = Tally()
    for seed in seeds:
        tally.add(tally_of(play(subject.scenario(seed))))
    return tally


def campaign(subject: Subject, seeds: range, *, jobs: int = 1) -> Generator[Tally, None, None]:
    """Play the scenarios of all seeds, and yield what each batch adds.

    Closing it, as an interrupt does, ends what is still to be played.
    """
    batches = [seeds[start : start + _BATCH] for start in range(0, len(seeds), _BATCH)]
    if jobs == 1:
        yield from (batch(subject, some) for some in batches)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent)
    try:
        yield from (each.result() for each in [pool.submit(batch, subject, some) for some in batches])
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
