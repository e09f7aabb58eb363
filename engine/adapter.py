"""How an adapter declares itself: its name, its options, how it is built. Plugins use the same shapes.

Rule 1: options are a frozen msgspec Struct that forbids unknown fields; the configuration reports a wrong one
by its key path, so an adapter never parses configuration itself.
Rule 2: a secret in options is a `Reference`, read when it is used, never when it is configured.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import msgspec

from engine.health import HealthCheck
from engine.instances import Discovery, Distributor
from engine.notifier import Notifier
from engine.plan import Strategy
from engine.ports import SecretStore, Target
from engine.values import SECOND, Microseconds, Secret

_UNITS = {"us": 1, "ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": 86_400 * SECOND}
_DURATION = re.compile(r"([0-9]+)(us|ms|s|m|h|d)", re.ASCII)


@final
class Duration:
    """A length of time in the configuration: `500ms`, `30s`, `10m`, `24h`, `30d`."""

    __slots__ = ("microseconds",)

    def __init__(self, microseconds: int) -> None:
        self.microseconds = Microseconds(microseconds)

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Return the duration; raises ValueError, saying what is expected, for anything else."""
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if match is None or len(match[1]) > 9:
            raise ValueError(f"a duration with its unit is expected, such as 500ms, 30s, 10m, 24h or 30d, not {text!r}")
        return cls(int(match[1]) * _UNITS[match[2]])

    def __str__(self) -> str:
        for unit, size in reversed(_UNITS.items()):
            if self.microseconds and self.microseconds % size == 0:
                return f"{self.microseconds // size}{unit}"
        return "0s"

    def __repr__(self) -> str:
        return f"Duration({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.microseconds == other.microseconds

    def __hash__(self) -> int:
        return hash(self.microseconds)


@final
class Reference:
    """Where a secret of the configuration is read from; never the secret.

    `store://STORE/PATH#FIELD` (field `password` when not given), `env://NAME` or `file:///PATH`.
    """

    __slots__ = ("field", "location", "scheme", "store")

    def __init__(self, scheme: str, location: str, *, store: str = "", field: str = "password") -> None:
        self.scheme = scheme
        self.location = location
        self.store = store
        self.field = field

    @classmethod
    def parse(cls, raw: object) -> Reference:
        """Read `scheme://…` or `{from: {store, key}}`; raises ValueError for anything else, never echoing it."""
        if isinstance(raw, dict) and set(raw) == {"from"} and isinstance(raw["from"], dict):
            given = raw["from"]
            if {"store", "key"} <= set(given) <= {"store", "key", "field"} and all(
                isinstance(v, str) for v in given.values()
            ):
                return cls("store", given["key"], store=given["store"], field=given.get("field", "password"))
            raise ValueError("`from` takes the texts `store` and `key`, and may have `field`")
        if isinstance(raw, str):
            scheme, separator, rest = raw.partition("://")
            if separator and scheme == "store":
                store, slash, path = rest.partition("/")
                path, _, field = path.partition("#")
                if store and slash and path:
                    return cls("store", path, store=store, field=field or "password")
                raise ValueError("a store reference is written store://STORE/PATH or store://STORE/PATH#FIELD")
            if separator and scheme in ("env", "file") and rest:
                return cls(scheme, rest)
        raise ValueError(
            "a reference to a secret is expected, not the secret itself: "
            "store://STORE/PATH, env://NAME, file:///PATH or {from: {store: …, key: …}}"
        )

    def __str__(self) -> str:
        if self.scheme == "store":
            suffix = "" if self.field == "password" else f"#{self.field}"
            return f"store://{self.store}/{self.location}{suffix}"
        return f"{self.scheme}://{self.location}"

    def __repr__(self) -> str:
        return f"Reference({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True, slots=True)
class TargetContext:
    """What a target adapter is told besides its options."""

    service: str
    environment: str
    strategy: Strategy
    username: str
    """The login of the credential; for `alternating` the role that owns things."""
    usernames: tuple[str, ...]
    """The two logins of `alternating`; else just the login."""
    base: Path
    """The folder of the configuration file, where relative paths start."""
    state: Path
    """The state folder of this installation."""
    secret: Callable[[Reference], Secret]
    """Read a secret of the configuration; raises the three outcomes."""
    verification_timeout: Microseconds = Microseconds(30 * SECOND)


@dataclass(frozen=True, slots=True)
class StoreContext:
    """What a store adapter is told besides its options."""

    name: str
    base: Path
    state: Path
    secret: Callable[[Reference], Secret]


