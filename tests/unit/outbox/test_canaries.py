"""A secret that came into a text: it does not leave on any channel, and people hear that it would have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import channel_events as c
from engine.errors import Rejected, Unavailable
from engine.values import Secret
from tests.unit.outbox.bench import Bench
from tests.unit.outbox.test_gate import SPELLINGS

CANARY = "canary-<5f>&0a9"


@pytest.fixture
def channels(make_bench: Callable[..., Bench]) -> list[Bench]:
    """Two channels of one log; both know the live value of the service."""
    one = make_bench(name="ops-1")
    two = make_bench(name="ops-2", log=one.log)
    for bench in (one, two):
        bench.known = {"app": [("the current value of app", Secret(CANARY))]}
    return [one, two]


def deliver(channels: list[Bench]) -> None:
    for _ in range(3):
        for bench in channels:
            bench.run_on(300)


def leaks(channels: list[Bench]) -> list[bytes]:
    """Return the messages that hold the value in any form; those that a sink refused left as well."""
    left = [sent.outgoing.content for bench in channels for sent in bench.sink.tries]
    return [content for content in left for spell in SPELLINGS.values() if spell(CANARY).strip(b'{}[]"') in content]


@pytest.mark.parametrize("form", SPELLINGS)
def test_a_secret_in_an_error_stays_here_and_is_told_of(channels: list[Bench], form: str) -> None:
    """Each channel blocks the message, and the other is told that it did."""
    one, two = channels
    (failure,) = one.fail(text=f"login failed: {SPELLINGS[form](CANARY).decode()}")
    deliver(channels)
    assert leaks(channels) == []
    assert [event.positions for event in one.events(c.NotificationBlocked)] == [(failure,)]
    assert [event.positions for event in two.events(c.NotificationBlocked)] == [(failure,)]
    (told,) = one.sink.taken
    assert "the current value of app stands in it" in str(told.document)
    assert len(two.sink.taken) == 1


def test_a_secret_in_a_reason_stays_here(channels: list[Bench]) -> None:
    channels[0].fail(reason=f"because of {CANARY}")
    deliver(channels)
    assert leaks(channels) == []
    assert len(channels[0].events(c.NotificationBlocked)) == 1


@pytest.mark.parametrize("kind", [Unavailable, Rejected])
def test_a_secret_in_the_reply_of_a_sink_does_not_leave_by_another(
    channels: list[Bench], kind: type[Unavailable | Rejected]
) -> None:
    """The sink quotes the value: what would tell the others of the reply is blocked as well."""
    one, two = channels
    one.sink.down = lambda: kind(what="asking", why=f"no such login: {CANARY}")
    (failure,) = one.fail()
    deliver(channels)
    assert leaks(channels) == []
    assert two.sink.delivered[0] == failure


def test_where_no_secret_is_everything_leaves(channels: list[Bench]) -> None:
    """That the tests above would see what leaves."""
    one, two = channels
    one.known = two.known = {}
    one.fail(text=CANARY, reason=CANARY)
    deliver(channels)
    assert len(leaks(channels)) >= 2
