"""`kubernetes` against an API server of the tests: every option, logging in, zones, and lists that change."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import kubernetes
from adapters.discovery.kubernetes import KubernetesDiscovery, KubernetesOptions
from engine.adapter import DiscoveryContext
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.instances import Instance
from engine.values import Secret
from tests.contract.discovery import LONG, built, ids, rejected
from tests.contract.stores import shown
from tests.fleets.kubernetes_api import Cluster, node, pod
from tests.sinks.certificates import LOCAL, Authority, authority
from tests.sinks.vendor_server import Fault, Reply, VendorServer, serving

TOKEN = "canary-token"
ZONE = "topology.kubernetes.io/zone"


@dataclass
class World:
    """A cluster, and a kubeconfig that leads to it."""

    cluster: Cluster
    server: VendorServer
    signed: Authority
    file: Path

    def write(self, *, user: Any = None, cluster: Any = None, **more: Any) -> None:
        """Write the kubeconfig."""
        there = {"server": self.server.url, "certificate-authority": self.signed.file.name, **(cluster or {})}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "preferences": {},
            "current-context": "here",
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ignored"}},
                {"name": "nowhere", "context": {"cluster": "n", "user": "u"}},
            ],
            "clusters": [
                {"name": "n", "cluster": {"server": "https://127.0.0.1:1"}},
                {"name": "c", "cluster": there},
            ],
            "users": [{"name": "u", "user": {"token": TOKEN} if user is None else user}],
            **more,
        }
        self.file.write_text(json.dumps(content), encoding="utf-8")

    def discovery(self, **options: Any) -> KubernetesDiscovery:
        """Return what asks the cluster."""
        given = {"namespace": "production", "label_selector": "app=web", "kubeconfig": self.file.name, **options}
        found: KubernetesDiscovery = built(kubernetes.ADAPTER, self.file.parent, **given)
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A cluster with a pod, and somebody who may list pods and nodes."""
    signed = authority(tmp_path)
    cluster = Cluster(
        pods=[pod("web-1")],
        nodes=[node("node-1", "zone-a"), node("node-2", "zone-b")],
        tokens={TOKEN: "keyturn"},
        may={"keyturn": {"pods", "nodes"}},
    )
    context = signed.context(LOCAL)
    context.load_verify_locations(signed.file)
    context.verify_mode = ssl.CERT_OPTIONAL
    with serving(cluster.answer, context=context) as server:
        found = World(cluster, server, signed, tmp_path / "kube.config")
        found.write()
        yield found


def test_a_pod_is_told_with_zone_and_labels(world: World) -> None:
    """The zone is that of its node."""
    world.cluster.pods = [pod("web-1", node="node-2")]
    assert list(world.discovery().instances()) == [Instance("web-1", "zone-b", labels={"app": "web"})]


OPTIONS: dict[str, tuple[dict[str, Any], list[Instance] | type[Exception]]] = {
    "namespace": ({"namespace": "staging"}, OwnLoginRejected),
    "label_selector": ({"label_selector": "app in (api), !old"}, [Instance("api", "zone-b", labels={"app": "api"})]),
    "kubeconfig": ({"kubeconfig": "other.config"}, Rejected),
    "context": ({"context": "nowhere"}, Unavailable),
    "endpoint": (
        {"endpoint": "http://{address}:8080"},
        [Instance("web-1", "zone-a", "http://10.1.0.5:8080", {"app": "web"})],
    ),
    "zones": ({"zones": False}, [Instance("web-1", labels={"app": "web"})]),
}


@pytest.mark.parametrize("name", KubernetesOptions.__struct_fields__)
def test_every_option_counts(world: World, name: str) -> None:
    """Each changes what is listed."""
    world.cluster.pods = [
        pod("web-1"),
        pod("api", app="api", node="node-2"),
        pod("old", labels={"app": "api", "old": ""}),
    ]
    assert list(world.discovery().instances()) == [Instance("web-1", "zone-a", labels={"app": "web"})]
    options, expected = OPTIONS[name]
    if isinstance(expected, list):
        assert list(world.discovery(**options).instances()) == expected
    else:
        with pytest.raises(expected):
            world.discovery(**options).instances()


