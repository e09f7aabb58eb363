"""What surrounds the engine on its bench: a clock that moves when somebody waits, ids and bytes of a seed, a place."""

from __future__ import annotations

import random
from typing import Final
from uuid import UUID

from engine.values import SECOND, CredentialValue, Instant, Microseconds, Moment

BEGAN: Final = Instant(1_767_225_600_000_000)


class Clock:
    """Time that passes only when somebody waits; `jump` moves the wall clock alone."""

    def __init__(self) -> None:
        self.wall: int = BEGAN
        self.uptime = 1_000 * SECOND
        self.waits: list[int] = []

    def now(self) -> Moment:
        """Return the time."""
        return Moment(Instant(self.wall), "boot-1", Microseconds(self.uptime))

    def wait(self, duration: Microseconds) -> None:
        """Let time pass."""
        self.waits.append(duration)
        self.wall += duration
        self.uptime = Microseconds(self.uptime + duration)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; no time passes."""
        self.wall += int(seconds * SECOND)


class Seeded:
    """Ids and random bytes that a test can repeat."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)

    def draw(self, count: int) -> bytes:
        """Return random bytes."""
        return self._random.randbytes(count)

    def new(self) -> UUID:
        """Return a fresh id."""
        return UUID(bytes=self._random.randbytes(16), version=4)


class Place:
    """A further place: it remembers what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.published: list[tuple[CredentialValue, str]] = []

    def publish(self, value: CredentialValue, *, version: str, deadline: Instant | None = None) -> None:
        """Take the value."""
        self.published.append((value, version))
