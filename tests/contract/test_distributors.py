"""Every distributor keeps the contract, built as the configuration builds it, with consumers that are processes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from adapters.distributors import exec as exec_
from adapters.distributors import file, http, kubernetes, memory, store
from adapters.registry import DISTRIBUTOR_GROUP, SHIPPED
from engine.errors import Rejected
from engine.instances import Distributor, Instance
from tests.contract.distributors import DistributorContract, Prepare
from tests.integration.distributor_bench import CREDENTIAL, HERE, Bench, agent_program, bench, encrypted
from tests.integration.fleet_bench import App, apps
from tests.sinks.kubernetes import FakeCluster, fake_cluster, write_kubeconfig

__all__ = ["bench"]

SIGNING = "whsec_" + base64.b64encode(b"canary-signing-one-of-32-bytes-x").decode()


def test_every_distributor_that_ships_is_under_the_contract() -> None:
    """A kind that is added without a class here fails."""
    classes = [each for each in globals().values() if isinstance(each, type) and issubclass(each, DistributorContract)]
    assert {each.kind for each in classes if each is not DistributorContract} == set(SHIPPED[DISTRIBUTOR_GROUP])


class TestHttp(DistributorContract):
    """An application that reads from the store what it is told."""

    kind = "http"

    @pytest.fixture
    def app(self, bench: Bench) -> Iterator[App]:
        """The application."""
        with apps({"store": bench.store_settings(), "signing_secret": SIGNING}) as (running,):
            yield running

    @pytest.fixture
    def instance(self, app: App) -> Instance:
        """It, as discovery lists it."""
        return app.instance

    @pytest.fixture
    def distributor(self, bench: Bench) -> Distributor:
        """Return what tells it."""
        return bench.distributor(
            http.ADAPTER,
            {"SIGNING": SIGNING},
            signing_secret="env://SIGNING",
            allow_http=True,
            allow_private=[HERE],
        )

    @pytest.fixture
    def unreachable(self, distributor: Distributor) -> tuple[Distributor, Instance]:
        """Return an instance that has ended."""
        return distributor, Instance("gone", endpoint="http://127.0.0.1:1")

    @pytest.fixture
    def prepare(self, bench: Bench) -> Prepare:
        """Put each version into the store."""
        return lambda version, value: bench.store.stage(CREDENTIAL, version, value)


class _Store(DistributorContract):
    """An application that follows a key of its own in the store."""

    kind = "store"
    settings: ClassVar[dict[str, Any]] = {}
    options: ClassVar[dict[str, Any]]
    unreached = (Rejected,)

    @pytest.fixture
    def app(self, bench: Bench) -> Iterator[App]:
        """The application."""
        key = f"{CREDENTIAL}/web-1"
        with apps({"store": bench.store_settings(key), "is_watching": True, **self.settings}) as (running,):
            yield running

    @pytest.fixture
    def instance(self, app: App) -> Instance:
        """It, as discovery lists it."""
        return app.instance

    @pytest.fixture
    def distributor(self, bench: Bench) -> Distributor:
        """Return what writes its key."""
        return bench.distributor(store.ADAPTER, key="production/app-db/{instance}", **self.options)

    @pytest.fixture
    def prepare(self) -> Prepare:
        """Nothing: what is handed out goes into the store."""
        return lambda version, value: None

    @pytest.fixture
    def unreachable(self, bench: Bench) -> tuple[Distributor, Instance]:
        """Return one that writes to a store whose folder is none, and an instance that has ended."""
        (bench.folder / "file").write_bytes(b"")
        bench.stores["gone"] = encrypted("file/secrets.kt", bench.folder)
        distributor = bench.distributor(store.ADAPTER, key="{instance}", store="gone", **self.options)
        return distributor, Instance("web-1", endpoint="http://127.0.0.1:1")


class TestStoreWithReport(_Store):
    """It reports over HTTP."""

    options: ClassVar = {"report": {"allow_http": True, "allow_private": [HERE]}}


class TestStoreWithAcknowledgement(_Store):
    """It reports to another key."""

    settings: ClassVar = {"acknowledge": "seen/web-1"}
    options: ClassVar = {"acknowledge_key": "seen/{instance}"}


class TestStoreAlone(_Store):
    """What the store holds is all that is known, as the configuration says."""

    options: ClassVar = {"proof": "stored"}

    @pytest.fixture
    def instance(self) -> Instance:
        """Anybody: nobody is asked."""
        return Instance("web-1")


class _Exec(DistributorContract):
    """Programs that keep, of each instance, a file."""

    kind = "exec"
    options: ClassVar[dict[str, Any]]

    @pytest.fixture
    def instance(self) -> Instance:
        """Return one that the programs know."""
        return Instance("web-1")

    @pytest.fixture
    def distributor(self, bench: Bench) -> Distributor:
        """Return what runs them."""
        program = str(agent_program(bench.folder))
        command = [program, "hand", "--instance={instance}"]
        look = [program, str(self.options.get("proof", "fingerprint")), "--instance={instance}"]
        return bench.distributor(exec_.ADAPTER, timeout=10, command=command, look=look, **self.options)

    @pytest.fixture
    def unreachable(self, distributor: Distributor) -> tuple[Distributor, Instance]:
        """Return one that they do not reach."""
        return distributor, Instance("gone")

    @pytest.fixture
    def prepare(self) -> Prepare:
        """Nothing: the program gets the value."""
        return lambda version, value: None


class TestExec(_Exec):
    """They print the report of the instance."""

    options: ClassVar = {}


class TestExecByExitCode(_Exec):
    """They judge by themselves."""

    options: ClassVar = {"proof": "exit-code", "pass_value": "file"}


class _File(DistributorContract):
    """An application that watches a file."""

    kind = "file"
    unreached = (Rejected,)
    options: ClassVar[dict[str, Any]]

    @pytest.fixture
    def instance(self, bench: Bench) -> Iterator[Instance]:
        """The application, as discovery lists it."""
        with apps({"file": str(bench.folder / "web-1.json")}) as (running,):
            yield running.instance

    @pytest.fixture
    def distributor(self, bench: Bench) -> Distributor:
        """Return what writes the file."""
        return bench.distributor(file.ADAPTER, path="{instance}.json", **self.options)

    @pytest.fixture
    def unreachable(self, bench: Bench) -> tuple[Distributor, Instance]:
        """Return one that writes to a folder that is not there."""
        distributor = bench.distributor(file.ADAPTER, path="gone/{instance}.json", **self.options)
        return distributor, Instance("web-1", endpoint="http://127.0.0.1:1")

    @pytest.fixture
    def prepare(self) -> Prepare:
        """Nothing: the file holds the value."""
        return lambda version, value: None


class TestFile(_File):
    """It reports to another file."""

    options: ClassVar = {"report_file": "{instance}.json.report"}


class TestFileWithReport(_File):
    """It reports over HTTP."""

    options: ClassVar = {"report": {"allow_http": True, "allow_private": [HERE]}}


class TestKubernetes(DistributorContract):
    """A deployment, whose pods begin anew."""

    kind = "kubernetes"

    @pytest.fixture
    def cluster(self, bench: Bench) -> Iterator[FakeCluster]:
        """A cluster with a deployment of two pods."""
        with fake_cluster() as cluster:
            cluster.add("deployments", "web")
            write_kubeconfig(bench.folder / "config", cluster.url)
            yield cluster

    @pytest.fixture
    def instance(self, cluster: FakeCluster) -> Instance:
        """It, as discovery lists it."""
        return Instance("web")

    @pytest.fixture
    def distributor(self, bench: Bench, cluster: FakeCluster) -> Distributor:
        """Return what restarts it."""
        return self._made(bench, "config")

    @pytest.fixture
    def unreachable(self, bench: Bench) -> tuple[Distributor, Instance]:
        """Return a cluster that is not there."""
        write_kubeconfig(bench.folder / "gone", "http://127.0.0.1:1")
        return self._made(bench, "gone"), Instance("web")

    @pytest.fixture
    def prepare(self) -> Prepare:
        """Nothing: the Secret holds the value."""
        return lambda version, value: None

    @staticmethod
    def _made(bench: Bench, name: str) -> Distributor:
        given: dict[str, Any] = {
            "namespace": "production",
            "secret": "{instance}-db",
            "workload": "deployment/{instance}",
        }
        return bench.distributor(kubernetes.ADAPTER, kubeconfig=name, **given)


class TestMemory(DistributorContract):
    """Instances of a rehearsal."""

    kind = "memory"

    @pytest.fixture
    def instance(self) -> Instance:
        """Return any: they are made as they are handed something."""
        return Instance("instance-0001")

    @pytest.fixture
    def distributor(self, bench: Bench) -> Distributor:
        """Return one whose instances behave."""
        return bench.distributor(memory.ADAPTER)

    @pytest.fixture
    def unreachable(self, bench: Bench, instance: Instance) -> tuple[Distributor, Instance]:
        """Return one whose instances do not answer."""
        return bench.distributor(memory.ADAPTER, faults=["unavailable"]), instance

    @pytest.fixture
    def prepare(self) -> Prepare:
        """Nothing: the instances get the value."""
        return lambda version, value: None
