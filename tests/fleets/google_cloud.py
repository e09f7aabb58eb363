"""Compute Engine for tests: the aggregated list of instances, and the metadata of a machine. No tests live here.

What it enforces is of cloud.google.com, reference of `instances.aggregatedList`, and "About VM metadata"; more strictly
than Google, a parameter that it does not know is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.sinks.vendor_server import Reply, Request

PROJECT: Final = "acme-prod"
METADATA: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_LIST: Final = "/compute/v1/projects/acme-prod/aggregated/instances"
_PARAMETERS: Final = {"filter", "maxResults", "pageToken", "returnPartialSuccess"}
_TERM: Final = re.compile(r'\((labels\.)?([a-z0-9_-]+) = "([^"]*)"\)')


def machine(name: str, zone: str = "europe-west3-a", *, status: str = "RUNNING", **labels: str) -> dict[str, Any]:
    """Return an instance as Compute Engine tells it."""
    return {
        "kind": "compute#instance",
        "id": "4961",
        "name": name,
        "zone": f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}",
        "status": status,
        "labels": {"environment": "production", **labels},
        "labelFingerprint": "x",
        "networkInterfaces": [{"name": "nic0", "networkIP": "10.156.0.2"}, {"name": "nic1", "networkIP": "10.0.0.9"}],
    }


@dataclass
class Google:
    """What there is in the project, and who may list it."""

    machines: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    page_size: int = 3
    warnings: dict[str, str] = field(default_factory=dict)
    """The code of a warning, by the zone or `project` that it is of."""
    unreachables: list[str] = field(default_factory=list)
    identity: str = ""
    """The token that the machine is given; it has none where this is empty."""

    def answer(self, request: Request) -> Reply:
        """Answer one request, strictly."""
        parts = urlsplit(request.path)
        if parts.path == METADATA:
            return self._metadata(request)
        if request.method != "GET" or parts.path != _LIST:
            return Reply(404)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, b'{"error": {"code": 401, "status": "UNAUTHENTICATED"}}')
        query = {name: each[0] for name, each in parse_qs(parts.query, strict_parsing=True).items()}
        if not query.keys() <= _PARAMETERS or not 0 <= int(query.get("maxResults", "500")) <= 500:
            return Reply(400)
        terms = list(_TERM.finditer(query.get("filter", "")))
        if " ".join(each[0] for each in terms) != query.get("filter", ""):
            return Reply(400, b'{"error": {"code": 400, "message": "Invalid value for field filter"}}')
        return Reply(200, json.dumps(self._page(terms, query)).encode(), {"Content-Type": "application/json"})

    def _page(self, terms: list[re.Match[str]], query: Mapping[str, str]) -> dict[str, Any]:
        selected = [
            each
            for each in self.machines
            if all((each["labels"] if term[1] else each).get(term[2]) == term[3] for term in terms)
        ]
        start = int(query.get("pageToken", "0"))
        end = start + self.page_size
        nothing = {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope on this page."}
        items: dict[str, Any] = {f"zones/europe-west3-{letter}": {"warning": nothing} for letter in "abc"}
        for each in selected[start:end]:
            items.setdefault(f"zones/{each['zone'].rpartition('/')[2]}", {}).setdefault("instances", []).append(each)
        for scope in items.values():
            if "instances" in scope:
                scope.pop("warning", None)
        page: dict[str, Any] = {"kind": "compute#instanceAggregatedList", "id": "projects/acme-prod", "items": items}
        for zone, code in self.warnings.items():
            (page if zone == "project" else items[f"zones/{zone}"])["warning"] = {"code": code, "message": "canary"}
        if self.unreachables:
            page["unreachables"] = self.unreachables
        return page | ({"nextPageToken": str(end)} if end < len(selected) else {})

    def _metadata(self, request: Request) -> Reply:
        if request.headers.get("metadata-flavor") != "Google":
            return Reply(403)
        if not self.identity:
            return Reply(404)
        body = {"access_token": self.identity, "expires_in": 3599, "token_type": "Bearer"}
        return Reply(200, json.dumps(body).encode(), {"Metadata-Flavor": "Google"})
