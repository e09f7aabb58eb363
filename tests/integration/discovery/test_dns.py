"""`dns` against a name server of the tests: every option, and what names may lead to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.resolver
import pytest

from adapters.discovery import dns as adapter
from adapters.discovery.dns import DnsDiscovery, DnsOptions
from engine.errors import Unavailable
from engine.instances import Instance
from engine.values import SECOND, Microseconds
from tests.contract.discovery import built, ids, rejected
from tests.fleets.name_server import NameServer, name_server

NAME = "_http._tcp.web.test."


@pytest.fixture
def server() -> Iterator[NameServer]:
    """A name server with a name."""
    with name_server() as found:
        found.records[NAME] = ["0 5 8080 web-1.test.", "1 0 81 WEB-2.test."]
        yield found


def discovery(server: NameServer, folder: Path, **options: Any) -> DnsDiscovery:
    """Return what asks it."""
    given = {"name": NAME, "nameservers": [f"127.0.0.1:{server.port}"], **options}
    found: DnsDiscovery = built(adapter.ADAPTER, folder, timeout=Microseconds(2 * SECOND), **given)
    return found


def test_a_record_is_an_instance(server: NameServer, tmp_path: Path) -> None:
    """With its priority and weight for selectors; names are written in one way."""
    assert list(discovery(server, tmp_path, endpoint="http://{address}:{port}/x").instances()) == [
        Instance("web-1.test:8080", "", "http://web-1.test:8080/x", {"priority": "0", "weight": "5"}),
        Instance("web-2.test:81", "", "http://web-2.test:81/x", {"priority": "1", "weight": "0"}),
    ]


def test_without_a_template_there_is_no_endpoint(server: NameServer, tmp_path: Path) -> None:
    assert {each.endpoint for each in discovery(server, tmp_path).instances()} == {""}


def test_a_long_answer_is_whole(server: NameServer, tmp_path: Path) -> None:
    """Over UDP this server gives one record and does not say that there are more."""
    server.records[NAME] = [f"0 0 80 web-{number}.quite-a-long-name.test." for number in range(500)]
    assert len(ids(discovery(server, tmp_path))) == 500
    assert server.asked == [f"TCP {NAME}"]


def test_a_name_is_taken_as_it_is(server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No domain of this machine is added; and a name that is not there is an error."""
    monkeypatch.setenv("LOCALDOMAIN", "test")
    server.records["_http._tcp.api.test."] = []
    assert ids(discovery(server, tmp_path, name="_http._tcp.api.test")) == []
    assert "no such name" in rejected(discovery(server, tmp_path, name="_http._tcp.wbe.test")).why
    with pytest.raises(Unavailable, match="that can be used"):
        discovery(server, tmp_path, name="_http._tcp.web").instances()
    assert [each.partition(" ")[2] for each in server.asked] == [
        "_http._tcp.api.test.",
        "_http._tcp.wbe.test.",
        "_http._tcp.web.",
    ]


def test_a_service_that_is_declared_absent_has_nobody(server: NameServer, tmp_path: Path) -> None:
    """The root as the target says so (RFC 2782)."""
    server.records[NAME] = ["0 0 0 ."]
    assert ids(discovery(server, tmp_path)) == []


def test_the_name_servers_of_the_machine_are_asked_where_none_is_named(
    server: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def configure(self: dns.resolver.Resolver, *_: object) -> None:
        read.append(self)
        self.nameservers = []

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", configure)
    with pytest.raises(Unavailable):
        discovery(server, tmp_path, nameservers=[]).instances()
    assert len(read) == 1
    ids(discovery(server, tmp_path))
    assert len(read) == 1


def test_another_name_server_is_asked_where_one_fails(server: NameServer, tmp_path: Path) -> None:
    servers = ["127.0.0.1:1", f"127.0.0.1:{server.port}"]
    assert len(ids(discovery(server, tmp_path, nameservers=servers))) == 2


def test_every_option_is_looked_at_in_this_file() -> None:
    assert DnsOptions.__struct_fields__ == ("name", "nameservers", "endpoint")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"name": "web"}, "`name`"),
        ({"name": "web..test"}, "`name`"),
        ({"name": "web test.test"}, "`name`"),
        ({"nameservers": ["ns.test"]}, "`nameservers`"),
        ({"nameservers": ["10.0.0.1:99999"]}, "`nameservers`"),
        ({"nameservers": ["[10.0.0.]"]}, "`nameservers`"),
        ({"endpoint": "{name}"}, "`endpoint`"),
    ],
)
def test_options_that_cannot_be_are_refused(
    server: NameServer, tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        discovery(server, tmp_path, **options)


@pytest.mark.parametrize("text", ["10.0.0.53", "10.0.0.53:5353", "[fd00::53]", "[fd00::53]:5353", "fd00::53"])
def test_a_name_server_is_an_address_with_or_without_a_port(text: str) -> None:
    assert DnsOptions(name="a.test", nameservers=(text,)).nameservers == (text,)
