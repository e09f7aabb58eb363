"""What is rehearsed: a strategy by itself, or the policy of a service with a target that behaves like its own.

Rule: of a real target only its declared capabilities come in here; nobody is asked anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters.simulation.scenario import Scenario
from adapters.simulation.seeds import KINDS, scenario_of
from adapters.targets.memory_options import MemoryOptions
from engine.adapter import Duration
from engine.plan import Plan, Strategy
from engine.ports import TargetCapabilities
from engine.values import Microseconds

_MANY: Final = 1000
"""Values that a login may hold where its number is not limited."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is rehearsed, and under which kinds of trouble."""

    strategy: Strategy
    plan: Plan | None = None
    """The policy of every rotation; None is the simulation's own."""
    options: MemoryOptions | None = None
    kinds: tuple[str, ...] = KINDS
    refresh: Microseconds
    """How often consumers re-read the credential."""

    def scenario(self, seed: int) -> Scenario:
        """Return what a seed stands for with this subject."""
        return scenario_of(
            seed,
            strategy=self.strategy,
            plan=self.plan,
            options=self.options,
            kinds=self.kinds,
            going_back=True,
            refresh=self.refresh,
        )


def like(capabilities: TargetCapabilities, strategy: Strategy) -> MemoryOptions:
    """Return the options with which the simulated target can do what a real one declares, and no more."""
    budget = capabilities.login_budget
    makes_it = capabilities.issues_value
    several = strategy in (Strategy.DUAL, Strategy.ISSUE)
    return MemoryOptions(
        values_max=(capabilities.values_max or _MANY) if several else None,
        lockout_after=budget.tries + 1 if budget else None,  # the budget is one less than what locks
        lockout_window=Duration(budget.window) if budget else None,
        retry=capabilities.retry,
        settable=None if strategy is Strategy.ISSUE else capabilities.settable,
        propagation=Duration(capabilities.propagation),
        mode="issue" if makes_it and strategy is Strategy.SCRIPT else None,
    )
