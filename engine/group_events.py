"""What happens to a group of services that are rotated together.

Rule 1: the rules of engine/events.py hold here; import the names from there.
Rule 2: what happens to a credential stands in its own rotation; a group only says which rotation that is, and how it
ended. Every event carries the state that the group is in after it, so that replay asks no machine.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from engine.credential_events import Cause, EventStruct
from engine.health import CheckResult
from engine.values import SECOND, Deadline, Instant, Microseconds

_GROUPS: Final = uuid5(NAMESPACE_URL, "keyturn:group")


def group_id(name: str) -> UUID:
    """Return the id of the stream that a group's facts are in: one run after the other."""
    return uuid5(_GROUPS, name)


class GroupState(StrEnum):
    """The work that is outstanding, or how the run ended."""

    IDLE = "idle"
    """It was never rotated."""
    ROTATING = "rotating"
    """The services of a step are rotated."""
    CHECKING = "checking"
    """The services of a step were rotated; it is seen whether all go together."""
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"
    FAILED = "failed"
    """Some were rotated and some were not, as the failure policy has it."""
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"


class FailurePolicy(StrEnum):
    """What follows when a service of a group cannot be rotated."""

    ROLLBACK_ALL = "rollback_all"
    """All go back, the last first."""
    ROLLBACK_FAILED_ONLY = "rollback_failed_only"
    """It goes back, those that were rotated stay, and no further one is rotated."""
    CONTINUE = "continue"
    """It goes back, and the others are rotated all the same."""


class MemberOutcome(StrEnum):
    """How it ended for one service."""

    ROTATED = "rotated"
    """Its new version is current, and monitoring has passed."""
    FAILED = "failed"
    """It is where it was before, or its rotation could not begin."""
    STUCK = "stuck"
    """Its rotation is neither through nor back: a person must see to it."""


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A service of the group, and the version that was current when the run began."""

    service: str
    environment: str
    before: str | None = None


class Destination(msgspec.Struct, frozen=True, array_like=True):
    """The version that a service goes back to."""

    service: str
    version: str


class PlannedCheck(msgspec.Struct, frozen=True, array_like=True):
    """A check of the group by its name, and the service that it looks at."""

    name: str
    service: str


class GroupPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The policy of one run, frozen into its first event. Times are microseconds."""

    steps: tuple[tuple[str, ...], ...]
    """The services, step by step; those of one step are rotated side by side."""
    failure_policy: FailurePolicy = FailurePolicy.ROLLBACK_ALL
    checks: tuple[PlannedCheck, ...] = ()
    """What is looked at after each step: those of services that were rotated by then."""
    check_timeout: Microseconds = Microseconds(60 * SECOND)
    """How long the checks of a step may take to pass."""
    check_interval: Microseconds = Microseconds(5 * SECOND)


class GroupStarted(EventStruct, frozen=True, tag="group-started.1"):
    """A run of the group began; its plan and its members are fixed."""

    run_id: UUID
    group: str
    plan: GroupPlan
    members: tuple[Member, ...]
    to: GroupState = GroupState.ROTATING
    reason: str = ""


class MemberBegun(EventStruct, frozen=True, tag="member-begun.1"):
    """A service is about to be rotated, or taken back: by the rotation of that id, whether it has begun or not."""

    service: str
    rotation_id: UUID
    to: GroupState


class MemberEnded(EventStruct, frozen=True, tag="member-ended.1"):
    """The rotation of a service came to its end, or to a rest that a person must lead out of."""

    service: str
    outcome: MemberOutcome
    to: GroupState
    cause: Cause | None = None


class StepRotated(EventStruct, frozen=True, tag="step-rotated.1"):
    """Every service of the step has ended; the checks have until `until` to pass."""

    step: int
    until: Deadline
    to: GroupState = GroupState.CHECKING


class GroupChecked(EventStruct, frozen=True, tag="group-checked.1"):
    """A check of the group looked; the next look is not before `due`."""

    check: str
    result: CheckResult
    due: Deadline
    text: str = ""
    to: GroupState = GroupState.CHECKING


class StepPassed(EventStruct, frozen=True, tag="step-passed.1"):
    """The step is through: the checks passed, or there are none."""

    step: int
    to: GroupState = GroupState.ROTATING


class GroupCompleted(EventStruct, frozen=True, tag="group-completed.1"):
    """Every service has its new version."""

    to: GroupState = GroupState.COMPLETED


class GroupFailed(EventStruct, frozen=True, tag="group-failed.1"):
    """The run is over and not every service has its new version; those that have one keep it."""

    cause: Cause
    to: GroupState = GroupState.FAILED


class GroupRollbackStarted(EventStruct, frozen=True, tag="group-rollback-started.1"):
    """The services that were rotated go back, the last first: by the failure policy, or because a person wants it.

    `versions` says which version each of them goes to, where it is not the one of before the run.
    """

    automatic: bool
    cause: Cause | None = None
    reason: str = ""
    versions: tuple[Destination, ...] = ()
    to: GroupState = GroupState.ROLLING_BACK


class MemberReturned(EventStruct, frozen=True, tag="member-returned.1"):
    """A service is back on the version that it goes to, or never left it."""

    service: str
    version: str | None = None
    to: GroupState = GroupState.ROLLING_BACK


class GroupRolledBack(EventStruct, frozen=True, tag="group-rolled-back.1"):
    """Every service is back."""

    to: GroupState = GroupState.ROLLED_BACK


class GroupRollbackFailed(EventStruct, frozen=True, tag="group-rollback-failed.1"):
    """A service could not be taken back; a person is needed."""

    cause: Cause
    to: GroupState = GroupState.ROLLBACK_FAILED


class GroupRollbackRetried(EventStruct, frozen=True, tag="group-rollback-retried.1"):
    """A person had going back tried again."""

    reason: str = ""
    to: GroupState = GroupState.ROLLING_BACK


GroupEvent: TypeAlias = (
    GroupStarted
    | MemberBegun
    | MemberEnded
    | StepRotated
    | GroupChecked
    | StepPassed
    | GroupCompleted
    | GroupFailed
    | GroupRollbackStarted
    | MemberReturned
    | GroupRolledBack
    | GroupRollbackFailed
    | GroupRollbackRetried
)
"""Every event of a group."""

NEVER: Final = Deadline(Instant(0))
