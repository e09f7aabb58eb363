"""`gcp` keeps the contract of discoveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import gcp
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, LoginContract, PagedContract, built
from tests.fleets.benches import HttpBench
from tests.fleets.google_cloud import PROJECT, Google, machine
from tests.sinks.vendor_server import VendorServer, serving


class Bench(HttpBench):
    """A project with machines."""

    def __init__(self, google: Google, server: VendorServer, folder: Path) -> None:
        super().__init__(server)
        self.google = google
        self._folder = folder
        google.token = RIGHT

    def populate(self, count: int) -> Sequence[str]:
        """Have so many that run, and others."""
        names = [f"web-{number}" for number in range(count)]
        others = [machine("other", environment="staging"), machine("ended", status="TERMINATED")]
        self.google.machines = [*others, *map(machine, names)]
        return [f"{name}.europe-west3-a" for name in names]

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one with a token."""
        found: Discovery = built(
            gcp.ADAPTER,
            self._folder,
            timeout=timeout,
            secrets={"TOKEN": login},
            project=PROJECT,
            filters=[{"key": "environment", "value": "production"}],
            token="env://TOKEN",
            api_url=f"{self.server.url}/compute/v1",
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A project."""
    google = Google()
    with serving(google.answer) as server:
        yield Bench(google, server, tmp_path)


class TestGcp(DiscoveryContract, PagedContract, LoginContract):
    """Machines by labels."""
