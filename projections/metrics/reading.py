"""The values of the metrics, as the rows of the view have them.

Rule: pure; what needs the time, the configuration or the outbox is added by adapters/metrics.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from engine.machine import State
from engine.values import SECOND
from projections.feed import Condition, Relation, Rows
from projections.metrics import catalogue as m
from projections.metrics.fold import INFINITE, RUNS, STANDINGS, SUM, TOTALS, Standing, run_of, standing_of, total_of

Labels: TypeAlias = tuple[str, ...]


class Distribution(msgspec.Struct, frozen=True):
    """The value of a histogram."""

    buckets: tuple[tuple[str, int], ...]
    """Upper bound and how many were not longer than it; the last bound is infinite."""
    sum: float
    """Of all that were observed, in seconds."""


class Family(msgspec.Struct, frozen=True):
    """A metric and its values."""

    metric: m.Metric
    values: dict[Labels, float] = {}
    """By the values of the labels; of counters and gauges."""
    distributions: dict[Labels, Distribution] = {}
    """Likewise, of histograms."""


class Values(msgspec.Struct, frozen=True):
    """All that the view holds, read at one moment."""

    totals: Mapping[str, Mapping[Labels, int]]
    """By metric and what tells its series apart: of histograms service, environment, labels and bucket."""
    runs: tuple[tuple[str, str, State, int], ...]
    """Service, environment, state and when it was entered (microseconds), of rotations that are not over."""
    standings: tuple[Standing, ...]


def read(rows: Rows) -> Values:
    """Return what the view holds."""
    totals: dict[str, dict[Labels, int]] = defaultdict(dict)
    for row in rows.select(TOTALS):
        name, series, value = total_of(row)
        totals[name][series] = value
    is_open = Condition("state", Relation.AMONG, tuple(state.value for state in m.OPEN))
    runs = [run_of(row) for row in rows.select(RUNS, [is_open])]
    standings = [standing_of(row) for row in rows.select(STANDINGS)]
    return Values(
        dict(totals),
        tuple(sorted((run.service, run.environment, run.state, run.entered_at) for run in runs)),
        tuple(sorted((each for each in standings if each.service), key=lambda each: (each.service, each.environment))),
    )


_COUNTED: Final = (m.EVENTS, m.STARTED, m.ROTATIONS, m.ROLLBACKS, m.NOTIFICATIONS, m.DROPPED)
_MEASURED: Final = (m.DURATION, m.ACTIVE, m.PAUSED, m.VERIFICATION)


def families(values: Values) -> dict[str, Family]:
    """Return the metrics that are folded from the log, by name, in the order of the catalogue."""
    found = [Family(metric, dict(values.totals.get(metric.name, {}))) for metric in _COUNTED]
    found += [
        Family(metric, distributions=distributions(values, metric, metric.bounds, by=slice(2, -1)))
        for metric in _MEASURED
    ]
    counts = Counter(state for _, _, state, _ in values.runs)
    found += [
        Family(m.IN_STATE, {(state.value,): counts[state] for state in m.OPEN}),
        Family(m.ENTERED, {(run[0], run[1], run[2].value): run[3] / SECOND for run in values.runs}),
        _times(m.LAST_SUCCESS, ((each, each.rotated_at) for each in values.standings)),
        Family(m.VALID, {(each.service, each.environment): _valid(each) for each in values.standings}),
        _times(m.OVERLAP_SINCE, ((each, each.overlap_since) for each in values.standings)),
        _times(m.GRACE_END, ((each, each.grace_end) for each in values.standings)),
    ]
    return {family.metric.name: family for family in found}


def distributions(
    values: Values, metric: m.Metric, bounds: tuple[int, ...], *, by: slice
) -> dict[Labels, Distribution]:
    """Return a histogram added up over what `by` leaves of service, environment and labels.

    `bounds` are those of the metric, or some of them.
    """
    single: dict[Labels, Counter[str]] = defaultdict(Counter)
    for series, value in values.totals.get(metric.name, {}).items():
        single[series[by]][series[-1]] += value
    return {labels: _distribution(parts, bounds) for labels, parts in single.items()}


def _distribution(parts: Mapping[str, int], bounds: tuple[int, ...]) -> Distribution:
    """Add buckets up, so that each holds those below it as well."""
    observed = {float(bucket): count for bucket, count in parts.items() if bucket != SUM}
    cumulated = [(str(float(bound)), sum(n for up_to, n in observed.items() if up_to <= bound)) for bound in bounds]
    return Distribution((*cumulated, (INFINITE, sum(observed.values()))), parts.get(SUM, 0) / SECOND)


def _times(metric: m.Metric, found: Iterable[tuple[Standing, int | None]]) -> Family:
    return Family(metric, {(each.service, each.environment): at / SECOND for each, at in found if at is not None})


def _valid(standing: Standing) -> int:
    return int(standing.has_current) + int(standing.overlap_since is not None)
