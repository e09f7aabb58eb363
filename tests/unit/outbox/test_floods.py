"""More than a channel holds, and sinks that are away for days: digests, and nothing that does not add up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.outbox.courier import FLOOD, QUEUE_MAX, Rest
from engine import channel_events as c
from engine.errors import Rejected, Unavailable
from engine.notifier import Pace
from engine.values import SECOND, Microseconds
from projections.notifications.tables import DeliveryState
from tests.unit.outbox.bench import DAY, HOUR, Bench

SLOW = Pace(per_second=1.0, burst=1)


def adds_up(bench: Bench, failures: list[int]) -> None:
    """Assert that every failure was delivered or dropped, that digests told of each that was dropped, and in order."""
    settled = {each.position: each.state for each in bench.deliveries()}
    assert sorted(settled) == failures
    dropped = [position for position, state in settled.items() if state is DeliveryState.DROPPED]
    assert sorted([*bench.sink.delivered, *dropped]) == failures
    assert bench.sink.delivered == sorted(bench.sink.delivered)
    assert sum(sent.document["dropped"] for sent in bench.sink.taken) == len(dropped) == bench.channel.dropped
    assert bench.channel.delivered == len(bench.sink.delivered)


def keeps_pace(bench: Bench) -> None:
    """Assert that in no second more was tried than the sink bears."""
    pace = bench.sink.pace
    tries = [sent.at for sent in bench.sink.tries]
    for first, at in enumerate(tries):
        for count, later in enumerate(tries[first:], start=1):
            assert count <= pace.burst + (later - at) / SECOND * pace.per_second + 1e-3


def test_a_hundred_wait_and_what_is_more_drops_the_oldest(bench: Bench) -> None:
    failures = bench.fail(QUEUE_MAX + 20)
    assert bench.run() is Rest.LATER
    (dropped,) = bench.events(c.NotificationsDropped)
    assert list(dropped.positions) == failures[:20]
    bench.run_on(120)
    (digest,) = bench.sink.taken
    assert digest.document["dropped"] == 20
    assert digest.positions == failures[20:]
    adds_up(bench, failures)


def test_a_hundred_are_delivered_one_by_one(bench: Bench) -> None:
    failures = bench.fail(QUEUE_MAX)
    bench.run()
    assert len(bench.sink.taken) == QUEUE_MAX
    adds_up(bench, failures)


def test_after_a_digest_messages_are_single_again(bench: Bench) -> None:
    failures = bench.fail(QUEUE_MAX + 1)
    bench.run_on(120)
    failures += bench.fail(2)
    bench.run()
    assert [len(sent.positions) for sent in bench.sink.taken] == [QUEUE_MAX, 1, 1]
    adds_up(bench, failures)


@pytest.mark.slow
def test_ten_thousand_failures_in_a_minute_are_one_digest(make_bench: Callable[..., Bench]) -> None:
    """A sink that takes one message a second gets a few, and one that tells of all others."""
    bench = make_bench(SLOW)
    failures: list[int] = []
    for _ in range(60):
        failures += bench.fail(10_000 // 60 + 1)
        bench.run_on(1)
    bench.run_on(10 * 60)
    digests = [sent for sent in bench.sink.taken if sent.document["dropped"]]
    assert len(failures) >= 10_000
    assert len(digests) == 1
    assert len(bench.sink.taken) <= 60
    keeps_pace(bench)
    adds_up(bench, failures)


@pytest.mark.slow
def test_a_sink_that_is_away_for_three_days_gets_everything_in_order(bench: Bench) -> None:
    """A failure an hour: fewer than a channel holds, so each by itself."""
    bench.sink.down = lambda: Unavailable(what="asking", why="as planned")
    failures = []
    for _ in range(72):
        failures += bench.fail()
        bench.run_on(HOUR // SECOND)
        bench.restarted()
    tried = len(bench.sink.tries)
    assert tried <= 72 * 3_600 / (0.8 * 300) + 3
    bench.sink.down = lambda: None
    bench.run_on(HOUR // SECOND)
    assert [sent.positions for sent in bench.sink.taken] == [[position] for position in failures]
    adds_up(bench, failures)


@pytest.mark.slow
def test_a_sink_that_is_away_for_three_days_of_trouble_gets_a_digest(bench: Bench) -> None:
    """Ten failures an hour: the newest, and how many there were before."""
    bench.sink.down = lambda: Unavailable(what="asking", why="as planned")
    failures = []
    for _ in range(72):
        failures += bench.fail(10)
        bench.run_on(HOUR // SECOND)
        bench.restarted()
    bench.sink.down = lambda: None
    bench.run_on(HOUR // SECOND)
    assert len(bench.sink.taken) <= 2
    assert bench.sink.delivered[-QUEUE_MAX:] == failures[-QUEUE_MAX:]
    adds_up(bench, failures)


def test_every_try_of_a_digest_is_the_same_message(bench: Bench) -> None:
    """Though more comes meanwhile, and another process tries: what was taken and not answered is not told twice."""
    failures = bench.fail(QUEUE_MAX + 1)
    bench.sink.down = lambda: Unavailable(what="asking", why="as planned")
    bench.run_on(FLOOD // SECOND + 10)
    failures += bench.fail(QUEUE_MAX + 30)
    bench.restarted()
    bench.run_on(600)
    assert len({(sent.key, sent.outgoing.content) for sent in bench.sink.tries}) == 1
    bench.sink.down = lambda: None
    bench.restarted()
    bench.run_on(600)
    assert [len(sent.positions) for sent in bench.sink.taken] == [QUEUE_MAX, QUEUE_MAX]
    adds_up(bench, failures)


def test_a_digest_that_is_refused_is_given_up_and_the_next_tells_what_it_would_have(bench: Bench) -> None:
    bench.fail(QUEUE_MAX + 7)
    bench.sink.plan(Rejected(what="asking", why="as planned"))
    bench.run_on(FLOOD // SECOND + 10)
    assert bench.channel.given_up == QUEUE_MAX
    bench.fail()
    bench.run_on(FLOOD // SECOND + 10)
    (digest,) = bench.sink.taken
    assert digest.document["dropped"] == 7


@pytest.mark.slow
@pytest.mark.parametrize("batch", [HOUR, DAY], ids=["an hour", "a day"])
def test_messages_are_gathered_and_sent_as_one(make_bench: Callable[..., Bench], batch: int) -> None:
    """Once, whatever process sends it and however often it starts anew."""
    bench = make_bench(Pace(per_second=1_000.0, burst=1_000, batch=Microseconds(batch)))
    failures, first = [], bench.clock.wall
    for _ in range(12):
        failures += bench.fail()
        bench.run_on(batch / SECOND / 10)
        bench.restarted()
    one = [sent.positions for sent in bench.sink.taken]
    assert one == [failures[: len(one[0])]]
    assert bench.sink.taken[0].at - first >= batch
    bench.run_on(2 * batch / SECOND)
    assert bench.sink.delivered == failures
    assert len(bench.sink.taken) == 2
    bench.restarted()
    bench.run_on(2 * batch / SECOND)
    assert len(bench.sink.taken) == 2


@pytest.mark.slow
def test_a_flood_does_not_keep_a_daily_digest_from_coming(make_bench: Callable[..., Bench]) -> None:
    """It is sent a day after the first notice that it stands for, dropped or not."""
    bench = make_bench(Pace(per_second=1_000.0, burst=1_000, batch=Microseconds(DAY)))
    failures = []
    for _ in range(40):
        failures += bench.fail(QUEUE_MAX // 2)
        bench.run_on(3 * HOUR / SECOND)
    bench.run_on(3 * DAY / SECOND)
    at = [sent.at for sent in bench.sink.taken]
    assert len(at) >= 4
    assert all(later - earlier <= DAY + 4 * HOUR for earlier, later in pairwise(at))
    adds_up(bench, failures)


def test_a_day_is_not_a_reason_to_forget_in_a_restart(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(Pace(per_second=1_000.0, burst=1_000, batch=Microseconds(DAY)))
    failures = bench.fail(3)
    bench.run_on(HOUR // SECOND)
    bench.restarted()
    assert bench.run() is Rest.LATER
    bench.clock.jump(DAY / SECOND)
    bench.restarted()
    bench.run()
    assert [sent.positions for sent in bench.sink.taken] == [failures]


@pytest.mark.slow
@settings(max_examples=60)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["fail", "work", "die", "down", "up", "requeue"]), st.integers(1, 130), st.floats(1, 4_000)
        ),
        max_size=12,
    ),
    batch=st.sampled_from([0, HOUR]),
)
def test_whatever_happens_it_adds_up(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, float]], batch: int
) -> None:
    """Floods, sinks that come and go, processes that start anew, people who ask again: each failure has one end."""
    bench = Bench(
        tmp_path_factory.mktemp("bench"), Pace(per_second=5.0, burst=3, attempts=2, batch=Microseconds(batch))
    )
    failures: list[int] = []
    for move, count, seconds in moves:
        match move:
            case "fail":
                failures += bench.fail(count)
            case "work":
                bench.run_on(seconds)
            case "die":
                bench.restarted()
            case "down":
                bench.sink.down = lambda: Unavailable(what="asking", why="as planned")
            case "up":
                bench.sink.down = lambda: None
            case _:
                lost = [each.position for each in bench.deliveries() if each.state is DeliveryState.DROPPED]
                if lost:
                    bench.note(c.NotificationsRequeued(bench.name, tuple(lost[:count])))
    bench.sink.down = lambda: None
    for _ in range(5):
        bench.run_on(2 * HOUR / SECOND)
    bench.close()
    bench.restarted()
    settled = {each.position: each.state for each in bench.deliveries()}
    assert sorted(settled) == failures
    delivered = sorted(position for position, state in settled.items() if state is DeliveryState.DELIVERED)
    assert set(settled.values()) <= {DeliveryState.DELIVERED, DeliveryState.DROPPED}
    assert sorted(bench.sink.delivered) == delivered, "told twice, or told and not recorded"
    assert sum(sent.document["dropped"] for sent in bench.sink.taken) == bench.channel.dropped
    assert bench.channel.unsaid == 0
    assert len({sent.key for sent in bench.sink.taken}) == len(bench.sink.taken)
    bench.close()
