"""The metrics of dsops: the same numbers under the names and labels that its dashboards ask for.

Rule: nothing is counted for an alias; it is another way to add up what the view holds.

Names, labels and buckets are those that dsops registers; of `dsops_verification_duration_seconds` and
`dsops_notifications_dropped_total` it documents the names only. `dsops_health_check_status` has no source yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from engine.machine import State
from projections.metrics import catalogue as m
from projections.metrics.reading import Family, Labels, Values, distributions

BOUNDS: Final = (1, 5, 10, 30, 60, 120)

STARTED: Final = m.Metric(
    "dsops_rotation_started_total",
    m.Form.COUNTER,
    "keyturn_rotations_started_total by another name.",
    ("service", "environment", "strategy"),
)
COMPLETED: Final = m.Metric(
    "dsops_rotation_completed_total",
    m.Form.COUNTER,
    "Rotations that ended: success where the new version is in force, failure where they failed or went back.",
    ("service", "environment", "status"),
)
DURATION: Final = m.Metric(
    "dsops_rotation_duration_seconds",
    m.Form.HISTOGRAM,
    "keyturn_rotation_active_duration_seconds by service: without waiting for a person, or for a grace period.",
    ("service",),
    BOUNDS,
)
ROLLBACKS: Final = m.Metric(
    "dsops_rollback_total", m.Form.COUNTER, "keyturn_rollbacks_total by another name.", ("service", "type")
)
VERIFICATION: Final = m.Metric(
    "dsops_verification_duration_seconds",
    m.Form.HISTOGRAM,
    "keyturn_verification_duration_seconds by service.",
    ("service",),
    BOUNDS,
)
DROPPED: Final = m.Metric(
    "dsops_notifications_dropped_total",
    m.Form.COUNTER,
    "keyturn_notifications_dropped_total by another name.",
    ("channel",),
)

ALIASES: Final = (STARTED, COMPLETED, DURATION, ROLLBACKS, VERIFICATION, DROPPED)
"""Every alias, in the order of an exposition."""

LABELS: Final = frozenset(label for metric in ALIASES for label in metric.labels)
"""The names of labels that aliases take."""

STATUSES: Final[dict[str, str]] = {
    State.COMPLETED.value: "success",
    State.FAILED.value: "failure",
    State.ROLLED_BACK.value: "failure",
}
"""The status of an outcome; what was cancelled or rests did not complete."""


def aliases(values: Values) -> dict[str, Family]:
    """Return the aliases by name."""
    outcomes = values.totals.get(m.ROTATIONS.name, {})
    completed = (
        ((service, environment, STATUSES[outcome]), count)
        for (service, environment, _, outcome), count in outcomes.items()
        if outcome in STATUSES
    )
    rollbacks = (
        ((service, kind), count) for (service, _, kind), count in values.totals.get(m.ROLLBACKS.name, {}).items()
    )
    found = (
        _same(STARTED, values.totals.get(m.STARTED.name, {})),
        _added(COMPLETED, completed),
        Family(DURATION, distributions=distributions(values, m.ACTIVE, BOUNDS, by=slice(1))),
        _added(ROLLBACKS, rollbacks),
        Family(VERIFICATION, distributions=distributions(values, m.VERIFICATION, BOUNDS, by=slice(1))),
        _same(DROPPED, values.totals.get(m.DROPPED.name, {})),
    )
    return {family.metric.name: family for family in found}


def _same(metric: m.Metric, counts: Mapping[Labels, int]) -> Family:
    return Family(metric, dict(counts))


def _added(metric: m.Metric, counts: Iterable[tuple[Labels, int]]) -> Family:
    """Return a counter whose series are added up by fewer labels."""
    total: Counter[Labels] = Counter()
    for labels, count in counts:
        total[labels] += count
    return Family(metric, dict(total))
