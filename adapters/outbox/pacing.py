"""How fast a sink is given messages, and how long it is left alone when it is not there.

Rule: pure; times and random numbers are given.
"""

from __future__ import annotations

from typing import Final

from engine.notifier import Pace
from engine.values import SECOND, Instant, Microseconds

REST_FIRST: Final = Microseconds(30 * SECOND)
"""How long a channel rests when its sink was not there; it doubles up to `Pace.longest`."""


class Bucket:
    """A bucket of tokens: one a message, filled at the pace of the sink.

    It begins as full as it can be when `last` was the time of the message before, by whichever process.
    """

    def __init__(self, pace: Pace, now: Instant, last: Instant | None) -> None:
        self._pace = pace
        since = None if last is None else max(now - last, 0) / SECOND
        self._tokens = float(pace.burst) if since is None else min(float(pace.burst), since * pace.per_second)
        self._at = now

    def take(self, now: Instant) -> Microseconds:
        """Take a token; return how long to wait before it may be used."""
        earned = max(now - self._at, 0) / SECOND * self._pace.per_second
        self._tokens = min(float(self._pace.burst), self._tokens + earned) - 1
        self._at = max(now, self._at)
        return Microseconds(int(max(-self._tokens, 0.0) / self._pace.per_second * SECOND))


def backoff(pace: Pace, number: int, *, asked: Microseconds, jitter: float) -> Microseconds:
    """Return the wait after the `number`-th try of a message: what the sink asked for, or doubling with full jitter.

    `jitter` is a random number from 0 up to 1. At least half of the step, since a webhook is tried three times only.
    """
    doubled = pace.first * 2 ** min(number - 1, 20) if pace.is_exponential else pace.first
    return Microseconds(max(min(asked, pace.longest), int(min(doubled, pace.longest) * (0.5 + 0.5 * jitter))))


def rest(pace: Pace, failures: int, *, asked: Microseconds, jitter: float) -> Microseconds:
    """Return how long a channel rests after its sink was not there `failures` times before: a circuit breaker.

    After the rest, one message tries whether the sink is back.
    """
    doubled = min(REST_FIRST * 2 ** min(failures, 20), pace.longest)
    return Microseconds(max(min(asked, pace.longest), int(doubled * (0.8 + 0.2 * jitter))))
