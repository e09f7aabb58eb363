"""The metrics of dsops: the same numbers under the names and labels that its dashboards ask for.

Rule: nothing is counted for an alias; it is another way to add up what the view holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from engine.machine import State
from projections.metrics import catalogue as m
from projections.metrics.reading import Family, Labels, Values, distributions

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
        _same(m.DSOPS_STARTED, values.totals.get(m.STARTED.name, {})),
        _added(m.DSOPS_COMPLETED, completed),
        Family(m.DSOPS_DURATION, distributions=distributions(values, m.ACTIVE, m.DSOPS_BOUNDS, by=slice(1))),
        _added(m.DSOPS_ROLLBACKS, rollbacks),
        Family(m.DSOPS_VERIFICATION, distributions=distributions(values, m.VERIFICATION, m.DSOPS_BOUNDS, by=slice(1))),
        _same(m.DSOPS_DROPPED, values.totals.get(m.DROPPED.name, {})),
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
