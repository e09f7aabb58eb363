"""`aws` against moto: every option, groups and tasks; and against answers as the API references have them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import aws
from adapters.discovery.aws import AwsDiscovery, AwsOptions
from engine.errors import OwnLoginRejected, Rejected, Throttled, Unavailable
from engine.instances import Instance
from tests.contract.discovery import built, ids, rejected
from tests.contract.stores import shown
from tests.fleets.amazon import REGION, Amazon, amazon, moto_server
from tests.sinks.vendor_server import Fault, Reply, VendorServer

LOGIN = "AKIACANARY"
SECRETS = {"ID": LOGIN, "KEY": "canary-key", "SESSION": "canary-session"}
PRODUCTION = [{"key": "Environment", "value": "production"}]
HEADERS = {"Content-Type": "application/x-amz-json-1.1"}


@dataclass
class World:
    """An account, and the folder of the configuration."""

    account: Amazon
    server: VendorServer
    folder: Path

    def discovery(self, **options: Any) -> AwsDiscovery:
        """Return what asks the account."""
        given: dict[str, Any] = {
            "region": REGION,
            "filters": PRODUCTION if not {"ecs", "auto_scaling_group"} & set(options) else [],
            "access_key_id": "env://ID",
            "secret_access_key": "env://KEY",
            "endpoint_url": self.server.url,
            **options,
        }
        found: AwsDiscovery = built(aws.ADAPTER, self.folder, secrets=SECRETS, **given)
        return found

    def run(self, environment: str = "production", zone: str = "a", **tags: str) -> str:
        """Start a machine, and return its id."""
        made = self.account.client("ec2").run_instances(
            MinCount=1,
            MaxCount=1,
            ImageId="ami-0fake",
            Placement={"AvailabilityZone": f"{REGION}{zone}"},
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": k, "Value": v} for k, v in {"Environment": environment, **tags}.items()],
                }
            ],
        )
        return str(made["Instances"][0]["InstanceId"])


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Moto, for all tests here."""
    with moto_server() as url:
        yield url


@pytest.fixture
def world(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An account, and no login of ours but what a test gives."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with amazon(moto, login=LOGIN) as (account, server):
        yield World(account, server, tmp_path)


def test_a_machine_is_told_with_zone_address_and_tags(world: World) -> None:
    """And those with other tags, or that do not run, are not."""
    there, stopped = world.run(zone="b", Role="web"), world.run()
    world.run("staging")
    world.account.client("ec2").stop_instances(InstanceIds=[stopped])
    [found] = world.discovery(endpoint="http://{address}:8080").instances()
    assert (found.id, found.zone) == (there, f"{REGION}b")
    assert found.labels == {"Environment": "production", "Role": "web"}
    assert found.endpoint.startswith("http://10.")


def test_filters_are_all_to_be_met(world: World) -> None:
    """Their keys may have the prefix that the API gives them."""
    world.run(Role="web")
    both = world.run(Role="api")
    filters = [*PRODUCTION, {"key": "tag:Role", "value": "api"}]
    assert ids(world.discovery(filters=filters)) == [both]


def test_a_group_has_those_that_are_in_service(world: World) -> None:
    """With their zones and tags, which the group does not tell."""
    ec2, scaling = world.account.client("ec2"), world.account.client("autoscaling")
    world.run()
    scaling.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-0fake", InstanceType="t3.micro")
    zones = [f"{REGION}b"]
    group = {"LaunchConfigurationName": "l", "MinSize": 3, "MaxSize": 3, "AvailabilityZones": zones}
    scaling.create_auto_scaling_group(AutoScalingGroupName="web", **group)
    scaling.create_auto_scaling_group(AutoScalingGroupName="other", **group)
    told = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])["AutoScalingGroups"][0]["Instances"]
    members = sorted(each["InstanceId"] for each in told)
    found = world.discovery(auto_scaling_group="web").instances()
    assert [each.id for each in found] == members
    assert {each.zone for each in found} == set(zones)
    assert all(each.labels["aws:autoscaling:groupName"] == "web" for each in found)
    scaling.enter_standby(AutoScalingGroupName="web", InstanceIds=members[:1], ShouldDecrementDesiredCapacity=False)
    assert set(members[:1]).isdisjoint(ids(world.discovery(auto_scaling_group="web")))
    ec2.terminate_instances(InstanceIds=members[1:2])
    assert set(members[1:2]).isdisjoint(ids(world.discovery(auto_scaling_group="web")))


