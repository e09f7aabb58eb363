"""Instances in AWS: of EC2 by tags or of an Auto Scaling group, and tasks of a service of ECS.

Rule 1: only those that run; the zone is the availability zone.
Rule 2: every page is asked for, and botocore tries nothing a second time.
Rule 3: nothing of an error of botocore is told but its code: a message can quote the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Final

import msgspec

from adapters.discovery.listing import check_api, check_by_listing, check_template, endpoint, in_time, listed
from engine.adapter import DiscoveryAdapter, DiscoveryContext, Reference
from engine.errors import OwnLoginRejected, PortError, Rejected, Throttled, Unavailable
from engine.instances import Instance
from engine.ports import Finding
from engine.values import SECOND

EC2_PAGE: Final = 1_000
"""The most that DescribeInstances takes for MaxResults (API reference of EC2)."""
_TASKS_AT_ONCE: Final = 100
"""The most that DescribeTasks takes (API reference of ECS)."""
_IDS_AT_ONCE: Final = 200
"""The most values that a filter takes (User guide of EC2, "Filtering considerations")."""
_ADVICE: Final = (
    "Its login needs ec2:DescribeInstances; for a group autoscaling:DescribeAutoScalingGroups too; for tasks "
    "ecs:ListTasks and ecs:DescribeTasks."
)
_LOGIN_CODES: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
"""Common errors of the API references of EC2, ECS and Auto Scaling that are about who asks."""
_SLOWER_CODES: Final = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tag that an instance must have."""

    key: Name
    """The name of the tag, with or without `tag:` before it."""
    value: Annotated[str, msgspec.Meta(max_length=255)]
    """Its value; for EC2, `*` stands for any characters and `?` for one."""

    @property
    def tag(self) -> str:
        """The name of the tag."""
        return self.key.removeprefix("tag:")


class Ecs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service of ECS."""

    cluster: Name
    """The name of the cluster, or its ARN."""
    service: Name
    """The name of the service."""


class AwsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `filters`, `auto_scaling_group` and `ecs`."""

    region: Name
    """Such as `eu-central-1`."""
    filters: tuple[Filter, ...] = ()
    """Instances of EC2 that have all of these tags."""
    auto_scaling_group: str = ""
    """Instances that are in service in the Auto Scaling group of this name."""
    ecs: Ecs | None = None
    """Tasks of a service of ECS."""
    endpoint: str = ""
    """Where an instance is reached, as `http://{address}:8080`, with its private address; empty where nobody needs to \
know."""
    profile: str = ""
    """The profile of the shared AWS files to log in with."""
    access_key_id: Reference | None = None
    """Who logs in; where it is not given, what boto3 finds: environment, shared files, the role of the machine."""
    secret_access_key: Reference | None = None
    """Its key."""
    session_token: Reference | None = None
    """Where the key is one of a session."""
    endpoint_url: str = ""
    """The URL of an API that is elsewhere, such as an interface endpoint of a VPC."""

    def __post_init__(self) -> None:
        if sum((bool(self.filters), bool(self.auto_scaling_group), self.ecs is not None)) != 1:
            raise ValueError("one of `filters`, `auto_scaling_group` and `ecs` says which instances there are")
        if len({each.tag for each in self.filters}) != len(self.filters):
            raise ValueError("`filters`: a tag is there twice")
        if bool(self.access_key_id) != bool(self.secret_access_key) or (self.session_token and not self.access_key_id):
            raise ValueError("`access_key_id` and `secret_access_key` go together, and `session_token` with them")
        if self.access_key_id and self.profile:
            raise ValueError("`profile` and `access_key_id` are two logins: give one of them")
        check_template(self.endpoint)
        if self.endpoint_url:
            check_api("endpoint_url", self.endpoint_url)


