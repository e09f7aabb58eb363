"""Pushing metrics: what a gateway is sent, and what is said where it does not take it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from adapters.metrics import MetricsCollector, exposition, push
from engine.errors import Rejected, Unavailable
from tests.unit.adapters.metrics_bench import installed
from tests.unit.projections.stories import Story


class Gateway(ThreadingHTTPServer):
    """A push gateway on a free port: keeps what it is sent, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[str, str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Conversation(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        gateway: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        gateway.taken.append((self.command, self.path, body))
        if gateway.status:
            self.send_response(gateway.status)
            self.end_headers()
        else:
            self.wfile.write(b"what?\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that takes everything."""
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[MetricsCollector]:
    """A collector whose series have a label."""
    more = "metrics: {prometheus: {labels: {team: platform/db}}}\n"
    with installed(tmp_path, Story().rotate("v1").facts, more=more) as made:
        yield made


def test_a_gateway_gets_all_of_it_in_place_of_what_it_had(gateway: Gateway, collector: MetricsCollector) -> None:
    """A group of its own for each installation, named by the labels; a label with a slash travels as base64."""
    push(collector, gateway.url)
    assert gateway.taken == [("PUT", "/metrics/job/keyturn/team@base64/cGxhdGZvcm0vZGI=", exposition(collector)[0])]


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, Rejected, "the gateway answers 400"),
        (503, Unavailable, "the gateway answers 503"),
        (0, Unavailable, "what answers there is no gateway"),
    ],
)
def test_an_answer_that_is_no_yes_is_told(
    gateway: Gateway, collector: MetricsCollector, status: int, kind: type[Exception], said: str
) -> None:
    gateway.status = status
    with pytest.raises(kind, match=said):
        push(collector, gateway.url)


def test_a_gateway_that_is_not_there_is_told(collector: MetricsCollector) -> None:
    with Gateway() as gone:
        pass
    with pytest.raises(Unavailable, match="refused"):
        push(collector, gone.url)
