"""What surrounds a simulated process: time, random bytes and ids, each a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from engine.process import Effect, next_effect
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds, Moment

SERVER_TIMEOUT = 3 * SECOND
"""What a target gives a change at most, by its own clock, however far away the deadline seems."""
WINDOW = 5 * SECOND
"""The longest time that a deadline may be away, unless a clock was set."""


class SimulatedClock:
    """Time that passes only when someone waits, and a little with every call; late effects land in it.

    `at` is the time since boot, which is never set. The wall clock shows `offset` more.
    """

    def __init__(self) -> None:
        self.at = 1_700_000_000 * SECOND
        self.offset = 0
        self.passing: Callable[[int], None] | None = None
        """Told that time is about to pass until an instant; until then nothing changes."""
        self._late: list[tuple[int, Callable[[], None]]] = []

    def now(self) -> Moment:
        """Return the virtual time."""
        return Moment(Instant(self.at + self.offset), "boot", Microseconds(self.at))

    def wait(self, duration: Microseconds) -> None:
        """Let time pass, and what lands late in it land."""
        until = self.at + max(duration, 1)
        while self._late:
            due = min(self._late, key=lambda item: item[0])
            if due[0] > until:
                break
            self._late.remove(due)
            self._pass(max(self.at, due[0]))
            due[1]()
        self._pass(max(self.at, until))

    def _pass(self, until: int) -> None:
        if self.passing is not None:
            self.passing(until)
        self.at = until

    def jump(self, seconds: int) -> None:
        """Set the wall clock by some seconds; no time passes."""
        self.offset += seconds * SECOND

    def true_time_of(self, deadline: Instant) -> Instant:
        """Return when a deadline on the wall is over for a target, which has a clock of its own.

        An adapter tells the server how long is left, and never more than the server's own timeout where the wall
        clock was set back in between.
        """
        left = deadline - self.now().wall
        return Instant(self.at + (left if left <= WINDOW else SERVER_TIMEOUT))

    def later(self, after: int, effect: Callable[[], None]) -> None:
        """Let an effect land `after` microseconds from now."""
        self._late.append((self.at + after, effect))

    @property
    def quiet(self) -> bool:
        """Tell whether nothing is still to land."""
        return not self._late


class SeededEntropy:
    """Random bytes of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def draw(self, count: int) -> bytes:
        """Return the next bytes of the seed."""
        return self._random.randbytes(count)


class SeededIds:
    """Ids of a seed, which is set up when the first one is drawn: most processes draw none."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @cached_property
    def _random(self) -> random.Random:
        return random.Random(self._seed)

    def new(self) -> UUID:
        """Return the next id of the seed."""
        return UUID(bytes=self._random.randbytes(16), version=4)


BEGIN = "begin"
"""What a process does that performs no effect: it looks what there is, and begins a rotation."""


@dataclass(slots=True)
class Process:
    """One simulated process: its name, and the rotation and time that its effect was looked up from."""

    owner: str
    rotation: Rotation | None = None
    since: Moment | None = None

    @property
    def effect(self) -> str:
        """The effect that is being performed; `begin` where none is."""
        if self.rotation is None or self.since is None:
            return BEGIN
        due = next_effect(self.rotation, self.since)
        return due.value if isinstance(due, Effect) else BEGIN
