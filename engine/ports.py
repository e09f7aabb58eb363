"""The ports: what the engine asks of the outside, in the engine's words.

Rule 1: a port has five methods at most and speaks of credentials, never of a driver.
Rule 2: a method returns, or raises `Unavailable` (did not happen, may later), `Rejected` (did not,
will not) or `Uncertain` (may have happened). Adapters translate at their edge and nowhere else.
Rule 3: every write may be repeated under the same key, tag or version without doing more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

import msgspec

from engine.facts import Fact, Recorded
from engine.plan import LoginBudget, RetryClass
from engine.values import CredentialValue, Instant, Microseconds, Moment, Secret


class Probe(StrEnum):
    """What a login attempt showed."""

    ACCEPTED = "accepted"
    UNUSABLE = "unusable"
    """The secret is right, and the login is refused for another reason."""
    REFUSED = "refused"
    """An authenticated refusal: the system looked, and the secret is wrong."""
    UNKNOWN = "unknown"


class TargetCapabilities(msgspec.Struct, frozen=True):
    """What a target, as configured, can do."""

    values_max: int | None
    """Values one login may hold at once; None is many."""
    issues_value: bool = False
    """The target makes the value itself and shows it once."""
    settable: bool = True
    """It can be set back to a value that is known."""
    retry: RetryClass = RetryClass.IDEMPOTENT
    login_budget: LoginBudget | None = None
    """None where the target does not lock a login after wrong tries."""
    propagation: Microseconds = Microseconds(0)
    """How long after a change a login may still be answered as before it; 0 where a change shows at once."""


class Sighting(msgspec.Struct, frozen=True):
    """What `Target.probe` saw. `detail` is redacted text for people.

    `restorable` is what the target shows of the value in force (a verifier), where it shows it.
    """

    probe: Probe
    detail: str = ""
    restorable: CredentialValue | None = None


class Verification(msgspec.Struct, frozen=True):
    """What `Target.verify` saw, each by a fresh login.

    `control` is the answer to a random wrong value; UNKNOWN where the candidate was not accepted.
    `query` is whether the configured query ran.
    """

    candidate: Probe
    control: Probe
    query: bool
    detail: str = ""


@runtime_checkable
class Target(Protocol):
    """The system that checks the credential."""

    @property
    def capabilities(self) -> TargetCapabilities:
        """What it can do with the strategy it is configured for."""
        ...

    def apply(self, value: CredentialValue, *, tag: str, deadline: Instant) -> CredentialValue:
        """Make the target accept `value`, durably, and return the value in force.

        The change takes effect before `deadline` or never. Where the target makes the value, `value` has
        no secret, what is made carries `tag`, and the returned value has secret and handle.
        """
        ...

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Log in afresh with `value`, run the configured query, then try the wrong `control`."""
        ...

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Make `old` unusable, durably, and `keep` stays valid. What is gone already counts as done.

        The change takes effect before `deadline` or never.

        Without `old`: where the target makes values, revoke all that carry `tag` but `keep`; else make
        every value of the login of `keep` unusable but `keep` itself.
        """
        ...

    def restore(
        self,
        previous: CredentialValue | None,
        *,
        candidate: CredentialValue | None,
        tag: str,
        deadline: Instant,
    ) -> None:
        """Make `previous` accepted and `candidate` not, durably, in that order where both fit.

        Where the target makes values, whatever carries `tag` is revoked too.
        """
        ...

    def probe(self, value: CredentialValue) -> Sighting:
        """Say whether the target accepts `value` now, by a fresh login; never raises the three outcomes.

        A value without a secret asks only what the target shows of the value in force (`restorable`): REFUSED
        where the login holds none, or does not exist; ACCEPTED where it holds one that the target does not
        show; UNKNOWN with `restorable` where it shows it, and UNKNOWN without where it could not look.
        """
        ...


class Severity(StrEnum):
    """How a finding of a check weighs."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One line of `keyturn doctor`: what was looked at, how it weighs, what to do about it."""

    subject: str
    severity: Severity
    message: str
    hint: str = ""


@runtime_checkable
class Checkable(Protocol):
    """An adapter that can tell, changing nothing, whether it could do its work."""

    def check(self) -> Sequence[Finding]:
        """Look at connectivity, our own login and what it may do; never raises the three outcomes."""
        ...


