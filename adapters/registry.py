"""Which adapters there are, and loading one by its name.

Rule 1: what ships with keyturn stands in a table here, so nothing is scanned to list or load it, and it works
from a checkout. Other packages announce theirs with the entry points `keyturn.targets`, `keyturn.stores`,
`keyturn.notifiers`, `keyturn.checks`, `keyturn.discovery` and `keyturn.distributors`.
Rule 2: an adapter is imported when it is asked for, and no other with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Final, TypeAlias, TypeVar

from engine.adapter import (
    CheckAdapter,
    DiscoveryAdapter,
    DistributorAdapter,
    NotifierAdapter,
    StoreAdapter,
    TargetAdapter,
)
from engine.errors import ExitCode, KeyturnError

TARGET_GROUP: Final = "keyturn.targets"
STORE_GROUP: Final = "keyturn.stores"
NOTIFIER_GROUP: Final = "keyturn.notifiers"
CHECK_GROUP: Final = "keyturn.checks"
DISCOVERY_GROUP: Final = "keyturn.discovery"
DISTRIBUTOR_GROUP: Final = "keyturn.distributors"

SHIPPED: Final[dict[str, dict[str, str]]] = {
    TARGET_GROUP: {
        "memory": "adapters.targets.memory:ADAPTER",
        "postgresql": "adapters.targets.postgresql:ADAPTER",
        "redis": "adapters.targets.redis:ADAPTER",
        "mariadb": "adapters.targets.mariadb:ADAPTER",
        "mysql": "adapters.targets.mysql:ADAPTER",
    },
    STORE_GROUP: {
        "memory": "adapters.stores.memory:ADAPTER",
        "encrypted-file": "adapters.stores.encrypted_file:ADAPTER",
        "env-file": "adapters.stores.env_file:ADAPTER",
    },
    NOTIFIER_GROUP: {
        "file": "adapters.notifiers.file:ADAPTER",
        "slack": "adapters.notifiers.slack:ADAPTER",
        "pagerduty": "adapters.notifiers.pagerduty:ADAPTER",
        "email": "adapters.notifiers.smtp:ADAPTER",
        "webhook": "adapters.notifiers.webhook:ADAPTER",
        "apprise": "adapters.notifiers.apprise:ADAPTER",
    },
    CHECK_GROUP: {
        "connection": "adapters.health.connection:ADAPTER",
        "query_latency": "adapters.health.databases:QUERY_LATENCY",
        "connection_pool": "adapters.health.databases:CONNECTION_POOL",
        "active_transactions": "adapters.health.databases:ACTIVE_TRANSACTIONS",
        "replication_lag": "adapters.health.replication_lag:REPLICATION_LAG",
        "command_latency": "adapters.health.redis:COMMAND_LATENCY",
        "memory_usage": "adapters.health.redis:MEMORY_USAGE",
        "connection_count": "adapters.health.redis:CONNECTION_COUNT",
        "http_endpoint": "adapters.health.http:HTTP_ENDPOINT",
        "response_time": "adapters.health.http:RESPONSE_TIME",
        "error_rate": "adapters.health.error_rate:ERROR_RATE",
        "rate_limit": "adapters.health.quotas:RATE_LIMIT",
        "api_quota": "adapters.health.quotas:API_QUOTA",
        "tcp": "adapters.health.connecting:TCP",
        "tls_expiry": "adapters.health.connecting:TLS_EXPIRY",
        "prometheus": "adapters.health.prometheus:PROMETHEUS",
        "script": "adapters.health.script:ADAPTER",
    },
    DISCOVERY_GROUP: {
        "explicit": "adapters.discovery.explicit:ADAPTER",
        "memory": "adapters.discovery.memory:ADAPTER",
        "endpoint": "adapters.discovery.endpoint:ADAPTER",
        "kubernetes": "adapters.discovery.kubernetes:ADAPTER",
        "aws": "adapters.discovery.aws:ADAPTER",
        "gcp": "adapters.discovery.gcp:ADAPTER",
        "azure": "adapters.discovery.azure:ADAPTER",
        "consul": "adapters.discovery.consul:ADAPTER",
        "dns": "adapters.discovery.dns:ADAPTER",
        "cloud": "adapters.discovery.cloud:ADAPTER",
    },
    DISTRIBUTOR_GROUP: {
        "memory": "adapters.distributors.memory:ADAPTER",
        "http": "adapters.distributors.http:ADAPTER",
        "store": "adapters.distributors.store:ADAPTER",
        "exec": "adapters.distributors.exec:ADAPTER",
        "file": "adapters.distributors.file:ADAPTER",
        "kubernetes": "adapters.distributors.kubernetes:ADAPTER",
    },
}
"""The adapters of this distribution, by entry point group: name -> `module:attribute`."""

_KINDS: Final[dict[type, tuple[str, str]]] = {
    TargetAdapter: (TARGET_GROUP, "target"),
    StoreAdapter: (STORE_GROUP, "store"),
    NotifierAdapter: (NOTIFIER_GROUP, "channel"),
    CheckAdapter: (CHECK_GROUP, "check"),
    DiscoveryAdapter: (DISCOVERY_GROUP, "discovery"),
    DistributorAdapter: (DISTRIBUTOR_GROUP, "distribution"),
}
"""The group that the adapters of a kind are in, and what they are called for people."""

AnyAdapter: TypeAlias = (
    TargetAdapter | StoreAdapter | NotifierAdapter | CheckAdapter | DiscoveryAdapter | DistributorAdapter
)
Adapter = TypeVar(
    "Adapter", TargetAdapter, StoreAdapter, NotifierAdapter, CheckAdapter, DiscoveryAdapter, DistributorAdapter
)


class UnknownAdapter(KeyturnError):
    """There is no {adapter} of type {name!r}.{suggestion}"""

    exit_code = ExitCode.USAGE
    hint = "keyturn adapters lists what is installed."


class BrokenAdapter(KeyturnError):
    """The {adapter} adapter {name!r} ({location}) cannot be loaded: {why}."""

    exit_code = ExitCode.USAGE
    hint = "Reinstall the package that brings it, or ask its author."


class MissingDriver(KeyturnError):
    """The {adapter} adapter {name!r} needs the Python package {module!r}, which is not installed."""

    exit_code = ExitCode.USAGE


def target_adapter(name: str) -> TargetAdapter:
    """Return the adapter of a service type; raises `UnknownAdapter` or `BrokenAdapter`."""
    return _load(name, TargetAdapter)


def store_adapter(name: str) -> StoreAdapter:
    """Return the adapter of a store type; raises `UnknownAdapter` or `BrokenAdapter`."""
    return _load(name, StoreAdapter)


def notifier_adapter(name: str) -> NotifierAdapter:
    """Return the adapter of a kind of channel; raises `UnknownAdapter` or `BrokenAdapter`."""
    return _load(name, NotifierAdapter)


def check_adapter(name: str) -> CheckAdapter:
    """Return the adapter of a type of health check; raises `UnknownAdapter` or `BrokenAdapter`."""
    return _load(name, CheckAdapter)


def discovery_adapter(name: str) -> DiscoveryAdapter:
    """Return the adapter of a way to list instances; raises `UnknownAdapter` or `BrokenAdapter`."""
    return _load(name, DiscoveryAdapter)


def distributor_adapter(name: str) -> DistributorAdapter:
    """Return the adapter of a way to hand out versions; raises `UnknownAdapter` or `BrokenAdapter`."""
    return _load(name, DistributorAdapter)


def installed(group: str) -> dict[str, str]:
    """Return every adapter of a group, name -> `module:attribute`; scans the installed packages, imports none."""
    return dict(sorted({**_announced(group), **SHIPPED[group]}.items()))


def missing_driver(adapter: AnyAdapter, error: ModuleNotFoundError) -> MissingDriver:
    """Return the error that says which extra brings the driver that an adapter could not import."""
    advice = f'Install it: pip install "keyturn[{adapter.extra}]".' if adapter.extra else ""
    _, kind = _KINDS[type(adapter)]
    return MissingDriver(adapter=kind, name=adapter.name, module=error.name or "?", advice=advice)


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant; empty where none is near."""
    near = get_close_matches(wrong.lower(), list(known), n=1, cutoff=0.6)
    return near[0] if near else ""


def _load(name: str, expected: type[Adapter]) -> Adapter:
    group, kind = _KINDS[expected]
    location = SHIPPED[group].get(name) or _announced(group).get(name)
    if location is None:
        near = suggestion(name, installed(group))
        text = f" Did you mean {near!r}?" if near else ""
        raise UnknownAdapter(adapter=kind, name=name, suggestion=text, near=near)
    module, _, attribute = location.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        raise BrokenAdapter(
            adapter=kind, name=name, location=location, why=f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, expected):
        why = f"it is not a {expected.__name__}"
        raise BrokenAdapter(adapter=kind, name=name, location=location, why=why)
    return found


def _announced(group: str) -> dict[str, str]:
    """Return what installed packages announce. The scanner costs some 20 ms to import, hence not at the top."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=group)}
