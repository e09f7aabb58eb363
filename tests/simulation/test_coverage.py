"""Nothing that can happen is left out: every state and event, every fault in every effect and with every strategy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.simulation.coverage import EFFECT_CALLS, REACHABLE, UNREACHED, Ledger
from adapters.simulation.faults import CALLS, KINDS, Fault, kinds_at
from adapters.simulation.jobs import crowd_of
from adapters.simulation.seeds import seeded
from adapters.simulation.situations import append_of
from adapters.simulation.world import Simulation, run
from adapters.targets.memory_options import MemoryOptions
from engine.machine import TABLE, State
from engine.plan import Strategy
from engine.process import Effect

REFUSED = [Fault("target.verify", nth, "refused") for nth in (1, 2)]


def _ways(strategy: Strategy) -> Iterator[tuple[list[Fault], dict[str, Any]]]:
    """Yield what opens the other effects: something goes wrong first, or something is taken over."""
    yield REFUSED, {}
    yield [Fault("target.apply", 1, "lost")], {}
    yield [Fault("target.apply", 1, "crash_after"), Fault("log.append", 4, "abort")], {}
    yield [Fault("place.publish", 1, "rejected")], {}
    yield [Fault("log.append", append_of("MonitoringPassed"), "abort")], {}
    yield [Fault("target.apply", 1, "pause")], {}
    yield [], {"takeover": True, "options": MemoryOptions(shows_restorable=strategy is not Strategy.ISSUE)}


def _second_faults(strategy: Strategy) -> Iterator[Simulation]:
    """Yield a run with every kind of fault at every call of every way."""
    for first, options in _ways(strategy):
        taken = {(fault.call, fault.nth) for fault in first}
        calm = run(strategy, first, rotations_wanted=1, **options)
        for call in CALLS:
            for nth in range(1, calm.faultable[call] + 1):
                if (call, nth) not in taken:
                    for kind in kinds_at(call, strategy):
                        yield run(strategy, [*first, Fault(call, nth, kind, 2.0)], rotations_wanted=1, **options)
    given_up = [Fault("target.restore", nth, "rejected") for nth in range(1, 7)]
    yield run(strategy, [*REFUSED, *given_up], rotations_wanted=1)
    for kind in kinds_at("store.discard", strategy):  # the fifth rotation has an old version to delete
        yield run(strategy, [Fault("store.discard", 1, kind)], rotations_wanted=5)


@pytest.mark.slow
def test_everything_that_can_happen_happens() -> None:
    """Runs of a second fault on every way, then seeds with and without lockout, and crowds."""
    ledger = Ledger()
    for strategy in Strategy:
        for call in CALLS:
            for kind in kinds_at(call, strategy):
                ledger.add(run(strategy, [Fault(call, 1, kind)]))
        for world in _second_faults(strategy):
            ledger.add(world)
    for seed in range(300):
        ledger.add(seeded(seed))
        ledger.add(seeded(seed, options=MemoryOptions(lockout_after=3)))
        ledger.add(crowd_of(seed))
    covered = (ledger.transitions(), ledger.faults(), ledger.strategies())
    print(*covered, f"in {ledger.runs} runs")
    assert [each.missing for each in covered] == [(), (), ()]
    assert ledger.unexpected() == []


def test_every_pair_of_the_table_is_reachable_or_has_a_reason() -> None:
    assert set(UNREACHED) <= set(TABLE)
    assert set(UNREACHED).isdisjoint(REACHABLE)
    assert all(UNREACHED.values())


def test_what_is_seen_although_it_cannot_be_is_told() -> None:
    """A pair of the table of exceptions, and a call that an effect does not make."""
    ledger, world = Ledger(), run(Strategy.SINGLE)
    world.pairs.add((State.SOAKING, "WavePassed"))
    ledger.add(world)
    ledger.effect_faults["verify", "target.apply", "lost"] += 1
    assert ledger.unexpected() == ["soaking WavePassed", "verify target.apply lost"]


def test_every_effect_and_every_kind_has_its_entry() -> None:
    """An effect or a kind that is added fails here until it is said what it calls, and what it means."""
    assert set(EFFECT_CALLS) - {"begin"} == set(Effect) - {Effect.SOAK, Effect.RECALL}
    assert set(KINDS) == {kind for kinds in CALLS.values() for kind in kinds}
