"""Handing out by Secrets of Kubernetes: what is written, what is restarted, and what pods prove."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from adapters.distributors import kubernetes
from adapters.distributors.cluster import selector
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable, Uncertain
from engine.instances import Distributor, Instance, Usage
from tests.contract.distributors import NEW, OLD, VALUES, soon
from tests.integration.distributor_bench import HERE, Bench, bench
from tests.sinks.instance import serving
from tests.sinks.kubernetes import FakeCluster, fake_cluster, write_kubeconfig
from tests.sinks.vendor_server import Fault, Reply

__all__ = ["bench"]

WEB = Instance("web")
WORKLOAD = {"workload": "deployment/{instance}"}
REPORT = {"report": {"allow_http": True, "allow_private": [HERE]}}


@pytest.fixture
def cluster(bench: Bench) -> Iterator[FakeCluster]:
    """A cluster with a deployment `web` of two pods."""
    with fake_cluster() as there:
        there.add("deployments", "web")
        write_kubeconfig(bench.folder / "config", there.url)
        yield there


def made(bench: Bench, **options: Any) -> Distributor:
    """Return a distributor of Secrets that are called after their instance."""
    given = {"namespace": "production", "secret": "{instance}-db", "kubeconfig": "config", **options}
    return bench.distributor(kubernetes.ADAPTER, {"TOKEN": "canary-token"}, timeout=2, **given)


def hand(distributor: Distributor, version: str = NEW, instance: Instance = WEB) -> None:
    """Hand a version out."""
    distributor.hand(instance, VALUES[version], version=version, deadline=soon())


def usage(distributor: Distributor, version: str = NEW) -> Usage:
    """Look, and return what is used."""
    proof = distributor.look(WEB, VALUES[version], version=version)
    assert "canary" not in proof.detail
    return proof.usage


def order(cluster: FakeCluster, *orders: Reply | Fault) -> None:
    """Have the next requests meet these."""
    assert cluster.server is not None
    cluster.server.order(*orders)


def methods(cluster: FakeCluster) -> list[str]:
    """Return what was done, in its order."""
    assert cluster.server is not None
    return [f"{each.method} {each.path.split('/')[-2]}" for each in cluster.server.requests if each.method != "GET"]


class TestSecret:
    """It is made, or changed from the version that was read."""

    def test_secret_and_its_keys(self, bench: Bench, cluster: FakeCluster) -> None:
        hand(made(bench, secret="{service}-{environment}-{instance}", **WORKLOAD))
        held = {"username": "app_b", "password": VALUES[NEW].revealed(), "version": NEW}
        assert cluster.held("app-db-production-web") == held
        keys = {"username_key": "{instance}.user", "password_key": "{instance}.pass", "version_key": "{instance}.id"}
        hand(made(bench, secret="fleet", **keys, **WORKLOAD))
        hand(made(bench, secret="fleet", **keys, **REPORT), OLD, Instance("api"))
        wanted = {f"{each}.{key}" for each in ("web", "api") for key in ("user", "pass", "id")}
        assert set(cluster.held("fleet")) == wanted
        assert cluster.held("fleet")["web.pass"] == VALUES[NEW].revealed()

    def test_what_else_stands_in_it_stays(self, bench: Bench, cluster: FakeCluster) -> None:
        other = {"metadata": {"labels": {"team": "a"}}, "type": "Opaque", "data": {"host": "ZGI="}}
        cluster.keep("secrets", "web-db", other)
        hand(made(bench, **WORKLOAD))
        assert cluster.held("web-db")["host"] == "db"
        assert cluster.objects["secrets", "web-db"]["metadata"]["labels"] == {"team": "a"}

    def test_a_change_by_somebody_else_is_not_overwritten(self, bench: Bench, cluster: FakeCluster) -> None:
        distributor = made(bench, **REPORT)
        hand(distributor, OLD)
        there = cluster.objects["secrets", "web-db"]
        order(cluster, Reply(200, msgspec.json.encode(there)))
        cluster.keep("secrets", "web-db", {**there, "data": {"password": "b3RoZXI="}})
        with pytest.raises(Unavailable, match="at the same time"):
            hand(distributor)
        assert cluster.held("web-db") == {"password": "other"}

    def test_one_that_somebody_else_makes_is_not_overwritten(self, bench: Bench, cluster: FakeCluster) -> None:
        cluster.keep("secrets", "web-db", {"data": {"password": "b3RoZXI="}})
        order(cluster, Reply(404))
        with pytest.raises(Unavailable, match="at the same time"):
            hand(made(bench, **REPORT))

    def test_one_that_never_changes_is_refused(self, bench: Bench, cluster: FakeCluster) -> None:
        cluster.keep("secrets", "web-db", {"immutable": True, "data": {}})
        with pytest.raises(Rejected, match="422"):
            hand(made(bench, **REPORT))

    def test_the_same_again_writes_nothing(self, bench: Bench, cluster: FakeCluster) -> None:
        distributor = made(bench, **WORKLOAD)
        for _ in range(3):
            hand(distributor)
        assert methods(cluster).count("POST production") == 1
        assert "PATCH secrets" not in methods(cluster)
        assert len({each.split("-")[0] for each in cluster.pods("web")}) == 1


class TestWorkload:
    """Its pods are the proof: all that began for the version, and are ready."""

    @pytest.mark.parametrize("kind", ["deployment", "statefulset", "daemonset"])
    def test_workload(self, bench: Bench, cluster: FakeCluster, kind: str) -> None:
        cluster.objects.clear()
        cluster.add(f"{kind}s", "web", replicas=5)
        before = set(cluster.pods("web"))
        distributor = made(bench, workload=f"{kind}/{{instance}}")
        hand(distributor)
        assert not before & set(cluster.pods("web"))
        assert usage(distributor) is Usage.USED

    def test_annotation(self, bench: Bench, cluster: FakeCluster) -> None:
        """Two credentials of one workload do not take each other's place."""
        options = [{"annotation": f"keyturn/{each}", "secret": f"{each}-{{instance}}"} for each in "ab"]
        first, second = (made(bench, **each, **WORKLOAD) for each in options)
        hand(first, OLD)
        hand(second, NEW)
        assert (usage(first, OLD), usage(second, NEW)) == (Usage.USED, Usage.USED)
        assert usage(made(bench, secret="a-{instance}", **WORKLOAD), OLD) is Usage.OTHER

    def test_a_workload_that_is_not_there_changes_nothing(self, bench: Bench, cluster: FakeCluster) -> None:
        distributor = made(bench, workload="statefulset/{instance}")
        with pytest.raises(Rejected, match="there is no statefulsets/web"):
            hand(distributor)
        assert not methods(cluster)
        assert usage(distributor) is Usage.UNKNOWN

    def test_a_workload_that_has_not_begun_is_unknown(self, bench: Bench, cluster: FakeCluster) -> None:
        distributor = made(bench, **WORKLOAD)
        cluster.is_rolling = False
        hand(distributor)
        assert usage(distributor) is Usage.UNKNOWN
        cluster.objects["deployments", "web"]["status"]["observedGeneration"] = 2
        assert usage(distributor) is Usage.OTHER, "the old pods are still there"
        cluster.roll("deployments", "web")
        assert usage(distributor) is Usage.USED

    @pytest.mark.parametrize(
        ("metadata", "status", "seen"),
        [
            ({}, {"conditions": [{"type": "Ready", "status": "False"}]}, Usage.UNKNOWN),
            ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, Usage.UNKNOWN),
            ({"annotations": {}}, {}, Usage.OTHER),
            ({"annotations": {}, "deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, Usage.OTHER),
            ({"annotations": {}}, {"phase": "Succeeded"}, Usage.UNKNOWN),
        ],
        ids=str,
    )
    def test_each_of_its_pods_counts(
        self, bench: Bench, cluster: FakeCluster, metadata: dict[str, Any], status: dict[str, Any], seen: Usage
    ) -> None:
        """Also one that is ending: it has its connections for as long as it is there."""
        distributor = made(bench, **WORKLOAD)
        hand(distributor)
        pod = cluster.objects["pods", cluster.pods("web")[-1]]
        pod["metadata"] |= metadata
        pod["status"] |= status
        assert usage(distributor) is seen

    def test_a_pod_too_few_is_unknown(self, bench: Bench, cluster: FakeCluster) -> None:
        distributor = made(bench, **WORKLOAD)
        hand(distributor)
        del cluster.objects["pods", cluster.pods("web")[0]]
        assert usage(distributor) is Usage.UNKNOWN
        cluster.objects["deployments", "web"]["spec"]["replicas"] = 0
        assert usage(distributor) is Usage.UNKNOWN, "nobody proves anything where nobody runs"

    def test_a_secret_that_was_changed_since_is_another_version(self, bench: Bench, cluster: FakeCluster) -> None:
        distributor = made(bench, **WORKLOAD)
        hand(distributor)
        cluster.objects["secrets", "web-db"]["data"]["password"] = "b3RoZXI="
        assert usage(distributor) is Usage.OTHER


def test_pod_and_report(bench: Bench, cluster: FakeCluster) -> None:
    """A pod that goes on running is annotated, and asked for its report."""
    distributor = made(bench, pod="{instance}-0", **REPORT)
    cluster.keep("pods", "web-0", {"metadata": {"name": "web-0", "labels": {"app": "web"}}})
    with serving() as served:
        served.version, served.password = NEW, VALUES[NEW].revealed()
        hand(distributor)
        assert distributor.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.USED
        assert cluster.objects["pods", "web-0"]["metadata"]["annotations"] == {"keyturn/version": NEW}
        served.password = "canary-of-nobody"
        by_word = made(bench, proof="version", **REPORT)
        assert by_word.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.USED
        assert distributor.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN


class TestCluster:
    """How the cluster is reached, and what its answers mean."""

    def test_kubeconfig_context_and_namespace(self, bench: Bench, cluster: FakeCluster) -> None:
        with pytest.raises(Unavailable):
            hand(made(bench, context="nowhere", **WORKLOAD))
        with pytest.raises(Rejected, match="cannot be read"):
            hand(made(bench, kubeconfig="missing", **WORKLOAD))
        with pytest.raises(Rejected, match="there is no"):
            hand(made(bench, namespace="staging", **WORKLOAD))
        assert not methods(cluster)

    def test_in_a_cluster_it_uses_its_own_account(self, bench: Bench) -> None:
        with pytest.raises(Rejected, match="does not run in a cluster"):
            hand(made(bench, kubeconfig="", **WORKLOAD))

    def test_a_login_that_may_not_is_told_so(self, bench: Bench, cluster: FakeCluster) -> None:
        cluster.forbidden = {("GET", "secrets")}
        with pytest.raises(OwnLoginRejected, match="403"):
            hand(made(bench, **WORKLOAD))
        write_kubeconfig(bench.folder / "config", cluster.url, token="canary-wrong")
        with pytest.raises(OwnLoginRejected, match="401"):
            hand(made(bench, **WORKLOAD))
        assert not methods(cluster)

    @pytest.mark.parametrize(
        ("met", "error"),
        [
            (Reply(500), Uncertain),
            (Reply(503), Unavailable),
            (Reply(400), Rejected),
            (Fault.LOSE_ANSWER, Uncertain),
            (Fault.LOSE_REQUEST, Uncertain),
        ],
    )
    def test_a_change_of_the_secret_that_failed(
        self, bench: Bench, cluster: FakeCluster, met: Reply | Fault, error: type[PortError]
    ) -> None:
        order(cluster, Fault.PASS, met)
        with pytest.raises(error) as raised:
            hand(made(bench, **REPORT))
        assert type(raised.value) is error
        assert "canary" not in str(raised.value.fields)

    @pytest.mark.parametrize("met", [Reply(503), Reply(403), Reply(404), Fault.LOSE_ANSWER], ids=str)
    def test_after_the_secret_is_written_nothing_says_that_it_did_not_happen(
        self, bench: Bench, cluster: FakeCluster, met: Reply | Fault
    ) -> None:
        """A pod that begins by itself would use the version."""
        order(cluster, Fault.PASS, Fault.PASS, Fault.PASS, met)
        with pytest.raises(Uncertain, match="the Secret holds the version, and then"):
            hand(made(bench, **WORKLOAD))

    def test_reading_leaves_nothing_in_doubt(self, bench: Bench, cluster: FakeCluster) -> None:
        for met in (Fault.LOSE_ANSWER, Reply(500), Reply(200, b"canary"), Fault.HALF_AN_ANSWER):
            order(cluster, met)
            with pytest.raises(Unavailable):
                hand(made(bench, **WORKLOAD))
            order(cluster, met)
            assert usage(made(bench, **WORKLOAD)) is Usage.UNKNOWN


def test_a_selector_is_written_as_a_list_takes_it() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["1", "2"]},
        {"key": "b", "operator": "NotIn", "values": ["3"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"},
    ]
    assert selector({"matchLabels": {"app": "web"}, "matchExpressions": expressions}) == (
        "app=web,a in (1,2),b notin (3),c,!d"
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"namespace": "Production"}, "`namespace`"),
        ({"secret": "fleet"}, "has {instance}"),
        ({"secret": "fleet", "username_key": "{instance}"}, "has {instance}"),
        ({"secret": "{instance}-{zone}"}, "{zone} is not known"),
        ({"version_key": "password"}, "different keys"),
        ({"workload": "pod/{instance}"}, "`workload` is written"),
        ({"workload": "deployment/web"}, "`workload` is written"),
        ({"pod": "{instance}"}, "takes the place"),
        ({"workload": ""}, "`workload` or `report`"),
        (REPORT, "one of them"),
        ({"annotation": "a/b/c"}, "`annotation`"),
        ({"kubeconfig": "", "context": "here"}, "`context`"),
        ({"label": "a"}, "unknown field"),
    ],
)
def test_what_cannot_be_meant_is_refused(bench: Bench, given: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        made(bench, **{**WORKLOAD, **given})
