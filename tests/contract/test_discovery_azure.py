"""`azure` keeps the contract of discoveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import azure
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, LoginContract, PagedContract, built
from tests.fleets.azure_cloud import SUBSCRIPTION, Azure, machine
from tests.fleets.benches import HttpBench
from tests.sinks.vendor_server import VendorServer, serving


class Bench(HttpBench):
    """A subscription with machines."""

    def __init__(self, cloud: Azure, server: VendorServer, folder: Path) -> None:
        super().__init__(server)
        self.cloud = cloud
        self._folder = folder
        cloud.token, cloud.port = RIGHT, server.port

    def populate(self, count: int) -> Sequence[str]:
        """Have so many that run, and others."""
        names = [f"web-{number}" for number in range(count)]
        others = [
            machine("other", tags={"Environment": "staging"}),
            machine("ended", power="PowerState/deallocated"),
        ]
        self.cloud.machines = [*others, *map(machine, names)]
        return [f"{name}.web" for name in names]

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one with a token."""
        found: Discovery = built(
            azure.ADAPTER,
            self._folder,
            timeout=timeout,
            secrets={"TOKEN": login},
            subscription=SUBSCRIPTION,
            filters=[{"key": "Environment", "value": "production"}],
            token="env://TOKEN",
            api_url=self.server.url,
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A subscription."""
    cloud = Azure()
    with serving(cloud.answer) as server:
        yield Bench(cloud, server, tmp_path)


class TestAzure(DiscoveryContract, PagedContract, LoginContract):
    """Machines by tags."""
