"""Machines of a cloud by what they are labelled with: the type of discovery that dsops has, as one of ours.

Rule: knows nothing of a cloud; `aws`, `gcp` and `azure` list, and have the options that are theirs alone.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from adapters.discovery import aws, azure, gcp
from engine.adapter import DiscoveryAdapter, DiscoveryContext
from engine.instances import Discovery


class CloudFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tag or label that a machine must have."""

    key: str
    """Its name, with or without `tag:` before it."""
    value: str
    """Its value."""


class CloudOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Machines of one of three clouds, with the login that the machine or its environment has."""

    provider: Literal["aws", "gcp", "azure"]
    """Whose cloud it is: the types `aws`, `gcp` and `azure` have more options, as a login by references."""
    region: str = ""
    """Only there; for AWS it must be given."""
    filters: tuple[CloudFilter, ...]
    """Tags, or labels, that they all have."""
    project: str = ""
    """The project, for Google Cloud."""
    subscription: str = ""
    """The subscription, for Azure."""
    endpoint: str = ""
    """Where a machine is reached, as `http://{address}:8080`; empty where nobody needs to know."""

    def __post_init__(self) -> None:
        for name, provider in (("project", "gcp"), ("subscription", "azure")):
            if bool(getattr(self, name)) != (self.provider == provider):
                raise ValueError(f"`{name}` is given for the provider {provider}, and for no other")
        if self.provider == "aws" and not self.region:
            raise ValueError("`region` is missing, which AWS needs")
        self.own()

    def own(self) -> msgspec.Struct:
        """Return the options of the cloud's own type; raises ValueError where they cannot be."""
        form: dict[str, type[msgspec.Struct]] = {
            "aws": aws.AwsOptions,
            "gcp": gcp.GcpOptions,
            "azure": azure.AzureOptions,
        }
        given: dict[str, Any] = {
            "region": self.region,
            "filters": [{"key": each.key.removeprefix("tag:"), "value": each.value} for each in self.filters],
            "endpoint": self.endpoint,
            "project": self.project,
            "subscription": self.subscription,
        }
        known = form[self.provider].__struct_fields__
        try:
            return msgspec.convert({name: value for name, value in given.items() if name in known}, form[self.provider])
        except msgspec.ValidationError as error:
            raise ValueError(f"{self.provider} does not take this: {error}") from None


def _build(options: CloudOptions, context: DiscoveryContext) -> Discovery:
    adapter = {"aws": aws.ADAPTER, "gcp": gcp.ADAPTER, "azure": azure.ADAPTER}[options.provider]
    found: Discovery = adapter.build(options.own(), context)
    return found


ADAPTER: Final = DiscoveryAdapter(
    name="cloud",
    summary="machines of AWS, Google Cloud or Azure by tags, in the words of dsops",
    options=CloudOptions,
    build=_build,
    extra="aws",
)
