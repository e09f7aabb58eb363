"""The metrics: names, labels, buckets and what each says, as data.

Rule 1: a metric stands here only where something in the log, the views or the configuration feeds it.
Rule 2: no label takes an id of a rotation or a version, so that the series are bounded by services, channels and words.

Names and units follow the rules of Prometheus: base units, `_total` for counters, `_timestamp_seconds` for times.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from engine.machine import ENDED, State


class Form(StrEnum):
    """How the values of a metric are to be read."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """One metric; the values of `labels` come in this order."""

    name: str
    form: Form
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    """Of a histogram: the upper bounds of its buckets in seconds, but the infinite one."""


OUTCOMES: Final = (*sorted(ENDED), State.ROLLBACK_FAILED)
"""What a rotation comes to. `rollback_failed` rests and is not the end, but nobody should have to wait for that."""

OPEN: Final = tuple(state for state in State if state not in ENDED)
"""The states of rotations that are not over."""

ROLLBACK_TYPES: Final = ("automatic", "manual")
RESULTS: Final = ("delivered", "postponed", "given_up", "blocked", "dropped")
"""What became of a notice on a channel; postponed ones are counted each time."""

LONG: Final = (1, 5, 10, 30, 60, 120, 300, 900, 3_600, 14_400, 43_200, 86_400)
"""One second to 24 hours, the six of dsops (1 to 120) among them."""

_CREDENTIAL: Final = ("service", "env")
_HOW: Final = ("strategy", "outcome")


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Form.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Form.GAUGE, text, labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Form.HISTOGRAM, text, labels, LONG)


# --- folded from the log ---------------------------------------------------------------------------------

EVENTS: Final = _counter("keyturn_log_events_total", "Events in the log, by kind.", "event")
STARTED: Final = _counter("keyturn_rotations_started_total", "Rotations that began.", *_CREDENTIAL, "strategy")
ROTATIONS: Final = _counter(
    "keyturn_rotations_total",
    "Outcomes of rotations; one that failed and was taken back later came to two.",
    *_CREDENTIAL,
    *_HOW,
)
ROLLBACKS: Final = _counter(
    "keyturn_rollbacks_total",
    "Times that a rotation began to go back, or one that goes back to an earlier version began.",
    *_CREDENTIAL,
    "type",
)
DURATION: Final = _histogram(
    "keyturn_rotation_duration_seconds",
    "From the beginning of a rotation to its end, its grace period included.",
    *_HOW,
)
ACTIVE: Final = _histogram(
    "keyturn_rotation_active_duration_seconds",
    "The part of a rotation in which it neither waited for a person nor for its grace period to end.",
    *_HOW,
)
PAUSED: Final = _histogram(
    "keyturn_rotation_paused_duration_seconds", "The part of a rotation in which it waited for a person.", *_HOW
)
VERIFICATION: Final = _histogram(
    "keyturn_verification_duration_seconds", "How long candidates were verified, all tries of one together.", "result"
)
NOTIFICATIONS: Final = _counter(
    "keyturn_notifications_total", "Notices, by what a channel did with them.", "channel", "result"
)
DROPPED: Final = _counter(
    "keyturn_notifications_dropped_total", "Notices that were passed over because too many waited.", "channel"
)
IN_STATE: Final = _gauge("keyturn_rotations_open", "Rotations that are not over, by state.", "state")
ENTERED: Final = _gauge(
    "keyturn_rotation_state_entered_timestamp_seconds",
    "When the rotation that is open, or waits, came into the state it is in.",
    *_CREDENTIAL,
    "state",
)
LAST_SUCCESS: Final = _gauge(
    "keyturn_credential_last_success_timestamp_seconds",
    "When a version became current last, and was not taken back since.",
    *_CREDENTIAL,
)
VALID: Final = _gauge(
    "keyturn_credential_versions_valid",
    "Versions that the target accepts as far as the log tells; two while old and new overlap.",
    *_CREDENTIAL,
)
OVERLAP_SINCE: Final = _gauge(
    "keyturn_credential_overlap_start_timestamp_seconds",
    "Since when the target accepts a second version; absent where it does not.",
    *_CREDENTIAL,
)
GRACE_END: Final = _gauge(
    "keyturn_credential_grace_end_timestamp_seconds",
    "When the grace period that is running ends, or should have ended; absent outside of one.",
    *_CREDENTIAL,
)

# --- computed when exposed -------------------------------------------------------------------------------

BUILD: Final = _gauge("keyturn_build_info", "The version of keyturn, as a label; always 1.", "version")
EXPOSED: Final = _gauge("keyturn_exposed_timestamp_seconds", "When these values were computed.")
DUE: Final = _gauge(
    "keyturn_credential_due_timestamp_seconds",
    "When a configured service with a `ttl` or a `schedule` is due for rotation; absent before its first.",
    *_CREDENTIAL,
)
CHECK: Final = _gauge(
    "keyturn_check_status",
    "What a configured health check saw last: 0 pass, 1 warn, 2 fail, 3 unknown; absent before its first look.",
    *_CREDENTIAL,
    "check",
)
CHECK_DURATION: Final = _gauge("keyturn_check_duration_seconds", "How long its last look took.", *_CREDENTIAL, "check")
DEPTH: Final = _gauge("keyturn_outbox_depth", "Notices that wait for a configured channel.", "channel")
OLDEST: Final = _gauge("keyturn_outbox_oldest_seconds", "Age of the oldest of them; 0 where none waits.", "channel")
DEAD: Final = _gauge(
    "keyturn_dead_letters",
    "Notices that a configured channel gave up, blocked or dropped, and that were not sent again since.",
    "channel",
)
BREAKER: Final = _gauge(
    "keyturn_breaker_open", "Whether the channel takes nothing now: disabled, or resting after a failure.", "channel"
)

METRICS: Final = (
    EVENTS,
    STARTED,
    ROTATIONS,
    ROLLBACKS,
    DURATION,
    ACTIVE,
    PAUSED,
    VERIFICATION,
    NOTIFICATIONS,
    DROPPED,
    IN_STATE,
    ENTERED,
    LAST_SUCCESS,
    VALID,
    OVERLAP_SINCE,
    GRACE_END,
    BUILD,
    EXPOSED,
    DUE,
    CHECK,
    CHECK_DURATION,
    DEPTH,
    OLDEST,
    DEAD,
    BREAKER,
)
"""Every metric, in the order of an exposition."""

LABELS: Final = frozenset({"le", *(label for metric in METRICS for label in metric.labels)})
"""The names of labels that are taken, so that a configured label cannot be called so."""

# --- by the names of dsops -------------------------------------------------------------------------------

# Names, labels and buckets are those that dsops registers; of the verification's duration and of dropped notifications
# it documents the names only.

DSOPS_BOUNDS: Final = (1, 5, 10, 30, 60, 120)

DSOPS_STARTED: Final = Metric(
    "dsops_rotation_started_total",
    Form.COUNTER,
    "keyturn_rotations_started_total by another name.",
    ("service", "environment", "strategy"),
)
DSOPS_COMPLETED: Final = Metric(
    "dsops_rotation_completed_total",
    Form.COUNTER,
    "Rotations that ended: success where the new version is in force, failure where they failed or went back.",
    ("service", "environment", "status"),
)
DSOPS_DURATION: Final = Metric(
    "dsops_rotation_duration_seconds",
    Form.HISTOGRAM,
    "keyturn_rotation_active_duration_seconds by service: without waiting for a person, or for a grace period.",
    ("service",),
    DSOPS_BOUNDS,
)
DSOPS_ROLLBACKS: Final = Metric(
    "dsops_rollback_total", Form.COUNTER, "keyturn_rollbacks_total by another name.", ("service", "type")
)
DSOPS_CHECK: Final = Metric(
    "dsops_health_check_status",
    Form.GAUGE,
    "keyturn_check_status as dsops tells it: 1 where all checks of a type passed or warned last, else 0.",
    ("service", "check_type"),
)
DSOPS_VERIFICATION: Final = Metric(
    "dsops_verification_duration_seconds",
    Form.HISTOGRAM,
    "keyturn_verification_duration_seconds by service.",
    ("service",),
    DSOPS_BOUNDS,
)
DSOPS_DROPPED: Final = Metric(
    "dsops_notifications_dropped_total",
    Form.COUNTER,
    "keyturn_notifications_dropped_total by another name.",
    ("channel",),
)

ALIASES: Final = (
    DSOPS_STARTED,
    DSOPS_COMPLETED,
    DSOPS_DURATION,
    DSOPS_CHECK,
    DSOPS_ROLLBACKS,
    DSOPS_VERIFICATION,
    DSOPS_DROPPED,
)
"""Every alias, in the order of an exposition."""

ALIAS_LABELS: Final = frozenset(label for metric in ALIASES for label in metric.labels)
"""The names of labels that aliases take."""
