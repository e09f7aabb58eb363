"""The configuration as it takes effect: defaults written out, secrets as the references they are.

Rule: reads no secret. What stands here was in the file or is a default.
"""

from __future__ import annotations

from typing import Any

from adapters.config import describe
from adapters.config.model import Configuration, Service
from adapters.config.planning import grace_of
from engine.adapter import Duration


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
    rotation |= {"strategy": service.strategy.value, "grace_period": str(Duration(grace_of(service)))}
    return {
        "type": service.type,
        "environment": service.environment,
        **describe.plain(service.options),
        "credential": describe.plain(service.credential),
        "publish": [describe.plain(publication.keys) for publication in service.publish],
        "rotation": rotation,
    }
