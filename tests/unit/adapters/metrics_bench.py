"""An installation for tests of metrics: a log that is a list, views in a file, a time. No tests live here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.config.build import Wiring
from adapters.config.load import parse
from adapters.metrics import MetricsCollector
from adapters.outbox.outlets import outlets
from adapters.views import SqliteViews
from engine import channel_events as c
from engine.channel_events import channel_id
from engine.facts import Fact
from engine.values import SECOND, Instant
from tests.histories import BEGAN, ListedLog, recorded

DAY: Final = 86_400

CONFIGURATION: Final = """\
version: 1
secretStores: {held: {type: memory}}
services:
  app-db:
    type: memory
    environment: production
    credential: {username: app, store: held, key: production/app-db}
    rotation: {strategy: single, ttl: 30d, notifications: {file: {path: notices.jsonl}}}
  never:
    type: memory
    credential: {username: app, store: held, key: default/never}
    rotation: {strategy: dual, ttl: 30d}
"""


@contextmanager
def installed(
    folder: Path, facts: Sequence[Fact], *, more: str = "", at: int = BEGAN + DAY * SECOND, text: str = CONFIGURATION
) -> Iterator[MetricsCollector]:
    """Return a collector for a log of these facts, with `more` at the top of the configuration."""
    configuration = parse((text + more).encode(), path=folder / "keyturn.yaml")
    with SqliteViews(folder / "views.db") as views:
        log = ListedLog(recorded(list(facts)))
        channels = outlets(Wiring(configuration, folder))
        yield MetricsCollector(log, views, configuration, channels, lambda: Instant(at))


def channel_of(collector: MetricsCollector) -> str:
    """Return the id of the only channel."""
    (only,) = collector.outlets
    return only


class Told:
    """The facts of a channel, which may be appended to any log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def fact(self, body: c.ChannelEvent, *, at: Instant) -> Fact:
        """Return the next fact of the channel."""
        self._count += 1
        return Fact(channel_id(self._name), self._count, at, "ada", body)


def samples(collector: MetricsCollector) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every value by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def value(collector: MetricsCollector, metric: str, **labels: str) -> float | None:
    """Return one value; None where there is no such series."""
    return samples(collector).get((metric, tuple(sorted(labels.items()))))
