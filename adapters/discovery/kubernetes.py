"""Instances that are pods of a Kubernetes cluster: those that a label selector selects, are ready, and stay.

Rule 1: asks the API over HTTP for lists, and for nothing else; so it needs no more than an HTTP client.
Rule 2: pages are of one state of the cluster, or the list is begun anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from adapters.discovery.listing import check_by_listing, check_template, endpoint, listed
from engine.adapter import DiscoveryAdapter, DiscoveryContext
from engine.errors import Rejected, Unavailable
from engine.instances import Instance
from engine.ports import Finding

if TYPE_CHECKING:
    from adapters.discovery.asking import Asking
    from adapters.kubeconfig import Access

PAGE: Final = 500
"""What kubectl asks for at once."""
_TRIES: Final = 3
_EXPIRED: Final = 410
"""A page was asked for too late: its state of the cluster is no longer kept (Kubernetes, "API concepts")."""
_ZONE: Final = "topology.kubernetes.io/zone"
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
"""RFC 1123, as Kubernetes names namespaces."""


class KubernetesOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pods of a cluster."""

    namespace: str
    """Where the pods are."""
    label_selector: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    """Which of them, as kubectl takes it: `app=web`, or `app in (web, api), tier!=test`."""
    kubeconfig: str = ""
    """A file that says where the cluster is and how to log in, relative to the folder of the configuration. Without \
it keyturn is a pod of the cluster, and uses its service account."""
    context: str = ""
    """The context of the kubeconfig; the current one where none is named."""
    endpoint: str = ""
    """Where a pod is reached, as `http://{address}:8080`, with the address of the pod; empty where nobody needs to \
know."""
    zones: bool = True
    """Look up the zone of each pod at its node, which its login must be allowed to list. Without it pods have the \
zone of their own label topology.kubernetes.io/zone, or none."""

    def __post_init__(self) -> None:
        check_template(self.endpoint)
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError("`namespace` is the name of one namespace: small letters, digits and hyphens, at most 63")
        if not self.label_selector.strip():
            raise ValueError("`label_selector` selects some of the pods: it is not empty")
        if self.context and not self.kubeconfig:
            raise ValueError("`context` is one of a `kubeconfig`, which is missing")


class _Position(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continued: str = msgspec.field(default="", name="continue")


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""
    address: str = msgspec.field(default="", name="podIP")
    conditions: list[_Condition] | None = None


class _Object(msgspec.Struct, frozen=True):
    """A pod, or of a node what matters here."""

    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _List(msgspec.Struct, frozen=True):
    kind: str
    metadata: _Position
    items: list[_Object] | None


class KubernetesDiscovery:
    """The pods that a selector selects."""

    def __init__(
        self,
        options: KubernetesOptions,
        context: DiscoveryContext,
        *,
        account: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._options = options
        self._context = context
        self._what = f"listing the pods of {context.service} in the namespace {options.namespace}"
        self._account = account
        self._environment = environment

    def instances(self) -> Sequence[Instance]:
        """Return the pods that run, are ready and are not being deleted; raises `Unavailable` or `Rejected`."""
        from adapters.discovery.asking import Asking

        options = self._options
        access = self._access()
        asking = Asking(
            what=self._what,
            timeout=self._context.timeout,
            context=access.context,
            headers=access.headers,
            advice="Let its login list pods of the namespace, and nodes for their zones, or say `zones: false`.",
        )
        pods = self._all(
            asking,
            f"{access.server}/api/v1/namespaces/{options.namespace}/pods",
            {"labelSelector": options.label_selector},
            kind="PodList",
        )
        there = [pod for pod in pods if _is_ready(pod)]
        zones = self._zones(asking, access.server, there) if options.zones else {}
        return listed([self._instance(pod, zones) for pod in there], what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _instance(self, pod: _Object, zones: Mapping[str, str]) -> Instance:
        labels = pod.metadata.labels or {}
        return Instance(
            id=pod.metadata.name,
            zone=labels.get(_ZONE) or zones.get(pod.spec.node_name, ""),
            endpoint=endpoint(self._options.endpoint, address=pod.status.address, what=self._what),
            labels=labels,
        )

    def _zones(self, asking: Asking, server: str, pods: Sequence[_Object]) -> Mapping[str, str]:
        """Return the zone of each node, where some pod does not tell its own."""
        if all(_ZONE in (pod.metadata.labels or {}) for pod in pods):
            return {}
        nodes = self._all(asking, f"{server}/api/v1/nodes", {}, kind="NodeList")
        return {node.metadata.name: (node.metadata.labels or {}).get(_ZONE, "") for node in nodes}

    def _all(self, asking: Asking, url: str, query: Mapping[str, str], *, kind: str) -> list[_Object]:
        """Return all members of a list, of one state of the cluster."""
        for _ in range(_TRIES):
            found: list[_Object] = []
            version, position = "", ""
            while True:
                further = {"continue": position} if position else {}
                answer = asking.get(
                    url, {**query, "limit": str(PAGE), **further}, tolerate={_EXPIRED} if position else ()
                )
                if answer.status == _EXPIRED:
                    break
                page = self._page(answer.value, kind)
                if position and page.metadata.resource_version != version:
                    raise Unavailable(what=self._what, why="the pages of the list are of different times")
                found += page.items or []
                version, position = page.metadata.resource_version, page.metadata.continued
                if not position:
                    return found
        raise Unavailable(what=self._what, why="the list grew old before its last page was read")

    def _page(self, value: Any, kind: str) -> _List:
        try:
            page = msgspec.convert(value, _List)
        except msgspec.ValidationError:
            raise Rejected(what=self._what, why=f"the answer is no {kind}") from None
        if page.kind != kind:
            raise Rejected(what=self._what, why=f"the answer is no {kind}")
        return page

    def _access(self) -> Access:
        from adapters import kubeconfig

        options = self._options
        if not options.kubeconfig:
            return kubeconfig.of_pod(self._account or kubeconfig.ACCOUNT, self._environment, what=self._what)
        file = self._context.base / Path(options.kubeconfig).expanduser()
        return kubeconfig.of_kubeconfig(file, context=options.context, what=self._what)


def _is_ready(pod: _Object) -> bool:
    is_ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ())
    return is_ready and pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None


def _build(options: KubernetesOptions, context: DiscoveryContext) -> KubernetesDiscovery:
    return KubernetesDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="kubernetes",
    summary="pods of a Kubernetes cluster, by label selector",
    options=KubernetesOptions,
    build=_build,
)
