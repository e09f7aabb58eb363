"""The metrics of an installation for Prometheus: read from the views when they are asked for, and handed on.

Rule 1: nothing is counted here; what the log says is folded in projections/metrics, and this adds the time, the
configuration and the outbox.
Rule 2: prometheus_client is imported where it is used, and its registry of the whole process is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError

from msgspec.structs import replace

from adapters.schedule import due_at
from engine.errors import Rejected, Unavailable
from engine.health import CheckResult
from engine.values import SECOND, Instant
from keyturn import __version__
from projections.feed import catch_up
from projections.health import HEALTH, Record, records
from projections.metrics import catalogue as m
from projections.metrics.aliases import aliases
from projections.metrics.fold import METRICS
from projections.metrics.reading import Family, Labels, Values, families, read
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.tables import REPLAYABLE, Channel

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Exposed

    from adapters.config.model import Configuration
    from adapters.outbox.outlets import Outlet
    from projections.feed import Rows, Source, Views

JOB: Final = "keyturn"
"""The job that a push gateway files the metrics under."""

STATUSES: Final = (CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN)
"""What a health check may see, in the order of their numbers, which are the exit codes of Nagios."""

HEALTHY: Final = frozenset({CheckResult.PASS, CheckResult.WARN})
"""What dsops calls healthy; what could not be seen is not."""

PUSH_SECONDS_MAX: Final = 10.0
"""How long a push gateway may take; metrics that come late are worth little, and the next ones hold them all."""

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
TEXT: Final = "text/plain"
"""What to ask `exposition` for."""


@dataclass(frozen=True, slots=True, eq=False)
class MetricsCollector:
    """A collector of prometheus_client; it serves the thread that log and views belong to.

    Each `collect` brings the views up to the log first, so that values are those of the last event. It raises what
    a broken view or log raises (`PoisonEvent`, `ViewsUnusable`).
    """

    log: Source
    views: Views
    configuration: Configuration
    outlets: Mapping[str, Outlet]
    now: Callable[[], Instant]
    """Return what time it is."""

    def collect(self) -> Iterator[Exposed]:
        """Yield every metric, in the order of the catalogue, with the labels of the configuration."""
        labels = self.configuration.metrics.prometheus.labels
        for family in self.families():
            yield _exposed(family, labels)

    def families(self) -> list[Family]:
        """Return every metric and its values, as of now."""
        now = self.now()
        catch_up(METRICS, self.log, self.views)
        with self.views.reading(METRICS) as rows:
            values = read(rows)
        computed = {family.metric.name: family for family in self._computed(values, now)}
        values = _from_zero(values, self.configuration, self.outlets)
        found = families(values) | computed
        ordered = [found[metric.name] for metric in m.METRICS]
        if self.configuration.metrics.compat == "dsops":
            others = aliases(values) | computed
            ordered += [others[metric.name] for metric in m.ALIASES]
        return ordered

    def _computed(self, values: Values, now: Instant) -> Iterator[Family]:
        """Yield what depends on the time, the configuration and the outbox."""
        yield Family(m.BUILD, {(__version__,): 1})
        yield Family(m.EXPOSED, {(): now / SECOND})
        yield Family(m.DUE, _due(values, self.configuration, now))
        yield from self._of_health()
        if self.outlets:
            catch_up(OUTBOX, self.log, self.views)
        with self.views.reading(OUTBOX) as rows:
            yield from _of_outbox(rows, self.outlets, now)

    def _of_health(self) -> Iterator[Family]:
        """Yield what the configured checks saw last."""
        types = {
            (service.name, service.environment, check.name): check.type
            for service in self.configuration.services.values()
            for check in service.checks
        }
        found: list[Record] = []
        if types:
            catch_up(HEALTH, self.log, self.views)
            with self.views.reading(HEALTH) as rows:
                found = [each for each in records(rows) if (each.service, each.environment, each.check) in types]
        names = {(each.service, each.environment, each.check): each for each in found}
        healthy: dict[Labels, float] = {}
        for labels, each in names.items():
            series, is_healthy = (each.service, types[labels]), each.last.result in HEALTHY
            healthy[series] = min(healthy.get(series, 1), int(is_healthy))
        yield Family(m.CHECK, {labels: STATUSES.index(each.last.result) for labels, each in names.items()})
        yield Family(m.CHECK_DURATION, {labels: each.duration / SECOND for labels, each in names.items()})
        yield Family(m.DSOPS_CHECK, healthy)


def registry(collector: MetricsCollector) -> CollectorRegistry:
    """Return a registry with the metrics of this installation and nothing else."""
    from prometheus_client import CollectorRegistry

    made = CollectorRegistry(auto_describe=False)
    made.register(collector)
    return made


def exposition(collector: MetricsCollector, *, accept: str = TEXT) -> tuple[bytes, str]:
    """Return the metrics in the format that an Accept header asks for, and its content type."""
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(registry(collector)), content_type


def write_textfile(collector: MetricsCollector, path: Path) -> None:
    """Put the metrics into a file at once, so that no reader sees a part of them; raises OSError."""
    from prometheus_client import write_to_textfile

    write_to_textfile(str(path), registry(collector))


def push(collector: MetricsCollector, gateway: str) -> None:
    """Replace what a push gateway holds of this installation: of the job `keyturn` and the configured labels.

    Raises `Unavailable` where it does not answer, and `Rejected` where it refuses.
    """
    from prometheus_client import push_to_gateway

    what = f"pushing metrics to {gateway}"
    labels = dict(collector.configuration.metrics.prometheus.labels)
    try:
        push_to_gateway(gateway, job=JOB, registry=registry(collector), grouping_key=labels, timeout=PUSH_SECONDS_MAX)
    except HTTPError as error:
        error.close()
        if error.code >= 500:
            raise Unavailable(what=what, why=f"the gateway answers {error.code}") from error
        raise Rejected(what=what, why=f"the gateway answers {error.code}") from error
    except HTTPException as error:
        raise Unavailable(what=what, why="what answers there is no gateway") from error
    except OSError as error:
        raise Unavailable(what=what, why=str(getattr(error, "reason", None) or error)) from error


# --- what is computed ------------------------------------------------------------------------------------


def _due(values: Values, configuration: Configuration, now: Instant) -> dict[Labels, float]:
    """Return when the configured services are due, of those that were rotated."""
    rotated = {(each.service, each.environment): each.rotated_at for each in values.standings}
    found: dict[Labels, float] = {}
    for service in configuration.services.values():
        at = rotated.get((service.name, service.environment))
        due = None if at is None else due_at(service.timetable, last_rotated_at=at, since=now)
        if due is not None:
            found[service.name, service.environment] = due / SECOND
    return found


def _of_outbox(rows: Rows, outlets: Mapping[str, Outlet], now: Instant) -> Iterator[Family]:
    """Yield how many notices wait for each channel and how long, which ones are lost, and which channels rest."""
    channels = {channel.name: channel for channel in queries.channels(rows)}
    waiting = {name: _waiting(rows, outlet, channels.get(name)) for name, outlet in outlets.items()}
    oldest: dict[Labels, float] = {
        (name,): max((now - min(since)) / SECOND, 0) if since else 0 for name, since in waiting.items()
    }
    dead = Counter(delivery.channel for delivery in queries.deliveries(rows, states=REPLAYABLE))
    yield Family(m.DEPTH, {(name,): len(since) for name, since in waiting.items()})
    yield Family(m.OLDEST, oldest)
    yield Family(m.DEAD, {(name,): dead[name] for name in outlets})
    yield Family(m.BREAKER, {(name,): int(_rests(channels.get(name), now)) for name in outlets})


def _waiting(rows: Rows, outlet: Outlet, channel: Channel | None) -> list[Instant]:
    """Return since when notices wait for a channel; one that was never opened is told nothing of before."""
    if channel is None:
        return []
    behind = queries.behind(rows, channel.position, services=tuple(outlet.subscriptions))
    found = [*queries.requeued(rows, channel), *behind]
    return [each.notice.at for each in found if outlet.subscription(each.notice) is not None]


def _rests(channel: Channel | None, now: Instant) -> bool:
    if channel is None:
        return False
    return channel.disabled is not None or (channel.failures > 0 and channel.not_before > now)


def _from_zero(values: Values, configuration: Configuration, outlets: Mapping[str, Outlet]) -> Values:
    """Return the values with a zero for each counter of what is configured that has none yet.

    A counter that appears with its first event is never seen to increase, so no alert on it would fire.
    """
    zeros: dict[str, list[Labels]] = {m.STARTED.name: [], m.ROTATIONS.name: [], m.ROLLBACKS.name: []}
    for service in configuration.services.values():
        who, strategy = (service.name, service.environment), service.strategy.value
        zeros[m.STARTED.name].append((*who, strategy))
        zeros[m.ROTATIONS.name] += [(*who, strategy, outcome.value) for outcome in m.OUTCOMES]
        zeros[m.ROLLBACKS.name] += [(*who, kind) for kind in m.ROLLBACK_TYPES]
    zeros[m.NOTIFICATIONS.name] = [(name, result) for name in outlets for result in m.RESULTS]
    zeros[m.DROPPED.name] = [(name,) for name in outlets]
    filled = {name: {**dict.fromkeys(series, 0), **values.totals.get(name, {})} for name, series in zeros.items()}
    return replace(values, totals={**values.totals, **filled})


# --- what prometheus_client takes ------------------------------------------------------------------------


def _exposed(family: Family, fixed: Mapping[str, str]) -> Exposed:
    """Return a family as prometheus_client has it, each series with the fixed labels as well."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    metric = family.metric
    names, more = (*metric.labels, *fixed), tuple(fixed.values())
    if metric.form is m.Form.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=names)
        for labels, each in sorted(family.distributions.items()):
            histogram.add_metric((*labels, *more), each.buckets, each.sum)
        return histogram
    made = CounterMetricFamily if metric.form is m.Form.COUNTER else GaugeMetricFamily
    simple = made(metric.name, metric.help, labels=names)
    for labels, value in sorted(family.values.items()):
        simple.add_metric((*labels, *more), value)
    return simple
