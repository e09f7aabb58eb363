"""`gcp` against a Compute Engine of the tests: every option, identities, and lists that are not whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import gcp
from adapters.discovery.gcp import GcpDiscovery, GcpOptions
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.instances import Instance
from tests.contract.discovery import built, ids, rejected
from tests.contract.stores import shown
from tests.fleets.google_cloud import METADATA, PROJECT, Google, machine
from tests.sinks.vendor_server import Reply, VendorServer, serving

PRODUCTION = [{"key": "labels.environment", "value": "production"}]


@dataclass
class World:
    """A project, and the folder of the configuration."""

    google: Google
    server: VendorServer
    folder: Path

    def discovery(self, **options: Any) -> GcpDiscovery:
        """Return what asks it."""
        given = {
            "project": PROJECT,
            "filters": PRODUCTION,
            "token": "env://TOKEN",
            "api_url": f"{self.server.url}/compute/v1",
            **options,
        }
        found: GcpDiscovery = built(gcp.ADAPTER, self.folder, secrets={"TOKEN": "canary-token"}, **given)
        found._metadata = f"{self.server.url}{METADATA}"
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A project with a machine in each of two regions."""
    google = Google([machine("web-1"), machine("web-1", "us-east1-b", role="web")], token="canary-token")
    with serving(google.answer) as server:
        yield World(google, server, tmp_path)


HERE = Instance("web-1.europe-west3-a", "europe-west3-a", labels={"environment": "production"})
THERE = Instance("web-1.us-east1-b", "us-east1-b", labels={"environment": "production", "role": "web"})
OPTIONS: dict[str, tuple[dict[str, Any], list[str] | type[Exception]]] = {
    "project": ({"project": "acme-test"}, Rejected),
    "filters": ({"filters": [*PRODUCTION, {"key": "role", "value": "web"}]}, [THERE.id]),
    "region": ({"region": "europe-west3"}, [HERE.id]),
    "endpoint": ({"endpoint": "http://{address}:80"}, [HERE.id, THERE.id]),
    "token": ({"token": None}, OwnLoginRejected),
    "api_url": ({"api_url": "http://127.0.0.1:1"}, Unavailable),
}


@pytest.mark.parametrize("name", GcpOptions.__struct_fields__)
def test_every_option_counts(world: World, name: str) -> None:
    """Each changes what is listed."""
    assert list(world.discovery().instances()) == [HERE, THERE]
    options, expected = OPTIONS[name]
    if isinstance(expected, list):
        found = list(world.discovery(**options).instances())
        assert [each.id for each in found] == expected
        assert found != [HERE, THERE]
    else:
        with pytest.raises(expected):
            world.discovery(**options).instances()


def test_the_endpoint_has_the_first_internal_address(world: World) -> None:
    found = world.discovery(endpoint="http://{address}:80").instances()
    assert {each.endpoint for each in found} == {"http://10.156.0.2:80"}


@pytest.mark.parametrize("where", ["europe-west3-b", "project"])
def test_a_zone_that_was_not_reached_is_an_error(world: World, where: str) -> None:
    """The others are not all."""
    world.google.warnings = {where: "UNREACHABLE"}
    with pytest.raises(Unavailable, match="UNREACHABLE") as caught:
        world.discovery().instances()
    assert "canary" not in shown(caught.value)
    world.google.warnings, world.google.unreachables = {}, ["projects/acme-prod/zones/europe-west3-b"]
    with pytest.raises(Unavailable, match="could not be reached"):
        world.discovery().instances()


def test_only_the_whole_is_asked_for(world: World) -> None:
    """The reference recommends the opposite, so that a call does not fail."""
    ids(world.discovery())
    assert "returnPartialSuccess=false" in world.server.requests[0].path


def test_what_does_not_fit_is_left_out_even_where_it_is_listed(world: World) -> None:
    """Whatever became of the filter."""
    machines = [machine("a"), machine("b", environment="staging"), machine("c", status="STOPPING")]
    page = {"kind": "compute#instanceAggregatedList", "items": {"zones/europe-west3-a": {"instances": machines}}}
    world.server.order(Reply(200, json.dumps(page).encode()))
    assert ids(world.discovery()) == ["a.europe-west3-a"]


def test_a_machine_is_asked_for_its_identity_each_time(world: World) -> None:
    """Its tokens last for an hour."""
    discovery = world.discovery(token=None)
    error = rejected(discovery)
    assert isinstance(error, OwnLoginRejected)
    assert "no identity" in error.why
    for token in ("canary-1", "canary-2"):
        world.google.identity = world.google.token = token
        assert len(ids(discovery)) == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, b'{"access_token": "x"}'), Rejected),
        (Reply(200, b'{"token": "x"}', {"Metadata-Flavor": "Google"}), Rejected),
        (Reply(200, b'{"access_token": "\\n"}', {"Metadata-Flavor": "Google"}), Rejected),
        (Reply(503), Unavailable),
        (Reply(302, b"", {"Location": "/x"}), OwnLoginRejected),
    ],
)
def test_what_is_no_identity_is_refused(world: World, reply: Reply, error: type[Exception]) -> None:
    """As where something else answers at the address of the metadata."""
    world.server.order(reply)
    with pytest.raises((Rejected, Unavailable)) as caught:
        world.discovery(token=None).instances()
    assert type(caught.value) is error
    assert len(world.server.requests) == 1


def test_without_metadata_there_is_advice(world: World) -> None:
    discovery = world.discovery(token=None)
    discovery._metadata = "http://127.0.0.1:1/"
    with pytest.raises(Unavailable) as caught:
        discovery.instances()
    assert "`token`" in caught.value.advice


@pytest.mark.parametrize("answer", [{}, [], {"kind": "compute#instanceList"}, {"kind": 1}])
def test_what_is_no_list_of_instances_is_refused(world: World, answer: object) -> None:
    world.server.order(Reply(200, json.dumps(answer).encode()))
    assert "no list" in rejected(world.discovery()).why


def test_pages_in_a_circle_are_refused(world: World) -> None:
    page = Reply(200, json.dumps({"kind": "compute#instanceAggregatedList", "nextPageToken": "x"}).encode())
    world.server.order(page, page)
    assert "circle" in rejected(world.discovery()).why


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"project": "x/../y"}, "project"),
        ({"filters": []}, "filters"),
        ({"filters": [{"key": 'a" OR "b', "value": "c"}]}, "key"),
        ({"filters": [{"key": "a", "value": 'b") (status = "x'}]}, "value"),
        ({"filters": [*PRODUCTION, {"key": "environment", "value": "x"}]}, "twice"),
        ({"api_url": "http://10.0.0.1"}, "`api_url`"),
        ({"endpoint": "{port}"}, "`endpoint`"),
    ],
)
def test_options_that_cannot_be_are_refused(world: World, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        world.discovery(**options)
