"""The gradual rollout of a service: who its instances are, how they are given a version, whether all of it fits.

Rule 1: nothing is built, and nobody is asked.
Rule 2: what the keys come to is in planning.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar

import msgspec

from adapters.config.convert import BAD
from adapters.config.entries import divided
from adapters.config.model import Discovery, Distribution
from adapters.config.problems import KeyPath, Report
from adapters.config.rollout_keys import Canary, DiscoveryKeys, DistributionKeys, Rollout, Step
from adapters.config.schema import IN_WAVES, Rotation
from adapters.registry import BrokenAdapter, UnknownAdapter, discovery_adapter, distributor_adapter
from engine.adapter import DiscoveryAdapter, DistributorAdapter, Duration
from engine.rollout import WHOLE

_SELECTOR: Final = re.compile(r"[^=\s]+=\S+")
_NOTHING: Final = Duration(0)

Adapter = TypeVar("Adapter", DiscoveryAdapter, DistributorAdapter)


def discovery(given: object, path: KeyPath, report: Report) -> Discovery | None:
    """Return who lists the instances; report what is wrong. `given` is the mapping as it was read."""
    found = _entry(given, DiscoveryKeys, discovery_adapter, "way to list instances", path, report)
    if found is None:
        return None
    keys, options = found
    _check_positive(keys.timeout, (*path, "timeout"), report)
    return Discovery(keys.type, keys.timeout.microseconds, options, path)


def distribution(given: object, path: KeyPath, report: Report) -> Distribution | None:
    """Return how instances are given a version; report what is wrong. `given` is the mapping as it was read."""
    found = _entry(given, DistributionKeys, distributor_adapter, "way to hand out versions", path, report)
    if found is None:
        return None
    keys, options = found
    _check_positive(keys.timeout, (*path, "timeout"), report)
    return Distribution(keys.type, keys.timeout.microseconds, keys.parallelism, options, path)


def check(rotation: Rotation, path: KeyPath, report: Report) -> None:
    """Report what is wrong between the keys of a rollout, and within them."""
    _check_whole(rotation, path, report)
    canary = rotation.canary if isinstance(rotation.canary, Canary) else None
    if canary is not None:
        _check_canary(canary, (*path, "canary"), report)
    if rotation.rollout is not None:
        _check_rollout(rotation.rollout, (*path, "rollout"), report)
    if rotation.canary is False and rotation.strategy == "canary":
        message = "the strategy canary begins with one."
        report.error((*path, "canary"), message, "Name the strategy that the target uses, as in `dual`.")
    if canary is not None and canary.rollout_waves and rotation.rollout is not None and rotation.rollout.waves:
        message = "these are not used: `rollout.waves` goes first."
        report.note((*path, "canary", "rollout_waves"), message, "Keep one of the two lists.")


def _entry(
    given: object,
    cls: type[msgspec.Struct],
    find: Callable[[str], Adapter],
    what: str,
    path: KeyPath,
    report: Report,
) -> tuple[Any, msgspec.Struct] | None:
    """Return the keys that every type has, and the options of the type."""
    if not isinstance(given, dict):
        return None  # What stands there instead is reported with the other keys of `rotation`.
    adapter = None
    name = given.get("type")
    if isinstance(name, str):
        try:
            adapter = find(name)
        except UnknownAdapter as error:
            near = error.fields.get("near")
            advice = f"Did you mean {near!r}?" if near else error.advice
            report.error((*path, "type"), f"there is no such {what}.", advice)
        except BrokenAdapter as error:
            report.error((*path, "type"), error.message, error.advice)
    own, options = divided(given, cls, adapter, path, report)
    if adapter is None or options is None or BAD in own.values():
        return None
    return cls(**own), options


def _check_whole(rotation: Rotation, path: KeyPath, report: Report) -> None:
    """Report instances that nothing is said of, and what is said of instances that there are not."""
    ways = "List the instances in `discovery`, and say in `distribution` how they are given a version."
    if rotation.discovery is not None:
        if rotation.distribution is None:
            message = "nothing says how these instances are given a version."
            report.error((*path, "discovery"), message, "Say it in `distribution`.")
        if rotation.health_checks is None or not rotation.health_checks.enabled:
            message = "there are no health checks, so a wave is watched for what its instances prove alone."
            report.note((*path, "discovery"), message, "Say in `health_checks` what is looked at.")
        return
    if rotation.distribution is not None:
        report.error((*path, "distribution"), "there are no instances to hand a version to.", ways)
    for key in ("canary", "rollout"):
        if getattr(rotation, key) is not None:
            report.error((*path, key), "there are no instances that waves could be made of.", ways)
    if rotation.strategy in IN_WAVES and rotation.canary is None and rotation.rollout is None:
        message = f"{rotation.strategy} hands a version out in waves, and there are no instances."
        report.error((*path, "strategy"), message, f"{ways} Or name the strategy that the target uses, as in `dual`.")


def _check_canary(canary: Canary, path: KeyPath, report: Report) -> None:
    if canary.instance_selector is not None and not _SELECTOR.fullmatch(canary.instance_selector):
        message = "a label and its value are expected."
        report.error((*path, "instance_selector"), message, "instance_selector: role=canary")
    _check_positive(canary.health_monitoring_period, (*path, "health_monitoring_period"), report)
    _check_steps(canary.rollout_waves, (*path, "rollout_waves"), report)


def _check_rollout(rollout: Rollout, path: KeyPath, report: Report) -> None:
    _check_steps(rollout.waves, (*path, "waves"), report)
    for key in ("interval", "progress_deadline"):
        _check_positive(getattr(rollout, key), (*path, key), report)
    least, most = rollout.max_unverified_per_zone, rollout.max_unverified
    if least is not None and most is not None and least > most:
        report.error((*path, "max_unverified_per_zone"), "this must not be more than `max_unverified`.")


def _check_steps(steps: Sequence[Step], path: KeyPath, report: Report) -> None:
    for index, (step, after) in enumerate(pairwise(steps), start=1):
        if after.percentage <= step.percentage:
            message = "percentages are of the whole fleet and cumulative, so this must be more than the one before."
            report.error((*path, index, "percentage"), message)
    if steps and steps[-1].percentage < WHOLE:
        report.error((*path, len(steps) - 1, "percentage"), "the last wave must be 100.", "Add {percentage: 100}.")


def _check_positive(duration: Duration | None, path: KeyPath, report: Report) -> None:
    if duration == _NOTHING:
        report.error(path, "this must be longer than nothing.")
