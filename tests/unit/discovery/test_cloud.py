"""`cloud` is `aws`, `gcp` or `azure` in the words of dsops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import cloud
from adapters.discovery.aws import AwsDiscovery, AwsOptions, Filter
from adapters.discovery.azure import AzureDiscovery, AzureOptions, Tag
from adapters.discovery.cloud import CloudOptions
from adapters.discovery.gcp import GcpDiscovery, GcpOptions, Label
from tests.contract.discovery import built

SUBSCRIPTION = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"
FILTERS = [{"key": "tag:env", "value": "production"}, {"key": "role", "value": "web"}]
MORE: dict[str, Any] = {"region": "here", "filters": FILTERS, "endpoint": "http://{address}:80"}
PLAIN = (("env", "production"), ("role", "web"))


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        (
            {"provider": "aws"},
            AwsDiscovery,
            AwsOptions(
                region="here", filters=tuple(Filter(key=k, value=v) for k, v in PLAIN), endpoint="http://{address}:80"
            ),
        ),
        (
            {"provider": "gcp", "project": "acme-prod"},
            GcpDiscovery,
            GcpOptions(
                project="acme-prod",
                region="here",
                filters=tuple(Label(key=k, value=v) for k, v in PLAIN),
                endpoint="http://{address}:80",
            ),
        ),
        (
            {"provider": "azure", "subscription": SUBSCRIPTION},
            AzureDiscovery,
            AzureOptions(
                subscription=SUBSCRIPTION,
                region="here",
                filters=tuple(Tag(key=k, value=v) for k, v in PLAIN),
                endpoint="http://{address}:80",
            ),
        ),
    ],
)
def test_every_option_is_one_of_the_cloud(
    tmp_path: Path, options: dict[str, Any], kind: type, expected: object
) -> None:
    found: Any = built(cloud.ADAPTER, tmp_path, **options, **MORE)
    assert (type(found), found._options) == (kind, expected)


def test_every_option_is_looked_at_in_this_file() -> None:
    names = ("provider", "region", "filters", "project", "subscription", "endpoint")
    assert CloudOptions.__struct_fields__ == names


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"provider": "oracle"}, "provider"),
        ({"provider": "aws", "region": ""}, "`region`"),
        ({"provider": "aws", "project": "acme-prod"}, "`project`"),
        ({"provider": "gcp"}, "`project`"),
        ({"provider": "gcp", "project": "acme-prod", "subscription": SUBSCRIPTION}, "`subscription`"),
        ({"provider": "azure"}, "`subscription`"),
        ({"provider": "azure", "subscription": "x"}, "azure does not take this"),
        ({"provider": "gcp", "project": "acme-prod", "filters": [{"key": "Env", "value": "x"}]}, "gcp does not take"),
        ({"provider": "gcp", "project": "acme-prod", "filters": []}, "gcp does not take"),
        ({"provider": "aws", "filters": []}, "one of `filters`"),
        ({"provider": "aws", "endpoint": "{port}"}, "`endpoint`"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        built(cloud.ADAPTER, tmp_path, **{**MORE, **options})
