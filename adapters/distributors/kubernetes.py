"""A Secret of Kubernetes for each instance, which is a workload: it is restarted pod by pod, and its pods prove it.

Rule 1: a Secret is changed only from the version that was read, and keeps what else stands in it.
Rule 2: a pod began with what stood in the Secret when it began. So the Secret is written first, then the workload is
told, and what counts is the pods that began for the version.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters import kubeconfig
from adapters.distributors import asking, texts
from adapters.distributors.asking import ReportOptions
from adapters.distributors.cluster import Cluster, selector
from adapters.distributors.reports import Wanted, unknown
from engine.adapter import DistributorAdapter, DistributorContext
from engine.errors import PortError, Rejected
from engine.instances import Instance, Proof, Usage
from engine.values import SECOND, CredentialValue, Form, Instant, Microseconds

_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
"""RFC 1123, as Kubernetes names objects."""
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}", re.ASCII)
_ANNOTATION: Final = re.compile(
    r"(?:[a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII
)
_KINDS: Final = {"deployment": "deployments", "statefulset": "statefulsets", "daemonset": "daemonsets"}
_ENDED: Final = frozenset({"Succeeded", "Failed"})


class KubernetesOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Secret for each instance, and how what reads it is told."""

    namespace: str
    """Where Secrets and workloads are."""
    secret: str
    """The Secret of an instance, with `{instance}` in it, and where it helps `{service}` and `{environment}`; or
    without, where the three keys have it. One that is not there is made."""
    username_key: str = "username"
    """The key in the Secret that holds the user name."""
    password_key: str = "password"  # noqa: S105 - the name of a key
    """The key in the Secret that holds the password."""
    version_key: str = "version"
    """The key in the Secret that holds the id of the version, for the report of an instance."""
    workload: str = ""
    """What is restarted, as `deployment/{instance}`; also statefulset and daemonset. Its pods that began for the
    version are the proof."""
    pod: str = ""
    """Instead of `workload`: the pod that is annotated, so that its mounted Secret is renewed at once. It goes on
    running, and `report` is the proof."""
    annotation: str = "keyturn/version"
    """What a workload or a pod is annotated with; another one for each credential that it reads."""
    proof: Wanted = "fingerprint"
    """Of `report`. `fingerprint`: an HMAC of the password. `version`: that the instance says so is enough."""
    report: ReportOptions | None = None
    """Where each instance reports the version that it uses, over HTTP; where there is no `workload`."""
    kubeconfig: str = ""
    """A file that says where the cluster is and how to log in, relative to the folder of the configuration. Without
    it keyturn is a pod of the cluster, and uses its service account."""
    context: str = ""
    """The context of the kubeconfig; the current one where none is named."""

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError("`namespace` is the name of one namespace: small letters, digits and hyphens, at most 63")
        keys = (self.username_key, self.password_key, self.version_key)
        for text in (self.secret, *keys, self.workload, self.pod):
            texts.check(text, texts.PLACE)
        if "{instance}" not in self.secret and not all("{instance}" in key for key in keys):
            raise ValueError("`secret`, or each of the three keys, has {instance} in it: else all would have the same")
        if len(set(keys)) < len(keys):
            raise ValueError("`username_key`, `password_key` and `version_key` are different keys")
        if self.workload and (self.workload.partition("/")[0] not in _KINDS or "{instance}" not in self.workload):
            raise ValueError(f"`workload` is written {', '.join(f'{kind}/{{instance}}' for kind in _KINDS)}")
        if self.pod and (self.workload or "{instance}" not in self.pod):
            raise ValueError("`pod` is the name of a pod with {instance} in it, and takes the place of `workload`")
        if bool(self.workload) == (self.report is not None):
            raise ValueError("`workload` or `report` is expected, one of them: something must prove what is used")
        if not _ANNOTATION.fullmatch(self.annotation):
            raise ValueError("`annotation` is written keyturn/version")
        if self.context and not self.kubeconfig:
            raise ValueError("`context` is one of a `kubeconfig`, which is missing")


