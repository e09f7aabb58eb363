"""A webhook against a receiver that verifies what it gets: every option arrives, every answer has its meaning."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.http_auth import Auth
from adapters.notifiers.webhook import ADAPTER, ANSWER_BYTES_MAX
from adapters.notifiers.webhook_options import WebhookOptions
from engine.adapter import Duration, NotifierContext
from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain
from engine.notices import NoticeKind
from engine.values import SECOND, Microseconds
from tests.sinks.webhook import HOST, Answer, Fault, Received, Receiver, certified, counted, receiving, refusal
from tests.unit.notifiers.drawn import of
from tests.unit.notifiers.webhook_bench import KEY, PREVIOUS, SECRETS, SIGNING, bearer, reference, secret, webhook

HERE: dict[str, Any] = {"allow_http": True, "allow_private": ("127.0.0.0/8",)}
NOTICE = of(NoticeKind.FAILED)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(secrets=[SIGNING], host=HOST) as found:
        yield found


def sent(receiver: Receiver, **options: Any) -> Received:
    """Send a message to the receiver, signed where nothing else is said, and return it as it came."""
    given = {"signing_secret": reference("SIGNING"), **HERE, **options}
    hook = webhook(f"http://{HOST}:{receiver.port}/hook?team=ops", **given)
    assert list(hook.validate()) == []
    assert hook.send(hook.render([NOTICE], key=KEY), key=KEY) == ""
    assert receiver.refused == []
    return receiver.received[-1]


def answered(receiver: Receiver, order: Answer | Fault, **options: Any) -> PortError:
    """Send a message that meets `order`, and return what is raised."""
    receiver.order(order)
    with pytest.raises(PortError) as raised:
        sent(receiver, **options)
    assert "canary" not in str(raised.value)
    assert "team=ops" not in str(raised.value)
    return raised.value


def test_a_message_is_verified_by_its_receiver(receiver: Receiver) -> None:
    got = sent(receiver)
    assert (got.method, got.path) == ("POST", "/hook?team=ops")
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert got.headers["webhook-id"] == KEY == json.loads(got.body)["id"]
    assert got.headers["user-agent"] == "keyturn"


def test_a_second_try_is_the_same_message_at_another_time(receiver: Receiver) -> None:
    clock = iter([1_000.9, 1_300.0])
    hook = webhook(
        f"http://{HOST}:{receiver.port}/", **HERE, now=lambda: next(clock), signing_secret=reference("SIGNING")
    )
    outgoing = hook.render([NOTICE], key=KEY)
    receiver.order(Answer(204), Answer(204))
    hook.send(outgoing, key=KEY)
    hook.send(outgoing, key=KEY)
    first, second = receiver.received
    assert first.body == second.body == outgoing.content
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1000", "1300")
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_method_is_the_configured_one(receiver: Receiver, method: str) -> None:
    assert sent(receiver, method=method).method == method


def test_headers_are_sent_as_they_are_filled(receiver: Receiver) -> None:
    got = sent(receiver, headers={"X-Service": "{{ ServiceName }}", "User-Agent": "ours/{{ kind }}"})
    assert got.headers["x-service"] == "db"
    assert got.headers["user-agent"] == "ours/failed"


def test_a_token_is_sent_as_bearer(receiver: Receiver) -> None:
    assert sent(receiver, auth=bearer()).headers["authorization"] == "Bearer canary-token"


def test_a_token_is_sent_where_a_template_has_it_and_only_there(receiver: Receiver) -> None:
    got = sent(receiver, auth=bearer(), headers={"X-Token": "key={{ .Token }}"})
    assert got.headers["x-token"] == "key=canary-token"
    assert "authorization" not in got.headers
    again = sent(receiver, auth=bearer(), headers={"Authorization": "Token {{ Token }}"})
    assert again.headers["authorization"] == "Token canary-token"


def test_a_name_and_a_password_are_sent_as_basic(receiver: Receiver) -> None:
    got = sent(receiver, auth=Auth(type="basic", username=reference("USER"), password=reference("PASSWORD")))
    kind, encoded = got.headers["authorization"].split(" ")
    assert (kind, base64.b64decode(encoded)) == ("Basic", b"canary-user:canary-pass/word")


def test_a_secret_is_sent_in_a_header_of_any_name(receiver: Receiver) -> None:
    got = sent(receiver, auth=Auth(type="custom", header="X-API-Key", value=reference("TOKEN")))
    assert got.headers["x-api-key"] == "canary-token"


def test_no_secret_of_a_header_is_rendered() -> None:
    """What is rendered is looked at, kept and shown; the token comes to it when it is sent."""
    outgoing = webhook(auth=bearer(), headers={"X-Token": "{{ Token }}"}).render([NOTICE], key=KEY)
    assert "canary" not in repr(outgoing)


def test_a_secret_with_line_ends_adds_no_header(receiver: Receiver) -> None:
    with pytest.raises(Rejected, match="env://LINES") as raised:
        sent(receiver, auth=Auth(type="custom", header="X-API-Key", value=reference("LINES")))
    assert "canary" not in str(raised.value)
    assert receiver.received == []


def test_while_the_signing_secret_is_replaced_both_verify() -> None:
    with receiving(secrets=[SIGNING, PREVIOUS]) as receiver:
        got = sent(receiver, previous_signing_secret=reference("PREVIOUS"))
        assert len(got.headers["webhook-signature"].split(" ")) == 2


def test_without_a_signing_secret_nothing_is_signed() -> None:
    with receiving() as receiver:
        assert "webhook-signature" not in sent(receiver, signing_secret=None).headers


def test_a_signing_secret_of_another_form_is_refused(receiver: Receiver) -> None:
    with pytest.raises(Rejected, match="whsec_") as raised:
        sent(receiver, signing_secret=reference("PLAIN"))
    assert "canary" not in str(raised.value)
    assert receiver.received == []


def test_a_template_is_the_whole_body(receiver: Receiver) -> None:
    got = sent(receiver, payload_template='{"service":"{{.ServiceName}}"}', content_type="application/vnd.bus+json")
    assert got.body == b'{"service":"db"}'
    assert got.headers["content-type"] == "application/vnd.bus+json"


def test_the_flat_body_arrives(receiver: Receiver) -> None:
    assert json.loads(sent(receiver, format="dsops").body)["event"] == "rotation_failed"


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (Answer(301, {"Location": "http://169.254.169.254/"}), Rejected),
        (Answer(307, {"Location": "/other"}), Rejected),
        (Answer(400), Rejected),
        (Answer(401), Rejected),
        (Answer(404), Rejected),
        (Answer(410), SinkGone),
        (Answer(429), Throttled),
        (Answer(500), Unavailable),
        (Answer(502), Unavailable),
        (Answer(503), Unavailable),
        (Answer(503, {"Retry-After": "7"}), Throttled),
        (Answer(504), Unavailable),
        (Answer(500, {"webhook-delivery": "abort-message"}), Rejected),
        (Answer(500, {"webhook-delivery": "disable"}), SinkGone),
        (Answer(500, {"webhook-delivery": "anything"}), Unavailable),
        (Fault.SILENCE, Uncertain),
        (Fault.LOST_ANSWER, Uncertain),
        (Fault.DRIP, Uncertain),
    ],
)
def test_each_answer_has_its_meaning(receiver: Receiver, answer: Answer | Fault, meaning: type[PortError]) -> None:
    raised = answered(receiver, answer, timeout=Duration(200_000))
    assert type(raised) is meaning
    assert len(receiver.received) == 1


def test_the_wait_that_was_asked_for_is_passed_on(receiver: Receiver) -> None:
    raised = answered(receiver, Answer(429, {"Retry-After": "30"}))
    assert isinstance(raised, Throttled)
    assert raised.after == 30 * SECOND


def test_a_success_that_asks_to_be_disabled_is_a_success(receiver: Receiver) -> None:
    receiver.order(Answer(200, {"webhook-delivery": "abort-message"}))
    sent(receiver)


def test_the_reason_of_a_refusal_is_shown_without_what_was_sent(receiver: Receiver) -> None:
    """A receiver that repeats headers shows no secret: not as it is, not quoted, not in base64."""
    auth = Auth(type="basic", username=reference("USER"), password=reference("PASSWORD"))
    encoded = base64.b64encode(b"canary-user:canary-pass/word").decode()
    said = f"no such team \r\n\x1b[31m canary-user canary-pass/word canary-pass%2Fword {encoded} {'k9' * 20}"
    raised = answered(receiver, Answer(400, body=said.encode()), auth=auth)
    assert raised.why == "it answered 400 (no such team [31m *** *** *** *** ***)"


def test_of_a_long_answer_little_is_read_and_less_is_shown(receiver: Receiver) -> None:
    raised = answered(receiver, Fault.ENDLESS)
    assert len(raised.why) < 250
    # What the kernels of both ends hold before the receiver notices that nobody reads on.
    assert receiver.bytes_written < 16 * 1024 * 1024


def test_a_secret_at_the_end_of_what_is_read_is_not_shown_in_part(receiver: Receiver) -> None:
    said = b" " * (ANSWER_BYTES_MAX - 8) + b"canary-token and more"
    raised = answered(receiver, Answer(400, body=said), auth=bearer())
    assert raised.why == "it answered 400"


def test_nobody_there_is_unavailable(receiver: Receiver) -> None:
    hook = webhook("http://127.0.0.1:1/", **HERE)
    with pytest.raises(Unavailable, match="no connection"):
        hook.send(hook.render([NOTICE], key=KEY), key=KEY)


def test_the_timeout_is_kept_to(receiver: Receiver) -> None:
    begun = time.monotonic()
    answered(receiver, Fault.SILENCE, timeout=Duration(100_000))
    assert 0.05 < time.monotonic() - begun < 2.0


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://127.0.0.1:{port}/", {"allow_http": True}),
        ("http://127.0.0.1:{port}/", {"allow_private": ("127.0.0.0/8",)}),
        ("http://127.0.0.1:{port}/", {"allow_http": True, "allow_private": ("10.0.0.0/8",)}),
        ("http://[::ffff:7f00:1]:{port}/", {"allow_http": True}),
        ("http://2130706433:{port}/", HERE),
        ("http://localhost:{port}/", HERE),
        ("http://user:canary@127.0.0.1:{port}/", HERE),
        ("http://hooks.example:{port}/", {"allow_http": True}),
        ("http://127.0.0.1:{port}/", {"allow_http": True, "allow_private": ("nonsense",)}),
    ],
)
def test_nothing_is_sent_where_it_may_not_go(receiver: Receiver, url: str, options: dict[str, Any]) -> None:
    """Also where nobody asked whether the options are right."""
    resolve, _ = counted([HOST])
    hook = webhook(url.format(port=receiver.port), resolve=resolve, **options)
    with pytest.raises(Rejected) as raised:
        hook.send(hook.render([NOTICE], key=KEY), key=KEY)
    assert "canary" not in str(raised.value)
    assert receiver.received == []


def test_a_name_is_reached_over_tls_with_certificates_of_ones_own(tmp_path: Path) -> None:
    context, trusted = certified(tmp_path, "hooks.example")
    resolve, asked = counted([HOST], ["169.254.169.254"])
    with receiving(secrets=[SIGNING], host="hooks.example", context=context) as receiver:
        hook = webhook(
            f"https://hooks.example:{receiver.port}/",
            base=tmp_path,
            resolve=resolve,
            allow_private=("127.0.0.0/8",),
            ca_file=Path(trusted).name,
            signing_secret=reference("SIGNING"),
        )
        hook.send(hook.render([NOTICE], key=KEY), key=KEY)
        assert receiver.refused == []
        assert receiver.names == ["hooks.example"]
        assert asked == ["hooks.example"]


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "ca.pem").write_text("no certificates")
    hook = webhook(f"http://{HOST}:{receiver.port}/", base=tmp_path, ca_file="ca.pem", **HERE)
    with pytest.raises(Rejected, match="ca_file"):
        hook.send(hook.render([NOTICE], key=KEY), key=KEY)


def test_it_is_built_as_every_adapter_is(tmp_path: Path) -> None:
    """Building reads no secret and resolves nothing."""
    context = NotifierContext("bus", "db", "production", tmp_path, secret)
    made = ADAPTER.build(WebhookOptions(url="https://hooks.example/", signing_secret=reference("MISSING")), context)
    assert made.pace.longest == Microseconds(300 * SECOND)
    assert ADAPTER.name == "webhook"


# --- the receiver itself ------------------------------------------------------------------------------------


def good() -> Received:
    """Return a message that a receiver takes."""
    hook = webhook(signing_secret=reference("SIGNING"))
    outgoing = hook.render([NOTICE], key=KEY)
    headers = hook._headers(outgoing, KEY, [])  # what `send` would send
    return Received("POST", "/", {**headers, "host": "here"}, outgoing.content)


def test_the_receiver_takes_a_good_message() -> None:
    assert refusal(good(), secrets=[SIGNING], host="here") == ""


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ({"webhook-id": ""}, None, "webhook-id is missing"),
        ({"webhook-timestamp": ""}, None, "webhook-timestamp is missing"),
        ({"content-type": ""}, None, "content-type is missing"),
        ({"idempotency-key": ""}, None, "idempotency-key is missing"),
        ({"idempotency-key": "other"}, None, "not the same id"),
        ({"webhook-id": "a.b", "idempotency-key": "a.b"}, None, "without a dot"),
        ({"webhook-id": "ab", "idempotency-key": "ab"}, None, "signature"),
        ({"webhook-timestamp": "now"}, None, "no number"),
        ({"webhook-timestamp": str(int(time.time()) - 4_000_000)}, None, "too old"),
        ({"webhook-timestamp": str(int(time.time()) + 4_000_000)}, None, "too new"),
        ({"webhook-signature": "v1,AAAA"}, None, "signature"),
        ({"webhook-signature": ""}, None, "signature"),
        ({"host": "elsewhere"}, None, "host"),
        ({}, b"", "empty"),
        ({}, b" " * 20_000, "20 kB"),
        ({}, b"{}", "id is missing"),
        ({"content-type": "application/json"}, b"{}", "signature"),
    ],
)
def test_the_receiver_refuses_a_wrong_one(headers: dict[str, str], body: bytes | None, why: str) -> None:
    right = good()
    wrong = Received("POST", "/", {**right.headers, **headers}, right.body if body is None else body)
    assert why in refusal(wrong, secrets=[SIGNING], host="here")


def test_the_receiver_refuses_what_another_signed() -> None:
    assert "signature" in refusal(good(), secrets=[PREVIOUS])


def test_the_canaries_are_all_different() -> None:
    assert len(set(SECRETS.values())) == len(SECRETS)
