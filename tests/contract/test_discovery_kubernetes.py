"""`kubernetes` keeps the contract of discoveries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapters.discovery import kubernetes
from engine.instances import Discovery
from engine.values import Microseconds
from tests.contract.discovery import LONG, RIGHT, DiscoveryContract, LoginContract, PagedContract, built
from tests.fleets.benches import HttpBench
from tests.fleets.kubernetes_api import Cluster, node, pod
from tests.sinks.certificates import LOCAL, Authority, authority
from tests.sinks.vendor_server import VendorServer, serving


class Bench(HttpBench):
    """A cluster whose pods are asked for with a token of a kubeconfig, over TLS."""

    def __init__(self, cluster: Cluster, server: VendorServer, signed: Authority) -> None:
        super().__init__(server)
        self.cluster = cluster
        self._signed = signed
        cluster.tokens, cluster.may = {RIGHT: "keyturn"}, {"keyturn": {"pods", "nodes"}}
        cluster.nodes = [node("node-1", "zone-a"), node("node-2", "zone-b")]

    def populate(self, count: int) -> Sequence[str]:
        """Have so many pods, and some that are not ready, leave, or are of something else."""
        names = [f"web-{number}" for number in range(count)]
        self.cluster.pods = [
            pod("starting", ready=False),
            pod("leaving", deletionTimestamp="2026-01-01T00:00:00Z"),
            pod("other", app="other"),
            *map(pod, names),
        ]
        return names

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return one that reads a kubeconfig."""
        file = self._signed.file.parent / f"{login}.config"
        file.write_text(
            json.dumps(
                {
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [
                        {
                            "name": "c",
                            "cluster": {"server": self.server.url, "certificate-authority": self._signed.file.name},
                        }
                    ],
                    "users": [{"name": "u", "user": {"token": login}}],
                }
            )
        )
        found: Discovery = built(
            kubernetes.ADAPTER,
            file.parent,
            timeout=timeout,
            namespace="production",
            label_selector="app=web",
            kubeconfig=file.name,
        )
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A cluster."""
    cluster, signed = Cluster(), authority(tmp_path)
    with serving(cluster.answer, context=signed.context(LOCAL)) as server:
        yield Bench(cluster, server, signed)


class TestKubernetes(DiscoveryContract, PagedContract, LoginContract):
    """Pods of a cluster."""
