"""Instances that the configuration names one by one.

Rule: asks nobody; what is not in the file does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.adapter import DiscoveryAdapter, DiscoveryContext
from engine.instances import Instance


class ExplicitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A list of instances."""

    instances: tuple[Instance, ...]
    """The instances: `id`, and where it helps `zone`, `endpoint`, `labels` and `canary: true`."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for each in self.instances:
            if each.id in seen:
                raise ValueError(f"two instances are called {each.id!r}")
            seen.add(each.id)


class ExplicitDiscovery:
    """The instances of the configuration."""

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._instances = tuple(instances)

    def instances(self) -> Sequence[Instance]:
        """Return them in the order of the file."""
        return self._instances


def _build(options: ExplicitOptions, context: DiscoveryContext) -> ExplicitDiscovery:
    return ExplicitDiscovery(options.instances)


ADAPTER: Final = DiscoveryAdapter(
    name="explicit",
    summary="instances that are listed here",
    options=ExplicitOptions,
    build=_build,
)
