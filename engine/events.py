"""The events: what has happened, one class each, for ever.

Rule 1: a tag is explicit and versioned and never changes; a new field has a default; a changed meaning is
a new tag and an upcaster (engine/facts.py).
Rule 2: no field ever holds a secret value; versions are named by id and by keyed fingerprint.
Rule 3: an event says only what was observed. Times are microseconds.
"""

from __future__ import annotations

from typing import TypeAlias

from engine.channel_events import ChannelEvent, CredentialOverdue
from engine.credential_events import (
    Cause,
    CurrentChanged,
    EventStruct,
    Fence,
    LoginSpent,
    LoginUse,
    RotationClosed,
    RotationOpened,
    RotationQueued,
    VersionAdopted,
    VersionDestroyed,
    VersionRetired,
)
from engine.group_events import GroupEvent
from engine.health import CheckResult
from engine.plan import Kind, Plan
from engine.rollout_events import (
    InstancesFailed,
    InstancesJoined,
    InstancesLapsed,
    InstancesLeft,
    InstancesMissed,
    InstancesMoved,
    InstancesReturned,
    InstancesTold,
    InstancesUnproved,
    OverlapWarned,
    RetirementRequested,
    RolloutAdvanced,
    RolloutCompleted,
    RolloutPaused,
    RolloutPlanned,
    RolloutResumed,
    SoakStarted,
    WaveDistributed,
    WaveHeld,
    WavePassed,
)
from engine.values import Deadline, Instant, Microseconds

# --- a rotation: events that change its state -------------------------------------------------------


class RotationStarted(EventStruct, frozen=True, tag="rotation-started.2"):
    """The rotation began; its plan, its candidate and what it replaces are fixed."""

    service: str
    environment: str
    kind: Kind
    plan: Plan
    version: str
    login: str
    owner: str
    previous: str | None = None
    previous_login: str | None = None
    label: str | None = None
    """What the store called current then; None where it had no current version."""
    reason: str = ""
    imported: bool = False
    """The value was given by the user (or is an earlier version), so the target may accept it already."""
    fences: tuple[Fence, ...] = ()
    tries: tuple[LoginUse, ...] = ()


class RotationCancelled(EventStruct, frozen=True, tag="rotation-cancelled.1"):
    """The rotation ended before it did anything."""

    reason: str = ""


class CandidateStaged(EventStruct, frozen=True, tag="candidate-staged.1"):
    """The store holds the candidate, pending.

    `vacant`: the target showed that the login held no value before, so that nothing is lost by taking
    the candidate away again.
    """

    fingerprint: str
    vacant: bool = False


class CandidateReserved(EventStruct, frozen=True, tag="candidate-reserved.1"):
    """The target will make the value; its version id is reserved."""


class CandidateApplied(EventStruct, frozen=True, tag="candidate-applied.1"):
    """The target accepts the candidate: it answered so, or a probe saw it."""

    attempt: int = 0
    observed: str = "answer"
    fingerprint: str = ""


class CandidateVerified(EventStruct, frozen=True, tag="candidate-verified.1"):
    """A fresh login with the candidate was accepted, a wrong value was refused, and the query ran."""


class Promoted(EventStruct, frozen=True, tag="promoted.1"):
    """The store calls the candidate current, and every place it is published to has it."""


class MonitoringPassed(EventStruct, frozen=True, tag="monitoring-passed.1"):
    """The checks after promotion passed; the old version stays valid until the grace period ends."""

    grace: Deadline


class GraceEnded(EventStruct, frozen=True, tag="grace-ended.1"):
    """The grace period is over; from here there is no way back within this rotation."""

    early: bool = False
    reason: str = ""


class PreviousRetired(EventStruct, frozen=True, tag="previous-retired.1"):
    """The old version was seen refused (or never was) and the current one accepted."""

    refused: bool = True


class RollbackStarted(EventStruct, frozen=True, tag="rollback-started.1"):
    """The rotation goes back: decided by itself after a failure, or by a person."""

    automatic: bool
    cause: Cause | None = None
    reason: str = ""


class PreviousRestored(EventStruct, frozen=True, tag="previous-restored.1"):
    """Stores and target are back on the old version; the candidate is quarantined."""


class RollbackVerified(EventStruct, frozen=True, tag="rollback-verified.1"):
    """The old version was seen to be in force: a fresh login with it succeeded.

    `observed` is "login"; "verifier" where the target showed the old verifier in force and nobody has the
    plain value; "refused" where there was no old version and the candidate was seen refused; "revoked" where
    there was none and what the target made was revoked; "nothing" where the target was never asked to change.
    """

    observed: str = "login"


class RollbackFailed(EventStruct, frozen=True, tag="rollback-failed.1"):
    """Going back did not succeed within its tries; a person is needed."""

    cause: Cause


class RollbackRetried(EventStruct, frozen=True, tag="rollback-retried.1"):
    """A person had the rollback tried again."""

    reason: str = ""


class RollbackAbandoned(EventStruct, frozen=True, tag="rollback-abandoned.1"):
    """A person gave up going back: the rotation is over, and what is in force is for the next one to settle."""

    reason: str = ""


class RotationFailed(EventStruct, frozen=True, tag="rotation-failed.1"):
    """The rotation ended in failure: nothing was to be undone, going back by itself is off, or a person ended it."""

    cause: Cause
    reason: str = ""


# --- a rotation: facts that change no state -----------------------------------------------------------


