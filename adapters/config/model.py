"""A configuration that was read and found right: typed, frozen, with nothing built from it.

Rule: everything here was checked; code that gets a `Configuration` checks nothing again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from adapters.config.problems import KeyPath, Problem
from adapters.config.schema import Credential, CrossChecks, Metrics, Publish, Rotation
from adapters.config.templates import GO_NAMES, PublishTemplate
from adapters.schedule import Timetable
from engine.adapter import Reference
from engine.group_events import FailurePolicy, GroupPlan, PlannedCheck
from engine.plan import Strategy
from engine.values import Microseconds

ALWAYS_KNOWN = ("username", "password", "service", "environment", "version")
"""The names that every template may use."""


@dataclass(frozen=True, slots=True)
class Store:
    """An entry of `secretStores`."""

    name: str
    type: str
    options: msgspec.Struct


@dataclass(frozen=True, slots=True)
class Publication:
    """An entry of `publish`, with its template compiled."""

    keys: Publish
    template: PublishTemplate

    @property
    def name(self) -> str:
        """`store:key`, as in `Plan.places`."""
        return f"{self.keys.store}:{self.keys.key}"


@dataclass(frozen=True, slots=True)
class Channel:
    """An entry of `rotation.notifications` of a service."""

    adapter: str
    name: str
    """How it is called in its service: the `name` that it was given, else the kind."""
    id: str
    """The name in the log: the same for all services that lead to the same sink."""
    events: tuple[str, ...]
    options: msgspec.Struct
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Check:
    """An entry of `rotation.health_checks`."""

    type: str
    name: str
    timeout: Microseconds
    options: msgspec.Struct
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Discovery:
    """`rotation.discovery` of a service."""

    type: str
    timeout: Microseconds
    options: msgspec.Struct
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Distribution:
    """`rotation.distribution` of a service."""

    type: str
    timeout: Microseconds
    parallelism: int
    options: msgspec.Struct
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Service:
    """An entry of `services`."""

    name: str
    type: str
    environment: str
    credential: Credential
    publish: tuple[Publication, ...]
    rotation: Rotation
    strategy: Strategy
    """The strategy of `rotation` with the names of dsops resolved."""
    options: msgspec.Struct
    channels: tuple[Channel, ...] = ()
    checks: tuple[Check, ...] = ()
    """The health checks that are enabled."""
    discovery: Discovery | None = None
    """Who its instances are; None where it has none. Where there is one, there is a distribution."""
    distribution: Distribution | None = None
    """How they are given a version."""

    @property
    def timetable(self) -> Timetable:
        """When it is rotated."""
        rotation = self.rotation
        ttl = None if rotation.ttl is None else rotation.ttl.microseconds
        return Timetable(ttl, rotation.schedule or "", rotation.timezone or "UTC", rotation.windows)

    @property
    def usernames(self) -> tuple[str, ...]:
        """The logins that take turns; else just the one."""
        return self.rotation.usernames or (self.credential.username,)


@dataclass(frozen=True, slots=True)
class GroupLook:
    """A check of a group, at one of its services."""

    service: str
    check: Check

    @property
    def name(self) -> str:
        """`CHECK/SERVICE`, as in the log."""
        return self.check.name


@dataclass(frozen=True, slots=True)
class Group:
    """An entry of `service_groups`."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    """The services, step by step; those of one step are rotated side by side."""
    failure_policy: FailurePolicy
    looks: tuple[GroupLook, ...]
    crossed: CrossChecks

    @property
    def plan(self) -> GroupPlan:
        """The same for the engine."""
        return GroupPlan(
            steps=self.steps,
            failure_policy=self.failure_policy,
            checks=tuple(PlannedCheck(look.name, look.service) for look in self.looks),
            check_timeout=self.crossed.timeout.microseconds,
            check_interval=self.crossed.interval.microseconds,
        )


@dataclass(frozen=True, slots=True)
class Configuration:
    """The whole file."""

    path: Path
    state: Path | None
    """The state folder of the file, absolute; None where it names none."""
    stores: Mapping[str, Store]
    services: Mapping[str, Service]
    lease: Microseconds
    """How long a process that stands still keeps what it drives."""
    metrics: Metrics
    """What is exposed beside the metrics themselves."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """The service groups by name."""
    problems: tuple[Problem, ...] = ()
    """What is legal and still worth knowing; whatever is wrong is raised as `ConfigInvalid` instead."""

    @property
    def base(self) -> Path:
        """The folder of the file, where relative paths start."""
        return self.path.parent


def plain_options(options: msgspec.Struct) -> dict[str, object]:
    """Return the options that a template may show: texts, numbers and truths that are set; never a reference."""
    every = {name: getattr(options, name) for name in options.__struct_fields__}
    return {name: value for name, value in every.items() if isinstance(value, str | int | float)}


def template_names(options: msgspec.Struct) -> list[str]:
    """Return the names that a template of a service with these options may use, without the spellings of Go."""
    return sorted({*ALWAYS_KNOWN, *plain_options(options)} - set(GO_NAMES))


def references(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Reference]]:
    """Yield every reference in options, with the key path it stands at."""
    if isinstance(value, Reference):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name, key in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield from references(getattr(value, name), (*path, key))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from references(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from references(item, (*path, index))
