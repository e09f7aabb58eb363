"""`endpoint` against a server on this machine: every option, and what a server may not lead it to."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import endpoint
from adapters.discovery.endpoint import EndpointDiscovery, EndpointOptions, Fields
from engine.errors import OwnLoginRejected, Rejected, Throttled, Unavailable
from engine.instances import Instance
from tests.contract.discovery import built, ids, rejected
from tests.contract.stores import shown
from tests.fleets.inventory import PATH, Inventory, inventory
from tests.sinks.certificates import LOCAL, authority
from tests.sinks.vendor_server import Reply, Request, VendorServer, serving

ALLOW = ["127.0.0.0/8"]
SECRETS = {"TOKEN": "canary-token", "USER": "canary-user", "PASSWORD": "canary-password"}


@pytest.fixture
def world() -> Iterator[tuple[Inventory, VendorServer]]:
    """A service that lists instances."""
    with inventory() as served:
        yield served


def discovery(server: VendorServer, folder: Path, **options: Any) -> EndpointDiscovery:
    """Return what asks it."""
    given = {"url": f"{server.url}{PATH}", "allow_private": ALLOW, **options}
    found: EndpointDiscovery = built(endpoint.ADAPTER, folder, secrets=SECRETS, **given)
    return found


def answering(value: object, **headers: str) -> Callable[[Request], Reply]:
    """Return what always answers the same."""
    return lambda _: Reply(200, json.dumps(value).encode(), headers)


MEMBER = {"id": "web-1", "zone": "a", "endpoint": "https://web-1.test", "labels": {"role": "x", "n": 2, "on": True}}
OTHER = {"name": "web-2", "az": "b", "at": "https://web-2.test", "tags": {"role": "y"}, "first": True, "id": "wrong"}


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [
        (
            {},
            {"instances": [{**MEMBER, "canary": True}]},
            Instance("web-1", "a", "https://web-1.test", {"role": "x", "n": "2", "on": "true"}, canary=True),
        ),
        ({}, {"instances": [{"id": 7, "more": None}]}, Instance("7")),
        ({}, {"instances": [{"id": "a", "zone": None, "labels": None, "canary": None}]}, Instance("a")),
        ({"instance_path": "$[*].all"}, [{"all": [MEMBER | {"labels": {}}]}, {"all": []}], None),
        ({"fields": {"id": "$"}}, {"instances": ["web-9"]}, Instance("web-9")),
        ({"fields": {"id": "$.name"}}, {"instances": [OTHER]}, Instance("web-2")),
        ({"fields": {"id": "$.name", "zone": "$.az"}}, {"instances": [OTHER]}, Instance("web-2", "b")),
        (
            {"fields": {"id": "$.name", "endpoint": "$.at"}},
            {"instances": [OTHER]},
            Instance("web-2", endpoint="https://web-2.test"),
        ),
        (
            {"fields": {"id": "$.name", "labels": "$.tags"}},
            {"instances": [OTHER]},
            Instance("web-2", labels={"role": "y"}),
        ),
        ({"fields": {"id": "$.name", "canary": "$.first"}}, {"instances": [OTHER]}, Instance("web-2", canary=True)),
    ],
)
def test_an_instance_is_read_where_the_options_say(
    tmp_path: Path, options: dict[str, Any], answer: object, expected: Instance | None
) -> None:
    """Each of the fields, and where the list is."""
    with serving(answering(answer)) as server:
        [found] = discovery(server, tmp_path, **options).instances()
    assert found == (expected or Instance("web-1", "a", "https://web-1.test"))


def test_the_cases_above_go_through_every_field() -> None:
    assert Fields.__struct_fields__ == ("id", "zone", "endpoint", "labels", "canary")
    assert EndpointOptions.__struct_fields__ == (
        *("url", "auth", "instance_path", "fields", "next_path", "allow_http", "allow_private", "ca_file", "max_bytes"),
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({}, "$.instances is not there"),
        ({"error": "later"}, "$.instances is not there"),
        ({"instances": {"web-1": {}}}, "$.instances is no list"),
        ({"instances": [{"id": "a"}, {}]}, "$.id is not there"),
        ({"instances": [{"id": "a"}, "b"]}, "$.id is not there"),
        ({"instances": [{"id": True}]}, "an id is a text"),
        ({"instances": [{"id": None}]}, "an id has 1 to 253"),
        ({"instances": [{"id": "a"}, {"id": "a"}]}, "two instances are called 'a'"),
        ({"instances": [{"id": "a", "labels": ["x"]}]}, "labels are a mapping"),
        ({"instances": [{"id": "a", "labels": {"x": {}}}]}, "a label is a text"),
        ({"instances": [{"id": "a", "canary": "true"}]}, "`canary` is true or false"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_whole(tmp_path: Path, answer: object, why: str) -> None:
    with serving(answering(answer)) as server:
        assert why in rejected(discovery(server, tmp_path)).why


@pytest.mark.parametrize("field", ["zone", "endpoint", "labels", "canary"])
def test_a_field_that_is_named_must_be_there(tmp_path: Path, field: str) -> None:
    """A path with a slip would lose every zone."""
    with serving(answering({"instances": [{"id": "a", "x": None}, {"id": "b"}]})) as server:
        assert "$.x is not there" in rejected(discovery(server, tmp_path, fields={field: "$.x"})).why


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ({"type": "bearer", "token": "env://TOKEN"}, ("authorization", "Bearer canary-token")),
        (
            {"type": "basic", "username": "env://USER", "password": "env://PASSWORD"},
            ("authorization", "Basic " + base64.b64encode(b"canary-user:canary-password").decode()),
        ),
        ({"type": "custom", "header": "X-API-Key", "value": "env://TOKEN"}, ("x-api-key", "canary-token")),
    ],
)
def test_keyturn_shows_who_it_is(
    world: tuple[Inventory, VendorServer], tmp_path: Path, auth: dict[str, str], login: tuple[str, str]
) -> None:
    """And without that it is told to."""
    fake, server = world
    fake.members, fake.login = [{"id": "a"}], dict([login])
    assert ids(discovery(server, tmp_path, auth=auth)) == ["a"]
    with pytest.raises(OwnLoginRejected):
        discovery(server, tmp_path).instances()


@pytest.mark.parametrize("by_header", [True, False])
def test_the_pages_are_followed(world: tuple[Inventory, VendorServer], tmp_path: Path, *, by_header: bool) -> None:
    """By the header `Link` in any case, by the body where the option says where."""
    fake, server = world
    fake.members, fake.by_header = [{"id": f"{number}"} for number in range(8)], by_header
    options = {} if by_header else {"next_path": "$.next"}
    assert ids(discovery(server, tmp_path, **options)) == [f"{number}" for number in range(8)]


def test_pages_in_a_circle_are_refused(tmp_path: Path) -> None:
    with serving(answering({"instances": [], "next": PATH})) as server:
        assert "circle" in rejected(discovery(server, tmp_path, next_path="$.next")).why
        assert len(server.requests) == 1


@pytest.mark.parametrize("following", ["http://127.0.0.2:1/x", "http://127.0.0.1:1/x", "https://elsewhere.test/x"])
def test_no_page_leads_to_another_host(tmp_path: Path, following: str) -> None:
    """Which would be shown the login."""
    auth = {"type": "bearer", "token": "env://TOKEN"}
    with serving(answering({"instances": [], "next": following})) as server:
        error = rejected(discovery(server, tmp_path, next_path="$.next", auth=auth))
    assert "another host" in error.why
    assert "canary-token" not in shown(error)


@pytest.mark.parametrize("following", ["ftp://127.0.0.1/x", "http://user@127.0.0.1/x", {}, True])
def test_what_is_no_next_page_is_refused(tmp_path: Path, following: object) -> None:
    with serving(answering({"instances": [], "next": following})) as server:
        rejected(discovery(server, tmp_path, next_path="$.next"))


def test_an_answer_of_another_form_does_not_end_the_pages(tmp_path: Path) -> None:
    with serving(answering({"instances": []})) as server:
        assert "$.meta is not there" in rejected(discovery(server, tmp_path, next_path="$.meta.next")).why


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(302, b"", {"Location": "/elsewhere"}), Rejected),
        (Reply(204), Rejected),
        (Reply(206, b'{"instances": []}'), Rejected),
        (Reply(400), Rejected),
        (Reply(403), OwnLoginRejected),
        (Reply(404), Rejected),
        (Reply(410), Rejected),
        (Reply(429, b"", {"Retry-After": "7"}), Throttled),
        (Reply(500), Unavailable),
    ],
)
def test_any_other_answer_is_an_error(tmp_path: Path, reply: Reply, error: type[Exception]) -> None:
    """A redirect is not followed, and a part of what was asked for is none."""
    with serving(lambda _: reply) as server:
        with pytest.raises(Rejected if issubclass(error, Rejected) else Unavailable) as caught:
            discovery(server, tmp_path).instances()
        assert type(caught.value) is error
        assert len(server.requests) == 1


def test_a_list_that_is_too_large_is_refused(world: tuple[Inventory, VendorServer], tmp_path: Path) -> None:
    """All pages together."""
    fake, server = world
    fake.members = [{"id": f"{number}", "more": "x" * 200} for number in range(6)]
    assert len(ids(discovery(server, tmp_path, next_path="$.next", max_bytes=2_000))) == 6
    assert "larger than 1000 bytes" in rejected(discovery(server, tmp_path, next_path="$.next", max_bytes=1_000)).why


def test_addresses_of_the_own_network_are_listed_or_refused(
    world: tuple[Inventory, VendorServer], tmp_path: Path
) -> None:
    """Those that are written as well as those of a name."""
    _, server = world
    with pytest.raises(ValueError, match="not public"):
        discovery(server, tmp_path, allow_private=[])
    options: dict[str, Any] = {"url": f"http://fleet.test:{server.port}{PATH}", "allow_http": True}
    for allow, is_allowed in ((["10.0.0.0/8"], False), (ALLOW, True)):
        given = discovery(server, tmp_path, allow_private=allow, **options)
        given._resolve = lambda host, port: ["127.0.0.1"]
        if is_allowed:
            assert ids(given) == []
        else:
            assert "not public" in rejected(given).why


def test_in_the_clear_it_asks_this_machine_alone(tmp_path: Path) -> None:
    """Or others where that is allowed."""
    given: dict[str, Any] = {"url": "http://fleet.example/list"}
    with pytest.raises(ValueError, match="must begin with https"):
        built(endpoint.ADAPTER, tmp_path, **given)
    built(endpoint.ADAPTER, tmp_path, **given, allow_http=True)


def test_a_certificate_is_trusted_by_its_file_alone(tmp_path: Path) -> None:
    trusted = authority(tmp_path)
    with serving(answering({"instances": []}), context=trusted.context(LOCAL)) as server:
        assert ids(discovery(server, tmp_path, ca_file=trusted.file.name)) == []
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            discovery(server, tmp_path).instances()
        assert "`ca_file`" in rejected(discovery(server, tmp_path, ca_file="nowhere.pem")).why


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "https://a@fleet.test/"}, "`url`"),
        ({"allow_private": ["10.0.0.1/8"]}, "`allow_private`"),
        ({"instance_path": "$..x"}, "`instance_path`"),
        ({"next_path": "$.x[*]"}, "`next_path`"),
        ({"fields": {"zone": "zone"}}, "`fields.zone`"),
        ({"auth": {"type": "bearer"}}, "`auth`"),
        ({"max_bytes": 10}, "max_bytes"),
        ({"instance_paths": "$"}, "instance_paths"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        built(endpoint.ADAPTER, tmp_path, **{"url": "https://fleet.test/", **options})
