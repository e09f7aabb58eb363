"""What runs have gone through, counted: states and events, faults in every effect, faults with every strategy.

Rule: what cannot be covered stands in a table here with its reason, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, NamedTuple

from adapters.simulation.faults import CALLS, IMPOSSIBLE
from adapters.simulation.surroundings import BEGIN
from adapters.simulation.trace import Happening
from engine.machine import TABLE, State
from engine.plan import Strategy
from engine.process import Effect

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation

# --- states and events ------------------------------------------------------------------------------------------

_TOLD: Final = "InstancesJoined InstancesMissed InstancesLeft InstancesTold InstancesFailed InstancesUnproved"
_REASONS: Final[dict[str, dict[State, str]]] = {
    "rotations here have no instances; those that have are played by adapters/simulation/rollouts.py": {
        State.DISTRIBUTING: f"WaveDistributed RolloutPlanned WaveHeld RolloutAdvanced InstancesMoved {_TOLD}",
        State.SOAKING: (
            "WavePassed RolloutPaused RollbackStarted RotationFailed OwnerChanged EffectPostponed LoginTried "
            f"HealthSampled SoakStarted RolloutAdvanced InstancesMoved InstancesLapsed {_TOLD}"
        ),
        State.GRACE: f"RetirementRequested OverlapWarned InstancesMoved InstancesLapsed {_TOLD}",
        State.RETIRING: f"InstancesMoved InstancesLapsed {_TOLD}",
        State.ROLLING_BACK: f"InstancesReturned InstancesLapsed {_TOLD}",
    },
    "while it rests nothing is performed": {State.PAUSED: "RotationFailed OwnerChanged EffectPostponed LoginTried"},
    "no health check looks": {State.MONITORING: "MonitoringStarted HealthSampled"},
    "nobody waits in a queue": {State.WAITING: "RotationRequested RotationCancelled RotationFailed"},
    "there only the log is asked, and an error of the log ends the process": {
        State.DISTRIBUTING: "EffectPostponed RotationFailed LoginTried",
        State.MONITORING: "EffectPostponed RotationFailed LoginTried",
        State.GRACE: "EffectPostponed RotationFailed LoginTried",
    },
    "there no login is tried that may be refused": {State.STAGING: "LoginTried", State.PROMOTING: "LoginTried"},
    "nobody gives up a retirement, or looks around while it rests": {
        State.RETIRING: "RotationFailed",
        State.ROLLBACK_FAILED: "LoginTried",
    },
    "older versions of keyturn recorded it there": {
        State.APPLYING: "PreviousCaptured",
        State.ROLLING_BACK: "AttemptSettled",
        State.VERIFYING_ROLLBACK: "VerificationFailed",
    },
}
_PLAYED: Final = next(iter(_REASONS))
OF_ROLLOUTS: Final = frozenset(
    (state, event) for state, events in _REASONS[_PLAYED].items() for event in events.split()
) - frozenset(
    [
        (State.SOAKING, "RotationFailed"),  # a rollout goes back or rests
        (State.SOAKING, "LoginTried"),  # the logins of these targets are not counted
    ]
)
"""What runs of rollouts go through besides."""

UNREACHED: Final[dict[tuple[State, str], str]] = {
    (state, event): reason
    for reason, states in _REASONS.items()
    for state, events in states.items()
    for event in events.split()
}
"""State and event that the table allows, that no code of this version leads to, and why."""

REACHABLE: Final = frozenset(TABLE) - frozenset(UNREACHED)

# --- faults ---------------------------------------------------------------------------------------------------------

_LOOKS = ("store.read", "log.append")
EFFECT_CALLS: Final[dict[str, tuple[str, ...]]] = {
    BEGIN: ("store.versions", *_LOOKS),
    Effect.STAGE: (*_LOOKS, "store.versions", "store.stage", "store.discard", "target.probe"),
    Effect.PROBE: (*_LOOKS, "target.probe", "target.retire"),
    Effect.APPLY: (*_LOOKS, "target.apply", "store.stage"),
    Effect.VERIFY: (*_LOOKS, "target.verify"),
    Effect.DISTRIBUTE: ("log.append",),
    Effect.PROMOTE: (*_LOOKS, "store.promote", "place.publish"),
    Effect.MONITOR: ("log.append",),
    Effect.END_GRACE: ("log.append",),
    Effect.RETIRE: (*_LOOKS, "target.probe", "target.retire", "store.versions", "store.discard"),
    Effect.RESTORE: (
        *_LOOKS,
        "target.probe",
        "target.retire",
        "target.restore",
        "store.versions",
        "store.promote",
        "store.discard",
        "place.publish",
    ),
    Effect.VERIFY_ROLLBACK: (*_LOOKS, "target.probe"),
}
"""The calls that are made in each effect. `soak` and `recall` need instances."""

EFFECT_FAULTS: Final = frozenset(
    (effect, call, kind) for effect, calls in EFFECT_CALLS.items() for call in calls for kind in CALLS[call]
) - frozenset(
    # What a lost attempt made is revoked: only where the target makes the value, and such a target has one node.
    (effect, "target.retire", "partial")
    for effect in (Effect.PROBE, Effect.RESTORE)
)
"""Every fault in every effect that makes the call."""

TRIPLES: Final = frozenset(
    (call, kind, strategy)
    for call, kinds in CALLS.items()
    for kind in kinds
    for strategy in Strategy
    if (call, kind, strategy) not in IMPOSSIBLE
)
"""Every call, kind and strategy that go together."""


class Covered(NamedTuple):
    """How much of something was seen, and what is missing, by name."""

    seen: int
    total: int
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.seen}/{self.total}"


class Ledger:
    """What the runs that were added went through; each count says how often."""

    def __init__(self) -> None:
        self.runs = 0
        self.pairs: Counter[tuple[State, str]] = Counter()
        self.effect_faults: Counter[tuple[str, str, str]] = Counter()
        self.triples: Counter[tuple[str, str, Strategy]] = Counter()

    def add(self, world: Simulation) -> None:
        """Count what a run went through."""
        self.runs += 1
        self.pairs.update(world.pairs)
        for step in world.trace:
            if step.kind is Happening.FAULT:
                self.effect_faults[step.detail, step.call, step.name] += 1
                self.triples[step.call, step.name, world.strategy] += 1

    def transitions(self) -> Covered:
        """Return how many pairs of state and event were seen, of those that code leads to."""
        return _covered(self.pairs, REACHABLE)

    def faults(self) -> Covered:
        """Return how many faults happened in how many effects."""
        return _covered(self.effect_faults, EFFECT_FAULTS)

    def strategies(self) -> Covered:
        """Return how many faults happened at which call with how many strategies."""
        return _covered(self.triples, TRIPLES)

    def unexpected(self) -> list[str]:
        """Return what was seen although this file says that it cannot be."""
        strange = [*(set(self.pairs) - REACHABLE), *(set(self.effect_faults) - EFFECT_FAULTS)]
        return sorted(" ".join(each) for each in strange)


def _covered(seen: Container[object], wanted: AbstractSet[tuple[str, ...]]) -> Covered:
    missing = [each for each in wanted if each not in seen]
    return Covered(len(wanted) - len(missing), len(wanted), tuple(sorted(" ".join(each) for each in missing)))
