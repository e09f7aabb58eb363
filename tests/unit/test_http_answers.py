"""What a status, a header and an exception of HTTP mean for a message."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http_answers import failure, redacted, refusal, retry_after
from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain
from engine.values import SECOND


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_none(status: int) -> None:
    assert refusal(status, {}, what="posting") is None


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (301, {}, Rejected),
        (307, {"location": "https://elsewhere.example/"}, Rejected),
        (400, {"retry-after": "5"}, Rejected),
        (401, {}, Rejected),
        (404, {}, Rejected),
        (408, {}, Unavailable),
        (410, {}, SinkGone),
        (413, {}, Rejected),
        (425, {}, Unavailable),
        (429, {}, Throttled),
        (500, {}, Unavailable),
        (502, {}, Unavailable),
        (503, {"retry-after": "7"}, Throttled),
        (504, {}, Unavailable),
        (599, {}, Unavailable),
    ],
)
def test_each_status_has_its_meaning(status: int, headers: dict[str, str], expected: type[PortError]) -> None:
    answered = refusal(status, headers, what="posting", said="because")
    assert type(answered) is expected
    assert answered is not None
    assert str(status) in answered.why
    assert "because" in answered.why


def test_the_wait_that_was_asked_for_is_passed_on() -> None:
    throttled = refusal(429, {"retry-after": "30"}, what="posting")
    assert isinstance(throttled, Throttled)
    assert throttled.after == 30 * SECOND


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "120"}, 120),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "٣"}, 0),
        ({"retry-after": "9" * 40}, 0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60),
        ({"retry-after": "Wed, 99 Oct 2026 07:28:00 GMT"}, 0),
    ],
)
def test_a_wait_is_given_in_seconds_or_as_a_date(headers: dict[str, str], seconds: int) -> None:
    """A date counts from that of the answer, else from the clock, which shows 40 s after 1970 here."""
    assert retry_after(headers, now=lambda: 40.0) == seconds * SECOND


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_breaks_it(asked: str, date: str) -> None:
    assert retry_after({"retry-after": asked, "date": date}) >= 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), Unavailable),
        (httpx.ConnectTimeout("timed out"), Unavailable),
        (httpx.PoolTimeout(""), Unavailable),
        (httpx.WriteError(""), Unavailable),
        (httpx.WriteTimeout(""), Unavailable),
        (httpx.ProxyError("407"), Unavailable),
        (httpx.ReadTimeout(""), Uncertain),
        (httpx.ReadError(""), Uncertain),
        (httpx.RemoteProtocolError("canary-line"), Uncertain),
        (httpx.LocalProtocolError("Illegal header value b'canary-token'"), Rejected),
        (httpx.UnsupportedProtocol("canary-url"), Rejected),
        (httpx.InvalidURL("canary-url"), Rejected),
        (ValueError("canary-text"), Rejected),
    ],
)
def test_an_exception_is_judged_by_whether_the_request_was_sent(error: Exception, expected: type[PortError]) -> None:
    """What may have arrived is uncertain; and what a library says of a URL or a header is not repeated."""
    judged = failure(error, what="posting")
    assert type(judged) is expected
    assert "canary" not in str(judged)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.slack.com/services/T0/B0/canary", "https://hooks.slack.com/…"),
        ("https://user:canary@host.example:8443/canary?x=canary#canary", "https://host.example:8443/…"),
        ("canary", "…"),
        ("https://[canary", "…"),
        ("https://host:canary/", "…"),
        ("", "…"),
    ],
)
def test_of_a_url_only_scheme_and_host_are_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
