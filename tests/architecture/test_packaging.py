"""What is promised to whoever installs keyturn, and to whoever writes a plugin."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import import_module

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import keyturn
from tests.architecture.source import PRODUCT, ROOT, imported, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY_POINTS = sorted(
    {f"{group} {target}" for group, names in PROJECT["entry-points"].items() for target in names.values()}
    | {f"keyturn.scripts {target}" for target in PROJECT["scripts"].values()}
)
CONSTRAINTS = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]

PROMISED = [
    "CURRENT",
    "LABELS",
    "PENDING",
    "PREVIOUS",
    "SECOND",
    "Addressable",
    "CheckAdapter",
    "CheckContext",
    "CheckResult",
    "Checkable",
    "CredentialValue",
    "Discovery",
    "DiscoveryAdapter",
    "DiscoveryContext",
    "Distributor",
    "DistributorAdapter",
    "DistributorContext",
    "Duration",
    "ExitCode",
    "Finding",
    "Form",
    "HealthCheck",
    "Holdings",
    "Instance",
    "Instant",
    "KeyturnError",
    "LoginBudget",
    "Microseconds",
    "Notice",
    "NoticeKind",
    "Notifier",
    "NotifierAdapter",
    "NotifierContext",
    "Outgoing",
    "OwnLoginRejected",
    "Pace",
    "Probe",
    "Proof",
    "Reference",
    "Rejected",
    "RetryClass",
    "Sample",
    "Secret",
    "SecretStore",
    "Severity",
    "Sighting",
    "SinkGone",
    "StoreAdapter",
    "StoreCapabilities",
    "StoreContext",
    "Strategy",
    "Subject",
    "Target",
    "TargetAdapter",
    "TargetCapabilities",
    "TargetContext",
    "Throttled",
    "Unavailable",
    "Uncertain",
    "Urgency",
    "Usage",
    "Validatable",
    "Verification",
    "Witness",
    "__version__",
]
"""The public names, written a second time: taking one away must be meant."""


def test_the_public_names_are_the_promised_ones() -> None:
    """A name that goes away breaks plugins, so this list changes only with a line in the changelog."""
    assert sorted(keyturn.__all__) == sorted(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    """Classes bring their docstring along; the rest are constants and plain types."""
    value = getattr(keyturn, name)
    assert not isinstance(value, type) or value.__doc__


def test_nothing_else_lives_beside_the_public_names() -> None:
    """keyturn.py re-exports, and does not think."""
    public = {name for name in vars(keyturn) if not name.startswith("_")} | {"__version__"}
    assert public - {"Final"} == set(PROMISED)


def test_the_version_is_one_that_installers_order() -> None:
    """The one place of the version is keyturn.__version__; the package is built with it."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", keyturn.__version__)
    assert "version" in PROJECT["dynamic"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{keyturn.__version__}]" in changelog


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_an_entry_point_leads_somewhere(entry: str) -> None:
    """A name that users write in their configuration is backed by an object."""
    module, _, name = entry.split(" ")[1].partition(":")
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize("line", CONSTRAINTS)
def test_a_constraint_is_one_exact_version(line: str) -> None:
    """No URL, no range: a run of the tests can be repeated."""
    requirement = Requirement(line)
    assert requirement.url is None
    assert [specifier.operator for specifier in requirement.specifier] == ["=="]


def test_every_declared_dependency_is_pinned_within_its_range() -> None:
    """What pyproject.toml asks for, constraints.txt gives."""
    pinned = {
        canonicalize_name(each.name): next(iter(each.specifier)).version for each in map(Requirement, CONSTRAINTS)
    }
    declared = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    for each in map(Requirement, declared):
        if each.name != "keyturn":
            assert each.specifier.contains(pinned[canonicalize_name(each.name)]), each


def test_every_imported_library_is_declared() -> None:
    """Nothing works by the luck that another library brings it along."""
    provided = {
        "apprise",
        "boto3",
        "botocore",
        "click",
        "cronsim",
        "cryptography",
        "dns",
        "eventsourcing",
        "httpcore",
        "http_sf",
        "httpx",
        "idna",
        "jinja2",
    } | {"transitions"}
    provided |= {
        "keyring",
        "msgspec",
        "nacl",
        "platformdirs",
        "prometheus_client",
        "psycopg",
        "pymysql",
        "redis",
        "rich",
        "transitions",
        "yaml",
    }
    own = {"engine", "projections", "adapters", "keyturn"}
    roots = {name.split(".")[0] for source in sources(*PRODUCT) for name in imported(source.tree)}
    assert roots - own - set(sys.stdlib_module_names) <= provided
