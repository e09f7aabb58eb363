"""A guard that has a neighbour which would catch the same holds alone as well; without both, the simulation sees it.

The neighbours are switched off: the target that refuses to retire the last value, the compare-and-set of a store, the
deadline that a target and a store keep by themselves, the look before a rotation is begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import pytest

from adapters.simulation.crowd import Freeze
from adapters.simulation.faults import Fault
from adapters.simulation.invariants import Violation
from adapters.simulation.jobs import crowd_of, crowded, operator, resume, rotate
from adapters.simulation.seeds import handled
from adapters.simulation.shelves import StoreKind
from adapters.simulation.world import run
from adapters.stores.memory import MemoryStore
from adapters.targets.memory import MemoryTarget
from engine.operations import Operations
from engine.plan import Strategy
from engine.values import Instant
from tests.simulation.mutants import MUTANTS, Mutant, Unguarded

NAMED: Final = {mutant.name: mutant for mutant in MUTANTS}
Runs = Callable[[], Iterator[Callable[[], object]]]
"""Runs that come near what is guarded, one after the other."""
FAR: Final = Instant(10**18)


class Timeless:
    """The memory target, but it does not look at the time that it is given."""

    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if name not in ("apply", "retire", "restore"):
            return method
        return lambda *args, **kwargs: method(*args, **{**kwargs, "deadline": FAR})


def _nothing(patch: pytest.MonkeyPatch) -> None:
    """Switch nothing off but what the runs themselves lack."""


def _stores_without_time(patch: pytest.MonkeyPatch) -> None:
    """Let stores write whatever the time is."""
    for name in ("stage", "promote"):
        method = getattr(MemoryStore, name)

        def whenever(self: MemoryStore, *args: Any, method: Any = method, **kwargs: Any) -> None:
            method(self, *args, **{**kwargs, "deadline": None})

        patch.setattr(MemoryStore, name, whenever)


def _begun_unseen(patch: pytest.MonkeyPatch) -> None:
    """Let whoever begins a rotation not look first whether one is open."""
    patch.setattr(Operations, "open_rotation", lambda self, service, environment: None)


def _by_hand() -> Iterator[Callable[[], object]]:
    for seed in range(150):
        yield lambda seed=seed: handled(seed, around=Unguarded)  # type: ignore[misc]


def _late_labels() -> Iterator[Callable[[], object]]:
    """Promotions that land late, and people who take the rotation back meanwhile, at a store that compares nothing."""
    for strategy in Strategy:
        for late in (0.5, 2.0, 4.9):
            for nth in (1, 2):
                for call in ("place.publish", "store.promote", "log.append"):
                    faults = [Fault("store.promote", nth, "late", late)]
                    faults += [Fault(call, at, "abort") for at in ((9, 11, 13) if call == "log.append" else (1, 2, 3))]
                    yield lambda strategy=strategy, faults=faults: run(  # type: ignore[misc]
                        strategy, faults, store=StoreKind.BLIND
                    )


def _frozen() -> Iterator[Callable[[], object]]:
    """Owners that stand still anywhere, for less than a lease and for longer, while somebody takes over."""
    for strategy in (Strategy.SINGLE, Strategy.DUAL, Strategy.ALTERNATING):
        for nth in range(1, 60, 2):
            for seconds in (8, 300):
                yield lambda strategy=strategy, nth=nth, seconds=seconds: crowded(  # type: ignore[misc]
                    strategy,
                    jobs=[rotate, resume, operator(nth)],
                    freezes=[Freeze(0, nth, seconds)],
                    seed=nth,
                    around=Timeless,
                )


def _crowds() -> Iterator[Callable[[], object]]:
    for seed in range(200):
        yield lambda seed=seed: crowd_of(seed)  # type: ignore[misc]


class Guard(NamedTuple):
    """What guards, what else would catch the same, and runs that come near it."""

    mutant: Mutant
    """The engine without the guard."""
    neighbour: str
    off: Callable[[pytest.MonkeyPatch], None]
    runs: Runs


GUARDS: Final = {
    "sees the current version before it retires": Guard(
        NAMED["retires without seeing the current one first"], "the target refuses", _nothing, _by_hand
    ),
    "waits for what the stores were told": Guard(
        NAMED["does not wait for the stores"], "the store compares before it sets", _stores_without_time, _late_labels
    ),
    "asks nothing once it was taken over, or too late": Guard(
        NAMED["asks though it was taken over"], "targets and stores keep deadlines", _stores_without_time, _frozen
    ),
    "begins no second rotation": Guard(
        NAMED["begins beside an open rotation"], "whoever begins one looks first", _begun_unseen, _crowds
    ),
}
BEGINS: Final = "begins no second rotation"


def _violations(guard: Guard) -> list[str]:
    """Return what is violated in the runs."""
    found = []
    for play in guard.runs():
        try:
            play()
        except Violation as violation:
            found.append(str(violation))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_holds_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its neighbour switched off: nothing that it guards against comes through."""
    guard = GUARDS[name]
    guard.off(monkeypatch)
    seen = [each for each in _violations(guard) if name != BEGINS or each.startswith("I4")]
    assert seen == []


@pytest.mark.slow
@pytest.mark.parametrize("name", GUARDS)
def test_without_a_guard_and_its_neighbour_the_runs_show_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or they would prove nothing of the guard."""
    guard = GUARDS[name]
    guard.off(monkeypatch)
    guard.mutant.mutate(monkeypatch)
    seen = _violations(guard)
    print(f"{name} (besides: {guard.neighbour}): {len(seen)} violations without both, the first: {seen[:1]}")
    assert any(each.startswith(guard.mutant.seen) for each in seen)
