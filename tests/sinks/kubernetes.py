"""A cluster of Kubernetes on 127.0.0.1: Secrets, workloads, and pods that begin as their controllers would have it.

What it enforces is of kubernetes.io, "Kubernetes API Concepts": logins, the content type of a merge, versions of
objects (409), names that are there already (409), Secrets that do not change (422), base64. More strictly, whatever it
does not know is refused. No tests live here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.sinks.vendor_server import Reply, Request, VendorServer, serving

TOKEN: Final = "canary-cluster-token"
_PATH: Final = re.compile(
    r"/(?P<group>api/v1|apis/apps/v1)/namespaces/production/(?P<kind>[a-z]+)(?:/(?P<name>[a-z0-9.-]+))?"
)
_GROUPS: Final = {"secrets": "api/v1", "pods": "api/v1"}
_MERGE: Final = "application/merge-patch+json"


@dataclass
class FakeCluster:
    """The namespace `production` of a cluster."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Objects by kind and name."""
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """What the login may not do: method and kind."""
    is_rolling: bool = True
    """Controllers replace the pods of a workload that was changed; else they do nothing."""
    url: str = ""
    server: VendorServer | None = None
    _versions: count[int] = field(default_factory=lambda: count(1))
    _pods: count[int] = field(default_factory=lambda: count(1))

    def add(self, kind: str, name: str, *, replicas: int = 2) -> None:
        """Add a workload, whose pods are there and ready."""
        spec: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {}}}
        if kind != "daemonsets":
            spec["replicas"] = replicas
        status = {"desiredNumberScheduled": replicas} if kind == "daemonsets" else {}
        self.keep(kind, name, {"metadata": {"name": name, "generation": 1}, "spec": spec, "status": status})
        self.roll(kind, name, replicas=replicas)

    def keep(self, kind: str, name: str, given: dict[str, Any]) -> None:
        """Write an object, in a new version."""
        given.setdefault("metadata", {})["resourceVersion"] = str(next(self._versions))
        self.objects[kind, name] = given

    def roll(self, kind: str, name: str, *, replicas: int | None = None) -> None:
        """Replace the pods of a workload by new ones, which are ready."""
        workload = self.objects[kind, name]
        for each in self.pods(name):
            del self.objects["pods", each]
        template = workload["spec"]["template"]["metadata"]
        wanted = replicas or workload["spec"].get("replicas") or workload["status"]["desiredNumberScheduled"]
        for _ in range(wanted):
            pod = f"{name}-{next(self._pods)}"
            metadata = {"name": pod, "labels": {"app": name}, "annotations": deepcopy(template.get("annotations", {}))}
            ready = [{"type": "Ready", "status": "True"}]
            self.keep("pods", pod, {"metadata": metadata, "status": {"phase": "Running", "conditions": ready}})
        workload["status"]["observedGeneration"] = workload["metadata"]["generation"]

    def pods(self, app: str) -> list[str]:
        """Return the names of pods with a label `app`."""
        return [
            name
            for (kind, name), each in self.objects.items()
            if kind == "pods" and each["metadata"].get("labels", {}).get("app") == app
        ]

    def held(self, name: str) -> dict[str, str]:
        """Return what a Secret holds."""
        data = self.objects["secrets", name]["data"]
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def answer(self, request: Request) -> Reply:
        """Answer one request, strictly."""
        parts = urlsplit(request.path)
        found = _PATH.fullmatch(parts.path)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401)
        if found is None or found["group"] != _GROUPS.get(found["kind"], "apis/apps/v1"):
            return _status(404)
        kind, name = found["kind"], found["name"] or ""
        if (request.method, kind) in self.forbidden:
            return _status(403)
        if request.method == "GET" and not name:
            return self._list(kind, parse_qs(parts.query, strict_parsing=True))
        if request.method == "POST" and not name:
            return self._make(kind, request)
        if (kind, name) not in self.objects:
            return _status(404)
        if request.method == "GET":
            return _told(200, self.objects[kind, name])
        return self._merge(kind, name, request) if request.method == "PATCH" else _status(405)

    def _list(self, kind: str, query: dict[str, list[str]]) -> Reply:
        if kind != "pods" or not query.keys() <= {"labelSelector", "limit", "continue"}:
            return _status(400)
        label, _, app = query["labelSelector"][0].partition("=")
        start = int(query.get("continue", ["0"])[0])
        everything = self.pods(app) if label == "app" else []
        names = everything[start : start + 2]  # pages are short, whatever `limit` asks for
        metadata = {"resourceVersion": "1", **({"continue": str(start + 2)} if start + 2 < len(everything) else {})}
        items = [self.objects["pods", each] for each in names]
        return _told(200, {"kind": "PodList", "metadata": metadata, "items": items})

    def _make(self, kind: str, request: Request) -> Reply:
        given = request.json
        name = given.get("metadata", {}).get("name")
        if request.headers.get("content-type") != "application/json":
            return _status(415)
        if kind != "secrets" or given.get("kind") != "Secret" or given.get("apiVersion") != "v1" or not name:
            return _status(400)
        if (kind, name) in self.objects:
            return _status(409)
        if not _is_data(given.get("data")):
            return _status(422)
        self.keep(kind, name, given)
        return _told(201, given)

    def _merge(self, kind: str, name: str, request: Request) -> Reply:
        if request.headers.get("content-type") != _MERGE:
            return _status(415)
        there, given = self.objects[kind, name], request.json
        version = given.get("metadata", {}).get("resourceVersion")
        if version is not None and version != there["metadata"]["resourceVersion"]:
            return _status(409)
        if kind == "secrets" and (there.get("immutable") or not _is_data(given.get("data"))):
            return _status(422)
        before = deepcopy(there.get("spec"))
        self.keep(kind, name, _merged(there, given))
        changed = self.objects[kind, name]
        if kind not in _GROUPS and changed["spec"] != before:
            changed["metadata"]["generation"] += 1
            if self.is_rolling:
                self.roll(kind, name)
        return _told(200, changed)


def _merged(there: Any, given: Any) -> Any:
    """Merge as RFC 7396 has it."""
    if not isinstance(given, dict):
        return given
    merged = dict(there) if isinstance(there, dict) else {}
    for key, value in given.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _is_data(given: Any) -> bool:
    try:
        return all(isinstance(base64.b64decode(text, validate=True), bytes) for text in given.values())
    except (AttributeError, TypeError, binascii.Error, ValueError):
        return False


def _status(code: int) -> Reply:
    return _told(code, {"kind": "Status", "status": "Failure", "message": "canary-of-the-server", "code": code})


def _told(code: int, given: Any) -> Reply:
    return Reply(code, json.dumps(given).encode(), {"Content-Type": "application/json"})


@contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    """Serve a cluster for the length of the block."""
    cluster = FakeCluster()
    with serving(cluster.answer) as server:
        cluster.url, cluster.server = server.url, server
        yield cluster


def write_kubeconfig(file: Path, url: str, *, token: str = TOKEN) -> None:
    """Write a kubeconfig that leads to a cluster; its context `nowhere` leads to none."""
    content = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
            {"name": "nowhere", "context": {"cluster": "n", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": url}},
            {"name": "n", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    file.write_text(json.dumps(content), encoding="utf-8")
