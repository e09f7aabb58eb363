"""The `health_checks` of a service: which checks it has, each with the options of its type.

Rule: nothing is built, and nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.config.convert import BAD
from adapters.config.entries import divided
from adapters.config.model import Check
from adapters.config.problems import KeyPath, Report
from adapters.config.schema import CheckKeys, HealthChecks
from adapters.registry import BrokenAdapter, UnknownAdapter, check_adapter
from engine.adapter import CheckAdapter, Duration

SCRIPT: Final = "script"
"""The type of an entry of `custom_scripts`."""

USUAL: Final = "connection"
"""The check of a service that lists none."""


def checks(given: HealthChecks | None, kind: str, path: KeyPath, report: Report) -> tuple[Check, ...]:
    """Return the checks of a service of a type that are right; report the others."""
    if given is None:
        return ()
    _check_times(given, path, report)
    made: dict[str, Check] = {}
    for entry, here in _entries(given, path):
        found = _check(entry, kind, here, report)
        if found is None:
            continue
        if found.name in made:
            report.error(here, f"another check of this service is called {found.name!r}.", "Give each a `name`.")
        else:
            made[found.name] = found
    return tuple(made.values()) if given.enabled else ()


def _entries(given: HealthChecks, path: KeyPath) -> Iterator[tuple[Mapping[str, Any], KeyPath]]:
    for index, entry in enumerate(given.checks):
        yield entry, (*path, "checks", index)
    for index, entry in enumerate(given.custom_scripts):
        yield {"type": SCRIPT, **entry}, (*path, "custom_scripts", index)
    if not given.checks and not given.custom_scripts:
        yield {"type": USUAL}, path


def _check_times(given: HealthChecks, path: KeyPath, report: Report) -> None:
    nothing = Duration(0)
    if given.interval == nothing:
        report.error((*path, "interval"), "this must be longer than nothing.")
    if given.interval.microseconds > given.monitoring_period.microseconds:
        report.error((*path, "interval"), "this must not be longer than `monitoring_period`.")


def _check(entry: Mapping[str, Any], kind: str, path: KeyPath, report: Report) -> Check | None:
    adapter = adapter_of(entry.get("type"), path, report)
    fits = adapter is None or not adapter.kinds or kind in adapter.kinds
    own, options = divided(entry, CheckKeys, adapter if fits else None, path, report)
    if adapter is None:
        return None
    if not fits:
        fitting = ", ".join(sorted(adapter.kinds))
        report.error((*path, "type"), f"this check is not for services of type {kind}.", f"It fits: {fitting}.")
        return None
    if options is None or BAD in own.values():
        return None
    keys = CheckKeys(**own)
    return Check(adapter.name, keys.name or adapter.name, keys.timeout.microseconds, options, path)


def adapter_of(name: object, path: KeyPath, report: Report) -> CheckAdapter | None:
    """Return the adapter of a type of check; None where there is none, which is reported."""
    if not isinstance(name, str):
        return None  # A missing or wrong `type` is reported with the other keys.
    try:
        return check_adapter(name)
    except UnknownAdapter as error:
        near = error.fields.get("near")
        report.error((*path, "type"), "there is no such check.", f"Did you mean {near!r}?" if near else error.advice)
    except BrokenAdapter as error:
        report.error(path, error.message, error.advice)
    return None
