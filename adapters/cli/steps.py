"""The steps of a rotation in words: what each does, and what a crash there leads to. One table for plan and progress.

Rule: the order and the effects are the engine's (engine/process.py); here are only words.
"""

from __future__ import annotations

from typing import Any, Final

from engine.adapter import Duration
from engine.plan import Plan, Strategy
from engine.process import Effect

_APPLYING: Final = {
    Strategy.SINGLE: "set the new value of the login in place",
    Strategy.ALTERNATING: "set a new value of the login that is not in use",
    Strategy.DUAL: "add the new value beside the one in use",
    Strategy.ISSUE: "have the target make a new value beside the one in use",
    Strategy.SCRIPT: "have the program set the new value",
}

_LOST_ANSWER: Final = {
    True: "resume looks for what the lost attempt made, revokes it, and asks again",
    False: "resume asks the target whether it accepts the new version, and repeats only if it does not",
}

_WAVES: Final = (
    (
        Effect.DISTRIBUTE,
        "hand the new version to the instances, a wave at a time, and have each prove that it uses it",
        "resume asks the instances what they use, and tells those that do not use the new version yet",
    ),
    (
        Effect.SOAK,
        "watch each wave before the next one is told",
        "the plan and its deadlines stand in the log; resume goes on with the same waves",
    ),
)

NAMES: Final[dict[Effect, str]] = {
    Effect.STAGE: "stage",
    Effect.PROBE: "look",
    Effect.APPLY: "apply",
    Effect.VERIFY: "verify",
    Effect.DISTRIBUTE: "distribute",
    Effect.SOAK: "soak",
    Effect.PROMOTE: "promote",
    Effect.MONITOR: "monitor",
    Effect.END_GRACE: "grace",
    Effect.RETIRE: "retire",
    Effect.RECALL: "recall",
    Effect.RESTORE: "restore",
    Effect.VERIFY_ROLLBACK: "verify rollback",
}
"""An effect as progress names it."""


def steps(plan: Plan) -> list[dict[str, Any]]:
    """Return the steps of `keyturn.plan/1`: effect, description, and what a crash at it leads to."""
    places = f", and publish it to {', '.join(plan.places)}" if plan.places else ""
    ending = "make the old version unusable, and prove it: old refused, current accepted"
    listed = [
        (
            Effect.STAGE,
            f"write the new version to the store {plan.store}, pending; nobody uses it yet",
            "nothing but the store was touched; resume stages the same version, once",
        ),
        (Effect.APPLY, _APPLYING[plan.strategy], _LOST_ANSWER[plan.issues_value]),
        (
            Effect.VERIFY,
            "log in afresh with the new version, and see a random wrong value refused",
            "resume verifies again; the old version is still what the stores call current",
        ),
        *(_WAVES if plan.rollout is not None else ()),
        (
            Effect.PROMOTE,
            f"make the new version current in the store {plan.store}{places}",
            "resume promotes again: what was written is found written, the rest follows",
        ),
    ]
    if plan.overlap and plan.grace:
        listed.append(
            (
                Effect.END_GRACE,
                f"leave both versions valid for {Duration(plan.grace)}; rollback is one command until then",
                "both versions work; the deadline stands in the log",
            )
        )
    listed.append((Effect.RETIRE, ending, "there is no way back from here; resume retires and proves again"))
    return [{"effect": effect.value, "description": text, "on_crash": crash} for effect, text, crash in listed]
