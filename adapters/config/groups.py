"""The `service_groups` of the file: which services are rotated together, in which order, and what is looked at.

Rule: nothing is built, and nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from adapters.config.convert import BAD
from adapters.config.entries import divided
from adapters.config.health import adapter_of
from adapters.config.model import Check, Group, GroupLook, Service
from adapters.config.problems import KeyPath, Report, did_you_mean
from adapters.config.schema import CheckKeys, CrossChecks, ServiceGroup

_ALIASES: Final = {"custom_script": "script"}
"""The names of dsops for types of checks."""


def groups(
    given: Sequence[ServiceGroup], services: Mapping[str, Service], named: Sequence[str], report: Report
) -> dict[str, Group]:
    """Return the groups that are right; report the others. `named` are all services of the file, right or wrong."""
    made: dict[str, Group] = {}
    for index, entry in enumerate(given):
        path: KeyPath = ("service_groups", index)
        if entry.name in made:
            report.error((*path, "name"), f"another group is called {entry.name!r}.")
        unknown = _unknown(entry.services, named, (*path, "services"), report)
        steps = _steps(entry, (*path, "rotation"), report)
        missing = [name for name in entry.services if name not in services]
        if unknown or steps is None or missing:
            continue  # a service that is wrong was reported where it stands
        crossed = entry.rotation.cross_service_verification
        looks = _looks(crossed, [services[name] for name in entry.services], (*path, "rotation"), report)
        made[entry.name] = Group(entry.name, steps, entry.rotation.failure_policy, looks, crossed or CrossChecks())
    return made


def _unknown(given: Sequence[str], named: Sequence[str], path: KeyPath, report: Report) -> bool:
    """Report services that are not in the file, or stand there twice; tell whether there are any."""
    wrong = False
    for index, name in enumerate(given):
        if name not in named:
            report.error((*path, index), f"there is no service {name!r}.", did_you_mean(name, named))
        elif name in given[:index]:
            report.error((*path, index), f"{name!r} stands here twice.")
        else:
            continue
        wrong = True
    if not given:
        report.error(path, "a group has one service at least.")
    return wrong or not given


def _steps(entry: ServiceGroup, path: KeyPath, report: Report) -> tuple[tuple[str, ...], ...] | None:
    """Return the services step by step; report an order that is none, or is not of these services."""
    order, here = entry.rotation.dependency_order, (*path, "dependency_order")
    if entry.rotation.strategy == "parallel":
        if order:
            report.error(here, "this contradicts `strategy: parallel`, which rotates all side by side.")
            return None
        return (tuple(entry.services),)
    if not order:
        return tuple((name,) for name in entry.services)
    steps = _of_mapping(order, here, report) if isinstance(order, dict) else _of_list(order, here, report)
    if steps is None:
        return None
    listed = [name for step in steps for name in step]
    wrong = False
    for name in listed:
        if name not in entry.services:
            report.error(here, f"{name!r} is no service of this group.", did_you_mean(name, entry.services))
            wrong = True
    for name in entry.services:
        if listed.count(name) != 1:
            times = "is missing" if name not in listed else "stands here twice"
            report.error(here, f"{name!r} {times}.", "Each service of the group has one place.")
            wrong = True
    return None if wrong else steps


def _of_list(order: Sequence[Any], path: KeyPath, report: Report) -> tuple[tuple[str, ...], ...] | None:
    steps: list[tuple[str, ...]] = []
    for index, item in enumerate(order):
        names = item if isinstance(item, list) else [item]
        if not names or not all(isinstance(name, str) for name in names):
            report.error((*path, index), "a service is expected here, or a list of services.")
            return None
        steps.append(tuple(names))
    return tuple(steps)


def _of_mapping(order: Mapping[str, Any], path: KeyPath, report: Report) -> tuple[tuple[str, ...], ...] | None:
    """Return the steps of a mapping from each service to those that come before it; those without come first."""
    for name, before in order.items():
        if not isinstance(before, list) or not all(isinstance(each, str) for each in before):
            report.error((*path, name), "a list of the services that come before this one is expected here.")
            return None
    sorter = TopologicalSorter(order)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " after ".join(error.args[1])
        report.error(path, f"these services wait for one another: {circle}.", "Take one of them out of the circle.")
        return None
    steps: list[tuple[str, ...]] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        steps.append(tuple(sorted(ready)))
        sorter.done(*ready)
    return tuple(steps)


def _looks(
    given: CrossChecks | None, services: Sequence[Service], path: KeyPath, report: Report
) -> tuple[GroupLook, ...]:
    """Return what is looked at after each step: each check, at each service that it fits."""
    if given is None:
        return ()
    here = (*path, "cross_service_verification")
    if given.enabled and not given.checks:
        report.error(
            (*here, "checks"), "nothing is looked at.", "List checks, or leave cross_service_verification out."
        )
    if given.interval.microseconds == 0 or given.interval.microseconds > given.timeout.microseconds:
        report.error((*here, "interval"), "this must be longer than nothing, and not longer than `timeout`.")
    made: dict[str, GroupLook] = {}
    for index, entry in enumerate(given.checks):
        for look in _look(entry, services, (*here, "checks", index), report):
            if look.name in made:
                report.error((*here, "checks", index), f"another check is called {look.name!r}.", "Give each a `name`.")
            made[look.name] = look
    return tuple(made.values()) if given.enabled else ()


def _look(entry: Mapping[str, Any], services: Sequence[Service], path: KeyPath, report: Report) -> Iterator[GroupLook]:
    kind = entry.get("type")
    kind = _ALIASES.get(kind, kind) if isinstance(kind, str) else kind
    adapter = adapter_of(kind, path, report)
    own, options = divided({**entry, "type": kind}, CheckKeys, adapter, path, report)
    if adapter is None or options is None or BAD in own.values():
        return
    keys = CheckKeys(**own)
    fitting = [service for service in services if not adapter.kinds or service.type in adapter.kinds]
    if not fitting:
        kinds = ", ".join(sorted(adapter.kinds))
        report.error((*path, "type"), "this check is for no service of this group.", f"It fits: {kinds}.")
    for service in fitting:
        name = f"{keys.name or adapter.name}/{service.name}"
        yield GroupLook(service.name, Check(adapter.name, name, keys.timeout.microseconds, options, path))
