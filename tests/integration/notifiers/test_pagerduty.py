"""Events get to PagerDuty, alerts open and resolve, and every answer is judged: against a strict fake."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.notifiers.pagerduty import ADAPTER, PagerDutyOptions
from engine.adapter import Duration, NotifierContext, Reference
from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain
from engine.notices import Notice, NoticeKind
from engine.notifier import Notifier, Outgoing
from engine.values import SECOND, Secret
from tests.sinks.pagerduty import ROUTING_KEY, FakePagerDuty, fake_pagerduty
from tests.sinks.vendor_server import Fault, Reply
from tests.unit.notifiers import drawn

FAILED = drawn.of(NoticeKind.FAILED)
COMPLETED = drawn.of(NoticeKind.COMPLETED)


@pytest.fixture
def fake() -> Iterator[FakePagerDuty]:
    """A service."""
    with fake_pagerduty() as pagerduty:
        yield pagerduty


def notifier(fake: FakePagerDuty, *, key: str = ROUTING_KEY, **options: Any) -> Notifier:
    """Return a channel that sends to the fake."""
    context = NotifierContext(
        "pagerduty", "db", "production", Path(), lambda given: Secret({"env://KEY": key}[str(given)])
    )
    given = {"integration_key": Reference.parse("env://KEY"), "url": fake.server.url, **options}
    built = ADAPTER.build(PagerDutyOptions(**given), context)
    assert not built.validate()
    return built


def tell(channel: Notifier, *notices: Notice, dropped: int = 0) -> str:
    """Render and send; return the receipt."""
    return channel.send(channel.render(notices, key="key", dropped=dropped), key="key")


def test_a_failure_opens_an_alert_and_the_next_success_resolves_it(fake: FakePagerDuty) -> None:
    channel = notifier(fake)
    assert tell(channel, FAILED) == "keyturn/production/db"
    assert fake.open["keyturn/production/db"].severity == "error"
    tell(channel, COMPLETED)
    assert fake.open == {}
    assert [change["summary"] for change in fake.changes] == ["production/db has a new credential"]
    assert fake.dropped == []


def test_one_alert_follows_a_rotation_that_fails_and_goes_back(fake: FakePagerDuty) -> None:
    channel = notifier(fake)
    tell(channel, drawn.of(NoticeKind.ROLLBACK_STARTED))
    tell(channel, drawn.of(NoticeKind.ROLLED_BACK))
    (alert,) = fake.alerts
    assert [payload["severity"] for payload in alert.payloads] == ["error", "warning"]


@pytest.mark.parametrize("kind", NoticeKind)
def test_pagerduty_takes_every_notice_that_it_is_told_of(fake: FakePagerDuty, kind: NoticeKind) -> None:
    channel = notifier(fake, client_url="https://keyturn.example/", service_name="billing", group="payments")
    if channel.supports(drawn.of(kind), selected=True):
        tell(channel, drawn.of(kind))
        assert fake.alerts or fake.changes


@pytest.mark.slow
def test_a_digest_of_a_hundred_is_handed_over_within_the_limit(fake: FakePagerDuty) -> None:
    fake.is_limited = True
    notices = [replace(FAILED, service=f"service-{number}") for number in range(100)]
    tell(notifier(fake), *notices, COMPLETED, dropped=5)
    assert len(fake.open) == 100
    assert len(fake.dropped) == 1
    assert len(fake.changes) == 1


def test_sending_again_after_a_lost_answer_leaves_one_alert(fake: FakePagerDuty) -> None:
    channel = notifier(fake)
    fake.server.order(Fault.LOSE_ANSWER)
    with pytest.raises(Uncertain):
        tell(channel, FAILED)
    tell(channel, FAILED)
    assert len(fake.alerts) == 1


def test_where_the_second_event_is_refused_all_are_sent_again(fake: FakePagerDuty) -> None:
    """A resolve that comes twice is dropped the second time."""
    channel = notifier(fake)
    tell(channel, FAILED)
    outgoing = channel.render([COMPLETED], key="key")
    fake.server.order(Fault.PASS, Reply(503))
    with pytest.raises(Unavailable):
        channel.send(outgoing, key="key")
    channel.send(outgoing, key="key")
    assert (len(fake.open), len(fake.changes), len(fake.dropped)) == (0, 1, 1)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(400, b'{"status": "invalid event", "errors": ["\'payload\' is missing"]}'), Rejected),
        (Reply(400, b"not json"), Rejected),
        (Reply(400, b'["no object"]'), Rejected),
        (Reply(400, b'{"message": "Invalid routing key"}'), SinkGone),
        (Reply(302, b"", {"Location": "/elsewhere"}), Rejected),
        (Reply(413), Rejected),
        (Reply(429), Throttled),
        (Reply(429, b"", {"Retry-After": "12"}), Throttled),
        (Reply(500), Unavailable),
        (Reply(502), Unavailable),
    ],
)
def test_an_answer_is_judged(fake: FakePagerDuty, reply: Reply, expected: type[PortError]) -> None:
    fake.server.order(reply)
    with pytest.raises(PortError) as caught:
        tell(notifier(fake), FAILED)
    assert type(caught.value) is expected
    assert len(fake.server.requests) == 1


def test_the_wait_and_the_reasons_that_pagerduty_gives_are_passed_on(fake: FakePagerDuty) -> None:
    fake.server.order(
        Reply(429, b"", {"Retry-After": "12"}), Reply(400, b'{"message": "No", "errors": ["one", "two"]}')
    )
    with pytest.raises(Throttled) as throttled:
        tell(notifier(fake), FAILED)
    assert throttled.value.after == 12 * SECOND
    with pytest.raises(Rejected, match="No; one; two"):
        tell(notifier(fake), FAILED)


@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.SILENCE])
def test_without_an_answer_nobody_knows(fake: FakePagerDuty, fault: Fault) -> None:
    fake.server.order(fault)
    with pytest.raises(Uncertain):
        tell(notifier(fake, timeout=Duration(SECOND // 10)), FAILED)


@pytest.mark.slow
def test_a_timeout_is_kept_to(fake: FakePagerDuty) -> None:
    """Which is 10 s where nothing else is said."""
    fake.server.order(Fault.SILENCE)
    began = time.monotonic()
    with pytest.raises(Uncertain):
        tell(notifier(fake, timeout=Duration(SECOND // 10)), FAILED)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("region", "host"), [("us", "events.pagerduty.com"), ("eu", "events.eu.pagerduty.com")])
def test_the_region_says_where_events_go(
    fake: FakePagerDuty, region: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "no names here")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Unavailable):
        tell(notifier(fake, url="", region=region), FAILED)
    assert asked == [host]


def test_an_answer_that_breaks_off_has_told_its_status(fake: FakePagerDuty) -> None:
    fake.server.order(Fault.HALF_AN_ANSWER)
    tell(notifier(fake), FAILED)
    assert len(fake.open) == 1


def test_a_server_that_is_not_there_is_unavailable(fake: FakePagerDuty) -> None:
    with pytest.raises(Unavailable):
        tell(notifier(fake, url="http://127.0.0.1:1"), FAILED)


@pytest.mark.parametrize("key", ["", "short", "x" * 33, "-" * 32, "é" * 32])
def test_a_key_that_is_none_is_not_sent(fake: FakePagerDuty, key: str) -> None:
    """A key of the REST API has 20 signs: it would be refused for every message."""
    with pytest.raises(SinkGone, match="32 letters and digits") as caught:
        tell(notifier(fake, key=key), FAILED)
    assert "Events API v2" in caught.value.advice
    assert fake.server.requests == []


def test_a_key_that_is_unknown_there_ends_the_channel(fake: FakePagerDuty) -> None:
    with pytest.raises(SinkGone):
        tell(notifier(fake, key="y" * 32), FAILED)


def test_no_error_shows_the_key(fake: FakePagerDuty) -> None:
    """Not even where the answer repeats what was sent."""
    echo = b'{"message": "Invalid routing key", "errors": ["' + ROUTING_KEY.encode() + b'"]}'
    fake.server.order(Reply(400, echo), Reply(500, echo), Fault.LOSE_REQUEST)
    for _ in range(3):
        with pytest.raises(PortError) as caught:
            tell(notifier(fake), FAILED)
        assert ROUTING_KEY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.fields)


def test_the_key_is_in_the_body_alone(fake: FakePagerDuty) -> None:
    tell(notifier(fake), FAILED)
    (request,) = fake.server.requests
    assert request.json["routing_key"] == ROUTING_KEY
    assert ROUTING_KEY not in request.path + str(request.headers)


def test_an_event_that_is_too_large_is_not_sent(fake: FakePagerDuty) -> None:
    """None that is rendered is, but what was rendered by an older keyturn may be."""
    large = Outgoing(b'{"event_action": "trigger", "x": "' + b"x" * 512_000 + b'"}', "application/json")
    with pytest.raises(Rejected, match="512,000"):
        notifier(fake).send(large, key="key")
    assert fake.server.requests == []
