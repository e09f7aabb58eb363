"""Whether there is still time for a change, asked right before it is made.

Rule: times are wall time, as in the ports; nothing here waits.
"""

from __future__ import annotations

import time

from engine.errors import Unavailable
from engine.values import Instant


def wall_time() -> Instant:
    """Return the time of this machine."""
    return Instant(time.time_ns() // 1_000)


def require_time(deadline: Instant | None, *, now: Instant, what: str) -> None:
    """Raise `Unavailable` where the time of a change is over: another one may have been made since."""
    if deadline is not None and now >= deadline:
        raise Unavailable(what=what, why="its deadline has passed")
