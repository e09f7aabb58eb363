"""The options of the rehearsal target, and what it can do with them.

Rule: a combination that would say nothing is refused here, so that no option is ever ignored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from engine.adapter import Duration
from engine.errors import StrategyImpossible
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import TargetCapabilities
from engine.values import SECOND


class Fault(StrEnum):
    """How the target misbehaves, for rehearsals and demonstrations."""

    FAIL_VERIFICATION = "fail_verification"
    """The query fails for a value that was applied; one that was restored works."""
    REJECT_APPLY = "reject_apply"
    LOSE_APPLY_REPLY = "lose_apply_reply"
    """The value is made valid, and the answer is lost."""
    REJECT_RESTORE = "reject_restore"
    KEEP_RETIRED = "keep_retired"
    """Retiring answers that it is done, and the old value stays valid."""
    ACCEPT_ANYTHING = "accept_anything"
    """Every login succeeds, whatever the secret."""
    UNAVAILABLE = "unavailable"


class MemoryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `type: memory`. What is left out follows from the strategy."""

    values_max: Annotated[int, msgspec.Meta(ge=2)] | None = None
    """Values a login may hold: 2 for `dual`, many for `issue`."""
    lockout_after: Annotated[int, msgspec.Meta(ge=2)] | None = None
    """This many wrong logins within `lockout_window` (15m) lock the login until they are past it."""
    lockout_window: Duration | None = None
    retry: RetryClass | None = None
    """What may follow a lost answer: `probe_first` for `issue` and `script`, else `idempotent`."""
    settable: bool | None = None
    """Whether a value that was valid once may be set again; no where the target makes the value."""
    shows_restorable: bool = False
    """Show what is kept of the value in force, and accept it back."""
    mode: Literal["set", "issue"] | None = None
    """For `script`: the program is given the value (set), or prints the one it made."""
    propagation: Duration = Duration(0)
    """Logins are answered as before a change for this long after it."""
    sessions: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """How many sessions the target says are open with a version; left out, it cannot tell."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.lockout_window is not None and self.lockout_after is None:
            raise ValueError("`lockout_window` needs `lockout_after`")


_WINDOW: Final = Duration(15 * 60 * SECOND)
_ONE_VALUE: Final = frozenset({Strategy.SINGLE, Strategy.ALTERNATING, Strategy.SCRIPT})
_PROBE_FIRST: Final = frozenset({Strategy.ISSUE, Strategy.SCRIPT})


def capabilities_of(strategy: Strategy, options: MemoryOptions, name: str) -> TargetCapabilities:
    """Return what follows from strategy and options; raises `StrategyImpossible` where they contradict."""
    refusal = ""
    if options.values_max is not None and strategy in _ONE_VALUE:
        refusal = "it holds one value a login, so `values_max` says nothing"
    if options.mode is not None and strategy is not Strategy.SCRIPT:
        refusal = "`mode` is for the strategy script"
    issues = strategy is Strategy.ISSUE or options.mode == "issue"
    if options.settable and strategy is Strategy.ISSUE:
        refusal = "a value that was revoked cannot be set back, so `settable` cannot be true"
    if options.shows_restorable and issues:
        refusal = "a target that makes the value takes none back, so `shows_restorable` cannot be true"
    if refusal:
        possible = ", ".join(other for other in Strategy if other is not strategy)
        raise StrategyImpossible(service=name, strategy=strategy.value, why=refusal, possible=possible)
    budget = None
    if options.lockout_after is not None:
        # One less than what locks: the budget is what may be spent.
        budget = LoginBudget(options.lockout_after - 1, (options.lockout_window or _WINDOW).microseconds)
    return TargetCapabilities(
        values_max=1 if strategy in _ONE_VALUE else options.values_max or (2 if strategy is Strategy.DUAL else None),
        issues_value=issues,
        settable=not issues if options.settable is None else options.settable,
        retry=options.retry or (RetryClass.PROBE_FIRST if strategy in _PROBE_FIRST else RetryClass.IDEMPOTENT),
        login_budget=budget,
        propagation=options.propagation.microseconds,
    )
