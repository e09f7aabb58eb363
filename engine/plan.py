"""What a rotation is going to do, decided once and frozen into its first event.

Rule: a rotation reads its policy from here and from nowhere else, so that a changed configuration, or a
crash, never changes what an open rotation does.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.rollout import RolloutPolicy
from engine.values import SECOND, Microseconds


class Strategy(StrEnum):
    """How the target holds two versions."""

    SINGLE = "single"
    """In place: one login, one value."""
    ALTERNATING = "alternating"
    """Two logins in turn."""
    DUAL = "dual"
    """Two values of one login at once."""
    ISSUE = "issue"
    """The target makes the value."""
    SCRIPT = "script"
    """A program of the user's sets the value."""


class RetryClass(StrEnum):
    """What may follow an attempt whose answer was lost."""

    IDEMPOTENT = "idempotent"
    """Setting the same value again changes nothing: repeat at once."""
    PROBE_FIRST = "probe_first"
    """Repeat only after the deadline has passed and a probe was refused."""
    NEVER_REPEAT = "never_repeat"
    """Never repeat within one rotation; what a probe cannot settle is rolled back."""


class Kind(StrEnum):
    """What a rotation is for."""

    ROTATION = "rotation"
    ROLLBACK = "rollback"


class LoginBudget(msgspec.Struct, frozen=True, array_like=True):
    """Wrong logins that may be spent on one login: `tries` within `window` microseconds."""

    tries: int
    window: Microseconds


URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""The unreserved characters of RFC 3986 but `.` and `~`: safe in URLs, shells, YAML and SQL."""


class Plan(msgspec.Struct, frozen=True):
    """The policy of one rotation, defaults written out. Times are microseconds."""

    strategy: Strategy
    overlap: bool
    """Both versions are valid between promotion and retirement."""
    store: str = ""
    path: str = ""
    """Where the credential is held: the store's name, and the path in it."""
    places: tuple[str, ...] = ()
    """Where the current version is published besides, `store:key` each."""
    retry: RetryClass = RetryClass.IDEMPOTENT
    issues_value: bool = False
    settable: bool = True
    login_budget: LoginBudget | None = None
    propagation: Microseconds = Microseconds(0)
    """How long after a change the target may still answer as before it: what it shows until then is no failure."""
    grace: Microseconds = Microseconds(0)
    attempt_window: Microseconds = Microseconds(5 * SECOND)
    """From the record of an attempt to the time after which it cannot take effect any more."""
    effect_attempts: int = 5
    """Tries of an effect other than verifying, before the rotation goes back."""
    verification_timeout: Microseconds = Microseconds(30 * SECOND)
    verification_attempts: int = 3
    refusals: int = 2
    """Authenticated refusals that one verification may spend on a login."""
    retry_first: Microseconds = SECOND
    retry_longest: Microseconds = Microseconds(60 * SECOND)
    """Back-off: the first delay doubles up to the longest, with full jitter."""
    rollback_automatic: bool = True
    rollback_on_verification_failure: bool = True
    rollback_timeout: Microseconds = Microseconds(30 * SECOND)
    """How long one try to go back may take; an answer that comes later does not count."""
    rollback_retries: int = 2
    password_length: int = 32
    password_alphabet: str = URL_SAFE
    versions_kept: int = 10
    """Versions the store keeps; older ones go when it is safe."""
    checks: tuple[str, ...] = ()
    """The health checks after promotion, by name; without any, there is no monitoring."""
    monitoring_period: Microseconds = Microseconds(600 * SECOND)
    monitoring_interval: Microseconds = Microseconds(30 * SECOND)
    monitoring_failures: int = 3
    """Failures of one check in a row before the rotation goes back."""
    monitoring_unknowns: int = 10
    """Looks of one check in a row that showed nothing, before a person should see to it."""
    rollback_on_health_failure: bool = True
    rollout: RolloutPolicy | None = None
    """How the instances of the service are given the candidate; None where it has none."""
    lifetime: Microseconds = Microseconds(0)
    """How long the previous version is to be needed at most, from the start of the rotation; 0 is for ever."""
