"""What surrounds a simulated process: time, random bytes, ids and a further place, each a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from uuid import UUID

from engine.values import SECOND, CredentialValue, Instant, Microseconds, Moment


class SimulatedClock:
    """Time that passes only when someone waits, and a little with every call; late effects land in it."""

    def __init__(self) -> None:
        self.at = 1_700_000_000 * SECOND
        self._late: list[tuple[int, Callable[[], None]]] = []

    def now(self) -> Moment:
        """Return the virtual time."""
        return Moment(Instant(self.at), "boot", Microseconds(self.at))

    def wait(self, duration: Microseconds) -> None:
        """Let time pass, and what lands late in it land."""
        until = self.at + max(duration, 1)
        while due := sorted((item for item in self._late if item[0] <= until), key=lambda item: item[0])[:1]:
            self._late.remove(due[0])
            self.at = max(self.at, due[0][0])
            due[0][1]()
        self.at = until

    def later(self, after: float, effect: Callable[[], None]) -> None:
        """Let an effect land `after` seconds from now."""
        self._late.append((self.at + int(after * SECOND), effect))

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
    """Ids of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def new(self) -> UUID:
        """Return the next id of the seed."""
        return UUID(bytes=self._random.randbytes(16), version=4)


class RememberedPlace:
    """A further place: it remembers the last value."""

    name = "dotenv:PASSWORD"

    def __init__(self) -> None:
        self.value: CredentialValue | None = None

    def publish(self, value: CredentialValue, *, version: str) -> None:
        """Remember the value."""
        self.value = value

    def has(self, value: CredentialValue, *, version: str) -> bool:
        """Tell whether it is the remembered value."""
        return self.value == value