def test_a_pod_that_is_not_in_use_is_left_out(world: World) -> None:
    """It waits, has ended, is being deleted, or is not ready."""
    waiting, ended, unknown = pod("waiting"), pod("ended"), pod("unknown")
    waiting["status"] = {"phase": "Pending"}
    ended["status"]["phase"] = "Succeeded"
    unknown["status"]["conditions"][1]["status"] = "Unknown"
    world.cluster.pods = [waiting, ended, unknown, pod("failing", ready=False), pod("there")]
    world.cluster.pods.append(pod("leaving", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert ids(world.discovery()) == ["there"]


def test_a_pod_that_tells_its_zone_needs_no_node(world: World) -> None:
    world.cluster.may["keyturn"] = {"pods"}
    world.cluster.pods = [pod("web-1", labels={"app": "web", ZONE: "zone-c"})]
    assert [each.zone for each in world.discovery().instances()] == ["zone-c"]


def test_zones_that_may_not_be_looked_up_are_an_error(world: World) -> None:
    """And not a fleet without zones, where each zone has its own limits."""
    world.cluster.may["keyturn"] = {"pods"}
    error = rejected(world.discovery())
    assert isinstance(error, OwnLoginRejected)
    assert "zones: false" in error.advice
    assert ids(world.discovery(zones=False)) == ["web-1"]


def test_a_node_that_is_gone_or_has_no_zone_leaves_none(world: World) -> None:
    world.cluster.nodes = [node("node-1")]
    world.cluster.pods = [pod("a"), pod("b", node="node-9")]
    assert [each.zone for each in world.discovery().instances()] == ["", ""]


def test_nodes_come_in_pages_too(world: World) -> None:
    world.cluster.nodes = [node(f"node-{number}", f"zone-{number}") for number in range(7)]
    world.cluster.pods = [pod("a", node="node-6")]
    assert [each.zone for each in world.discovery().instances()] == ["zone-6"]


def test_a_list_that_grew_old_is_begun_anew(world: World) -> None:
    """The second page of the first try is too late."""
    world.cluster.pods = [pod(f"web-{number}") for number in range(5)]
    expired = Reply(410, b'{"kind": "Status", "reason": "Expired"}')
    world.server.order(Fault.PASS, expired)
    assert len(ids(world.discovery(zones=False))) == 5
    assert len(world.server.requests) == 4


def test_a_list_that_is_always_too_old_is_unavailable(world: World) -> None:
    world.cluster.pods = [pod(f"web-{number}") for number in range(5)]
    world.cluster.expire_after = 1
    with pytest.raises(Unavailable, match="grew old"):
        world.discovery().instances()


def test_pages_of_different_times_are_not_put_together(world: World) -> None:
    """A pod that moved from the second page to the first would be missing."""
    world.cluster.pods = [pod(f"web-{number}") for number in range(5)]
    page = {"kind": "PodList", "metadata": {"resourceVersion": "1", "continue": "x"}, "items": world.cluster.pods[:3]}
    later = {"kind": "PodList", "metadata": {"resourceVersion": "2"}, "items": world.cluster.pods[3:]}
    world.server.order(*(Reply(200, json.dumps(each).encode()) for each in (page, later)))
    with pytest.raises(Unavailable, match="different times"):
        world.discovery().instances()


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"kind": "NodeList", "metadata": {}, "items": []}, {"kind": "PodList", "metadata": {}, "items": [{}]}],
)
def test_what_is_no_list_of_pods_is_refused(world: World, answer: object) -> None:
    world.server.order(Reply(200, json.dumps(answer).encode()))
    assert "no PodList" in rejected(world.discovery()).why


def test_a_selector_that_is_none_is_told(world: World) -> None:
    assert "400" in rejected(world.discovery(label_selector="app = = web")).why


# --- logging in -------------------------------------------------------------------------------------------------


def test_a_token_of_a_file_is_read_for_every_listing(world: World) -> None:
    """It is replaced while keyturn runs; and goes before a token beside it."""
    (world.file.parent / "token").write_text(f"{TOKEN}\n")
    world.write(user={"tokenFile": "token", "token": "canary-old"})
    discovery = world.discovery()
    assert ids(discovery) == ["web-1"]
    world.cluster.tokens = {"canary-new": "keyturn"}
    with pytest.raises(OwnLoginRejected):
        discovery.instances()
    (world.file.parent / "token").write_text("canary-new")
    assert ids(discovery) == ["web-1"]


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_logs_in(world: World, *, inline: bool) -> None:
    """Written in the kubeconfig or in files beside it; the key comes to no disk of ours."""
    certificate, key = world.signed.client("keyturn")
    if inline:
        user = {
            "client-certificate-data": base64.b64encode(certificate).decode(),
            "client-key-data": base64.b64encode(key).decode(),
        }
    else:
        (world.file.parent / "client.pem").write_bytes(certificate)
        (world.file.parent / "client.key").write_bytes(key)
        user = {"client-certificate": "client.pem", "client-key": "client.key"}
    world.write(user=user)
    assert ids(world.discovery()) == ["web-1"]
    assert "authorization" not in world.server.requests[-1].headers


