"""Pacing: what a sink bears is never exceeded, and no wait is longer than it must be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.outbox.pacing import REST_FIRST, Bucket, backoff, rest
from engine.notifier import Pace
from engine.values import SECOND, Instant, Microseconds

BEGAN = Instant(1_767_225_600_000_000)
paces = st.builds(
    Pace,
    per_second=st.floats(0.01, 100.0),
    burst=st.integers(1, 20),
    first=st.integers(1, 60 * SECOND).map(Microseconds),
    longest=st.integers(SECOND, 600 * SECOND).map(Microseconds),
    is_exponential=st.booleans(),
)
jitters = st.floats(0, 1, exclude_max=True)
durations = st.integers(0, 86_400 * SECOND).map(Microseconds)


def sends(bucket: Bucket, begins: int, gaps: list[int]) -> list[int]:
    """Return when messages go that come with these gaps, each waiting as long as it is told."""
    now, found = begins, []
    for gap in gaps:
        now += gap
        now += bucket.take(Instant(now))
        found.append(now)
    return found


@given(paces, st.lists(st.integers(0, 5 * SECOND), max_size=60), st.none() | st.integers(0, 100 * SECOND))
def test_in_no_time_does_a_sink_get_more_than_it_bears(pace: Pace, gaps: list[int], ago: int | None) -> None:
    """In any window: a burst, and what the window earns; whatever the process before it sent last."""
    last = None if ago is None else Instant(BEGAN - ago)
    found = sends(Bucket(pace, BEGAN, last), BEGAN, gaps)
    for first, at in enumerate(found):
        for count, later in enumerate(found[first:], start=1):
            # A wait is whole microseconds, so each message may be one early.
            assert count <= pace.burst + (later - at + count) / SECOND * pace.per_second + 1e-6


@given(paces, st.integers(1, 20))
def test_a_burst_is_not_waited_for(pace: Pace, count: int) -> None:
    waits = [Bucket(pace, BEGAN, None).take(BEGAN)]
    assert waits == [0]
    found = sends(Bucket(pace, BEGAN, None), BEGAN, [0] * min(count, pace.burst))
    assert set(found) == {BEGAN}


@given(paces)
def test_a_new_process_does_not_begin_with_a_burst_behind_the_last_message(pace: Pace) -> None:
    assert Bucket(pace, BEGAN, BEGAN).take(BEGAN) == int(1 / pace.per_second * SECOND)


def test_a_clock_that_is_set_back_makes_no_message_wait_for_it() -> None:
    """The bucket counts from the latest time that it has seen."""
    bucket = Bucket(Pace(per_second=1.0, burst=1), BEGAN, None)
    bucket.take(BEGAN)
    assert bucket.take(Instant(BEGAN - 3_600 * SECOND)) == SECOND


@given(paces, st.integers(1, 50), durations, jitters)
def test_a_backoff_is_as_long_as_was_asked_for_and_no_longer_than_allowed(
    pace: Pace, number: int, asked: Microseconds, jitter: float
) -> None:
    wait = backoff(pace, number, asked=asked, jitter=jitter)
    assert min(asked, pace.longest) <= wait <= pace.longest or wait <= pace.first
    assert wait <= max(pace.longest, pace.first)


@given(paces, st.integers(1, 19), jitters)
def test_a_backoff_doubles_where_the_channel_does_not_say_otherwise(pace: Pace, number: int, jitter: float) -> None:
    one = backoff(pace, number, asked=Microseconds(0), jitter=jitter)
    two = backoff(pace, number + 1, asked=Microseconds(0), jitter=jitter)
    if not pace.is_exponential:
        assert one == two
    elif pace.first * 2**number <= pace.longest:
        assert abs(two - 2 * one) <= 2


@given(paces, st.integers(0, 50), durations, jitters)
def test_a_rest_is_as_long_as_was_asked_for_and_no_longer_than_allowed(
    pace: Pace, failures: int, asked: Microseconds, jitter: float
) -> None:
    pause = rest(pace, failures, asked=asked, jitter=jitter)
    assert min(asked, pace.longest) <= pause <= pace.longest
    assert pause >= int(min(REST_FIRST, pace.longest) * 0.8)


@given(st.integers(0, 10), jitters)
def test_rests_grow_up_to_the_longest(failures: int, jitter: float) -> None:
    pace = Pace()
    one = rest(pace, failures, asked=Microseconds(0), jitter=jitter)
    two = rest(pace, failures + 1, asked=Microseconds(0), jitter=jitter)
    assert one <= two <= pace.longest
