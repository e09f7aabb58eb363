"""Virtual machines of Azure, by tags, and those of a scale set.

Rule 1: only those whose power state is running; a page is asked for where the one before says, and at the same host.
Rule 2: names in Azure know no capitals, so ids are in small letters whatever an answer has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from adapters import http_auth
from adapters.addresses import ANYWHERE, check_url
from adapters.discovery.listing import check_api, check_by_listing, check_template, endpoint, listed
from engine.adapter import DiscoveryAdapter, DiscoveryContext, Reference
from engine.errors import Rejected
from engine.instances import Instance
from engine.ports import Finding
from engine.values import Secret

if TYPE_CHECKING:
    from adapters.discovery.asking import Asking

API_URL: Final = "https://management.azure.com"
METADATA_URL: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
_COMPUTE: Final = "2024-07-01"
_NETWORK: Final = "2024-05-01"
_SCALE_SET_NETWORK: Final = "2018-10-01"
"""Versions of the REST APIs of Microsoft.Compute and Microsoft.Network; the last is the one that the reference has for
the network interfaces of scale sets."""
_RUNNING: Final = "powerstate/running"
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.()-]{0,90}$")]


class Tag(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tag that a machine must have."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    """The name of the tag, in any capitals, with or without `tag:` before it."""
    value: Annotated[str, msgspec.Meta(max_length=256)]
    """Its value."""

    @property
    def tag(self) -> str:
        """The name of the tag, in small letters."""
        return self.key.removeprefix("tag:").lower()


class AzureOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Machines of a subscription."""

    subscription: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    """The id of the subscription."""
    filters: tuple[Tag, ...] = ()
    """Tags that they all have; they may be left out where a scale set is named."""
    region: Name = ""
    """Only in this location, such as `westeurope`."""
    resource_group: Name = ""
    """Only in this resource group."""
    scale_set: Name = ""
    """The machines of this scale set with uniform orchestration, in the resource group."""
    endpoint: str = ""
    """Where a machine is reached, as `http://{address}:8080`, with its primary private address; empty where nobody \
needs to know."""
    token: Reference | None = None
    """An access token for Azure Resource Manager; where it is not given, the machine's managed identity is asked."""
    identity: str = ""
    """The client id of a managed identity, where the machine has several."""
    api_url: str = API_URL
    """The URL of Azure Resource Manager, in another cloud than the public one."""

    def __post_init__(self) -> None:
        check_template(self.endpoint)
        check_api("api_url", self.api_url)
        if not self.filters and not self.scale_set:
            raise ValueError("`filters` or `scale_set` says which machines there are")
        if self.scale_set and not self.resource_group:
            raise ValueError("`scale_set` is one of a `resource_group`, which is missing")
        if len({each.tag for each in self.filters}) != len(self.filters):
            raise ValueError("`filters`: a tag is there twice")
        if self.token and self.identity:
            raise ValueError("`token` and `identity` are two logins: give one of them")


class _Status(msgspec.Struct, frozen=True):
    code: str = ""


class _View(msgspec.Struct, frozen=True):
    statuses: list[_Status] = []


class _Reference(msgspec.Struct, frozen=True):
    id: str


class _Address(msgspec.Struct, frozen=True, rename="camel"):
    private_ip: str = msgspec.field(default="", name="privateIPAddress")
    primary: bool = False


class _IpConfiguration(msgspec.Struct, frozen=True):
    properties: _Address


class _MachineProperties(msgspec.Struct, frozen=True, rename="camel"):
    instance_view: _View = _View()


class _Machine(msgspec.Struct, frozen=True):
    id: str
    name: str
    location: str = ""
    zones: list[str] = []
    tags: dict[str, str] = {}
    properties: _MachineProperties = _MachineProperties()


class _InterfaceProperties(msgspec.Struct, frozen=True, rename="camel"):
    virtual_machine: _Reference | None = None
    primary: bool = False
    ip_configurations: list[_IpConfiguration] = []


class _Interface(msgspec.Struct, frozen=True):
    properties: _InterfaceProperties


Member = TypeVar("Member", _Machine, _Interface)


