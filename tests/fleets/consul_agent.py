"""An agent of Consul for tests, of which there is the health of services. No tests live here.

What it enforces is of developer.hashicorp.com, HTTP API, "Health", "Consistency modes" and "Authentication"; more
strictly than Consul, a parameter that it does not know is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.sinks.vendor_server import Reply, Request

_PATH: Final = re.compile(r"/v1/health/service/([A-Za-z0-9_.-]+)")
_TAG: Final = re.compile(r'"([^"]+)" in Service\.Tags')
_PARAMETERS: Final = {"passing", "dc", "ns", "filter", "consistent", "stale", "cached"}


def entry(name: str, *, node: str = "node-1", status: str = "passing", **service: Any) -> dict[str, Any]:
    """Return an instance of the service `web` and its health, as Consul tells it; `service` goes into it."""
    return {
        "Node": {
            "ID": "40e4a748",
            "Node": node,
            "Address": "10.1.0.1",
            "Datacenter": "dc1",
            "Meta": {"rack": "r1"},
        },
        "Service": {
            "ID": name,
            "Service": "web",
            "Tags": ["v2"],
            "Address": "",
            "Meta": None,
            "Port": 8080,
            "Namespace": "default",
            **service,
        },
        "Checks": [
            {"Node": node, "CheckID": "serfHealth", "Status": "passing"},
            {"Node": node, "CheckID": f"service:{name}", "Status": status},
        ],
    }


@dataclass
class Agent:
    """What there is of the service `web`, by datacenter and namespace, and who may see it."""

    services: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """What is said otherwise than a leader would."""

    def answer(self, request: Request) -> Reply:
        """Answer one request, strictly."""
        parts = urlsplit(request.path)
        found = _PATH.fullmatch(parts.path)
        if request.method != "GET" or found is None:
            return Reply(404)
        query = {name: each[0] for name, each in parse_qs(parts.query, keep_blank_values=True).items()}
        if not query.keys() <= _PARAMETERS or len({"consistent", "stale", "cached"} & query.keys()) > 1:
            return Reply(400)
        if self.token and request.headers.get("x-consul-token") != self.token:
            return Reply(403, b"ACL not found")
        datacenter = query.get("dc", "dc1")
        if datacenter not in {dc for dc, _ in self.services} | {"dc1"}:
            return Reply(500, b"No path to datacenter")
        entries = self.services.get((datacenter, query.get("ns", "default")), []) if found[1] == "web" else []
        if "passing" in query:
            entries = [each for each in entries if all(check["Status"] == "passing" for check in each["Checks"])]
        if "filter" in query:
            tag = _TAG.fullmatch(query["filter"])
            if tag is None:
                return Reply(400, b"Failed to create boolean expression evaluator")
            entries = [each for each in entries if tag[1] in each["Service"]["Tags"]]
        # A leader answers at once; a follower with what it last heard.
        last = "0" if "consistent" in query else "30"
        headers = {"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": last, **self.headers}
        return Reply(200, json.dumps(entries).encode(), {"Content-Type": "application/json", **headers})
