"""`consul` against an agent of the tests: every option, and answers that are not to be relied on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import consul
from adapters.discovery.consul import ConsulDiscovery, ConsulOptions
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.instances import Instance
from tests.contract.discovery import built, ids, rejected
from tests.fleets.consul_agent import Agent, entry
from tests.sinks.certificates import LOCAL, authority
from tests.sinks.vendor_server import Reply, VendorServer, serving


@dataclass
class World:
    """An agent, and the folder of the configuration."""

    agent: Agent
    server: VendorServer
    folder: Path

    def discovery(self, **options: Any) -> ConsulDiscovery:
        """Return what asks it."""
        given = {"service": "web", "url": self.server.url, **options}
        found: ConsulDiscovery = built(consul.ADAPTER, self.folder, secrets={"TOKEN": "canary-token"}, **given)
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An agent with one service, which has an instance in each of three places."""
    agent = Agent(
        {
            ("dc1", "default"): [entry("web", Meta={"cell": "c1"}), entry("old", Tags=["v1"])],
            ("dc2", "default"): [entry("web", node="node-2")],
            ("dc1", "team"): [entry("web", node="node-3")],
        }
    )
    with serving(agent.answer) as server:
        yield World(agent, server, tmp_path)


WEB = Instance("node-1.web", "dc1", labels={"rack": "r1", "cell": "c1", "v2": "true"})
OLD = Instance("node-1.old", "dc1", labels={"rack": "r1", "v1": "true"})
OPTIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "service": ({"service": "api"}, []),
    "url": ({"url": "http://127.0.0.1:1"}, Unavailable),
    "token": ({"token": "env://TOKEN"}, OwnLoginRejected),
    "datacenter": ({"datacenter": "dc2"}, ["node-2.web"]),
    "namespace": ({"namespace": "team"}, ["node-3.web"]),
    "filter": ({"filter": '"v1" in Service.Tags'}, ["node-1.old"]),
    "zone_key": ({"zone_key": "rack"}, ["node-1.old", "node-1.web"]),
    "endpoint": ({"endpoint": "http://{address}:{port}/x"}, ["node-1.old", "node-1.web"]),
    "ca_file": ({"ca_file": "nowhere.pem"}, Rejected),
}


@pytest.mark.parametrize("name", ConsulOptions.__struct_fields__)
def test_every_option_counts(world: World, name: str) -> None:
    """Each changes what is listed, or how."""
    assert list(world.discovery().instances()) == [OLD, WEB]
    options, expected = OPTIONS[name]
    if name == "token":
        world.agent.token = "another"
    if isinstance(expected, list):
        found = world.discovery(**options).instances()
        assert [each.id for each in found] == expected
        assert list(found) != [OLD, WEB]
    else:
        with pytest.raises(expected):
            world.discovery(**options).instances()


def test_the_token_is_sent_in_its_header(world: World) -> None:
    world.agent.token = "canary-token"
    assert len(ids(world.discovery(token="env://TOKEN"))) == 2
    assert "canary-token" not in world.server.requests[0].path


def test_zone_and_address_are_the_nearest_there_are(world: World) -> None:
    """Those of the service before those of its node."""
    near = entry("near", Address="10.9.0.1", Port=81, Meta={"rack": "r9"}, Locality={"Region": "eu", "Zone": "z1"})
    far = entry("far")
    far["Node"]["Locality"] = {"Region": "eu", "Zone": "z2"}
    world.agent.services = {("dc1", "default"): [near, far]}
    found = world.discovery(endpoint="http://{address}:{port}").instances()
    assert [(each.zone, each.endpoint) for each in found] == [
        ("z2", "http://10.1.0.1:8080"),
        ("z1", "http://10.9.0.1:81"),
    ]
    assert [each.zone for each in world.discovery(zone_key="rack").instances()] == ["r1", "r9"]
    assert [each.zone for each in world.discovery(zone_key="cell").instances()] == ["", ""]


@pytest.mark.parametrize(
    "headers",
    [{"X-Consul-KnownLeader": "false"}, {"X-Consul-LastContact": "15"}, {"X-Consul-KnownLeader": ""}],
)
def test_a_list_that_may_be_old_is_refused(world: World, headers: dict[str, str]) -> None:
    """Where no leader stands for it."""
    world.agent.headers = headers
    with pytest.raises(Unavailable, match="may be old"):
        world.discovery().instances()


def test_the_leader_itself_is_asked(world: World) -> None:
    """Otherwise a follower would answer with what it last heard."""
    ids(world.discovery())
    assert "consistent" in world.server.requests[0].path
    assert "passing=true" in world.server.requests[0].path


def test_a_list_that_was_cut_for_the_token_is_refused(world: World) -> None:
    """Consul leaves out what a token may not see, and says so in a header alone."""
    world.agent.headers = {"X-Consul-Results-Filtered-By-ACLs": "true"}
    error = rejected(world.discovery())
    assert "a part of the list" in error.why
    assert error.advice


def test_the_same_id_on_two_nodes_is_two_instances(world: World) -> None:
    world.agent.services = {("dc1", "default"): [entry("web"), entry("web", node="node-2")]}
    assert ids(world.discovery()) == ["node-1.web", "node-2.web"]
    world.agent.services = {("dc1", "default"): [entry("web"), entry("web")]}
    assert "two instances" in rejected(world.discovery()).why


@pytest.mark.parametrize("answer", [None, {}, [{}], [{"Node": {"Node": "a"}, "Service": {"ID": "b"}}], ["web"]])
def test_what_is_no_health_is_refused(world: World, answer: object) -> None:
    leader = {"X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
    world.server.order(Reply(200, json.dumps(answer).encode(), leader))
    assert "no list" in rejected(world.discovery()).why


def test_what_does_not_pass_is_refused_even_where_consul_lists_it(world: World) -> None:
    """An agent that does not know `passing` would list all of them."""
    leader = {"X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}
    world.server.order(Reply(200, json.dumps([entry("web", status="critical")]).encode(), leader))
    assert "do not pass" in rejected(world.discovery()).why


def test_a_certificate_is_trusted_by_its_file(world: World) -> None:
    trusted = authority(world.folder)
    with serving(world.agent.answer, context=trusted.context(LOCAL)) as server:
        assert len(ids(world.discovery(url=server.url, ca_file=trusted.file.name))) == 2
        with pytest.raises(Unavailable):
            world.discovery(url=server.url).instances()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "http://10.0.0.1:8500"}, "`url`"),
        ({"url": "http://127.0.0.1:8500?token=x"}, "`url`"),
        ({"service": "web/../../kv"}, "service"),
        ({"endpoint": "http://{host}"}, "`endpoint`"),
    ],
)
def test_options_that_cannot_be_are_refused(world: World, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        world.discovery(**options)
