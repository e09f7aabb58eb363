"""What must hold of a fleet at every moment: I3, I6 and I10 of the design, judged on what instances really have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from adapters.simulation.invariants import Violation
from engine import events as e
from engine.health import CheckResult
from engine.machine import State
from engine.rotation import Rotation

if TYPE_CHECKING:
    from adapters.simulation.rollouts import RolloutRun

__all__ = ["Violation", "check_call", "check_facts", "check_fleet", "check_fleet_end"]


def check_fleet(run: RolloutRun) -> None:
    """I3: each instance has a version that the target accepts. I10: few have one whose soak has not passed."""
    held = run.distributor.held()
    accepted: dict[str, bool] = {}
    for instance in run.discovery.there:
        version = held.get(instance)
        if version is None:
            continue
        if version not in accepted:
            value = run.value(version)
            accepted[version] = value is not None and run.target.accepts(value)
        if not accepted[version]:
            raise Violation(f"I3: {instance} has {version}, which the target refuses {_end(run)}")
    _check_unverified(run, held)


def _check_unverified(run: RolloutRun, held: Any) -> None:
    rotation, policy = run.rotation, run.policy
    if rotation is None or rotation.fleet is None or rotation.fleet.is_back or rotation.promotable:
        return
    fleet = rotation.fleet
    there = run.discovery.there
    unverified = [
        each
        for each, version in held.items()
        if version == rotation.candidate and each in there and fleet.places.get(each, 0) >= rotation.waves
    ]
    run.most_unverified = max(run.most_unverified, len(unverified))
    zones = Counter(there[each].zone for each in unverified)
    if policy.max_unverified is not None and len(unverified) > policy.max_unverified:
        raise Violation(f"I10: {len(unverified)} hold an unverified version {_end(run)}")
    limit = policy.max_unverified_zone
    if limit is not None and any(count > limit for count in zones.values()):
        raise Violation(f"I10: {zones} hold an unverified version in a zone {_end(run)}")


def check_call(run: RolloutRun, call: str, args: tuple[Any, ...]) -> None:
    """I6: the old version is not retired while an instance that is there does not have the new one."""
    rotation = run.rotation
    if call != "target.retire" or rotation is None or args[0] is None:
        return
    if rotation.state is not State.RETIRING:
        raise Violation(f"I6: retired while {rotation.state} {_end(run)}")
    held = run.distributor.held()
    lacking = [each for each in run.discovery.there if held.get(each, rotation.candidate) != rotation.candidate]
    unknown = [each for each in run.discovery.there if run.distributor.faults.get(each)]
    # What changes between the look and the call is the instance's own: it starts with what the store calls current.
    if lacking:
        raise Violation(f"I6: retired while {lacking} lack it and {unknown} misbehave {_end(run)}")


def check_facts(run: RolloutRun, before: Rotation | None, body: e.Event) -> None:
    """I10: no wave passes on silence. I5: who is said to have proved a version has it."""
    if before is None or before.fleet is None:
        return
    fleet = before.fleet
    if isinstance(body, e.WavePassed) and fleet.present(body.wave) and fleet.wave(body.wave).soak:
        is_let = fleet.full or fleet.passed >= body.wave
        good = {CheckResult.PASS, CheckResult.WARN}
        if fleet.accepted >= body.wave:
            good.add(CheckResult.UNKNOWN)
        if not is_let and (not before.health or any(each.result not in good for each in before.health)):
            raise Violation(f"I10: wave {body.wave} passed on {before.health} {_end(run)}")
    if isinstance(body, e.PreviousRestored | e.RolloutCompleted):
        _check_all(run, before, body)


def _check_all(run: RolloutRun, rotation: Rotation, body: e.Event) -> None:
    """Judge that everybody who was told is back, or that everybody in the plan has the candidate."""
    fleet, held = rotation.fleet, run.distributor.held()
    assert fleet is not None, "it has instances"
    if isinstance(body, e.PreviousRestored) and rotation.previous is not None:
        left = fleet.to_return(promoted=rotation.promotable)
        if left:
            raise Violation(f"I5: restored before {left} were back {_end(run)}")
    if isinstance(body, e.RolloutCompleted) and fleet.outstanding(fleet.size):
        raise Violation(f"I5: completed before {fleet.outstanding(fleet.size)} had it, of {held} {_end(run)}")


def check_fleet_end(run: RolloutRun, ended: Rotation) -> None:
    """At the end everybody who is there has the version that the rotation ended with."""
    held = run.distributor.held()
    wanted = {State.COMPLETED: ended.candidate, State.ROLLED_BACK: ended.previous}.get(ended.state)
    if wanted is None:
        raise Violation(f"L1: it ended {ended.state}: {ended.cause} {_end(run)}")
    others = {each: held.get(each) for each in run.discovery.there if held.get(each, wanted) != wanted}
    if others:
        raise Violation(f"I3: it ended {ended.state} on {wanted}, and {others} {_end(run)}")


def _end(run: RolloutRun) -> str:
    return f"[seed {run.seed}] {run.story[-14:]}"
