"""A request is sent once, and its answer comes back as it is, whatever the server does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.http_answers import BODY_BYTES_MAX, attempt, post
from engine.errors import Rejected, Uncertain
from engine.values import SECOND
from tests.sinks.vendor_server import Fault, Reply, VendorServer, serving


@pytest.fixture
def server() -> Iterator[VendorServer]:
    """A server that is content with everything."""
    with serving(lambda request: Reply(200, b"ok", {"X-Seen": "Yes"})) as running:
        yield running


def test_status_headers_and_body_come_back(server: VendorServer) -> None:
    answer = post(server.url, b"hello", headers={"X-Key": "1"}, timeout=SECOND, what="posting")
    assert (answer.status, answer.body, answer.headers["x-seen"]) == (200, b"ok", "Yes")
    (request,) = server.requests
    assert (request.body, request.headers["x-key"]) == (b"hello", "1")


def test_a_redirect_is_an_answer_like_others(server: VendorServer) -> None:
    server.order(Reply(307, b"", {"Location": f"{server.url}/elsewhere"}))
    assert post(server.url, b"", headers={}, timeout=SECOND, what="posting").status == 307
    assert len(server.requests) == 1


def test_of_a_long_answer_only_the_beginning_is_read(server: VendorServer) -> None:
    server.order(Reply(500, b"x" * 5 * BODY_BYTES_MAX))
    assert len(post(server.url, b"", headers={}, timeout=SECOND, what="posting").body) == BODY_BYTES_MAX


def test_an_answer_is_not_unpacked(server: VendorServer) -> None:
    """A small body that grows without end when it is unpacked does nothing here."""
    server.order(Reply(200, b"\x1f\x8b-packed", {"Content-Encoding": "gzip"}))
    assert post(server.url, b"", headers={}, timeout=SECOND, what="posting").body == b"\x1f\x8b-packed"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_body_that_breaks_off_is_kept_as_far_as_it_came(server: VendorServer) -> None:
    server.order(Fault.HALF_AN_ANSWER)
    assert post(server.url, b"", headers={}, timeout=SECOND, what="posting").body == b"o"


def test_an_error_is_raised_or_returned(server: VendorServer) -> None:
    server.order(Fault.LOSE_ANSWER, Fault.LOSE_ANSWER)
    with pytest.raises(Uncertain, match="posting"):
        post(server.url, b"", headers={}, timeout=SECOND, what="posting")
    assert isinstance(attempt(server.url, b"", headers={}, timeout=SECOND, what="posting"), Uncertain)


@pytest.mark.parametrize("url", ["canary", "http:///canary", "http://canary:port/", "file:///canary", ""])
def test_a_url_that_is_none_is_rejected_and_not_repeated(url: str) -> None:
    with pytest.raises(Rejected) as caught:
        post(url, b"", headers={}, timeout=SECOND, what="posting")
    assert "canary" not in str(caught.value)