class RotationRequested(EventStruct, frozen=True, tag="rotation-requested.1"):
    """A rotation was asked for, and waits for its turn: another one of the same credential is open."""

    service: str
    environment: str
    plan: Plan
    owner: str
    reason: str = ""


class PauseRequested(EventStruct, frozen=True, tag="pause-requested.1"):
    """A person wants the rotation to rest before anybody is given the candidate."""

    reason: str = ""


class OwnerChanged(EventStruct, frozen=True, tag="owner-changed.1"):
    """Another process drives the rotation from here on; the one before is fenced off."""

    owner: str
    epoch: int


class EffectPostponed(EventStruct, frozen=True, tag="effect-postponed.1"):
    """An effect had no definite success; it is tried again from `not_before` on."""

    cause: Cause
    not_before: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)
    early: bool = False
    """The target may not show the change yet, so that it counts as no failure."""

    @property
    def limit(self) -> Deadline:
        """When it may be tried again."""
        return Deadline(self.not_before, self.boot, self.uptime)


class PreviousCaptured(EventStruct, frozen=True, tag="previous-captured.1"):
    """What the target had in force was taken into the store before the first change."""

    version: str
    login: str
    fingerprint: str


class AttemptStarted(EventStruct, frozen=True, tag="attempt-started.1"):
    """The target is about to be asked to change `login`; the change can take effect until `deadline`.

    `version` is the one that is to be accepted; with a leading `-`, the one that is to be made unusable. Without a
    login, it is the stores that are asked: to call `version` current, and to hand it to every further place.
    """

    attempt: int
    version: str
    login: str
    deadline: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)


class AttemptClosed(EventStruct, frozen=True, tag="attempt-closed.1"):
    """The attempt had a definite answer; it cannot take effect later."""

    attempt: int
    done: bool = False


class AttemptSettled(EventStruct, frozen=True, tag="attempt-settled.1"):
    """An attempt without an answer was looked into: the target refuses its value."""

    attempt: int


class OrphanRevoked(EventStruct, frozen=True, tag="orphan-revoked.1"):
    """Values that the target made under a lost attempt were revoked."""

    attempt: int


class VerificationFailed(EventStruct, frozen=True, tag="verification-failed.1"):
    """One try to verify did not succeed; `refused` where the target refused the value itself."""

    cause: Cause
    refused: bool
    not_before: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)
    early: bool = False
    """The target may not show the change yet, so that it counts as no failure."""

    @property
    def limit(self) -> Deadline:
        """When it may be tried again."""
        return Deadline(self.not_before, self.boot, self.uptime)


class LoginTried(EventStruct, frozen=True, tag="login-tried.1"):
    """A login that may be refused is about to be tried."""

    login: str
    boot: str = ""
    uptime: Microseconds = Microseconds(0)


class MonitoringStarted(EventStruct, frozen=True, tag="monitoring-started.1"):
    """The checks after promotion begin; they are to pass until `until`."""

    until: Deadline


class HealthSampled(EventStruct, frozen=True, tag="health-sampled.1"):
    """A health check saw this; the next look is due at `due`. `duration` is how long looking took."""

    check: str
    result: CheckResult
    due: Deadline
    value: float | None = None
    unit: str = ""
    duration: Microseconds = Microseconds(0)
    text: str = ""


class Published(EventStruct, frozen=True, tag="published.1"):
    """A further place has the version."""

    place: str
    version: str | None


StateChange: TypeAlias = (
    RotationStarted
    | RotationCancelled
    | CandidateStaged
    | CandidateReserved
    | CandidateApplied
    | CandidateVerified
    | WaveDistributed
    | WavePassed
    | RolloutPaused
    | RolloutResumed
    | RolloutCompleted
    | Promoted
    | MonitoringPassed
    | GraceEnded
    | PreviousRetired
    | RollbackStarted
    | PreviousRestored
    | RollbackVerified
    | RollbackFailed
    | RollbackRetried
    | RollbackAbandoned
    | RotationFailed
)
"""Every event that changes the state of a Rotation."""

RolloutRemark: TypeAlias = (
    RolloutPlanned
    | InstancesJoined
    | InstancesMissed
    | InstancesLeft
    | InstancesTold
    | InstancesFailed
    | InstancesUnproved
    | InstancesMoved
    | InstancesLapsed
    | InstancesReturned
    | WaveHeld
    | SoakStarted
    | RolloutAdvanced
    | RetirementRequested
    | OverlapWarned
)
"""Every event of a rollout that leaves the state of its Rotation as it is."""

PlainRemark: TypeAlias = (
    RotationRequested
    | PauseRequested
    | OwnerChanged
    | EffectPostponed
    | PreviousCaptured
    | AttemptStarted
    | AttemptClosed
    | AttemptSettled
    | OrphanRevoked
    | VerificationFailed
    | LoginTried
    | MonitoringStarted
    | HealthSampled
    | Published
)
"""Every event of the credential of a Rotation that leaves its state as it is."""

Remark: TypeAlias = PlainRemark | RolloutRemark
"""Every event of a Rotation that leaves its state as it is."""

RotationEvent: TypeAlias = StateChange | Remark
"""Every event of a Rotation."""

CredentialEvent: TypeAlias = (
    RotationOpened
    | RotationQueued
    | VersionAdopted
    | CurrentChanged
    | VersionRetired
    | VersionDestroyed
    | LoginSpent
    | RotationClosed
)
"""Every event of a Credential."""

Event: TypeAlias = RotationEvent | CredentialEvent | ChannelEvent | CredentialOverdue | GroupEvent
