"""How a version gets to the instances of a service, as a document and as a line for people.

Rule: computed from the aggregate alone, as the rotation's own document is.
"""

from __future__ import annotations

from typing import Any, Final

from engine.fleet import Fleet
from engine.leaving import rests_for
from engine.machine import State
from engine.rotation import Rotation
from engine.values import Deadline
from projections.times import to_text

_NAMED_MAX: Final = 10
"""Instances that are named; more are only counted."""


def rollout_document(rotation: Rotation) -> dict[str, Any] | None:
    """Return `rollout` of `keyturn.rotation/1`; None where the rotation has no instances, or they are not known yet.

    `wave` counts from 0, and is the one at hand, None once all have passed. `moved` are the instances that proved to
    use the new version, `returned` those that proved the old one again, `unverified` those that may have the new one
    before the soak of their wave has passed. `outstanding` names those that are still to prove it, ten at most.
    """
    fleet = rotation.fleet
    if fleet is None or not fleet.is_planned:
        return None
    policy = rotation.plan.rollout
    waves = [_wave(rotation, fleet, number) for number in range(fleet.size)]
    return {
        "instances": sum(wave["instances"] for wave in waves),
        "moved": len(fleet.moved - fleet.gone),
        "returned": len(fleet.returned - fleet.gone),
        "gone": len(fleet.gone),
        "unverified": 0 if rotation.promotable or fleet.is_back else len(fleet.unverified(rotation.waves)),
        "unverified_max": policy.max_unverified if policy else None,
        "wave": rotation.waves if rotation.waves < fleet.size else None,
        "outstanding": _outstanding(rotation, fleet)[:_NAMED_MAX],
        "soak_until": _until(fleet.soak),
        "held_until": _until(fleet.hold),
        "held_for": fleet.why if fleet.hold.wall else "",
        "paused": rests_for(rotation).value if rotation.state is State.PAUSED else None,
        "waves": waves,
    }


def _wave(rotation: Rotation, fleet: Fleet, number: int) -> dict[str, Any]:
    present = fleet.present(number)
    wave = fleet.wave(number)
    passed = number < rotation.waves
    at_hand = number == rotation.waves and not fleet.is_back
    return {
        "index": number,
        "instances": len(present),
        "moved": sum(each in fleet.moved for each in present),
        "percentage": wave.percentage,
        "canary": wave.canary,
        "state": "passed" if passed else rotation.state.value if at_hand else "waiting",
    }


def _outstanding(rotation: Rotation, fleet: Fleet) -> list[str]:
    if fleet.is_back:
        return fleet.to_return(promoted=rotation.promotable) if rotation.previous and not rotation.captured else []
    return fleet.outstanding(rotation.waves)


def _until(deadline: Deadline | None) -> str | None:
    return to_text(deadline.wall) if deadline is not None and deadline.wall else None


def in_a_line(rotation: Rotation) -> str:
    """Return how far a rollout is, as `wave 2 of 5, 7 of 40 instances moved, 6 of 10 unverified`; empty where none is.

    Waves count from 1, as people do.
    """
    seen = rollout_document(rotation)
    if seen is None:
        return ""
    if rotation.fleet is not None and rotation.fleet.is_back:
        return f"{seen['returned']} instance{'' if seen['returned'] == 1 else 's'} back on {rotation.previous}"
    most = "" if seen["unverified_max"] is None else f" of {seen['unverified_max']}"
    at = "all waves passed" if seen["wave"] is None else f"wave {seen['wave'] + 1} of {len(seen['waves'])}"
    moved = f"{seen['moved']} of {seen['instances']} instances moved"
    return f"{at}, {moved}, {seen['unverified']}{most} unverified"
