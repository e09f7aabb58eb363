"""`endpoint` keeps the contract of discoveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import endpoint
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, LoginContract, PagedContract, built
from tests.fleets.benches import HttpBench
from tests.fleets.inventory import PATH, Inventory, inventory
from tests.sinks.vendor_server import VendorServer


class Bench(HttpBench):
    """A service that lists instances, and the discovery that asks it."""

    def __init__(self, fake: Inventory, server: VendorServer, folder: Path) -> None:
        super().__init__(server)
        self.fake = fake
        self._folder = folder
        fake.login = {"authorization": f"Bearer {RIGHT}"}

    def populate(self, count: int) -> Sequence[str]:
        """Have so many instances."""
        self.fake.members = [{"id": f"web-{number}", "zone": "a"} for number in reversed(range(count))]
        return [each["id"] for each in self.fake.members]

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one that follows the pages."""
        found: Discovery = built(
            endpoint.ADAPTER,
            self._folder,
            timeout=timeout,
            secrets={"TOKEN": login},
            url=f"{self.server.url}{PATH}",
            auth={"type": "bearer", "token": "env://TOKEN"},
            next_path="$.next",
            allow_private=["127.0.0.0/8"],
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A service of one's own."""
    with inventory() as (fake, server):
        yield Bench(fake, server, tmp_path)


class TestEndpoint(DiscoveryContract, PagedContract, LoginContract):
    """A URL that lists instances."""
