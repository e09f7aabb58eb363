"""Signatures of Standard Webhooks: the specification's own example, and its reference library as the judge."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from adapters.signing import identifier, key_of, signatures
from engine.errors import Rejected
from engine.values import Secret

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_example_of_the_specification_is_signed_as_there() -> None:
    key = key_of(Secret(EXAMPLE), what="")
    made = signatures(
        [key], identifier="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1_614_265_330, content=b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.slow
@given(st.binary(min_size=24, max_size=64), st.text(max_size=50), st.integers(0, 4_000_000_000))
def test_whatever_is_signed_the_reference_signs_the_same(key: bytes, body: str, timestamp: int) -> None:
    reference = Webhook("whsec_" + base64.b64encode(key).decode())
    expected = reference.sign("msg_1", datetime.fromtimestamp(timestamp, UTC), body)
    assert signatures([key], identifier="msg_1", timestamp=timestamp, content=body.encode()) == expected


def test_two_keys_make_two_signatures_in_their_order() -> None:
    first, second = b"1" * 32, b"2" * 32
    both = signatures([first, second], identifier="m", timestamp=1, content=b"{}").split(" ")
    assert both == [signatures([key], identifier="m", timestamp=1, content=b"{}") for key in (first, second)]
    assert both[0] != both[1]


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("padding", [True, False])
def test_a_secret_is_base64_behind_its_prefix(size: int, padding: bool) -> None:  # noqa: FBT001 - a case of the test
    text = base64.b64encode(b"k" * size).decode()
    assert key_of(Secret("whsec_" + (text if padding else text.rstrip("="))), what="") == b"k" * size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "canary-a-password-of-more-than-24-bytes",
        base64.b64encode(b"k" * 32).decode(),
        "whsk_" + base64.b64encode(b"k" * 64).decode(),
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_canary!" + base64.b64encode(b"k" * 32).decode(),
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 32).decode(),
    ],
)
def test_another_secret_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(Rejected, match="24 to 64 bytes") as raised:
        key_of(Secret(text), what="notifying bus")
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("key", ["slack/00012", "a-b_c:d#1", "@" * 128])
def test_a_key_names_its_message(key: str) -> None:
    assert identifier(key) == key


@given(st.text(st.characters(codec=None), max_size=200))
def test_a_name_of_a_message_can_stand_in_a_header_and_in_what_is_signed(key: str) -> None:
    """Without a dot, which would let one message be taken for another, and different for different keys."""
    made = identifier(key)
    assert made.isascii()
    assert made.isprintable()
    assert not set(made) & set(". ,")
    assert 0 < len(made) <= 128
    assert identifier(key + "x") != made
