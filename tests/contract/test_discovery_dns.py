"""`dns` keeps the contract of discoveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import dns
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, Trouble, built
from tests.fleets.name_server import NameServer, name_server

NAME = "_http._tcp.web.test."


class Bench:
    """A name server with a name."""

    troubles: Sequence[Trouble] = tuple(Trouble)

    def __init__(self, server: NameServer, folder: Path) -> None:
        self.server = server
        self._folder = folder

    def populate(self, count: int) -> Sequence[str]:
        """Have so many records."""
        self.server.records[NAME] = [f"0 5 8080 web-{number}.test." for number in reversed(range(count))]
        self.server.records["_http._tcp.api.test."] = ["0 5 8080 other.test."]
        return [f"web-{number}.test:8080" for number in range(count)]

    def spoil(self, trouble: Trouble, *, request: int) -> None:
        """Have a question that is to come meet trouble."""
        self.server.order(*[None] * (request - 1), trouble)

    def requests(self) -> int:
        """Return how many questions there were."""
        return len(self.server.asked)

    def stop(self) -> None:
        """End the server."""
        self.server.stop()

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one that asks this server alone."""
        found: Discovery = built(
            dns.ADAPTER, self._folder, timeout=timeout, name=NAME, nameservers=[f"127.0.0.1:{self.server.port}"]
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A name server."""
    with name_server() as server:
        yield Bench(server, tmp_path)


class TestDns(DiscoveryContract):
    """SRV records."""
