"""The campaign of all pairs leaves none out and plays none twice, however it is split over processes."""

from __future__ import annotations

import pytest

from adapters.simulation.faults import Fault, kinds_at
from adapters.simulation.world import run
from engine.plan import Strategy
from tests.simulation.campaign import main, numbers, part_of
from tests.simulation.pairs import LATE, Pairs, seconds_after, singles

FIRST = Fault("target.verify", 2, "query", late=LATE)
REJECTED = Fault("store.stage", 1, "rejected", late=LATE)


def test_a_second_fault_is_every_one_at_every_later_call() -> None:
    """Those that a calm run makes, and those that are made because of the first: going back is never calm."""
    seconds = seconds_after(Strategy.DUAL, FIRST)
    world = run(Strategy.DUAL, [FIRST])
    found = [seconds.at(number) for number in range(seconds.size())]
    assert {first for first, _ in found} == {FIRST}
    assert {(second.call, second.nth, second.kind) for _, second in found} == {
        (call, nth, kind)
        for call, made in world.faultable.items()
        for nth in range(world.used[FIRST][call] + 1, made + 1)
        for kind in kinds_at(call, Strategy.DUAL)
    }
    with pytest.raises(IndexError):
        seconds.at(seconds.size())


def test_a_first_fault_may_lead_where_no_calm_run_comes() -> None:
    """Two rotations verify twice; where one of them fails, it is tried once more, and that may fail as well."""
    assert run(Strategy.DUAL).faultable["target.verify"] == 2
    (verifying,) = [each for each in seconds_after(Strategy.DUAL, FIRST).calls if each.call == "target.verify"]
    assert (verifying.before, verifying.made) == (2, 3)


def test_every_number_is_another_pair() -> None:
    """All of them, of two strategies; and in the first hundredth there are some of each."""
    both = (Strategy.DUAL, Strategy.SINGLE)
    seconds = [seconds_after(strategy, first) for strategy in both for first in (FIRST, REJECTED)]
    pairs = Pairs(seconds)
    found = [pairs.at(number) for number in range(len(pairs))]
    assert len(set(found)) == len(pairs) == sum(each.size() for each in seconds)
    assert {(strategy, first) for strategy, (first, _) in found[: len(found) // 100]} == {
        (each.strategy, each.first) for each in seconds
    }


def test_parts_together_are_all_wherever_each_goes_on() -> None:
    split = [numbers(first, 100, part, 3) for first, part in ((7, 1), (10, 2), (11, 3))]
    assert sorted(number for part in split for number in part) == list(range(9, 100))
    assert next(numbers(7, None, *part_of("1/1"))) == 7
    with pytest.raises(ValueError, match="4/3"):
        part_of("4/3")


def test_a_campaign_stops_after_a_count_and_says_what_it_played(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seeds", "0", "--count", "3", "--part", "2/2"]) == 0
    assert capsys.readouterr().out.startswith("3 runs in ")


def test_there_are_hundreds_of_single_faults() -> None:
    assert min(len(singles(strategy)) for strategy in Strategy) > 1000
