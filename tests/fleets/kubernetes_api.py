"""An API server of Kubernetes for tests, of which there are lists of pods and nodes. No tests live here.

What it enforces is of kubernetes.io, "API concepts" (chunks, resource versions, 410), "Labels and selectors", and
"Authenticating"; more strictly than Kubernetes, a parameter that it does not know is refused.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.sinks.vendor_server import Reply, Request

_PODS: Final = re.compile(r"/api/v1/namespaces/([a-z0-9-]+)/pods")
_NODES: Final = "/api/v1/nodes"
_PARAMETERS: Final = {"labelSelector", "limit", "continue"}
_REQUIREMENT: Final = re.compile(
    r"(?P<set>(?P<key>[\w./-]+) +(?P<how>in|notin) *\((?P<values>[^()]*)\))"
    r"|(?P<one>[\w./-]+) *(?P<sign>==|=|!=) *(?P<value>[\w.-]*)|(?P<no>!)?(?P<exists>[\w./-]+)"
)


class BadSelectorError(ValueError):
    """A label selector that is none."""


def pod(name: str, *, app: str = "web", node: str = "node-1", ready: bool = True, **more: Any) -> dict[str, Any]:
    """Return a pod as the API tells it; `more` stands in its metadata."""
    return {
        "metadata": {"name": name, "namespace": "production", "labels": {"app": app}, **more},
        "spec": {"nodeName": node, "containers": [{"name": "web"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.1.0.5",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
        },
    }


def node(name: str, zone: str = "") -> dict[str, Any]:
    """Return a node."""
    return {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone} if zone else {}}}


@dataclass
class Cluster:
    """What there is, and who may list it."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    """Who logs in with a token."""
    may: dict[str, set[str]] = field(default_factory=dict)
    """What somebody may list: `pods` of the namespace production, `nodes`."""
    page_size: int = 3
    """No page has more, whatever `limit` asks for."""
    expire_after: int = 1_000_000
    """Pages of one list that are had before its state is no longer kept."""
    version: int = 1

    def answer(self, request: Request) -> Reply:
        """Answer one request, strictly."""
        parts = urlsplit(request.path)
        who = request.client or self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if not who:
            return _status(401, "Unauthorized")
        found = _PODS.fullmatch(parts.path)
        resource = "nodes" if parts.path == _NODES else "pods" if found else ""
        if request.method != "GET" or not resource:
            return _status(404, "NotFound")
        if resource not in self.may.get(who, ()) or (found and found[1] != "production"):
            return _status(403, "Forbidden")
        query = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}
        if not query.keys() <= _PARAMETERS or not query.get("limit", "1").isdigit():
            return _status(400, "BadRequest")
        try:
            return self._page(resource, query)
        except BadSelectorError:
            return _status(400, "BadRequest")

    def _page(self, resource: str, query: Mapping[str, str]) -> Reply:
        asked = {name: value for name, value in query.items() if name != "continue"}
        start, version, pages = 0, self.version, 1
        if "continue" in query:
            position = json.loads(base64.b64decode(query["continue"]))
            if position["asked"] != asked:
                return _status(400, "BadRequest")
            start, version, pages = position["start"], position["version"], position["pages"] + 1
            if pages > self.expire_after:
                return _status(410, "Expired")
        everything: Sequence[dict[str, Any]] = self.pods if resource == "pods" else self.nodes
        selector = query.get("labelSelector", "")
        selected = [each for each in everything if matches(selector, each["metadata"]["labels"])]
        end = start + min(self.page_size, int(query["limit"])) if "limit" in query else len(selected)
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if end < len(selected):
            following = {"start": end, "version": version, "asked": asked, "pages": pages}
            metadata["continue"] = base64.b64encode(json.dumps(following).encode()).decode()
            metadata["remainingItemCount"] = len(selected) - end
        kind = "PodList" if resource == "pods" else "NodeList"
        body = {"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": selected[start:end]}
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Tell whether labels fit a selector: all of its requirements; raises `BadSelectorError`."""
    rest = selector.strip()
    fits = True
    while rest:
        found = _REQUIREMENT.match(rest)
        if found is None:
            raise BadSelectorError
        fits = fits and _fits(found, labels)
        rest = rest[found.end() :].strip()
        if rest and not rest.startswith(","):
            raise BadSelectorError
        rest = rest[1:].strip()
    return fits


def _fits(found: re.Match[str], labels: Mapping[str, str]) -> bool:
    if found["set"]:
        values = {each.strip() for each in found["values"].split(",")}
        is_in = labels.get(found["key"]) in values
        return is_in if found["how"] == "in" else not is_in
    if found["one"]:
        is_equal = labels.get(found["one"]) == found["value"]
        return not is_equal if found["sign"] == "!=" else is_equal
    return (found["exists"] in labels) != bool(found["no"])


def _status(code: int, reason: str) -> Reply:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return Reply(code, json.dumps(body).encode(), {"Content-Type": "application/json"})
