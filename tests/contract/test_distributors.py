"""Every distributor keeps the contract, built as the configuration builds it, with consumers that are processes."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from adapters.distributors import http
from adapters.registry import DISTRIBUTOR_GROUP, SHIPPED
from engine.instances import Distributor, Instance
from tests.contract.distributors import DistributorContract, Prepare
from tests.integration.distributor_bench import CREDENTIAL, HERE, Bench, bench
from tests.integration.fleet_bench import App, apps

__all__ = ["bench"]

SIGNING = "whsec_" + base64.b64encode(b"canary-signing-one-of-32-bytes-x").decode()


def test_every_distributor_that_ships_is_under_the_contract() -> None:
    """A kind that is added without a class here fails."""
    classes = [each for each in globals().values() if isinstance(each, type) and issubclass(each, DistributorContract)]
    assert {each.kind for each in classes if each is not DistributorContract} == set(SHIPPED[DISTRIBUTOR_GROUP])


class TestHttp(DistributorContract):
    """An application that reads from the store what it is told."""

    kind = "http"

    @pytest.fixture
    def app(self, bench: Bench) -> Iterator[App]:
        """The application."""
        with apps({"store": bench.store_settings(), "signing_secret": SIGNING}) as (running,):
            yield running

    @pytest.fixture
    def instance(self, app: App) -> Instance:
        """It, as discovery lists it."""
        return app.instance

    @pytest.fixture
    def distributor(self, bench: Bench) -> Distributor:
        """Return what tells it."""
        return bench.distributor(
            http.ADAPTER,
            {"SIGNING": SIGNING},
            signing_secret="env://SIGNING",
            allow_http=True,
            allow_private=[HERE],
        )

    @pytest.fixture
    def unreachable(self, distributor: Distributor) -> tuple[Distributor, Instance]:
        """Return an instance that has ended."""
        return distributor, Instance("gone", endpoint="http://127.0.0.1:1")

    @pytest.fixture
    def prepare(self, bench: Bench) -> Prepare:
        """Put each version into the store."""
        return lambda version, value: bench.store.stage(CREDENTIAL, version, value)