class KubernetesDistributor:
    """Instances that read Secrets; the port `Distributor`."""

    def __init__(
        self,
        options: KubernetesOptions,
        context: DistributorContext,
        *,
        account: Path = kubeconfig.ACCOUNT,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._options = options
        self._context = context
        self._account = account
        self._environment = environment

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Write the Secret, then annotate what reads it. Where the second fails, it is `Uncertain`."""
        what = f"handing version {version} to {instance.id}"
        wanted = self._data(instance, value, version, what=what)
        cluster = self._cluster(asking.time_left(deadline, what=what), what=what)
        told = self._told(instance, what=what)
        if told and cluster.get(told) is None:
            raise Rejected(what=what, why=f"there is no {told} in the namespace {self._options.namespace}")
        self._write(cluster, self._name(self._options.secret, instance, what=what), wanted)
        if told:
            cluster.done = "the Secret holds the version"
            annotated = {"metadata": {"annotations": {self._options.annotation: version}}}
            cluster.merge(told, {"spec": {"template": annotated}} if self._options.workload else annotated)

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Return what the instance reports, or what the pods of its workload began for."""
        options, what = self._options, f"looking what {instance.id} uses"
        if options.report is not None:
            line = asking.line(options.report, self._context)
            return line.look(instance, value, path=options.report.path, version=version, wanted=options.proof)
        try:
            wanted = self._data(instance, value, version, what=what)
            cluster = self._cluster(self._context.timeout, what=what)
            workload = cluster.get(self._told(instance, what=what))
            held = cluster.get(f"secrets/{self._name(options.secret, instance, what=what)}") or {}
            if workload is None:
                return unknown("its workload is not there")
            selected = selector(_at(workload, "spec", "selector"))
            pods = cluster.list("pods", {"labelSelector": selected}) if selected else []
        except PortError as error:
            return unknown(error.why)
        if not wanted.items() <= (held.get("data") or {}).items():
            return Proof(Usage.OTHER, "its Secret holds another version, or none")
        return judged(workload, pods, annotation=options.annotation, version=version)

    def _write(self, cluster: Cluster, name: str, wanted: Mapping[str, str]) -> None:
        there = cluster.get(f"secrets/{name}")
        if there is None:
            metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": "keyturn"}}
            made = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": wanted}
            cluster.make("secrets", made)
        elif not wanted.items() <= (there.get("data") or {}).items():
            metadata = {"resourceVersion": _at(there, "metadata")["resourceVersion"]}
            cluster.merge(f"secrets/{name}", {"metadata": metadata, "data": wanted})

    def _data(self, instance: Instance, value: CredentialValue, version: str, *, what: str) -> dict[str, str]:
        """Return what stands in the Secret, in base64 as the API has it."""
        if value.secret is None or value.form is not Form.PLAIN:
            raise Rejected(what=what, why="the password of the version is not known, so it cannot be written")
        options, fields = self._options, texts.fields(instance, self._context)
        given = {
            options.username_key: value.username,
            options.password_key: value.revealed(),
            options.version_key: version,
        }
        data: dict[str, str] = {}
        for key, text in given.items():
            filled = texts.fill(key, fields)
            if not _DATA_KEY.fullmatch(filled):
                raise Rejected(what=what, why="the id of the instance cannot stand in a key of a Secret")
            data[filled] = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
        return data

    def _told(self, instance: Instance, *, what: str) -> str:
        """Return the path of what is annotated; empty where nothing is."""
        if self._options.pod:
            return f"pods/{self._name(self._options.pod, instance, what=what)}"
        kind, _, name = self._options.workload.partition("/")
        return f"{_KINDS[kind]}/{self._name(name, instance, what=what)}" if name else ""

    def _name(self, text: str, instance: Instance, *, what: str) -> str:
        filled = texts.fill(text, texts.fields(instance, self._context))
        if not _NAME.fullmatch(filled):
            raise Rejected(what=what, why="the id of the instance cannot stand in the name of an object of Kubernetes")
        return filled

    def _cluster(self, time_left: Microseconds, *, what: str) -> Cluster:
        options = self._options
        if options.kubeconfig:
            file = self._context.base / Path(options.kubeconfig).expanduser()
            access = kubeconfig.of_kubeconfig(file, context=options.context, what=what)
        else:
            access = kubeconfig.of_pod(self._account, self._environment, what=what)
        seconds = min(time_left, self._context.timeout) / SECOND
        return Cluster(access, options.namespace, what, time.monotonic() + seconds)


def judged(workload: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], *, annotation: str, version: str) -> Proof:
    """Return what the pods of a workload prove: all of them began for the version, and all that are wanted are ready.

    A pod that is ending counts for as long as it is there, for it still has its connections.
    """
    template = _at(workload, "spec", "template")
    if _annotated(template, annotation) != version:
        return Proof(Usage.OTHER, "its workload is to run with another version, or none")
    status, metadata = _at(workload, "status"), _at(workload, "metadata")
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return unknown("its workload was told, and has not begun")
    there = [pod for pod in pods if _at(pod, "status").get("phase") not in _ENDED]
    others = [pod for pod in there if _annotated(pod, annotation) != version]
    if others:
        return Proof(Usage.OTHER, f"{len(others)} of its {len(there)} pods began for another version, or none")
    wanted = status.get("desiredNumberScheduled", _at(workload, "spec").get("replicas", 1))
    ready = sum(_is_ready(pod) for pod in there)
    if not wanted or ready < wanted:
        return unknown(f"{ready} of {wanted} pods are ready")
    return Proof(Usage.USED, f"all of its {len(there)} pods began for the version, and are ready")


def _at(given: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """Return a part of an object; empty where it has none."""
    found: Any = given
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _annotated(given: Mapping[str, Any], annotation: str) -> object:
    return _at(given, "metadata", "annotations").get(annotation)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = _at(pod, "status").get("conditions") or []
    is_ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return is_ready and "deletionTimestamp" not in _at(pod, "metadata")


def _build(options: KubernetesOptions, context: DistributorContext) -> KubernetesDistributor:
    return KubernetesDistributor(options, context)


ADAPTER: Final = DistributorAdapter(
    name="kubernetes",
    summary="a Secret of Kubernetes for each workload, which is restarted pod by pod",
    options=KubernetesOptions,
    build=_build,
)
