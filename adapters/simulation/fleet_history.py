"""What a history of a rollout is made of: what may happen, who decides, a spoiled check, ports that are watched.

Rule: nothing here decides when anything happens; that is rollouts.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from engine.health import CheckResult, Sample, Subject
from engine.operations import Operations
from engine.rollout import OnTrouble, RolloutPolicy, Stage
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    from adapters.simulation.rollouts import RolloutRun

ACTIONS: Final = (
    "crash_before",
    "crash_after",
    "other_first",
    "join",
    "leave",
    "come_back",
    "restart",
    "fault",
    "mend",
    "unlisted",
    "check_fails",
    "check_sees_nothing",
    "hand_lost",
    "hand_late",
    "hand_refused",
    "pause",
    "continue",
    "promote",
    "promote_full",
    "accept",
    "retry",
    "retire",
    "abort",
)
"""What may happen at a call: to the process, the instances, the checks, the answers, or by a person."""

PEOPLE: Final[dict[str, Callable[[Operations, UUID], object]]] = {
    "pause": lambda o, i: o.pause(i),
    "continue": lambda o, i: o.let_go_on(i),
    "promote": lambda o, i: o.promote(i),
    "promote_full": lambda o, i: o.promote(i, full=True),
    "accept": lambda o, i: o.accept_inconclusive(i),
    "retry": lambda o, i: o.retry(i),
    "retire": lambda o, i: o.end_grace(i),
    "abort": lambda o, i: o.go_back(i, command="abort"),
}
"""What a person does to a rotation."""


class Check:
    """The health check: well, but for the looks that a history spoils."""

    name = "connection"

    def __init__(self) -> None:
        self.spoiled: list[CheckResult] = []

    def look(self, subject: Subject) -> Sample:
        """Look once."""
        result = self.spoiled.pop() if self.spoiled else CheckResult.PASS
        return Sample(result, text=f"it saw {result}")


class Port:
    """A port of which every call is counted, may go wrong, and is judged before and after."""

    def __init__(self, run: RolloutRun, name: str, real: Any) -> None:
        self._run, self._name, self._real = run, name, real

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._real, method)
        if not callable(real):
            return real
        return lambda *args, **kwargs: self._run.at_call(f"{self._name}.{method}", real, args, kwargs)


def drawn_policy(source: random.Random) -> RolloutPolicy:
    """Return any policy of a rollout."""
    minute = 60 * SECOND
    return RolloutPolicy(
        stages=tuple(
            Stage(each, Microseconds(source.choice([0, minute])), Microseconds(source.choice([0, 0, minute])))
            for each in sorted({*source.sample([10, 25, 50, 75], source.randint(0, 3)), 100})
        ),
        canary=source.random() < 0.8,
        canary_soak=Microseconds(2 * minute),
        failure_threshold=source.choice([1, 2]),
        inconclusive_threshold=source.choice([2, 4]),
        on_failure=source.choice(list(OnTrouble)),
        on_inconclusive=source.choice(list(OnTrouble)),
        approval=source.random() < 0.3,
        max_unverified=source.choice([None, 1, 2, 3]),
        max_unverified_zone=source.choice([None, None, 1, 2]),
        parallelism=source.choice([1, 2, 10]),
    )
