"""Percentiles are by nearest rank, over the last answers."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.health.latency import Latencies, percentile


@pytest.mark.parametrize(("rank", "expected"), [(50, 10), (95, 19), (99, 20), (100, 20), (0, 1)])
def test_of_twenty_answers_one_may_be_slow(rank: int, expected: int) -> None:
    assert percentile(list(range(20, 0, -1)), rank) == expected


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.integers(1, 100))
def test_as_many_values_as_asked_for_do_not_exceed_it(values: list[float], rank: int) -> None:
    found = percentile(values, rank)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= rank * len(values)
    assert 100 * sum(value < found for value in values) < rank * len(values)


def test_only_the_window_counts() -> None:
    latencies = Latencies(3)
    times = iter(chain.from_iterable((0.0, float(length)) for length in (9, 1, 2, 3)))
    latencies.take(lambda: None, count=4, until=100, now=lambda: next(times))
    assert len(latencies) == 3
    assert latencies.percentile(100) == 3.0


def test_nothing_is_begun_when_the_time_is_over() -> None:
    """One answer is taken anyway, so that there is something to judge."""
    ticks = iter(range(100))
    latencies = Latencies(50)
    latencies.take(lambda: None, count=50, until=5, now=lambda: float(next(ticks)))
    assert len(latencies) == 3
    latencies.take(lambda: None, count=50, until=0, now=lambda: float(next(ticks)))
    assert len(latencies) == 4