class AzureDiscovery:
    """The running machines that have some tags, or are of a scale set."""

    def __init__(self, options: AzureOptions, context: DiscoveryContext, *, metadata: str = METADATA_URL) -> None:
        self._options = options
        self._context = context
        self._metadata = metadata
        self._place = check_url(options.api_url, allow_http=True, allow=ANYWHERE)
        self._what = f"listing the machines of {context.service} in Azure"

    def instances(self) -> Sequence[Instance]:
        """Return those that run, called by name and resource group; raises `Unavailable` or `Rejected`."""
        from adapters.discovery.asking import Asking, trusted

        asking = Asking(
            what=self._what,
            timeout=self._context.timeout,
            context=trusted(None, what=self._what),
            headers={"authorization": f"Bearer {self._token().reveal()}"},
            advice="Its identity needs the role Reader, of the subscription or of the resource group.",
        )
        machines = self._of_scale_set(asking) if self._options.scale_set else self._of_subscription(asking)
        there = [each for each in machines if self._is_wanted(each)]
        addresses = self._addresses(asking) if self._options.endpoint and there else {}
        return listed([self._instance(each, addresses) for each in there], what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _of_subscription(self, asking: Asking) -> list[_Machine]:
        """Return the machines that run; the API tells what they are and whether they run in two lists.

        Whether they run is asked first: a machine that is new in the second list has only begun.
        """
        path = "/providers/Microsoft.Compute/virtualMachines"
        states = self._all(asking, path, {"api-version": _COMPUTE, "statusOnly": "true"}, list[_Machine])
        running = {each.id.lower() for each in states if _is_running(each)}
        models = self._all(asking, path, {"api-version": _COMPUTE}, list[_Machine])
        return [each for each in models if each.id.lower() in running]

    def _of_scale_set(self, asking: Asking) -> list[_Machine]:
        query = {"api-version": _COMPUTE, "$expand": "instanceView"}
        machines = self._all(asking, f"{self._scale_set_path()}/virtualMachines", query, list[_Machine])
        return [each for each in machines if _is_running(each)]

    def _addresses(self, asking: Asking) -> Mapping[str, str]:
        """Return the primary private address of each machine, by its id in small letters."""
        if self._options.scale_set:
            path, query = f"{self._scale_set_path()}/networkInterfaces", {"api-version": _SCALE_SET_NETWORK}
        else:
            path, query = "/providers/Microsoft.Network/networkInterfaces", {"api-version": _NETWORK}
        found: dict[str, str] = {}
        interfaces = self._all(asking, path, query, list[_Interface])
        for each in sorted(interfaces, key=lambda interface: interface.properties.primary):
            machine = each.properties.virtual_machine
            addresses = [ip.properties for ip in each.properties.ip_configurations if ip.properties.private_ip]
            if machine is not None and addresses:
                primary = next((ip for ip in addresses if ip.primary), addresses[0])
                found[machine.id.lower()] = primary.private_ip
        return found

    def _scale_set_path(self) -> str:
        group, name = quote(self._options.resource_group), quote(self._options.scale_set)
        return f"/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{name}"

    def _all(self, asking: Asking, path: str, query: Mapping[str, str], form: type[list[Member]]) -> list[Member]:
        """Return all members of a list of the subscription."""
        found: list[Member] = []
        seen: set[str] = set()
        url = f"{self._options.api_url.rstrip('/')}/subscriptions/{self._options.subscription}{path}"
        answer = asking.get(url, query)
        while True:
            members, following = self._page(answer.value, form)
            found += members
            if not following:
                return found
            if following in seen:
                raise Rejected(what=self._what, why="the pages lead in a circle")
            seen.add(following)
            answer = asking.get(self._checked(following))

    def _page(self, value: Any, form: type[list[Member]]) -> tuple[list[Member], str]:
        try:
            return msgspec.convert(value["value"], form), msgspec.convert(value.get("nextLink"), str | None) or ""
        except (msgspec.ValidationError, KeyError, TypeError, AttributeError):
            raise Rejected(what=self._what, why="the answer is no list of what was asked for") from None

    def _checked(self, url: str) -> str:
        try:
            place = check_url(url, allow_http=True, allow=ANYWHERE)
        except ValueError as error:
            raise Rejected(what=self._what, why=f"the next page: {error}") from None
        if place != self._place:
            raise Rejected(what=self._what, why="the next page is at another host, which is shown no token")
        return url

    def _is_wanted(self, machine: _Machine) -> bool:
        options = self._options
        tags = {name.lower(): value for name, value in machine.tags.items()}
        return (
            all(tags.get(each.tag) == each.value for each in options.filters)
            and options.region.lower() in {"", machine.location.lower()}
            and options.resource_group.lower() in {"", _group(machine)}
        )

    def _instance(self, machine: _Machine, addresses: Mapping[str, str]) -> Instance:
        zone = f"{machine.location}-{machine.zones[0]}" if machine.zones else machine.location
        return Instance(
            id=f"{machine.name}.{_group(machine)}".lower(),
            zone=zone,
            endpoint=endpoint(self._options.endpoint, address=addresses.get(machine.id.lower(), ""), what=self._what),
            labels=machine.tags,
        )

    def _token(self) -> Secret:
        from adapters.discovery.metadata import access_token

        if self._options.token is not None:
            return Secret(http_auth.visible(self._options.token, self._context.secret, what=self._what, secrets=[]))
        query = {"api-version": "2018-02-01", "resource": "https://management.azure.com/"}
        if self._options.identity:
            query["client_id"] = self._options.identity
        return access_token(self._metadata, {"Metadata": "true"}, query, timeout=self._context.timeout, what=self._what)


def _is_running(machine: _Machine) -> bool:
    return any(each.code.lower() == _RUNNING for each in machine.properties.instance_view.statuses)


def _group(machine: _Machine) -> str:
    """Return the resource group that an id names, in small letters: /subscriptions/…/resourceGroups/GROUP/…"""
    parts = machine.id.lower().split("/")
    return parts[4] if len(parts) > 4 and parts[3] == "resourcegroups" else ""


def _build(options: AzureOptions, context: DiscoveryContext) -> AzureDiscovery:
    return AzureDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="azure",
    summary="Azure virtual machines by tags, or of a scale set",
    options=AzureOptions,
    build=_build,
)
