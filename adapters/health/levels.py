"""From numbers to results: thresholds, percentiles, and the window that they are taken over.

Rule: nothing here looks at anything; times come in as arguments.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.health import CheckResult, Sample
from engine.values import SECOND, Microseconds

KEPT_MAX: Final = 10_000
"""How many measurements a window keeps at most, whatever its length."""


@dataclass(frozen=True, slots=True)
class Levels:
    """From where on a number is a warning, and from where on a failure; None is never."""

    warn: float | None = None
    fail: float | None = None

    def judge(self, value: float) -> CheckResult:
        """Return the result of a number that is the worse, the larger it is; a limit itself is still fine."""
        if self.fail is not None and value > self.fail:
            return CheckResult.FAIL
        if self.warn is not None and value > self.warn:
            return CheckResult.WARN
        return CheckResult.PASS

    def judge_low(self, value: float) -> CheckResult:
        """Return the result of a number that is the worse, the smaller it is; a limit itself is still fine."""
        if self.fail is not None and value < self.fail:
            return CheckResult.FAIL
        if self.warn is not None and value < self.warn:
            return CheckResult.WARN
        return CheckResult.PASS


def percentile(ordered: Sequence[float], rank: int) -> float:
    """Return the smallest of the ordered numbers that `rank` per cent are no larger than (nearest rank)."""
    assert ordered, "nothing was measured"
    return ordered[max(math.ceil(len(ordered) * rank / 100), 1) - 1]


class Window:
    """What was measured in the last `length`, of one version: a new version begins with nothing.

    Safe to use from several threads.
    """

    def __init__(self, length: Microseconds) -> None:
        self._seconds = length / SECOND
        self._version = ""
        self._kept: deque[tuple[float, float]] = deque(maxlen=KEPT_MAX)
        self._lock = threading.Lock()

    def add(self, numbers: Sequence[float], *, version: str, now: float) -> list[float]:
        """Keep numbers measured at `now` (monotonic seconds); return all of the window, ordered."""
        with self._lock:
            if version != self._version:
                self._version = version
                self._kept.clear()
            self._kept.extend((now, number) for number in numbers)
            while self._kept and self._kept[0][0] < now - self._seconds:
                self._kept.popleft()
            return sorted(number for _, number in self._kept)


def latency(ordered: Sequence[float], levels: Levels, *, of: str) -> Sample:
    """Judge seconds by their 95th percentile, which is the value, and tell the others."""
    p50, p95, p99 = (percentile(ordered, rank) for rank in (50, 95, 99))
    text = f"{of}: p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms of {len(ordered)}"
    return Sample(levels.judge(p95), value=p95, unit="s", text=text)


def milliseconds(warn: float | None, fail: float | None) -> Levels:
    """Return levels in seconds from the milliseconds of the configuration."""
    return Levels(*(None if each is None else each / 1e3 for each in (warn, fail)))


def per_cent(warn: float | None, fail: float | None) -> Levels:
    """Return levels as ratios from the per cent of the configuration."""
    return Levels(*(None if each is None else each / 100 for each in (warn, fail)))
