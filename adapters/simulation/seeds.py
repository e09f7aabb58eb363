"""Scenarios that a number stands for: the same seed is the same run, so that a violation can be looked at again.

Rule: few faults often, many sometimes: a mistake is found by many runs of few faults, and needs a short story.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from adapters.simulation.faults import CALLS, WRITES, Fault, kinds_at
from adapters.simulation.hands import Deed, Hand
from adapters.simulation.scenario import Around, Scenario, play, unguarded
from adapters.simulation.world import Simulation
from adapters.targets.memory_options import MemoryOptions
from engine.plan import Plan, Strategy
from engine.values import SECOND, Microseconds

HANDS: Final = {hand.name.lower(): hand for hand in Hand}
FAILING: Final = tuple(sorted({kind for kinds in CALLS.values() for kind in kinds}))
KINDS: Final = (*FAILING, *HANDS)
"""Every kind of trouble: faults of calls, and what people do by hand."""

_MANY: Final = 12
_COUNTS: Final = ((0, 1), (1, 8), (2, 4), (3, 2), (5, 1), (8, 1), (_MANY, 2))
"""How many faults, and how often so many."""
_IN_A_ROW: Final = (1, 1, 1, 1, 2, 3, 5)
"""Calls that go wrong in a row: a system that is down is so for a while, and a wrong grant for every verification."""
_SHARES: Final = (0.002, 0.2, 0.5, 0.98)
"""When a late effect lands, as shares of the attempt window: at once, soon, later, and at the last moment."""
_ASTRAY: Final = 0.2
"""Runs in which the new version does not work, beside whatever else goes wrong."""
_BY_HAND: Final = 0.1
"""Runs in which people do something by hand; in these only what keyturn itself does is judged."""


def scenario_of(
    seed: int,
    *,
    strategy: Strategy | None = None,
    plan: Plan | None = None,
    options: MemoryOptions | None = None,
    kinds: Sequence[str] = KINDS,
    going_back: bool | None = None,
    refresh: Microseconds | None = None,
) -> Scenario:
    """Return the scenario of a seed, whose trouble is of these kinds.

    Strategy, and whether a rotation goes back by itself, are drawn where they are not given. A policy that somebody
    configured begins with a version that the store holds: what its target shows of others, nobody declares.
    """
    source = random.Random(seed)
    chosen = strategy or (plan.strategy if plan else None) or source.choice(list(Strategy))
    deeds: list[Deed] = []
    hands = [hand for name, hand in HANDS.items() if name in kinds]
    faults = _faults(source, chosen, kinds, late_longest=(plan.attempt_window if plan else 5 * SECOND) / SECOND)
    if source.random() < _ASTRAY:
        faults += _astray(source, chosen, kinds)
    if hands and (not faults or source.random() < _BY_HAND):
        deeds = [Deed(source.randint(1, 20), source.choice(hands)) for _ in range(source.randint(1, 2))]
        faults = [fault for fault in faults if fault.call not in WRITES][:3]
    return Scenario(
        strategy=chosen,
        plan=plan,
        options=options,
        rotations=source.randint(1, 3),
        takeover=source.random() < 0.2 and plan is None,
        fresh=source.random() < 0.1 and plan is None,
        automatic=source.random() < 0.8 if going_back is None else going_back,
        faults=tuple(faults),
        deeds=tuple(deeds),
        refresh=refresh,
        seed=seed,
    )


def _astray(source: random.Random, strategy: Strategy, kinds: Sequence[str]) -> list[Fault]:
    """Have one of the first verifications fail, and those after it, and the way back be no smooth one either."""
    failing = [kind for kind in ("refused", "query", "unknown") if kind in kinds]
    if not failing:
        return []
    kind, first = source.choice(failing), source.randint(1, 3)
    found = [Fault("target.verify", nth, kind) for nth in range(first, first + 3)]
    backward = [kind for kind in kinds_at("target.restore", strategy) if kind in kinds]
    if backward:
        found.append(Fault("target.restore", 1, source.choice(backward)))
    return found


def _faults(source: random.Random, strategy: Strategy, kinds: Sequence[str], *, late_longest: float) -> list[Fault]:
    """Draw what goes wrong at which call; a call is as likely as any other, and so is a kind at it."""
    calls = {call: [kind for kind in kinds_at(call, strategy) if kind in kinds] for call in CALLS}
    able = sorted(call for call, possible in calls.items() if possible)
    if not able:
        return []
    counts, weights = zip(*_COUNTS, strict=True)
    drawn = []
    for _ in range(source.choices(counts, weights)[0]):
        call = source.choice(able)
        nth = source.randint(1, source.randint(1, 30 if call == "log.append" else 10))  # early ones happen more often
        kind, late = source.choice(calls[call]), round(source.choice(_SHARES) * late_longest, 3)
        drawn += [Fault(call, again, kind, late) for again in range(nth, nth + source.choice(_IN_A_ROW))]
    return drawn


def failing(seed: int, *, options: MemoryOptions | None = None) -> Scenario:
    """Return the scenario of a seed in which calls fail, and nobody does anything by hand."""
    scenario = scenario_of(seed, kinds=FAILING, options=options)
    if options is not None and options.shows_restorable and scenario.strategy is Strategy.ISSUE:
        scenario = scenario_of(seed, kinds=FAILING)  # it takes nothing back that it made
    return scenario


def seeded(seed: int, *, options: MemoryOptions | None = None) -> Simulation:
    """Return the world of a seed after its run; raises the violation, which names the seed."""
    return _held(failing(seed, options=options))


def by_hand(seed: int, *, options: MemoryOptions | None = None) -> Scenario:
    """Return the scenario of a seed in which people do one or two things by hand, under few faults."""
    source = random.Random(seed)
    strategy = source.choice(list(Strategy))
    deeds = [Deed(source.randint(1, 20), source.choice(list(Hand))) for _ in range(source.randint(1, 2))]
    calls = [call for call in sorted(CALLS) if call not in WRITES]
    drawn = [source.choice(calls) for _ in range(source.randint(0, 3))]
    faults = [Fault(call, source.randint(1, 10), source.choice(CALLS[call])) for call in drawn]
    if source.random() < 0.5:
        faults.append(Fault("log.append", source.randint(8, 20), "abort"))
    return Scenario(
        strategy=strategy,
        faults=tuple(faults),
        deeds=tuple(deeds),
        takeover=source.random() < 0.3,
        options=options,
        seed=seed,
    )


def handled(seed: int, *, options: MemoryOptions | None = None, around: Around = unguarded) -> Simulation:
    """Return the world after the run of a seed in which people do one or two things by hand; raises the violation."""
    return _held(by_hand(seed, options=options), around=around)


def _held(scenario: Scenario, *, around: Around = unguarded) -> Simulation:
    """Play a scenario in which every invariant is to hold."""
    played = play(scenario, around=around)
    if played.violation is not None:
        played.violation.add_note(f"seed {scenario.seed}: {scenario}")
        raise played.violation
    return played.world
