"""The examples of discovery list what they say, against servers of the tests, and the page tells of every type."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.config.build import Wiring
from adapters.config.load import parse
from adapters.registry import DISCOVERY_GROUP, SHIPPED, discovery_adapter
from engine.instances import Instance
from tests.architecture.source import ROOT
from tests.fleets import azure_cloud, google_cloud, kubernetes_api
from tests.fleets.amazon import REGION, amazon, moto_server
from tests.fleets.azure_cloud import Azure
from tests.fleets.consul_agent import Agent, entry
from tests.fleets.google_cloud import Google
from tests.fleets.inventory import inventory
from tests.fleets.kubernetes_api import Cluster
from tests.fleets.name_server import name_server
from tests.sinks.vendor_server import serving

FOLDER = ROOT / "docs" / "examples" / "discovery"
PAGE = (ROOT / "docs" / "how-to" / "find-instances.md").read_text(encoding="utf-8")


def listed(name: str, folder: Path, **replaced: str) -> Sequence[Instance]:
    """Return what the example lists, with texts of it replaced, as `{"https://…": "http://127.0.0.1:…"}`."""
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    for written, actual in replaced.items():
        assert written in text
        text = text.replace(written, actual)
    configuration = parse(text.encode(), path=folder / "keyturn.yaml", shown=name)
    assert not configuration.problems
    discovery = Wiring(configuration, folder).discovery("app-db")
    assert discovery is not None
    return discovery.instances()


def test_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_TOKEN", "canary-token")
    with inventory() as (fake, server):
        fake.login = {"authorization": "Bearer canary-token"}
        fake.members = [
            {"name": f"web-{n}", "placement": {"zone": "a"}, "url": f"https://web-{n}.test", "labels": {"role": "web"}}
            for n in range(5)
        ]
        replaced = {"https://inventory.example.com": server.url, "10.0.0.0/8": "127.0.0.0/8"}
        found = listed("endpoint", tmp_path, **replaced)
    assert len(found) == 5
    assert found[0] == Instance("web-0", "a", "https://web-0.test", {"role": "web"})


def test_kubernetes(tmp_path: Path) -> None:
    cluster = Cluster(tokens={"canary-token": "keyturn"}, may={"keyturn": {"pods", "nodes"}})
    cluster.pods = [kubernetes_api.pod(name, app=app) for name, app in (("web-1", "web"), ("api-1", "api"), ("x", "y"))]
    cluster.nodes = [kubernetes_api.node("node-1", "zone-a")]
    with serving(cluster.answer) as server:
        config = {
            "contexts": [{"name": "production", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {"token": "canary-token"}}],
        }
        (tmp_path / "kube.config").write_text(json.dumps(config))
        found = listed("kubernetes", tmp_path)
    assert [each.id for each in found] == ["api-1", "web-1"]
    assert (found[0].zone, found[0].endpoint) == ("zone-a", "http://10.1.0.5:8080")


@pytest.mark.slow
def test_aws_and_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISCOVERY_KEY_ID", "AWS_ACCESS_KEY_ID", "DISCOVERY_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "CANARY")
    with moto_server() as moto, amazon(moto, login="CANARY") as (account, server):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        scaling = account.client("autoscaling")
        scaling.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-0fake", InstanceType="t3.micro")
        tags = [
            {"Key": key, "Value": value, "PropagateAtLaunch": True}
            for key, value in (("Environment", "production"), ("Role", "web"))
        ]
        scaling.create_auto_scaling_group(
            AutoScalingGroupName="web",
            LaunchConfigurationName="l",
            MinSize=2,
            MaxSize=2,
            AvailabilityZones=[f"{REGION}a"],
            Tags=tags,
        )
        of_group, of_tags = listed("aws", tmp_path), listed("cloud", tmp_path)
    assert [(each.id, each.zone) for each in of_tags] == [(each.id, f"{REGION}a") for each in of_group]
    assert len(of_group) == 2
    assert of_group[0].endpoint.endswith(":8080")


def test_gcp(tmp_path: Path) -> None:
    google = Google(
        [google_cloud.machine("web-1", role="web"), google_cloud.machine("web-2", "us-east1-b", role="web")]
    )
    google.token = "canary-token"
    with serving(google.answer) as server:
        more = f"project: acme-prod\n        token: env://TOKEN\n        api_url: {server.url}/compute/v1"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOKEN", "canary-token")
            found = listed("gcp", tmp_path, **{"project: acme-prod": more})
    assert [(each.id, each.endpoint) for each in found] == [("web-1.europe-west3-a", "http://10.156.0.2:8080")]


def test_azure(tmp_path: Path) -> None:
    cloud = Azure([azure_cloud.machine("web-1"), azure_cloud.machine("web-2", group="other")], token="canary-token")
    cloud.interfaces = [azure_cloud.interface(cloud.machines[0]["id"], "10.0.0.5")]
    with serving(cloud.answer) as server:
        cloud.port = server.port
        more = f"resource_group: web\n        token: env://TOKEN\n        api_url: {server.url}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOKEN", "canary-token")
            found = listed("azure", tmp_path, **{"resource_group: web": more})
    assert [(each.id, each.endpoint) for each in found] == [("web-1.web", "http://10.0.0.5:8080")]


def test_consul(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_TOKEN", "canary-token")
    agent = Agent({("dc1", "default"): [entry("web"), entry("old", Tags=["v1"])]}, token="canary-token")
    with serving(agent.answer) as server:
        found = listed("consul", tmp_path, **{"https://consul.example.com:8501": server.url})
    assert [(each.id, each.endpoint) for each in found] == [("node-1.web", "http://10.1.0.1:8080")]


def test_dns(tmp_path: Path) -> None:
    with name_server() as server:
        server.records["_http._tcp.web.test."] = ["0 0 8080 web-1.test."]
        replaced = {"10.0.0.53": f'"127.0.0.1:{server.port}"', "example.com": "test"}
        found = listed("dns", tmp_path, **replaced)
    assert [(each.id, each.endpoint) for each in found] == [("web-1.test:8080", "http://web-1.test:8080")]


def test_every_example_is_run_and_told_of() -> None:
    names = {path.stem for path in FOLDER.iterdir()}
    assert set(re.findall(r"\(\.\./examples/discovery/(\w+)\.yaml\)", PAGE)) == names
    source = (ROOT / "tests" / "docs" / "test_find_instances_page.py").read_text(encoding="utf-8")
    assert set(re.findall(r'listed\("(\w+)"', source)) == names


def test_the_page_has_every_type_and_what_it_needs() -> None:
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|(.*)\|$", PAGE, re.MULTILINE) if "examples" in row[1]}
    assert set(rows) == set(SHIPPED[DISCOVERY_GROUP]) - {"memory"}
    for name, row in rows.items():
        extra = discovery_adapter(name).extra
        assert (f"`keyturn[{extra}]`" in row) == bool(extra), name