def test_a_group_that_is_not_there_is_an_error_and_an_empty_one_is_not(world: World) -> None:
    """A slip in its name is not a fleet of nobody."""
    assert "no Auto Scaling group 'wbe'" in rejected(world.discovery(auto_scaling_group="wbe")).why
    scaling = world.account.client("autoscaling")
    scaling.create_launch_configuration(LaunchConfigurationName="l", ImageId="ami-0fake", InstanceType="t3.micro")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchConfigurationName="l",
        MinSize=0,
        MaxSize=0,
        AvailabilityZones=[f"{REGION}a"],
    )
    assert ids(world.discovery(auto_scaling_group="web")) == []


def test_tasks_of_a_service_are_listed(world: World) -> None:
    """By the cluster and the service that the options name, with address and tags."""
    ecs, ec2 = world.account.client("ecs"), world.account.client("ec2")
    ecs.create_cluster(clusterName="main")
    ecs.register_task_definition(
        family="web", networkMode="awsvpc", containerDefinitions=[{"name": "web", "image": "web", "memory": 64}]
    )
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    made = ecs.run_task(
        cluster="main",
        taskDefinition="web",
        count=3,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []}},
        tags=[{"key": "Role", "value": "web"}],
    )["tasks"]
    ecs.stop_task(cluster="main", task=made[0]["taskArn"])
    options = {"cluster": "main", "service": "web"}
    found = world.discovery(ecs=options, endpoint="http://{address}:80").instances()
    names = {each["taskArn"].rpartition("/")[2] for each in made[1:]}
    assert {each.id for each in found} == names
    assert all(each.labels == {"Role": "web"} and each.endpoint.startswith("http://") for each in found)
    asked = [request.json for request in world.server.requests]
    assert asked[0] == {"cluster": "main", "serviceName": "web", "desiredStatus": "RUNNING"}


def listed_and_described(world: World, described: object, *names: str) -> None:
    """Have the next answers be a list of tasks and what describes them, as the API reference of ECS has it."""
    arns = [f"arn:aws:ecs:{REGION}:1:task/main/{name}" for name in names]
    answers = ({"taskArns": arns}, described)
    world.server.order(*(Reply(200, json.dumps(each).encode(), HEADERS) for each in answers))


