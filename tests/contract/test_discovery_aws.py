"""`aws` keeps the contract of discoveries, with instances of EC2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import aws
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, LoginContract, PagedContract, built
from tests.fleets.amazon import REGION, Amazon, amazon, moto_server
from tests.fleets.benches import HttpBench
from tests.sinks.vendor_server import VendorServer


class Bench(HttpBench):
    """An account with machines, and some that are to be left out."""

    def __init__(self, account: Amazon, server: VendorServer, folder: Path) -> None:
        super().__init__(server)
        self._ec2 = account.client("ec2")
        self._folder = folder
        self._there: list[str] = []
        self._run(1, "staging")
        self._ec2.stop_instances(InstanceIds=self._run(1, "production"))

    def populate(self, count: int) -> Sequence[str]:
        """Have so many that run."""
        if count > len(self._there):
            # Moto counts what was started together as one.
            self._there += [name for _ in range(count - len(self._there)) for name in self._run(1, "production")]
        return self._there

    def _run(self, count: int, environment: str) -> list[str]:
        tags = [{"Key": "Environment", "Value": environment}]
        made = self._ec2.run_instances(
            MinCount=count,
            MaxCount=count,
            ImageId="ami-0fake",
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return [each["InstanceId"] for each in made["Instances"]]

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one that selects by a tag, five at a time: the fewest that EC2 tells at once."""
        found: aws.AwsDiscovery = built(
            aws.ADAPTER,
            self._folder,
            timeout=timeout,
            secrets={"ID": login, "KEY": "canary-key"},
            region=REGION,
            filters=[{"key": "tag:Environment", "value": "production"}],
            access_key_id="env://ID",
            secret_access_key="env://KEY",
            endpoint_url=self.server.url,
        )
        found._page = 5
        return found


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Moto, for all tests here."""
    with moto_server() as url:
        yield url


@pytest.fixture
def bench(moto: str, tmp_path: Path) -> Iterator[Bench]:
    """An account."""
    with amazon(moto, login=RIGHT) as (account, server):
        yield Bench(account, server, tmp_path)


class TestAws(DiscoveryContract, PagedContract, LoginContract):
    """Machines by tags."""

    paged = 12
