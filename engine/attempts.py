"""What a rotation keeps of its tries: attempts on the target, and what health checks saw.

Rule: nothing here decides; what follows from them is for process.py and policies.py.
"""

from __future__ import annotations

import msgspec

from engine import events as e
from engine.health import CheckResult
from engine.values import Deadline, Instant, Microseconds


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try to make the target accept `version` on `login` (`-version`: refuse it), in effect by `deadline`.

    Without a login it is the stores that were asked, to call `version` current.
    `closed`: it had a definite answer. `settled`: it had none, and a look at the target told.
    `done`: it took effect, as the answer said, or a look at the target.
    """

    number: int
    version: str
    login: str
    deadline: Instant
    closed: bool = False
    settled: bool = False
    done: bool = False
    boot: str = ""
    uptime: Microseconds = Microseconds(0)

    @property
    def limit(self) -> Deadline:
        """When it can take effect no more."""
        return Deadline(self.deadline, self.boot, self.uptime)

    @property
    def fence(self) -> e.Fence:
        """What a write of another version to the same login has to wait for."""
        return e.Fence(self.login, self.version, self.deadline, self.boot, self.uptime)


class Streak(msgspec.Struct, frozen=True, gc=False):
    """What a health check saw last, and how often in a row it failed, or saw nothing."""

    check: str
    result: CheckResult
    at: Instant
    failures: int = 0
    unknowns: int = 0
    text: str = ""
    looks: int = 0
    """How often it looked."""


def sampled(health: tuple[Streak, ...], body: e.HealthSampled, at: Instant) -> tuple[Streak, ...]:
    """Return the streaks with one more sample; a failure is not made undone by seeing nothing."""
    before = next((each for each in health if each.check == body.check), None)
    failures, unknowns = (before.failures, before.unknowns) if before else (0, 0)
    match body.result:
        case CheckResult.FAIL:
            failures, unknowns = failures + 1, 0
        case CheckResult.UNKNOWN:
            unknowns += 1
        case CheckResult.PASS | CheckResult.WARN:
            failures, unknowns = 0, 0
    looks = before.looks + 1 if before else 1
    streak = Streak(body.check, body.result, at, failures, unknowns, body.text, looks)
    return (*(each for each in health if each.check != body.check), streak)
