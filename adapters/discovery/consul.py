"""Instances of a service that Consul holds for healthy.

Rule 1: the list is the leader's own (`consistent`); one that may be old is refused.
Rule 2: an id is the node and the id of the service on it: Consul has ids of services once a node only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from adapters import http_auth
from adapters.discovery.listing import check_api, check_by_listing, check_template, endpoint, listed
from engine.adapter import DiscoveryAdapter, DiscoveryContext, Reference
from engine.errors import Rejected, Unavailable
from engine.instances import Instance
from engine.ports import Finding

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_.-]+$")]


class ConsulOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service in the catalog of Consul."""

    service: Name
    """The name of the service."""
    url: str = "http://127.0.0.1:8500"
    """An agent or a server; https, or http to this machine."""
    token: Reference | None = None
    """The token, which may read the service and its nodes; without it, keyturn is anonymous."""
    datacenter: str = ""
    """The datacenter; that of the agent where none is named."""
    namespace: str = ""
    """The namespace (Consul Enterprise)."""
    filter: str = ""
    """Which of them, as Consul takes it: `"v2" in Service.Tags`."""
    zone_key: str = ""
    """The key of the metadata of the service or of its node that names the zone. Without it, it is the zone of their \
locality, else the datacenter."""
    endpoint: str = ""
    """Where an instance is reached, as `http://{address}:{port}`; empty where nobody needs to know."""
    ca_file: str = ""
    """Certificates (PEM) that are trusted in place of the public ones; relative to the folder of the configuration."""

    def __post_init__(self) -> None:
        check_template(self.endpoint, has_port=True)
        check_api("url", self.url)


class _Locality(msgspec.Struct, frozen=True, rename="pascal"):
    zone: str = ""


class _Node(msgspec.Struct, frozen=True, rename="pascal"):
    node: str
    address: str = ""
    datacenter: str = ""
    meta: dict[str, str] | None = None
    locality: _Locality | None = None


class _Service(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(name="ID")
    service: str
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    locality: _Locality | None = None


class _Check(msgspec.Struct, frozen=True, rename="pascal"):
    status: str


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    node: _Node
    service: _Service
    checks: list[_Check]


class ConsulDiscovery:
    """The healthy instances of a service."""

    def __init__(self, options: ConsulOptions, context: DiscoveryContext) -> None:
        self._options = options
        self._context = context
        self._what = f"listing the instances of {context.service} in Consul, service {options.service}"

    def instances(self) -> Sequence[Instance]:
        """Return those whose checks all pass, by node and id; raises `Unavailable` or `Rejected`."""
        from adapters.discovery.asking import Asking, trusted

        options, context = self._options, self._context
        headers = {}
        if options.token is not None:
            token = http_auth.visible(options.token, context.secret, what=self._what, secrets=[])
            headers["x-consul-token"] = token
        asking = Asking(
            what=self._what,
            timeout=context.timeout,
            context=trusted(context.base / options.ca_file if options.ca_file else None, what=self._what),
            headers=headers,
            advice="The token needs service:read and node:read.",
        )
        query = {"passing": "true", "consistent": ""}
        further = {"dc": options.datacenter, "ns": options.namespace, "filter": options.filter}
        query |= {name: value for name, value in further.items() if value}
        answer = asking.get(f"{options.url.rstrip('/')}/v1/health/service/{options.service}", query)
        self._refuse_old(answer.headers)
        try:
            entries = msgspec.convert(answer.value, list[_Entry])
        except msgspec.ValidationError:
            raise Rejected(what=self._what, why="what it answered is no list of a service's health") from None
        return listed([self._instance(each) for each in entries], what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _refuse_old(self, headers: Any) -> None:
        """Raise `Unavailable` where the headers that every answer of Consul has do not say that it is the leader's.

        `X-Consul-KnownLeader`, `X-Consul-LastContact` (ms), and where only a part may be seen,
        `X-Consul-Results-Filtered-By-ACLs` (developer.hashicorp.com, HTTP API, "Consistency modes").
        """
        if headers.get("x-consul-knownleader", "") != "true" or headers.get("x-consul-lastcontact", "0") != "0":
            raise Unavailable(what=self._what, why="the list may be old: there is no leader that stands for it")
        if headers.get("x-consul-results-filtered-by-acls", "") == "true":
            advice = "The token needs service:read and node:read for all of them."
            raise Rejected(what=self._what, why="the token may see a part of the list only", advice=advice)

    def _instance(self, entry: _Entry) -> Instance:
        node, service = entry.node, entry.service
        if any(each.status != "passing" for each in entry.checks):
            raise Rejected(what=self._what, why="it lists an instance whose checks do not pass")
        meta = {**(node.meta or {}), **(service.meta or {})}
        localities = (each.zone for each in (service.locality, node.locality) if each is not None and each.zone)
        key = self._options.zone_key
        return Instance(
            id=f"{node.node}.{service.id}",
            zone=meta.get(key, "") if key else next(localities, node.datacenter),
            endpoint=endpoint(
                self._options.endpoint, address=service.address or node.address, port=service.port, what=self._what
            ),
            labels=meta | dict.fromkeys(service.tags or (), "true"),
        )


def _build(options: ConsulOptions, context: DiscoveryContext) -> ConsulDiscovery:
    return ConsulDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="consul",
    summary="healthy instances of a service in Consul",
    options=ConsulOptions,
    build=_build,
)
