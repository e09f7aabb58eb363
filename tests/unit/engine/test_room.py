"""A login that holds two values has no room for a third: that is told before a rotation begins."""

from __future__ import annotations

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import Fault, MemoryOptions
from engine.errors import NoRoom
from engine.machine import State
from engine.plan import Strategy
from engine.rotation import Rotation
from engine.sightings import require_room
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench

FAILS = MemoryOptions(faults=(Fault.FAIL_VERIFICATION,))


def failed(bench: Bench) -> Rotation:
    """Have a rotation fail that is not taken back by itself."""
    ended = bench.rotate(rollback_automatic=False)
    assert ended.state is State.FAILED
    return ended


def require(bench: Bench, values_max: int | None = 2) -> None:
    """Require room for one more value."""
    require_room(bench.world(), SERVICE, ENVIRONMENT, bench.plan(), values_max=values_max)


def test_what_a_failed_rotation_left_takes_the_room() -> None:
    """Both versions are named, and nothing is recorded; taken back, there is room again."""
    bench = Bench(Strategy.DUAL, options=FAILS)
    ended = failed(bench)
    head = bench.log.head()
    with pytest.raises(NoRoom, match=f"the target holds {FIRST} and {ended.candidate}") as caught:
        require(bench)
    assert "keyturn rollback app-db" in caught.value.advice
    assert bench.log.head() == head
    bench.operations().go_back(ended.id, command="rollback")
    assert bench.drive(ended.id).state is State.ROLLED_BACK
    require(bench)


def test_several_that_failed_are_all_named() -> None:
    """Three values fit; the second that failed takes the last of them."""
    bench = Bench(Strategy.DUAL, options=MemoryOptions(values_max=3, faults=(Fault.FAIL_VERIFICATION,)))
    first = failed(bench)
    require(bench, 3)
    second = failed(bench)
    with pytest.raises(NoRoom, match=f"{FIRST} and {first.candidate} and {second.candidate}"):
        require(bench, 3)


def test_a_value_of_before_that_nobody_knows_takes_room_too() -> None:
    bench = Bench(Strategy.DUAL, known=False, options=FAILS)
    ended = failed(bench)
    with pytest.raises(NoRoom, match=f"{ended.candidate} and a value of before that no store holds"):
        require(bench)


def test_a_version_that_the_store_lost_may_take_room() -> None:
    """It cannot be seen; taking the rotation back makes room in any case."""
    bench = Bench(Strategy.DUAL, options=FAILS)
    ended = failed(bench)
    old, store = bench.value(FIRST), MemoryStore()
    store.stage(PATH, FIRST, old)
    store.promote(PATH, FIRST, old, expected=None)
    bench.store = store
    with pytest.raises(NoRoom, match=rf"{ended.candidate} \(lost\)"):
        require(bench)


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.ALTERNATING, Strategy.ISSUE])
def test_elsewhere_nothing_is_looked_at(strategy: Strategy) -> None:
    """A value replaces another one there, or there is room for any number."""
    bench = Bench(strategy, options=FAILS)
    failed(bench)
    bench.calls.clear()
    require(bench)
    assert bench.asked("target", "store") == []


def test_while_all_is_well_nothing_is_looked_at() -> None:
    """Neither after a rotation that completed, nor where any number of values fits."""
    bench = Bench(Strategy.DUAL)
    require(bench)
    assert bench.rotate().state is State.COMPLETED
    bench.calls.clear()
    require(bench)
    require(bench, None)
    assert bench.asked("target", "store") == []
