"""What happens while a version is handed to instances: the events of a rollout, and the facts about its instances.

Rule 1: the rules of engine/events.py hold here; import the names from there.
Rule 2: instances are named in batches, so that four thousand of them are some hundreds of facts and not ten thousand.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.credential_events import Cause, EventStruct
from engine.instances import Instance
from engine.rollout import Wave
from engine.values import Deadline, Instant


class PauseKind(StrEnum):
    """Why a rollout rests."""

    OPERATOR = "operator"
    """A person wanted it."""
    FAILURE = "failure"
    """An instance or a health check failed."""
    INCONCLUSIVE = "inconclusive"
    """What should have been seen was not."""
    APPROVAL = "approval"
    """A person is to let the next wave begin."""
    STALLED = "stalled"
    """Nothing moved on for as long as the policy allows."""


class Joiner(msgspec.Struct, frozen=True):
    """An instance that the plan of the waves does not have, and the wave that it belongs to, from 0."""

    instance: Instance
    wave: int


# --- events that change the state of a rotation ---


class WaveDistributed(EventStruct, frozen=True, tag="wave-distributed.1"):
    """Every instance of the wave proved that it uses the candidate."""

    wave: int


class WavePassed(EventStruct, frozen=True, tag="wave-passed.1"):
    """The wave's health checks passed for the whole soak, or a person let it pass; the next begins after `until`."""

    wave: int
    until: Deadline | None = None


class RolloutPaused(EventStruct, frozen=True, tag="rollout-paused.1"):
    """The rollout rests until an operator decides."""

    reason: str = ""
    kind: PauseKind = PauseKind.OPERATOR
    cause: Cause | None = None


class RolloutResumed(EventStruct, frozen=True, tag="rollout-resumed.1"):
    """An operator let the rollout go on.

    `accept`: what the checks do not see is not asked for again in this wave. `advance`: the soak of this wave, or what
    its begin waits for, is passed. `full`: so is all that would be waited for later.
    """

    reason: str = ""
    accept: bool = False
    advance: bool = False
    full: bool = False


class RolloutCompleted(EventStruct, frozen=True, tag="rollout-completed.1"):
    """Every wave is through; a service without instances has none."""

    waves: int = 0


# --- facts that leave it as it is ---


class RolloutPlanned(EventStruct, frozen=True, tag="rollout-planned.1"):
    """Who gets the candidate when is decided, and never changed; `instances` are as discovery listed them."""

    waves: tuple[Wave, ...]
    instances: tuple[Instance, ...] = ()


class InstancesJoined(EventStruct, frozen=True, tag="instances-joined.1"):
    """Discovery lists instances that it did not list before."""

    joiners: tuple[Joiner, ...]


class InstancesMissed(EventStruct, frozen=True, tag="instances-missed.1"):
    """Discovery does not list instances any more; it is looked again from `due` on."""

    instances: tuple[str, ...]
    due: Deadline


class InstancesLeft(EventStruct, frozen=True, tag="instances-left.1"):
    """Discovery did not list instances for so many looks in a row that they count as gone."""

    instances: tuple[str, ...]


class InstancesTold(EventStruct, frozen=True, tag="instances-told.1"):
    """Instances are about to be handed a version; it takes effect before `deadline`, or is overtaken."""

    instances: tuple[str, ...]
    version: str
    deadline: Deadline


class InstancesFailed(EventStruct, frozen=True, tag="instances-failed.1"):
    """Instances were not seen to take the version within their time; with `certain`, they were never given it."""

    instances: tuple[str, ...]
    cause: Cause
    certain: bool = False


class InstancesUnproved(EventStruct, frozen=True, tag="instances-unproved.1"):
    """Instances were looked at and did not prove yet that they use the version; the next look is at `due`."""

    instances: tuple[str, ...]
    due: Deadline
    detail: str = ""


class InstancesMoved(EventStruct, frozen=True, tag="instances-moved.1"):
    """Instances proved that they use the candidate."""

    instances: tuple[str, ...]


class InstancesLapsed(EventStruct, frozen=True, tag="instances-lapsed.1"):
    """Instances that had proved it were looked at once more, and did not prove to use the candidate."""

    instances: tuple[str, ...]
    detail: str = ""


class InstancesReturned(EventStruct, frozen=True, tag="instances-returned.1"):
    """Instances proved that they use the previous version again."""

    instances: tuple[str, ...]


class WaveHeld(EventStruct, frozen=True, tag="wave-held.1"):
    """A wave may not begin before `until`."""

    wave: int
    until: Deadline
    why: str


class SoakStarted(EventStruct, frozen=True, tag="soak-started.1"):
    """The wave is watched until `until`."""

    wave: int
    until: Deadline


class RolloutAdvanced(EventStruct, frozen=True, tag="rollout-advanced.1"):
    """A person let the rollout pass what it waits for; with `full`, all that it would wait for later as well."""

    full: bool = False
    reason: str = ""


class RetirementRequested(EventStruct, frozen=True, tag="retirement-requested.1"):
    """A person wants the grace period to end now, once nobody uses the old version."""

    reason: str = ""


class OverlapWarned(EventStruct, frozen=True, tag="overlap-warned.1"):
    """So much per cent of the time until the old version should be gone is over, and it is still needed."""

    percent: int
    until: Instant
    cause: Cause | None = None
