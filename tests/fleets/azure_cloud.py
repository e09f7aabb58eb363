"""Azure Resource Manager for tests: machines, scale sets, network interfaces, and the identity of a machine.

What it enforces is of learn.microsoft.com, REST API of Microsoft.Compute and Microsoft.Network, and "Managed
identities"; more strictly than Azure, a parameter that it does not know is refused. No tests live here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tests.sinks.vendor_server import Reply, Request

SUBSCRIPTION: Final = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
METADATA: Final = "/metadata/identity/oauth2/token"
_BASE: Final = f"/subscriptions/{SUBSCRIPTION}"
_MACHINES: Final = f"{_BASE}/providers/Microsoft.Compute/virtualMachines"
_INTERFACES: Final = f"{_BASE}/providers/Microsoft.Network/networkInterfaces"
_SET: Final = f"{_BASE}/resourceGroups/Web/providers/Microsoft.Compute/virtualMachineScaleSets/fleet"
_RUNNING: Final = "PowerState/running"


def machine(name: str, *, group: str = "Web", power: str = _RUNNING, **more: Any) -> dict[str, Any]:
    """Return a machine with its state, as both lists together tell it."""
    return {
        "id": f"{_BASE}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}",
        "name": name,
        "type": "Microsoft.Compute/virtualMachines",
        "location": "westeurope",
        "zones": ["1"],
        "tags": {"Environment": "production"},
        "properties": {
            "vmId": "x",
            "instanceView": {"statuses": [{"code": "ProvisioningState/succeeded"}, {"code": power}]},
        },
        **more,
    }


def member(number: int, *, power: str = _RUNNING) -> dict[str, Any]:
    """Return a machine of the scale set `fleet`."""
    made = machine(f"fleet_{number}", power=power)
    return made | {"id": f"{_SET}/virtualMachines/{number}", "instanceId": str(number)}


def interface(machine_id: str, *addresses: str, primary: bool = True) -> dict[str, Any]:
    """Return a network interface of a machine; the last of its addresses is the primary one."""
    configurations = [
        {"name": text, "properties": {"privateIPAddress": text, "primary": text == addresses[-1]}} for text in addresses
    ]
    return {
        "name": "nic",
        "properties": {"primary": primary, "virtualMachine": {"id": machine_id}, "ipConfigurations": configurations},
    }


@dataclass
class Azure:
    """What there is in the subscription, and who may list it."""

    machines: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    page_size: int = 3
    identities: dict[str, str] = field(default_factory=dict)
    """The tokens of the machine's identities, by client id; the one without is the system's own."""
    port: int = 0

    def answer(self, request: Request) -> Reply:
        """Answer one request, strictly."""
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query, strict_parsing=True))
        if parts.path == METADATA:
            return self._identity(request, query)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, b'{"error": {"code": "AuthenticationFailed"}}')
        if request.method != "GET":
            return Reply(405)
        skipped = int(query.pop("$skiptoken", "0"))
        found = self._list(parts.path, query)
        if found is None:
            return Reply(400, b'{"error": {"code": "InvalidParameter"}}')
        if not isinstance(found, list):
            return Reply(404, b'{"error": {"code": "ResourceNotFound"}}')
        end = skipped + self.page_size
        body: dict[str, Any] = {"value": found[skipped:end]}
        if end < len(found):
            further = urlencode({**query, "$skiptoken": end})
            body["nextLink"] = f"http://127.0.0.1:{self.port}{quote(parts.path)}?{further}"
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def _list(self, path: str, query: dict[str, str]) -> Sequence[dict[str, Any]] | str | None:
        """Return a list; a text where there is none, None where its parameters are wrong."""
        if path == _MACHINES:
            if query == {"api-version": "2024-07-01"}:
                return [_without_view(each) for each in self.machines]
            is_status = query == {"api-version": "2024-07-01", "statusOnly": "true"}
            return [_status(each) for each in self.machines] if is_status else None
        if path == f"{_SET}/virtualMachines":
            return self.members if query == {"api-version": "2024-07-01", "$expand": "instanceView"} else None
        if path == _INTERFACES:
            return self.interfaces if query == {"api-version": "2024-05-01"} else None
        if path == f"{_SET}/networkInterfaces":
            return self.interfaces if query == {"api-version": "2018-10-01"} else None
        return "nothing"

    def _identity(self, request: Request, query: dict[str, str]) -> Reply:
        asked = {"api-version": "2018-02-01", "resource": "https://management.azure.com/"}
        client = query.pop("client_id", "")
        if request.headers.get("metadata") != "true" or query != asked or client not in self.identities:
            return Reply(400, b'{"error": "invalid_request", "error_description": "Identity not found"}')
        body = {"access_token": self.identities[client], "expires_in": "3599", "token_type": "Bearer"}
        return Reply(200, json.dumps(body).encode())


def _without_view(told: dict[str, Any]) -> dict[str, Any]:
    return told | {"properties": {"vmId": "x"}}


def _status(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is told with `statusOnly`: ids in capitals, as some lists of Azure have them, and no tags."""
    return {name: told[name] for name in ("name", "location", "properties")} | {"id": told["id"].upper()}
