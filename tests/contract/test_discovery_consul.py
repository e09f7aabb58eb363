"""`consul` keeps the contract of discoveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import consul
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, LoginContract, built
from tests.fleets.benches import HttpBench
from tests.fleets.consul_agent import Agent, entry
from tests.sinks.vendor_server import VendorServer, serving


class Bench(HttpBench):
    """An agent with a service."""

    def __init__(self, agent: Agent, server: VendorServer, folder: Path) -> None:
        super().__init__(server)
        self.agent = agent
        self._folder = folder
        agent.token = RIGHT

    def populate(self, count: int) -> Sequence[str]:
        """Have so many healthy instances, and others."""
        names = [f"web-{number}" for number in range(count)]
        ill = [entry("ill", status="critical"), entry("odd", status="warning")]
        self.agent.services = {("dc1", "default"): [*ill, *map(entry, names)], ("dc2", "default"): [entry("far")]}
        return [f"node-1.{name}" for name in names]

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one with a token."""
        found: Discovery = built(
            consul.ADAPTER,
            self._folder,
            timeout=timeout,
            secrets={"TOKEN": login},
            service="web",
            url=self.server.url,
            token="env://TOKEN",
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An agent."""
    agent = Agent()
    with serving(agent.answer) as server:
        yield Bench(agent, server, tmp_path)


class TestConsul(DiscoveryContract, LoginContract):
    """Healthy instances of a service."""