def task(name: str, status: str = "RUNNING") -> dict[str, Any]:
    """Return a task as DescribeTasks tells it."""
    details = [{"name": "subnetId", "value": "s"}, {"name": "privateIPv4Address", "value": "10.0.0.7"}]
    return {
        "taskArn": f"arn:aws:ecs:{REGION}:1:task/main/{name}",
        "lastStatus": status,
        "desiredStatus": "RUNNING",
        "availabilityZone": f"{REGION}c",
        "attachments": [{"id": "a", "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details}],
        "tags": [{"key": "Role", "value": "web"}],
    }


def test_a_task_has_the_zone_it_runs_in(world: World) -> None:
    """One that is still starting, or is gone by now, is left out."""
    gone = {"arn": f"arn:aws:ecs:{REGION}:1:task/main/gone", "reason": "MISSING"}
    listed_and_described(world, {"tasks": [task("a"), task("b", "PENDING")], "failures": [gone]}, "a", "b", "gone")
    found = world.discovery(ecs={"cluster": "main", "service": "web"}, endpoint="{address}").instances()
    assert list(found) == [Instance("a", f"{REGION}c", "10.0.0.7", {"Role": "web"})]


def test_tasks_that_are_not_told_are_an_error(world: World) -> None:
    failure = {"arn": f"arn:aws:ecs:{REGION}:1:task/main/b", "reason": "INTERNAL"}
    listed_and_described(world, {"tasks": [task("a")], "failures": [failure]}, "a", "b")
    with pytest.raises(Unavailable, match="INTERNAL"):
        world.discovery(ecs={"cluster": "main", "service": "web"}).instances()


def test_tasks_are_described_a_hundred_at_a_time(world: World) -> None:
    """Which is all that DescribeTasks takes."""
    names = [f"{number:03}" for number in range(150)]
    listed_and_described(world, {"tasks": [task(each) for each in names[:100]]}, *names)
    world.server.order(Reply(200, json.dumps({"tasks": [task(each) for each in names[100:]]}).encode(), HEADERS))
    assert ids(world.discovery(ecs={"cluster": "main", "service": "web"})) == names
    assert [len(each.json.get("tasks", ())) for each in world.server.requests] == [0, 100, 50]


# --- options ----------------------------------------------------------------------------------------------------


def test_the_region_is_the_one_that_is_asked(world: World) -> None:
    """The account refuses any other."""
    assert "InvalidRegion" in rejected(world.discovery(region="eu-west-1")).why


def test_what_logs_in_is_read_for_every_listing(world: World) -> None:
    """And a session with its token."""
    discovery = world.discovery(session_token="env://SESSION")
    assert ids(discovery) == []
    assert world.server.requests[-1].headers["x-amz-security-token"] == "canary-session"
    world.account.login = "AKIANEW"
    with pytest.raises(OwnLoginRejected):
        discovery.instances()
    SECRETS["ID"] = "AKIANEW"
    try:
        assert ids(discovery) == []
    finally:
        SECRETS["ID"] = LOGIN


def test_without_references_boto3_finds_the_login(world: World) -> None:
    """In the profile that is named, and else where it looks by itself."""
    options: dict[str, Any] = {"access_key_id": None, "secret_access_key": None}
    error = rejected(world.discovery(**options))
    assert isinstance(error, OwnLoginRejected)
    assert "found no login" in error.why
    text = f"[default]\naws_access_key_id=OTHER\naws_secret_access_key=x\n[ops]\naws_access_key_id={LOGIN}\n"
    (world.folder / "credentials").write_text(f"{text}aws_secret_access_key=x\n")
    assert "AuthFailure" in rejected(world.discovery(**options)).why
    assert ids(world.discovery(profile="ops", **options)) == []
    assert "found no login" in rejected(world.discovery(profile="nobody", **options)).why


def test_every_option_is_looked_at_in_this_file() -> None:
    names = (
        *("region", "filters", "auto_scaling_group", "ecs", "endpoint", "profile", "access_key_id"),
        *("secret_access_key", "session_token", "endpoint_url"),
    )
    assert AwsOptions.__struct_fields__ == names


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("UnauthorizedOperation", 403, OwnLoginRejected),
        ("AuthFailure", 401, OwnLoginRejected),
        ("RequestExpired", 400, OwnLoginRejected),
        ("RequestLimitExceeded", 503, Throttled),
        ("InternalError", 500, Unavailable),
        ("Unavailable", 503, Unavailable),
        ("InvalidParameterValue", 400, Rejected),
        ("canary-key!", 400, Rejected),
    ],
)
def test_an_error_of_aws_is_told_by_its_code(world: World, code: str, status: int, error: type[Exception]) -> None:
    """And by nothing else of it, once."""
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>canary</Message></Error></Errors></Response>"
    world.server.order(Reply(status, body.encode()))
    with pytest.raises((Rejected, Unavailable)) as caught:
        world.discovery().instances()
    assert type(caught.value) is error
    assert "canary" not in shown(caught.value)
    assert len(world.server.requests) == 1


def test_nothing_is_tried_twice(world: World) -> None:
    world.server.order(Fault.LOSE_ANSWER)
    with pytest.raises(Unavailable):
        world.discovery().instances()
    assert len(world.server.requests) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"filters": []}, "one of"),
        ({"filters": PRODUCTION, "auto_scaling_group": "web"}, "one of"),
        ({"filters": [*PRODUCTION, {"key": "tag:Environment", "value": "x"}]}, "twice"),
        ({"secret_access_key": None}, "go together"),
        ({"access_key_id": None}, "go together"),
        ({"access_key_id": None, "secret_access_key": None, "session_token": "env://SESSION"}, "go together"),
        ({"profile": "ops"}, "two logins"),
        ({"endpoint": "{port}"}, "`endpoint`"),
        ({"endpoint_url": "http://10.0.0.1"}, "`endpoint_url`"),
        ({"region": ""}, "region"),
    ],
)
def test_options_that_cannot_be_are_refused(world: World, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        world.discovery(**options)
