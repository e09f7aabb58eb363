"""The configuration as it takes effect: defaults written out, secrets as the references they are.

Rule: reads no secret. What stands here was in the file or is a default.
"""

from __future__ import annotations

from typing import Any

from adapters.config import describe
from adapters.config.model import Configuration, Service
from adapters.config.planning import grace_of, rollout_of
from engine.adapter import Duration
from engine.rollout import OnTrouble, RolloutPolicy
from engine.values import Microseconds


def effective(configuration: Configuration) -> dict[str, Any]:
    """Return the configuration in the shape of its file, fit for YAML or JSON."""
    stores = {
        store.name: {"type": store.type, **describe.plain(store.options)} for store in configuration.stores.values()
    }
    return {
        "version": 1,
        "state": None if configuration.state is None else str(configuration.state),
        "lease": str(Duration(configuration.lease)),
        "metrics": describe.plain(configuration.metrics),
        "secretStores": stores,
        "services": {service.name: _service(service) for service in configuration.services.values()},
    }


def _service(service: Service) -> dict[str, Any]:
    rotation = describe.plain(service.rotation)
    rotation["notifications"] = {
        channel.name: {"type": channel.adapter, "channel": channel.id, "events": list(channel.events)}
        | describe.plain(channel.options)
        for channel in service.channels
    }
    policy = rollout_of(service)
    rotation |= _instances(service) | ({} if policy is None else _waves(policy))
    rotation |= {"strategy": service.strategy.value, "grace_period": str(Duration(grace_of(service)))}
    return {
        "type": service.type,
        "environment": service.environment,
        **describe.plain(service.options),
        "credential": describe.plain(service.credential),
        "publish": [describe.plain(publication.keys) for publication in service.publish],
        "rotation": rotation,
    }


def _instances(service: Service) -> dict[str, Any]:
    """Return who the instances are and how they are given a version."""
    shown: dict[str, Any] = {}
    if service.discovery is not None:
        entry = service.discovery
        shown["discovery"] = {"type": entry.type, "timeout": _time(entry.timeout)} | describe.plain(entry.options)
    if service.distribution is not None:
        handed = service.distribution
        ours = {"type": handed.type, "timeout": _time(handed.timeout), "parallelism": handed.parallelism}
        shown["distribution"] = ours | describe.plain(handed.options)
    return shown


def _waves(policy: RolloutPolicy) -> dict[str, Any]:
    """Return how a version is handed out, each thing in the one place where it counts."""
    canary = {
        "instance_selector": policy.selector or None,
        "health_monitoring_period": _time(policy.canary_soak),
    }
    waves = [
        {"percentage": each.percentage, "health_monitoring": _time(each.soak), "wait": _time(each.wait)}
        for each in policy.stages
    ]
    rollout = {
        "waves": waves,
        "pause_on_failure": policy.on_failure is OnTrouble.PAUSE,
        "failure_threshold": policy.failure_threshold,
        "interval": _time(policy.interval),
        "inconclusive_threshold": policy.inconclusive_threshold,
        "on_inconclusive": policy.on_inconclusive.value,
        "require_approval": policy.approval,
        "max_unverified": policy.max_unverified,
        "max_unverified_per_zone": policy.max_unverified_zone,
        "progress_deadline": _time(policy.progress_deadline),
        "missed_looks": policy.missed_looks,
    }
    return {"canary": canary if policy.canary else False, "rollout": rollout}


def _time(length: Microseconds) -> str:
    return str(Duration(length))
