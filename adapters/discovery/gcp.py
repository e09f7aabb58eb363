"""Instances of Compute Engine, by labels, over all zones of a project.

Rule 1: a zone that could not be reached is an error: the API would tell it beside the instances of the others.
Rule 2: asks the REST API, which needs no client of its own; its shapes are those of the reference of instances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from adapters import http_auth
from adapters.discovery.listing import check_api, check_by_listing, check_template, endpoint, listed
from engine.adapter import DiscoveryAdapter, DiscoveryContext, Reference
from engine.errors import Rejected, Unavailable
from engine.instances import Instance
from engine.ports import Finding
from engine.values import Secret

if TYPE_CHECKING:
    from adapters.discovery.asking import Asking

API_URL: Final = "https://compute.googleapis.com/compute/v1"
METADATA_URL: Final = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
_FLAVOR: Final = {"Metadata-Flavor": "Google"}
_PAGE: Final = 500
"""The most that aggregatedList takes for maxResults."""
_NOTHING_HERE: Final = "NO_RESULTS_ON_PAGE"
"""The one warning of a zone that says nothing of a part that is missing."""
_KEY: Final = r"^(labels\.)?[a-z][a-z0-9_-]{0,62}$"
_VALUE: Final = r"^[a-z0-9_-]{0,63}$"
"""Keys and values of labels, in ASCII (Compute Engine, "Organize resources using labels")."""


class Label(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label that an instance must have."""

    key: Annotated[str, msgspec.Meta(pattern=_KEY)]
    """The name of the label, with or without `labels.` before it."""
    value: Annotated[str, msgspec.Meta(pattern=_VALUE)]
    """Its value."""

    @property
    def label(self) -> str:
        """The name of the label."""
        return self.key.removeprefix("labels.")


class GcpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Instances of a project."""

    project: Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    """The id of the project."""
    filters: Annotated[tuple[Label, ...], msgspec.Meta(min_length=1)]
    """Labels that they all have."""
    region: str = ""
    """Only in zones of this region, such as `europe-west3`."""
    endpoint: str = ""
    """Where an instance is reached, as `http://{address}:8080`, with its first internal address; empty where nobody \
needs to know."""
    token: Reference | None = None
    """An OAuth 2.0 access token; where it is not given, the machine's service account is asked for one."""
    api_url: str = API_URL
    """The URL of an API that is elsewhere, such as a private endpoint."""

    def __post_init__(self) -> None:
        check_template(self.endpoint)
        check_api("api_url", self.api_url)
        if len({each.label for each in self.filters}) != len(self.filters):
            raise ValueError("`filters`: a label is there twice")


class _Interface(msgspec.Struct, frozen=True):
    address: str = msgspec.field(default="", name="networkIP")


class _Machine(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    zone: str
    status: str
    labels: dict[str, str] = {}
    network_interfaces: list[_Interface] = []


class _Warning(msgspec.Struct, frozen=True):
    code: str


class _Scope(msgspec.Struct, frozen=True):
    instances: list[_Machine] = []
    warning: _Warning | None = None


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    kind: str
    items: dict[str, _Scope] = {}
    next_page_token: str = ""
    warning: _Warning | None = None
    unreachables: list[str] = []


class GcpDiscovery:
    """The running instances that have some labels."""

    def __init__(self, options: GcpOptions, context: DiscoveryContext, *, metadata: str = METADATA_URL) -> None:
        self._options = options
        self._context = context
        self._metadata = metadata
        self._what = f"listing the instances of {context.service} in the project {options.project}"

    def instances(self) -> Sequence[Instance]:
        """Return those that run, called by name and zone; raises `Unavailable` or `Rejected`."""
        from adapters.discovery.asking import Asking, trusted

        asking = Asking(
            what=self._what,
            timeout=self._context.timeout,
            context=trusted(None, what=self._what),
            headers={"authorization": f"Bearer {self._token().reveal()}"},
            advice="Its account needs compute.instances.list in the project.",
        )
        wanted = [*((f"labels.{each.label}", each.value) for each in self._options.filters), ("status", "RUNNING")]
        query = {
            "filter": " ".join(f'({name} = "{value}")' for name, value in wanted),
            "maxResults": str(_PAGE),
            "returnPartialSuccess": "false",
        }
        machines = self._all(asking, query)
        return listed([self._instance(each) for each in machines if self._is_wanted(each)], what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _all(self, asking: Asking, query: dict[str, str]) -> list[_Machine]:
        found: list[_Machine] = []
        seen: set[str] = set()
        url = f"{self._options.api_url.rstrip('/')}/projects/{self._options.project}/aggregated/instances"
        while True:
            page = self._page(asking.get(url, query).value)
            for scope, part in page.items.items():
                self._refuse_part(part.warning, scope)
                found += part.instances
            self._refuse_part(page.warning, "the project")
            if page.unreachables:
                raise Unavailable(what=self._what, why=f"{len(page.unreachables)} zones could not be reached")
            if not page.next_page_token:
                return found
            if page.next_page_token in seen:
                raise Rejected(what=self._what, why="the pages lead in a circle")
            seen.add(page.next_page_token)
            query = {**query, "pageToken": page.next_page_token}

    def _page(self, value: Any) -> _Page:
        try:
            page = msgspec.convert(value, _Page)
        except msgspec.ValidationError:
            raise Rejected(what=self._what, why="the answer is no list of instances") from None
        if page.kind != "compute#instanceAggregatedList":
            raise Rejected(what=self._what, why="the answer is no list of instances")
        return page

    def _refuse_part(self, warning: _Warning | None, scope: str) -> None:
        if warning is not None and warning.code != _NOTHING_HERE:
            code = warning.code if warning.code.isascii() and warning.code.isidentifier() else "a warning"
            raise Unavailable(what=self._what, why=f"the list may not be whole: {code} of {scope}")

    def _is_wanted(self, machine: _Machine) -> bool:
        region = self._options.region
        is_there = not region or _last(machine.zone).startswith(f"{region}-")
        has_labels = all(machine.labels.get(each.label) == each.value for each in self._options.filters)
        return is_there and has_labels and machine.status == "RUNNING"

    def _instance(self, machine: _Machine) -> Instance:
        zone = _last(machine.zone)
        addresses = [each.address for each in machine.network_interfaces]
        return Instance(
            id=f"{machine.name}.{zone}",
            zone=zone,
            endpoint=endpoint(self._options.endpoint, address=next(iter(addresses), ""), what=self._what),
            labels=machine.labels,
        )

    def _token(self) -> Secret:
        from adapters.discovery.metadata import access_token

        if self._options.token is not None:
            return Secret(http_auth.visible(self._options.token, self._context.secret, what=self._what, secrets=[]))
        return access_token(self._metadata, _FLAVOR, timeout=self._context.timeout, what=self._what, flavor=_FLAVOR)


def _last(url: str) -> str:
    return url.rpartition("/")[2]


def _build(options: GcpOptions, context: DiscoveryContext) -> GcpDiscovery:
    return GcpDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="gcp",
    summary="Compute Engine instances by labels",
    options=GcpOptions,
    build=_build,
)