class AwsDiscovery:
    """The instances of one selection."""

    def __init__(self, options: AwsOptions, context: DiscoveryContext, *, page: int = EC2_PAGE) -> None:
        self._options = options
        self._context = context
        self._page = page
        self._what = f"listing the instances of {context.service} in AWS, {options.region}"

    def instances(self) -> Sequence[Instance]:
        """Return those that run, by their ids; raises `Unavailable` or `Rejected`."""
        options = self._options
        login = {
            name: self._context.secret(reference).reveal()
            for name, reference in (
                ("aws_access_key_id", options.access_key_id),
                ("aws_secret_access_key", options.secret_access_key),
                ("aws_session_token", options.session_token),
            )
            if reference is not None
        }
        found = in_time(lambda: self._found(login), self._context.timeout, what=self._what)
        return listed(found, what=self._what)

    def check(self) -> Sequence[Finding]:
        """Say what one listing shows."""
        return check_by_listing(self)

    def _found(self, login: Mapping[str, str]) -> list[Instance]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        options = self._options
        try:
            clients = _Clients(options, self._context, login)
            if options.ecs is not None:
                return [self._task(each) for each in self._tasks(clients("ecs"), options.ecs)]
            if not options.auto_scaling_group:
                filters = [{"Name": f"tag:{each.tag}", "Values": [each.value]} for each in options.filters]
                return [self._machine(each) for each in self._machines(clients("ec2"), Filters=filters)]
            members = list(self._members(clients("autoscaling"), options.auto_scaling_group))
            if not members:
                return []
            # The ids are a filter, and no list of instances, since one that is gone by now is then left out.
            ids = [{"Name": "instance-id", "Values": part} for part in _parts(members, _IDS_AT_ONCE)]
            machines = [each for one in ids for each in self._machines(clients("ec2"), Filters=[one])]
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            raise self._failure(error) from None
        return [self._machine(each) for each in machines]

    def _machines(self, client: Any, *, Filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:  # noqa: N803
        running = {"Name": "instance-state-name", "Values": ["running"]}
        pages = client.get_paginator("describe_instances").paginate(
            Filters=[*Filters, running], PaginationConfig={"PageSize": self._page}
        )
        for page in pages:
            for reservation in self._list(page, "Reservations"):
                yield from reservation["Instances"]

    def _members(self, client: Any, group: str) -> Iterator[str]:
        pages = client.get_paginator("describe_auto_scaling_groups").paginate(AutoScalingGroupNames=[group])
        groups = [each for page in pages for each in self._list(page, "AutoScalingGroups")]
        if not groups:
            raise Rejected(what=self._what, why=f"there is no Auto Scaling group {group!r}")
        for each in groups[0]["Instances"]:
            if each["LifecycleState"] == "InService":
                yield each["InstanceId"]

    def _tasks(self, client: Any, ecs: Ecs) -> Iterator[dict[str, Any]]:
        pages = client.get_paginator("list_tasks").paginate(
            cluster=ecs.cluster, serviceName=ecs.service, desiredStatus="RUNNING"
        )
        names = [name for page in pages for name in self._list(page, "taskArns")]
        for part in _parts(names, _TASKS_AT_ONCE):
            described = client.describe_tasks(cluster=ecs.cluster, tasks=part, include=["TAGS"])
            # A task that has stopped in between is missing, and no instance any more.
            reasons = {each.get("reason", "") for each in described.get("failures", ())} - {"MISSING"}
            if reasons:
                raise Unavailable(what=self._what, why=f"not all tasks were told: {', '.join(sorted(reasons))}")
            yield from (each for each in self._list(described, "tasks") if each.get("lastStatus") == "RUNNING")

    def _list(self, page: Mapping[str, Any], key: str) -> Sequence[Any]:
        """Return a list of an answer; botocore takes any XML and JSON for one, and leaves out what is not there."""
        found = page.get(key)
        if not isinstance(found, list):
            raise Rejected(what=self._what, why="what it answered is no answer of AWS")
        return found

    def _machine(self, told: Mapping[str, Any]) -> Instance:
        return Instance(
            id=told["InstanceId"],
            zone=told.get("Placement", {}).get("AvailabilityZone", ""),
            endpoint=self._endpoint(told.get("PrivateIpAddress", "")),
            labels={each["Key"]: each["Value"] for each in told.get("Tags", ())},
        )

    def _task(self, told: Mapping[str, Any]) -> Instance:
        details = [each for attachment in told.get("attachments", ()) for each in attachment.get("details", ())]
        addresses = [each["value"] for each in details if each.get("name") == "privateIPv4Address"]
        return Instance(
            id=told["taskArn"].rpartition("/")[2],
            zone=told.get("availabilityZone", ""),
            endpoint=self._endpoint(addresses[0] if addresses else ""),
            labels={each["key"]: each["value"] for each in told.get("tags", ())},
        )

    def _endpoint(self, address: str) -> str:
        return endpoint(self._options.endpoint, address=address, what=self._what)

    def _failure(self, error: Exception) -> PortError:
        """Return what an error of botocore means."""
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        what = self._what
        match error:
            case exceptions.ClientError():
                return self._refusal(error.response)
            case (
                exceptions.NoCredentialsError()
                | exceptions.PartialCredentialsError()
                | exceptions.ProfileNotFound()
                | exceptions.SSOError()
                | exceptions.NoAuthTokenError()
            ):
                return OwnLoginRejected(what=what, why="boto3 found no login to use", advice=_ADVICE)
            case ResponseParserError():
                return Unavailable(what=what, why="what it answered cannot be read")
            case exceptions.SSLError():
                return Unavailable(what=what, why="TLS failed")
            case exceptions.HTTPClientError() | exceptions.ConnectionError() | exceptions.CredentialRetrievalError():
                return Unavailable(what=what, why=f"no answer ({type(error).__name__})")
            case _:
                return Rejected(what=what, why=f"what was asked or answered does not fit ({type(error).__name__})")

    def _refusal(self, response: Mapping[str, Any]) -> PortError:
        code = str(response.get("Error", {}).get("Code", ""))
        shown = code if code.isascii() and code.replace(".", "").isalnum() and len(code) < 60 else "an error"
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        why = f"it answered {shown} ({status})"
        if code in _LOGIN_CODES or status in {401, 403}:
            return OwnLoginRejected(what=self._what, why=why, advice=_ADVICE)
        if code in _SLOWER_CODES or status == 429:
            return Throttled(what=self._what, why=why)
        if status >= 500:
            return Unavailable(what=self._what, why=why)
        return Rejected(what=self._what, why=why)


class _Clients:
    """Makes clients of the services of AWS, which try once; raises what botocore raises."""

    def __init__(self, options: AwsOptions, context: DiscoveryContext, login: Mapping[str, str]) -> None:
        import boto3
        import botocore.session
        from botocore.config import Config

        session = botocore.session.Session(profile=options.profile or None)
        session.register_component("data_loader", _descriptions())
        self._session = boto3.Session(botocore_session=session)
        seconds = context.timeout / SECOND
        self._given: dict[str, Any] = {
            "region_name": options.region,
            "endpoint_url": options.endpoint_url or None,
            "config": Config(
                connect_timeout=seconds,
                read_timeout=seconds,
                retries={"mode": "standard", "total_max_attempts": 1},
                proxies={},
            ),
            **login,
        }

    def __call__(self, service: str) -> Any:
        return self._session.client(service, **self._given)


@cache
def _descriptions() -> Any:
    """Return what loads the descriptions of services, and keeps them: that of EC2 takes half a second to read."""
    from botocore.session import get_session

    return get_session().get_component("data_loader")


def _parts(names: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield list(names[start : start + size])


def _build(options: AwsOptions, context: DiscoveryContext) -> AwsDiscovery:
    import boto3  # noqa: F401 - the configuration says which extra brings it

    return AwsDiscovery(options, context)


ADAPTER: Final = DiscoveryAdapter(
    name="aws",
    summary="EC2 instances by tags or of an Auto Scaling group, or tasks of an ECS service",
    options=AwsOptions,
    build=_build,
    extra="aws",
)
