"""Instances of a rehearsal: as many as the options say, with zones, or a listing that goes wrong.

Rule: asks nobody; the engine's tests and simulations have one in process, whose list they change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from engine.adapter import DiscoveryAdapter, DiscoveryContext
from engine.errors import Rejected, Unavailable
from engine.instances import Instance


class Fault(StrEnum):
    """How the listing misbehaves."""

    UNAVAILABLE = "unavailable"
    """It cannot be had now."""
    REJECT = "reject"
    """It is refused for good."""
    EMPTY = "empty"
    """It lists nobody, as a wrong selector does."""


class MemoryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many instances there are, and where."""

    count: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 3
    """They are called `instance-0001` and so on."""
    zones: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    """Failure domains, `zone-1` and so on, in turn."""
    faults: tuple[Fault, ...] = ()


class MemoryDiscovery:
    """A list of instances that can be changed: `there` is what is listed, by id."""

    def __init__(self, instances: Iterable[Instance] = (), *, faults: Iterable[Fault] = ()) -> None:
        self.there = {each.id: each for each in instances}
        self.faults = set(faults)

    def instances(self) -> Sequence[Instance]:
        """Return who is there now, by id."""
        what = "listing the instances of the rehearsal"
        if Fault.UNAVAILABLE in self.faults:
            raise Unavailable(what=what, why="the option `faults` asks for that")
        if Fault.REJECT in self.faults:
            raise Rejected(what=what, why="the option `faults` asks for that")
        return () if Fault.EMPTY in self.faults else tuple(self.there[each] for each in sorted(self.there))


def numbered(count: int, *, zones: int = 1) -> list[Instance]:
    """Return so many instances, their zones in turn."""
    return [Instance(f"instance-{number + 1:04}", zone=f"zone-{number % zones + 1}") for number in range(count)]


def _build(options: MemoryOptions, context: DiscoveryContext) -> MemoryDiscovery:
    return MemoryDiscovery(numbered(options.count, zones=options.zones), faults=options.faults)


ADAPTER: Final = DiscoveryAdapter(
    name="memory",
    summary="as many instances as are wanted, for rehearsals",
    options=MemoryOptions,
    build=_build,
)
