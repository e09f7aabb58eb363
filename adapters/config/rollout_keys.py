"""The keys of a gradual rollout, as types: `canary`, `rollout`, `discovery` and `distribution` of a `rotation`.

Rule: as in schema.py, of which this is a part; what needs more than one of them to be judged is in rollout.py.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from engine.adapter import Duration
from engine.rollout import OnTrouble
from engine.values import SECOND

PERCENTAGES: Final = (5, 25, 50, 100)
"""The waves of a rollout that lists none."""

Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Instances = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wave."""

    percentage: Annotated[int, msgspec.Meta(ge=1, le=100)]
    """How much of the whole fleet has the new version at its end: cumulative, rounded up, the canary counted."""
    health_monitoring: Duration | None = None
    """How long the health checks are to pass before the next wave; as for the canary where nothing is given."""
    wait: Duration = Duration(0)
    """How long nothing happens after they passed."""


class Canary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first wave: few instances, which are watched before the others follow."""

    instance_selector: Annotated[str, msgspec.Meta(min_length=1, max_length=512)] | None = None
    """`key=value`: the instances with that label. Else those that are marked `canary: true`, else the first."""
    health_monitoring_period: Duration = Duration(300 * SECOND)
    """How long the health checks are to pass; waves that say nothing else take as long."""
    failure_threshold: Count = 2
    """Failures of one check in a row before a wave has failed; `rollout.failure_threshold` goes first."""
    rollout_waves: tuple[Step, ...] = ()
    """The waves after the canary; `rollout.waves` goes first."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a version is handed to the instances, wave by wave."""

    waves: tuple[Step, ...] = ()
    """The waves, after the canary; where none are listed `canary.rollout_waves`, else 5, 25, 50 and 100 per cent."""
    pause_on_failure: bool = False
    """Rest when a wave fails, for a person to decide; otherwise it goes back by itself."""
    failure_threshold: Count | None = None
    """Failures of one check in a row before a wave has failed; that of `canary`, which is 2, where nothing is given."""
    interval: Duration | None = None
    """From one look of the health checks to the next; that of `health_checks` where nothing is given."""
    inconclusive_threshold: Count | None = None
    """Looks of one check in a row that showed nothing, before a wave is inconclusive; that of `health_checks` where \
nothing is given."""
    on_inconclusive: OnTrouble = OnTrouble.PAUSE
    """What follows then: `pause` rests for a person to decide, `abort` goes back. It never goes on by itself."""
    require_approval: bool = False
    """A person lets every wave after the first begin: `keyturn continue`."""
    max_unverified: Instances | None = None
    """The most instances that may have the new version before the checks passed; larger waves are divided."""
    max_unverified_per_zone: Instances | None = None
    """The same for each zone; instances without one are a zone together."""
    progress_deadline: Duration = Duration(600 * SECOND)
    """How long no further instance may prove that it moved, before it rests for a person."""
    missed_looks: Count = 3
    """Looks of discovery in a row that do not list an instance, before it counts as gone."""


class DiscoveryKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who uses the credential."""

    type: str
    """The way to list the instances."""
    timeout: Duration = Duration(30 * SECOND)
    """How long one listing may take."""


class DistributionKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an instance is given a version, and proves that it uses it."""

    type: str
    """The way to hand a version to an instance."""
    timeout: Duration = Duration(30 * SECOND)
    """How long an instance may take from being told to its proof; no single call takes longer."""
    parallelism: Count = 10
    """Instances that are told at once."""
