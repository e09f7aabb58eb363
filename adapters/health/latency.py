"""How long answers took: the last of them, and their percentiles.

Rule: no clock but the one that times an answer; what a percentile means for the service is the check's to judge.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence


class Latencies:
    """The last `size` answer times, in seconds, of one check."""

    def __init__(self, size: int) -> None:
        self._kept: deque[float] = deque(maxlen=size)

    def take(
        self, ask: Callable[[], object], *, count: int, until: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Time `ask` so many times, at least once, and no more once it is `until` by the clock."""
        for _ in range(count):
            began = now()
            ask()
            ended = now()
            self._kept.append(ended - began)
            if ended >= until:
                return

    def percentile(self, rank: int) -> float:
        """Return the nearest-rank percentile; there must be an answer."""
        return percentile(self._kept, rank)

    def __len__(self) -> int:
        return len(self._kept)


def percentile(values: Sequence[float], rank: int) -> float:
    """Return the smallest of the values that `rank` per cent of them do not exceed (nearest rank)."""
    return sorted(values)[max(math.ceil(len(values) * rank / 100), 1) - 1]