@runtime_checkable
class Addressable(Protocol):
    """A target whose credential can be written as a URL."""

    def url(self, value: CredentialValue) -> Secret:
        """Return the connection URL with username and password percent-encoded."""
        ...


class StoreCapabilities(msgspec.Struct, frozen=True):
    """What a store can do."""

    versioned: bool
    """It keeps more than the current value, by version."""
    compare_and_set: bool
    label_switch: bool
    readable: bool
    """What was written can be read back."""


class Holdings(msgspec.Struct, frozen=True):
    """What a store holds at one path: version ids, oldest first, and where the labels point."""

    versions: tuple[str, ...] = ()
    current: str | None = None
    pending: str | None = None
    previous: str | None = None


@runtime_checkable
class SecretStore(Protocol):
    """Where consumers read the credential. A path names one credential in it."""

    @property
    def capabilities(self) -> StoreCapabilities:
        """What it can do."""
        ...

    def stage(self, path: str, version: str, value: CredentialValue, *, deadline: Instant | None = None) -> None:
        """Hold `value` durably under `version` and label it pending, before `deadline` or never, if one is given.

        The same version with the same value again is done once; with another value it is `Rejected`.
        A store that is not versioned does nothing here.
        """
        ...

    def promote(
        self,
        path: str,
        version: str,
        value: CredentialValue,
        *,
        expected: str | None,
        deadline: Instant | None = None,
    ) -> None:
        """Make `version` current and what it replaces previous, if current is `expected` (or `version` already).

        Otherwise `Rejected`. The change takes effect before `deadline` or never, if one is given. A store that is not
        versioned writes `value` and ignores `expected`.
        """
        ...

    def read(self, path: str, version: str) -> CredentialValue | None:
        """Return the value of a version or of a label; None where there is none."""
        ...

    def versions(self, path: str) -> Holdings:
        """Return what is held at the path; an unknown path holds nothing."""
        ...

    def discard(self, path: str, version: str, *, destroy: bool) -> None:
        """Take the pending label off `version`; with `destroy`, delete its value as well.

        Deleting what is current or previous is `Rejected`; what is absent counts as done.
        """
        ...


@runtime_checkable
class Place(Protocol):
    """A further place that the current version is published to."""

    @property
    def name(self) -> str:
        """Name the place for the log: `store:key`."""
        ...

    def publish(self, value: CredentialValue, *, version: str, deadline: Instant | None = None) -> None:
        """Write `value` there, durably, in the form that is configured; the same again changes nothing.

        It is written before `deadline` or never, if one is given.
        """
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A further place that can tell what it has."""

    def has(self, value: CredentialValue, *, version: str) -> bool | None:
        """Tell whether `value` stands there as `publish` would write it; None where that cannot be seen.

        Never raises the three outcomes.
        """
        ...


class EventLog(Protocol):
    """The append-only log of facts."""

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append all or none, durably, and return them with their positions.

        Raises `Conflict` where a fact's place in its stream is taken.
        """
        ...

    def stream(self, originator_id: UUID) -> Sequence[Fact]:
        """Return the facts of one aggregate, oldest first; empty where there are none."""
        ...

    def after(self, position: int, *, limit: int = 500) -> Sequence[Recorded]:
        """Return at most `limit` facts of all aggregates behind `position`, in order."""
        ...

    def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        ...


class Clock(Protocol):
    """Time, from outside."""

    def now(self) -> Moment:
        """Return the time."""
        ...

    def wait(self, duration: Microseconds) -> None:
        """Return when `duration` has passed."""
        ...


class Ids(Protocol):
    """Fresh ids, from outside."""

    def new(self) -> UUID:
        """Return an id that was never returned before."""
        ...


class Entropy(Protocol):
    """Random bytes, from outside."""

    def draw(self, count: int) -> bytes:
        """Return `count` random bytes fit for secrets."""
        ...


class Ownership(Protocol):
    """Who may drive a rotation: one live process at a time."""

    @property
    def owner(self) -> str:
        """Name this process for people: host and process id."""
        ...

    def hold(self, rotation_id: UUID) -> AbstractContextManager[Callable[[], None]]:
        """Hold a rotation while the block runs; a process that dies lets go of it, and one that stands still loses it.

        Raises `OwnedElsewhere` where a live process holds it. What is returned raises `Fenced` once another process
        has taken it over; it is asked before every call of another port.
        """
        ...
