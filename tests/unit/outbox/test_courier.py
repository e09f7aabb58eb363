"""A courier takes what waits to its sink, in order, once; whatever the sink answers, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from adapters.outbox.courier import GIVE_UP_AFTER, Rest
from adapters.outbox.pacing import REST_FIRST
from engine import channel_events as c
from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain
from engine.notices import Notice
from engine.notifier import Pace
from engine.values import SECOND, Instant, Microseconds, Secret
from projections.notifications.tables import DeliveryState
from tests.unit.outbox.bench import DAY, HOUR, Bench, ContestedLog


def fast(**more: Any) -> Pace:
    return Pace(per_second=1_000.0, burst=1_000, **more)


def error(kind: type[PortError] = Unavailable, **more: Any) -> PortError:
    return kind(what="asking the sink", why="as planned", **more)


def test_everything_is_delivered_once_and_in_order(bench: Bench) -> None:
    failures = bench.fail(20)
    assert bench.run() is Rest.EMPTY
    assert bench.sink.delivered == failures
    bench.restarted()
    assert bench.run() is Rest.EMPTY
    assert bench.sink.delivered == failures
    assert bench.channel.delivered == 20


def test_what_comes_while_a_courier_works_is_delivered_in_its_turn(bench: Bench) -> None:
    first = bench.fail(2)
    more: list[int] = []

    def meanwhile() -> str:
        more.extend(bench.fail(2))
        return "r"

    bench.sink.answers.append(meanwhile)
    bench.run()
    assert bench.sink.delivered == [*first, *more]


def test_a_message_is_tried_again_with_growing_delays(bench: Bench) -> None:
    """Half of each delay is left to chance, so that couriers do not come all at once."""
    (failure,) = bench.fail()
    bench.sink.plan(error(), error(), None)
    bench.run()
    first, second, third = (sent.at for sent in bench.sink.tries)
    assert SECOND // 2 <= second - first <= SECOND
    assert SECOND <= third - second <= 2 * SECOND
    assert bench.sink.delivered == [failure]
    (delivered,) = bench.events(c.NotificationDelivered)
    assert delivered == c.NotificationDelivered(bench.name, (failure,), 3, "planned")


def test_every_try_has_the_key_of_the_message(bench: Bench) -> None:
    """Also those of another process, after an answer that was lost."""
    bench.fail(2)
    bench.sink.plan(error(Uncertain), error(Uncertain), error())
    assert bench.run() is Rest.LATER
    bench.restarted()
    bench.run_on(HOUR // SECOND)
    keys = [sent.key for sent in bench.sink.tries]
    assert len(set(keys[:4])) == 1
    assert len(set(keys)) == 2
    assert keys[0].startswith("kt_")


def test_keys_differ_between_channels_and_between_logs(make_bench: Callable[..., Bench]) -> None:
    keys = set()
    for name, reason in (("ops-1", "x"), ("ops-2", "x"), ("ops-1", "y")):
        bench = make_bench(name=name)
        bench.fail(text=reason)
        bench.run()
        keys |= {sent.key for sent in bench.sink.taken}
    assert len(keys) == 3


def test_the_sink_is_given_the_time_that_it_asks_for(bench: Bench) -> None:
    bench.fail()
    bench.sink.plan(error(Throttled, after=90 * SECOND), None)
    bench.run()
    bench.restarted()
    bench.run_on(200)
    first, second = (sent.at for sent in bench.sink.tries)
    assert second - first >= 90 * SECOND


def test_the_sink_is_not_given_a_day_because_it_asks_for_one(bench: Bench) -> None:
    """`Pace.longest` is the most."""
    bench.fail()
    bench.sink.plan(error(Throttled, after=DAY), None)
    bench.run_on(400)
    first, second = (sent.at for sent in bench.sink.tries)
    assert bench.sink.pace.longest <= second - first <= bench.sink.pace.longest + SECOND


def test_what_the_sink_asks_for_counts_after_the_last_try_as_well(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(fast(attempts=1))
    bench.fail()
    bench.sink.plan(error(Throttled, after=200 * SECOND))
    bench.run()
    assert bench.channel.not_before >= bench.clock.wall + 200 * SECOND


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_a_sink_that_is_not_there_is_left_alone(make_bench: Callable[..., Bench], attempts: int) -> None:
    """After the tries that its pace allows; then one message looks whether it is back, after rests that grow."""
    bench = make_bench(fast(attempts=attempts))
    bench.fail(3)
    bench.sink.down = error
    assert bench.run() is Rest.LATER
    assert len(bench.sink.tries) == attempts
    assert REST_FIRST * 0.8 <= bench.channel.not_before - bench.clock.wall <= REST_FIRST
    bench.run_on(DAY // SECOND)
    assert len({sent.key for sent in bench.sink.tries}) == 1
    probes = [sent.at for sent in bench.sink.tries][attempts - 1 :]
    gaps = [after - before for before, after in pairwise(probes)]
    assert all(gap <= bench.sink.pace.longest for gap in gaps)
    assert gaps[1] > gaps[0]
    assert gaps[-1] >= bench.sink.pace.longest * 0.8


def test_a_sink_that_is_back_is_given_everything(bench: Bench) -> None:
    failures = bench.fail(5)
    bench.sink.plan(error(), error(), error())
    bench.run_on(60)
    assert bench.sink.delivered == failures
    assert (bench.channel.failures, bench.channel.cause) == (0, None)


def test_a_message_that_is_refused_is_given_up_and_the_next_is_sent(bench: Bench) -> None:
    one, two = bench.fail(2)
    bench.sink.plan(error(Rejected))
    bench.run()
    assert bench.sink.delivered == [two]
    (given_up,) = bench.events(c.NotificationGivenUp)
    assert (given_up.positions, given_up.attempts, given_up.cause.kind) == ((one,), 1, "rejected")
    bench.note(c.NotificationsRequeued(bench.name, (one,)))
    bench.run()
    assert bench.sink.delivered == [two, one]


def test_a_message_that_cannot_be_rendered_is_given_up_untried(bench: Bench) -> None:
    (failure,) = bench.fail()

    def refuse(notices: Sequence[Notice]) -> None:
        raise error(Rejected)

    bench.sink.rendering = refuse
    bench.run()
    (given_up,) = bench.events(c.NotificationGivenUp)
    assert (given_up.positions, given_up.attempts, bench.sink.tries) == ((failure,), 0, [])


@pytest.mark.slow
def test_a_message_is_given_up_after_a_week(bench: Bench) -> None:
    (failure,) = bench.fail()
    bench.sink.down = error
    bench.run_on(GIVE_UP_AFTER // SECOND - HOUR // SECOND)
    assert bench.events(c.NotificationGivenUp) == []
    bench.run_on(2 * HOUR // SECOND)
    (given_up,) = bench.events(c.NotificationGivenUp)
    assert given_up.positions == (failure,)
    assert bench.run() is Rest.EMPTY


def test_a_sink_that_is_gone_disables_the_channel_and_loses_nothing(bench: Bench) -> None:
    """What waits is delivered when a person enabled it."""
    failures = bench.fail(2)
    bench.sink.plan(error(SinkGone))
    assert bench.run() is Rest.DISABLED
    failures += bench.fail(2)
    bench.restarted()
    assert bench.run() is Rest.DISABLED
    assert len(bench.sink.tries) == 1
    bench.note(c.ChannelEnabled(bench.name))
    bench.run()
    assert bench.sink.delivered == failures


def test_a_channel_that_breaks_ends_its_message_and_tells_no_text(bench: Bench) -> None:
    """A plugin may raise anything; sending may have been done, so it is tried again under the same key."""
    one, two = bench.fail(2)

    def breaks() -> str:
        raise ValueError("canary-in-the-text")

    bench.sink.answers.append(breaks)
    bench.run()
    assert bench.sink.delivered == [one, two]
    assert bench.sink.tries[0].key == bench.sink.tries[1].key

    def broken(notices: Sequence[Notice]) -> None:
        raise KeyError("canary-in-the-text")

    bench.sink.rendering = broken
    bench.fail()
    bench.run()
    (given_up,) = bench.events(c.NotificationGivenUp)
    assert "KeyError" in given_up.cause.message
    assert "canary" not in str(given_up)


def test_later_messages_of_a_rotation_join_the_first(bench: Bench) -> None:
    bench.fail(2)
    bench.run()
    assert [sent.thread for sent in bench.sink.taken] == ["", ""]
    bench.note(c.NotificationsRequeued(bench.name, tuple(bench.sink.delivered)))
    bench.run()
    assert [sent.thread for sent in bench.sink.taken[2:]] == ["r1", "r2"]


def test_whoever_is_overtaken_looks_again(bench: Bench) -> None:
    """The message was sent and not recorded, so it is sent again, under its key."""
    (failure,) = bench.fail()
    bench.courier.log = ContestedLog(bench.log, 1)
    assert bench.run() is Rest.EMPTY
    assert bench.sink.delivered == [failure, failure]
    assert len({sent.key for sent in bench.sink.taken}) == 1
    assert bench.channel.delivered == 1


def test_whoever_is_overtaken_while_it_drops_looks_again(bench: Bench) -> None:
    bench.fail(101)
    bench.courier.log = ContestedLog(bench.log, 1)
    assert bench.run() is Rest.LATER
    assert bench.channel.dropped == 1


def test_what_a_person_requeues_meanwhile_is_sent(bench: Bench) -> None:
    one, two = bench.fail(2)
    bench.sink.plan(error(Rejected))

    def meanwhile() -> str:
        bench.note(c.NotificationsRequeued(bench.name, (one,)))
        return "r"

    bench.sink.answers.append(meanwhile)
    bench.run()
    assert bench.sink.delivered == [two, one, two]
    assert len({sent.key for sent in bench.sink.taken}) == 2


def test_a_courier_stops_in_time(bench: Bench) -> None:
    """A try that there is no time for is left to the next process, with nothing recorded."""
    bench.fail()
    bench.sink.plan(error(), error())
    began = bench.clock.wall
    assert bench.run(1.5) is Rest.STOPPED
    assert bench.clock.wall - began <= 1.5 * SECOND
    assert len(bench.sink.tries) == 2
    assert bench.events(c.NotificationPostponed) == []
    bench.restarted()
    bench.run()
    assert len(bench.sink.delivered) == 1


def test_a_courier_that_is_told_to_stop_stops_between_two_messages(bench: Bench) -> None:
    failures = bench.fail(3)
    bench.courier.run(until=Instant(2**62), stopped=lambda: len(bench.sink.taken) == 2)
    assert bench.sink.delivered == failures[:2]


def test_a_message_with_a_secret_is_blocked_and_the_next_is_sent(bench: Bench) -> None:
    bench.known = {"app": [("the current value of app", Secret("canary-9f2b"))]}
    one, two = bench.fail(text="login with canary-9f2b failed") + bench.fail()
    bench.run()
    assert bench.sink.delivered == [two]
    (blocked,) = bench.events(c.NotificationBlocked)
    assert blocked.positions == (one,)
    assert "the current value of app" in blocked.cause.message
    assert "canary" not in str(blocked)
    (state,) = [each.state for each in bench.deliveries() if each.position == one]
    assert state is DeliveryState.BLOCKED


def test_the_secrets_of_the_service_that_is_told_of_are_looked_for(bench: Bench) -> None:
    """In a digest, those of every service in it."""
    bench.known = {"other": [("the current value of other", Secret("canary-9f2b"))]}
    bench.fail(service="app", text="canary-9f2b")
    bench.run()
    assert len(bench.sink.taken) == 1
    bench.fail(service="other", text="canary-9f2b")
    bench.run()
    assert len(bench.sink.taken) == 1


def test_a_service_that_does_not_use_the_channel_is_not_told_there(bench: Bench) -> None:
    (failure,) = bench.fail() + bench.fail(service="stranger")[:0]
    bench.fail(service="stranger")
    bench.run()
    assert bench.sink.delivered == [failure]


def test_delays_do_not_grow_where_the_channel_says_so(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(fast(attempts=4, first=Microseconds(10 * SECOND), is_exponential=False))
    bench.fail()
    bench.sink.plan(error(), error(), error(), None)
    bench.run()
    at = [sent.at for sent in bench.sink.tries]
    assert all(5 * SECOND <= after - before <= 10 * SECOND for before, after in pairwise(at))