@dataclass(frozen=True, slots=True)
class TargetAdapter:
    """A kind of target: `type:` of a service."""

    name: str
    summary: str
    options: type[msgspec.Struct]
    strategies: frozenset[Strategy]
    build: Callable[[Any, TargetContext], Target]
    extra: str = ""
    """The extra of the distribution that brings its driver; empty where none is needed."""
    attempt_window_min: Microseconds = SECOND
    """The shortest `attempt_window` that its changes fit into, with the longest timeouts that its options allow.

    A change that could take effect after its deadline would be taken for one that never will.
    """


@dataclass(frozen=True, slots=True)
class StoreAdapter:
    """A kind of store: `type:` of an entry of `secretStores`."""

    name: str
    summary: str
    options: type[msgspec.Struct]
    build: Callable[[Any, StoreContext], SecretStore]
    extra: str = ""
    holds_versions: bool = True
    """It keeps versions and can read them back, so that it may hold a credential; otherwise only publish to it.

    Told here because the configuration is judged before anything is built; it must agree with the capabilities.
    """


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """What a notifier adapter is told besides its options."""

    name: str
    """How the channel is called: the `name` that it was given, else its type."""
    service: str
    environment: str
    base: Path
    """The folder of the configuration file, where relative paths start."""
    secret: Callable[[Reference], Secret]
    """Read a secret of the configuration; raises the three outcomes."""


@dataclass(frozen=True, slots=True)
class NotifierAdapter:
    """A kind of channel: a key of `notifications` of a service."""

    name: str
    summary: str
    options: type[msgspec.Struct]
    build: Callable[[Any, NotifierContext], Notifier]
    sink: Callable[[Any], str]
    """Return from the options what tells one sink from another: an address, never a secret.

    Services with the same sink share one channel: one queue, one worker, one limit.
    """
    extra: str = ""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check adapter is told besides its options."""

    name: str
    """How the check is called in its service."""
    service: str
    environment: str
    kind: str
    """The type of the service, as `postgresql`."""
    service_options: msgspec.Struct
    """The options of the service's target, as where it is."""
    target: Target
    base: Path
    """The folder of the configuration file, where relative paths start."""
    state: Path
    """The state folder of this installation."""
    secret: Callable[[Reference], Secret]
    """Read a secret of the configuration; raises the three outcomes."""
    timeout: Microseconds


@dataclass(frozen=True, slots=True)
class CheckAdapter:
    """A kind of health check: `type:` of an entry of `health_checks.checks`."""

    name: str
    summary: str
    options: type[msgspec.Struct]
    build: Callable[[Any, CheckContext], HealthCheck]
    kinds: frozenset[str] = frozenset()
    """The types of services that it fits; empty for all."""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class DiscoveryContext:
    """What a discovery adapter is told besides its options."""

    service: str
    environment: str
    base: Path
    """The folder of the configuration file, where relative paths start."""
    secret: Callable[[Reference], Secret]
    """Read a secret of the configuration; raises the three outcomes."""
    timeout: Microseconds
    """How long one listing may take."""


@dataclass(frozen=True, slots=True)
class DiscoveryAdapter:
    """A way to list the instances of a service: `type:` of `rotation.discovery`."""

    name: str
    summary: str
    options: type[msgspec.Struct]
    build: Callable[[Any, DiscoveryContext], Discovery]
    extra: str = ""


@dataclass(frozen=True, slots=True)
class DistributorContext:
    """What a distributor adapter is told besides its options."""

    service: str
    environment: str
    store: Callable[[str], SecretStore]
    """Return a store of the configuration by its name; raises what building it raises."""
    credential_store: str
    """The store that holds the credential, by name, and the path in it."""
    credential_path: str
    base: Path
    """The folder of the configuration file, where relative paths start."""
    state: Path
    """The state folder of this installation."""
    secret: Callable[[Reference], Secret]
    """Read a secret of the configuration; raises the three outcomes."""
    timeout: Microseconds
    """How long one call of an instance may take."""


@dataclass(frozen=True, slots=True)
class DistributorAdapter:
    """A way to hand a version to an instance: `type:` of `rotation.distribution`."""

    name: str
    summary: str
    options: type[msgspec.Struct]
    build: Callable[[Any, DistributorContext], Distributor]
    extra: str = ""
    store: Callable[[Any], str] = lambda options: ""
    """Return from the options the store of the configuration that they name; empty where they name none."""