def test_the_authority_may_be_written_in_the_kubeconfig(world: World) -> None:
    data = base64.b64encode(world.signed.file.read_bytes()).decode()
    world.write(cluster={"certificate-authority": "", "certificate-authority-data": data})
    assert ids(world.discovery()) == ["web-1"]


def test_a_server_of_another_authority_is_shown_no_token(world: World) -> None:
    world.write(cluster={"certificate-authority": ""})
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        world.discovery().instances()
    assert world.server.requests == []


@pytest.mark.parametrize(
    ("key", "where"),
    [(key, "user") for key in ("exec", "auth-provider", "username", "as", "as-groups")]
    + [(key, "cluster") for key in ("insecure-skip-tls-verify", "proxy-url", "tls-server-name")],
)
def test_what_is_not_supported_is_refused_by_name(world: World, key: str, where: str) -> None:
    """And nothing is asked."""
    value = {"command": "canary-command"}
    world.write(**{where: {"token": TOKEN, key: value} if where == "user" else {key: value}})
    error = rejected(world.discovery())
    assert f"`{key}`" in error.why
    assert "canary" not in shown(error)
    assert world.server.requests == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"current-context": ""}, "no current context"),
        ({"contexts": []}, "no context 'here'"),
        ({"clusters": []}, "no cluster 'c'"),
        ({"users": []}, "no user 'u'"),
        ({"users": [{"name": "u", "user": {"token": ["canary"]}}]}, "not written as a kubeconfig"),
        ({"users": [{"name": "u", "user": {"token": "canary\u00e4"}}]}, "cannot stand in a header"),
        ({"users": [{"name": "u", "user": {"client-key-data": "canary!"}}]}, "not base64"),
        ({"users": [{"name": "u", "user": {"client-key": "canary.key"}}]}, "cannot be read"),
        ({"users": [{"name": "u", "user": {"client-key-data": "Y2FuYXJ5"}}]}, "needs both"),
        (
            {"users": [{"name": "u", "user": {"client-key-data": "Y2FuYXJ5", "client-certificate-data": "Y2FuYXJ5"}}]},
            "no pair",
        ),
        ({"clusters": [{"name": "c", "cluster": {"server": "http://10.0.0.1"}}]}, "https"),
        ({"clusters": [{"name": "c", "cluster": {"server": "https://x@10.0.0.1"}}]}, "user name"),
        ({"clusters": "canary"}, "is no kubeconfig"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(world: World, changes: dict[str, Any], why: str) -> None:
    world.write(**changes)
    error = rejected(world.discovery())
    assert why in error.why
    assert "canary!" not in shown(error)


@pytest.mark.parametrize("content", ["{", "- [", "a: !!python/object:os.x {}", "\x00", "[" * 5_000])
def test_a_file_that_is_no_kubeconfig_is_refused(world: World, content: str) -> None:
    world.file.write_text(content)
    assert "is no kubeconfig" in rejected(world.discovery()).why


def in_cluster(world: World, account: Path, **environment: str) -> KubernetesDiscovery:
    """Return what asks as a pod of the cluster does."""
    context = DiscoveryContext("app-db", "production", account, lambda _: Secret(""), LONG)
    options = KubernetesOptions(namespace="production", label_selector="app=web")
    return KubernetesDiscovery(options, context, account=account, environment=environment)


def test_a_pod_of_the_cluster_uses_its_service_account(world: World, tmp_path: Path) -> None:
    """Its token is read anew for each listing: the kubelet replaces it."""
    (tmp_path / "ca.crt").write_bytes(world.signed.file.read_bytes())
    (tmp_path / "token").write_text(TOKEN)
    where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(world.server.port)}
    discovery = in_cluster(world, tmp_path, **where)
    assert ids(discovery) == ["web-1"]
    world.cluster.tokens = {"canary-new": "keyturn"}
    with pytest.raises(OwnLoginRejected):
        discovery.instances()
    (tmp_path / "token").write_text("canary-new\n")
    assert ids(discovery) == ["web-1"]


def test_outside_of_a_cluster_a_kubeconfig_is_asked_for(world: World, tmp_path: Path) -> None:
    error = rejected(in_cluster(world, tmp_path))
    assert "does not run in a cluster" in error.why
    assert "kubeconfig" in error.advice
    where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    assert "token cannot be read" in rejected(in_cluster(world, tmp_path / "none", **where)).why


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"namespace": "Production"}, "`namespace`"),
        ({"namespace": "a/pods/../../secrets"}, "`namespace`"),
        ({"label_selector": " "}, "`label_selector`"),
        ({"label_selector": ""}, "label_selector"),
        ({"kubeconfig": "", "context": "here"}, "`context`"),
        ({"endpoint": "http://{address}:{port}"}, "`endpoint`"),
    ],
)
def test_options_that_cannot_be_are_refused(world: World, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        world.discovery(**options)
