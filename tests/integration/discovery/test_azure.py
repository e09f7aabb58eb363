"""`azure` against a Resource Manager of the tests: every option, scale sets, addresses and identities."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import azure
from adapters.discovery.azure import AzureDiscovery, AzureOptions
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.instances import Instance
from tests.contract.discovery import built, ids, rejected
from tests.contract.stores import shown
from tests.fleets.azure_cloud import METADATA, SUBSCRIPTION, Azure, interface, machine, member
from tests.sinks.vendor_server import Reply, VendorServer, serving

PRODUCTION = [{"key": "tag:environment", "value": "production"}]


@dataclass
class World:
    """A subscription, and the folder of the configuration."""

    cloud: Azure
    server: VendorServer
    folder: Path

    def discovery(self, **options: Any) -> AzureDiscovery:
        """Return what asks it."""
        given = {
            "subscription": SUBSCRIPTION,
            "filters": PRODUCTION,
            "token": "env://TOKEN",
            "api_url": self.server.url,
            **options,
        }
        found: AzureDiscovery = built(azure.ADAPTER, self.folder, secrets={"TOKEN": "canary-token"}, **given)
        found._metadata = f"{self.server.url}{METADATA}"
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A subscription with machines in two groups and places."""
    cloud = Azure(token="canary-token")
    cloud.machines = [
        machine("Web-1"),
        machine(
            "web-1", group="other", location="northeurope", zones=[], tags={"Environment": "production", "Role": "x"}
        ),
    ]
    cloud.members = [member(0), member(1, power="PowerState/Running"), member(2, power="PowerState/stopped")]
    with serving(cloud.answer) as server:
        cloud.port = server.port
        yield World(cloud, server, tmp_path)


HERE = Instance("web-1.web", "westeurope-1", labels={"Environment": "production"})
THERE = Instance("web-1.other", "northeurope", labels={"Environment": "production", "Role": "x"})
OPTIONS: dict[str, tuple[dict[str, Any], list[str] | type[Exception]]] = {
    "subscription": ({"subscription": SUBSCRIPTION.replace("0b", "0c")}, Rejected),
    "filters": ({"filters": [*PRODUCTION, {"key": "role", "value": "x"}]}, [THERE.id]),
    "region": ({"region": "WestEurope"}, [HERE.id]),
    "resource_group": ({"resource_group": "OTHER"}, [THERE.id]),
    "scale_set": ({"scale_set": "fleet", "resource_group": "Web"}, ["fleet_0.web", "fleet_1.web"]),
    "endpoint": ({"endpoint": "http://{address}:80"}, Unavailable),
    "token": ({"token": None}, OwnLoginRejected),
    "identity": ({"token": None, "identity": "i-1"}, OwnLoginRejected),
    "api_url": ({"api_url": "http://127.0.0.1:1"}, Unavailable),
}


@pytest.mark.parametrize("name", AzureOptions.__struct_fields__)
def test_every_option_counts(world: World, name: str) -> None:
    """Each changes what is listed."""
    assert list(world.discovery().instances()) == [THERE, HERE]
    options, expected = OPTIONS[name]
    if isinstance(expected, list):
        assert ids(world.discovery(**options)) == expected
    else:
        with pytest.raises(expected):
            world.discovery(**options).instances()


def test_the_endpoint_has_the_primary_private_address(world: World) -> None:
    """Of the primary interface; an interface without a machine is nobody's."""
    here, there = (each["id"] for each in world.cloud.machines)
    nobody = interface(here, "10.0.0.1")
    nobody["properties"]["virtualMachine"] = None
    world.cloud.interfaces = [
        interface(here.upper(), "10.0.0.5", "10.0.0.6"),
        interface(here, "10.0.0.7", primary=False),
        nobody,
        interface(there, "10.1.0.5"),
    ]
    found = world.discovery(endpoint="http://{address}:80").instances()
    assert [each.endpoint for each in found] == ["http://10.1.0.5:80", "http://10.0.0.6:80"]


def test_a_scale_set_has_interfaces_of_its_own(world: World) -> None:
    world.cloud.interfaces = [interface(each["id"], f"10.2.0.{each['instanceId']}") for each in world.cloud.members]
    options = {"scale_set": "fleet", "resource_group": "Web", "endpoint": "{address}", "filters": []}
    found = world.discovery(**options).instances()
    assert [(each.id, each.endpoint) for each in found] == [("fleet_0.web", "10.2.0.0"), ("fleet_1.web", "10.2.0.1")]


def test_a_machine_that_is_new_in_the_second_list_has_only_begun(world: World) -> None:
    """It is there at the next look."""
    states = {"value": [{"id": HERE.id, "name": "x", "properties": {}}]}
    world.server.order(Reply(200, json.dumps(states).encode()))
    assert ids(world.discovery()) == []
    assert len(ids(world.discovery())) == 2


def test_the_identity_of_the_machine_is_asked_each_time(world: World) -> None:
    """Or the one that is named."""
    world.cloud.identities = {"": "canary-1", "i-1": "canary-2"}
    world.cloud.token = "canary-1"
    discovery = world.discovery(token=None)
    assert len(ids(discovery)) == 2
    world.cloud.token = "canary-2"
    assert isinstance(rejected(discovery), OwnLoginRejected)
    assert len(ids(world.discovery(token=None, identity="i-1"))) == 2


@pytest.mark.parametrize("following", ["http://127.0.0.1:1/x", "https://elsewhere.test/x", "no url"])
def test_no_page_leads_to_another_host(world: World, following: str) -> None:
    world.server.order(Reply(200, json.dumps({"value": [], "nextLink": following}).encode()))
    error = rejected(world.discovery())
    assert "the next page" in error.why
    assert "canary" not in shown(error)
    assert len(world.server.requests) == 1


def test_pages_in_a_circle_are_refused(world: World) -> None:
    page = Reply(200, json.dumps({"value": [], "nextLink": f"{world.server.url}/again"}).encode())
    world.server.order(page, page)
    assert "circle" in rejected(world.discovery()).why


@pytest.mark.parametrize("answer", [{}, [], None, {"value": None}, {"value": [{}]}, {"value": [], "nextLink": 1}])
def test_what_is_no_list_is_refused(world: World, answer: object) -> None:
    world.server.order(Reply(200, json.dumps(answer).encode()))
    assert "no list" in rejected(world.discovery()).why


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"subscription": "x"}, "subscription"),
        ({"filters": []}, "`filters` or `scale_set`"),
        ({"filters": [*PRODUCTION, {"key": "Environment", "value": "x"}]}, "twice"),
        ({"scale_set": "fleet"}, "`scale_set`"),
        ({"scale_set": "a/../b", "resource_group": "Web"}, "scale_set"),
        ({"identity": "i-1"}, "two logins"),
        ({"api_url": "http://10.0.0.1"}, "`api_url`"),
        ({"endpoint": "{port}"}, "`endpoint`"),
    ],
)
def test_options_that_cannot_be_are_refused(world: World, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        world.discovery(**options)
