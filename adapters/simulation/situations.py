"""Situations that a person would ask about by name: whether a run came through one, and how to drive a run there.

Rule: a situation is a predicate over what happened; it judges nothing, since the invariants hold in all of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from adapters.simulation.crowd import Freeze, Job
from adapters.simulation.faults import Fault
from adapters.simulation.hands import Deed, Hand
from adapters.simulation.jobs import crowded, draw_faults, resume, rotate
from adapters.simulation.trace import Happening, Step
from adapters.simulation.world import Simulation, run
from adapters.targets.memory_options import MemoryOptions
from engine.machine import State
from engine.plan import Strategy
from engine.values import SECOND

# --- what happened -------------------------------------------------------------------------------------------------


def steps(world: Simulation, kind: Happening, *names: str, state: str = "", call: str = "") -> list[Step]:
    """Return what happened of a kind, by one of the names, in a state, at a call; what is left out may be anything."""
    return [
        step
        for step in world.trace
        if step.kind is kind
        and (not names or step.name in names)
        and (not state or step.state == state)
        and (not call or step.call == call)
    ]


def _fault(*names: str, call: str = "", state: str = "") -> Callable[[Simulation], bool]:
    return lambda world: bool(steps(world, Happening.FAULT, *names, call=call, state=state))


def _command(*names: str, state: str, kind: Happening = Happening.COMMAND) -> Callable[[Simulation], bool]:
    return lambda world: bool(steps(world, kind, *names, state=state))


def _hand(hand: Hand, state: str) -> Callable[[Simulation], bool]:
    return lambda world: bool(steps(world, Happening.HAND, hand.name, state=state))


def _fact(name: str, detail: str = "") -> Callable[[Simulation], bool]:
    return lambda world: any(step.detail.startswith(detail) for step in steps(world, Happening.FACT, name))


def _stopped(name: str) -> Callable[[Simulation], bool]:
    return lambda world: bool(steps(world, Happening.STOPPED, name))


def _rotations(world: Simulation) -> Iterator[list[Step]]:
    """Yield what happened in each rotation, from its beginning to the next one's."""
    part: list[Step] = []
    for step in world.trace:
        if step.name == "RotationStarted" and part:
            yield part
            part = []
        part.append(step)
    yield part


def _then(first: Callable[[Step], bool], second: Callable[[Step], bool]) -> Callable[[Simulation], bool]:
    """Return whether one thing happened after another in the same rotation."""

    def seen(world: Simulation) -> bool:
        for part in _rotations(world):
            at = next((number for number, step in enumerate(part) if first(step)), None)
            if at is not None and any(second(step) for step in part[at + 1 :]):
                return True
        return False

    return seen


def _is_fault(*names: str, call: str) -> Callable[[Step], bool]:
    return lambda step: step.kind is Happening.FAULT and step.name in names and step.call == call


def _is_fact(*names: str) -> Callable[[Step], bool]:
    return lambda step: step.kind is Happening.FACT and step.name in names


def _died_thrice(world: Simulation) -> bool:
    return any(sum(step.kind is Happening.DIED for step in part) > 2 for part in _rotations(world))


def _failed_twice(world: Simulation) -> bool:
    return any(sum(step.name == "RollbackFailed" for step in part) > 1 for part in _rotations(world))


def _jumped_in_grace(world: Simulation) -> bool:
    """The wall clock was set back while the deadline of the grace period stood."""
    at_append = _then(_is_fault("clock_back", call="log.append"), _is_fact("MonitoringPassed"))
    jumps = steps(world, Happening.FAULT, "clock_back")
    return any(step.state in (State.MONITORING, State.GRACE) for step in jumps) and at_append(world)


def _jumped_in_fence(world: Simulation) -> bool:
    """The wall clock was set forward while a change without an answer could still land."""
    doubts = [
        s.at for s in steps(world, Happening.FAULT, "lost", "late", "error_after") if s.call.startswith("target.")
    ]
    jumps = [step.at for step in steps(world, Happening.FAULT, "clock_forward")]
    return any(doubt <= jump < doubt + 5 * SECOND for doubt in doubts for jump in jumps)


def _woke_too_late(world: Simulation) -> bool:
    taken = {step.name for step in steps(world, Happening.TAKEN_OVER)}
    return any(step.owner in taken for step in steps(world, Happening.WOKE, "lapsed"))


def _died_unrecorded(world: Simulation) -> bool:
    """A process died between the record of the attempt and the call, and did not know whether it had been made."""
    died = steps(world, Happening.FAULT, "crash_before", call="target.apply")
    return bool(died) or _then(_is_fact("AttemptStarted"), _is_fault("crash_after", call="log.append"))(world)


def _full(world: Simulation) -> bool:
    return world.strategy is Strategy.DUAL and _fact("RotationStarted", "2 in force")(world)


def _waited_for_logins(world: Simulation) -> bool:
    gaps = zip(world.trace, world.trace[1:], strict=False)
    waited = any(after.at - before.at > 600 * SECOND and before.state != State.GRACE for before, after in gaps)
    return world.capabilities.login_budget is not None and waited


# --- where to drive a run ---------------------------------------------------------------------------------------------


class Course(NamedTuple):
    """What is planned for a run, besides what is drawn."""

    faults: tuple[Fault, ...] = ()
    deeds: tuple[Deed, ...] = ()
    jobs: tuple[Job, ...] = ()
    """Several processes at once, where there are any."""
    freezes: tuple[Freeze, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it
    strategies: tuple[Strategy, ...] = tuple(Strategy)


class Situation(NamedTuple):
    """A situation by name: whether a run came through it, and a course that leads there more often than not."""

    name: str
    holds: Callable[[Simulation], bool]
    toward: Callable[[random.Random], Course]


OVERLAPPING: Final = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
SETTABLE: Final = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL, Strategy.SCRIPT)
_REFUSED: Final = (Fault("target.verify", 1, "refused"), Fault("target.verify", 2, "refused"))
"""A candidate that is refused twice: the rotation goes back."""


def _on(*faults: Fault | tuple[str, int, str], strategies: tuple[Strategy, ...] = tuple(Strategy), **more: Any) -> Any:
    """Return a course of faults, the same for every seed."""
    planned = tuple(fault if isinstance(fault, Fault) else Fault(*fault) for fault in faults)
    return lambda source: Course(planned, strategies=strategies, **more)


def _by_hand(hand: Hand, nth: int, call: str = "", strategies: tuple[Strategy, ...] = tuple(Strategy)) -> Any:
    return lambda source: Course(deeds=(Deed(nth, hand, call),), strategies=strategies)


def _frozen(source: random.Random) -> Course:
    return Course(jobs=(rotate, resume), freezes=(Freeze(0, source.randint(4, 40), 300),))


GRACE_ENDS: Final = ("log.append", 12)
"""The append that ends the first grace period of a calm run."""

SITUATIONS: Final[tuple[Situation, ...]] = (
    Situation(
        "late effect after rolled_back",
        _then(_is_fact("RollbackVerified"), lambda step: step.kind is Happening.LANDED),
        _on(*_REFUSED, Fault("target.restore", 1, "late", 4.9)),
    ),
    Situation(
        "late effect refused after its deadline",
        lambda world: bool(steps(world, Happening.LATE_REFUSED)),
        _on(Fault("target.apply", 1, "late", 5.5)),
    ),
    Situation("two resumers", _stopped("owned_elsewhere"), lambda source: Course(jobs=(rotate, resume, resume))),
    Situation(
        "second rotate while one is open",
        _stopped("rotation_open"),
        lambda source: Course(jobs=(rotate, rotate, rotate, rotate)),
    ),
    Situation("frozen owner wakes after take-over", _woke_too_late, _frozen),
    Situation("fenced owner stops", _stopped("fenced"), _frozen),
    Situation(
        "another process appends first",
        _fault("other_first"),
        lambda source: Course((Fault("log.append", source.randint(1, 12), "other_first"),)),
    ),
    Situation(
        "three owners of one rotation",
        lambda world: any(rotation.epoch > 2 for rotation in world.fold.values()),
        _on(("target.apply", 1, "crash_after"), ("store.promote", 1, "crash_before")),
    ),
    Situation("all slots full", _full, _on(*_REFUSED, options={"automatic": False}, strategies=(Strategy.DUAL,))),
    Situation(
        "crash in the recovery of a recovery",
        _died_thrice,
        _on(*[("store.read", nth, "crash_before") for nth in (2, 3, 4)]),
    ),
    Situation("crash between attempt and apply", _died_unrecorded, _on(("target.apply", 1, "crash_before"))),
    Situation(
        "crash between promotion and its record",
        _fault("crash_after", call="store.promote", state=State.PROMOTING),
        _on(("store.promote", 1, "crash_after")),
    ),
    Situation(
        "crash while going back",
        lambda world: bool(steps(world, Happening.DIED, state=State.ROLLING_BACK)),
        _on(*_REFUSED, ("target.restore", 1, "crash_after")),
    ),
    Situation(
        "reply lost and candidate accepted",
        _then(
            _is_fault("error_after", call="target.apply"),
            lambda s: s.name == "CandidateApplied" and s.detail == "probe",
        ),
        _on(("target.apply", 1, "error_after"), strategies=SETTABLE),
    ),
    Situation(
        "reply of a retirement lost",
        _then(_is_fault("lost", "error_after", "late", call="target.retire"), _is_fact("PreviousRetired")),
        lambda source: Course((Fault("target.retire", 1, source.choice(["lost", "error_after", "late"])),)),
    ),
    Situation("orphan revoked", _fact("OrphanRevoked"), _on(("target.apply", 1, "lost"), strategies=(Strategy.ISSUE,))),
    Situation(
        "made twice by one request",
        lambda world: world.strategy is Strategy.ISSUE and _fault("twice", call="target.apply")(world),
        _on(("target.apply", 1, "twice"), strategies=(Strategy.ISSUE,)),
    ),
    Situation(
        "nodes disagree",
        _fault("partial"),
        lambda source: Course(
            (*_REFUSED, Fault(source.choice(["target.apply", "target.restore"]), 1, "partial")), strategies=SETTABLE
        ),
    ),
    Situation("clock back during grace", _jumped_in_grace, _on(("log.append", 11, "clock_back"))),
    Situation(
        "clock forward during a fence",
        _jumped_in_fence,
        _on(Fault("target.apply", 1, "late", 2.5), ("log.append", 4, "clock_forward")),
    ),
    Situation(
        "operator aborts while applying",
        _command("abort", "rollback", state=State.APPLYING),
        _on(("target.apply", 1, "abort")),
    ),
    Situation(
        "operator aborts while promoting",
        _command("abort", "rollback", state=State.PROMOTING),
        lambda source: Course((Fault(source.choice(["store.promote", "place.publish"]), 1, "abort"),)),
    ),
    Situation(
        "operator has it rest, and it goes on",
        _fact("RolloutResumed"),
        _on(("target.apply", 1, "pause")),
    ),
    Situation(
        "operator rolls back in grace", _command("abort", "rollback", state=State.GRACE), _on((*GRACE_ENDS, "rollback"))
    ),
    Situation(
        "abort refused behind the point of no return",
        _command("abort", "rollback", state=State.RETIRING, kind=Happening.COMMAND_REFUSED),
        _on(("target.retire", 1, "abort")),
    ),
    Situation("grace ended early by a person", _command("retire", state=State.GRACE), _on((*GRACE_ENDS, "retire"))),
    Situation(
        "rollback fails, and again after a person had it tried again",
        _failed_twice,
        _on(*_REFUSED, ("target.restore", 1, "rejected"), ("target.restore", 2, "rejected")),
    ),
    Situation(
        "disk full behind a change of the target",
        lambda world: any(
            step.call == "log.append" and step.detail == "apply" and _after_an_attempt(world, step)
            for step in steps(world, Happening.FAULT, "disk_full", state=State.APPLYING)
        ),
        _on(("log.append", 4, "disk_full")),
    ),
    Situation(
        "store answers with the past when it begins",
        lambda world: (
            any(step.detail == "begin" for step in steps(world, Happening.FAULT, "stale", call="store.versions"))
            and any(r.state is State.FAILED for r in world.fold.values())
        ),
        _on(("store.versions", 5, "stale")),
    ),
    Situation(
        "place refuses for good, and all goes back",
        _then(_is_fault("rejected", call="place.publish"), _is_fact("RollbackVerified")),
        _on(("place.publish", 1, "rejected")),
    ),
    Situation(
        "verification answers too late",
        _fault("very_slow", call="target.verify"),
        _on(("target.verify", 1, "very_slow")),
    ),
    Situation(
        "waits for wrong logins of before",
        _waited_for_logins,
        _on(*_REFUSED, options={"options": MemoryOptions(lockout_after=3)}),
    ),
    Situation(
        "previous changed by hand during grace",
        _hand(Hand.REVOKE_PREVIOUS, State.GRACE),
        _by_hand(Hand.REVOKE_PREVIOUS, 6),
    ),
    Situation(
        "target restored from a backup during grace",
        _hand(Hand.RESTORE_TARGET, State.GRACE),
        _by_hand(Hand.RESTORE_TARGET, 6),
    ),
    Situation(
        "store restored from a backup while promoting",
        _hand(Hand.RESTORE_STORE, State.PROMOTING),
        _by_hand(Hand.RESTORE_STORE, 1, "store.promote"),
    ),
    Situation(
        "label moved by hand while promoting",
        _hand(Hand.MOVE_LABEL, State.PROMOTING),
        _by_hand(Hand.MOVE_LABEL, 2, "store.promote"),
    ),
    Situation(
        "store emptied while retiring", _hand(Hand.EMPTY, State.RETIRING), _by_hand(Hand.EMPTY, 1, "target.retire")
    ),
)
"""All of them, in the order in which they are told."""


def _after_an_attempt(world: Simulation, fault: Step) -> bool:
    """Tell whether the last fact before a fault was the record of an attempt."""
    before = [step for step in world.trace[: world.trace.index(fault)] if step.kind is Happening.FACT]
    return bool(before) and before[-1].name == "AttemptStarted"


def met(world: Simulation) -> list[str]:
    """Return the names of the situations that a finished run came through."""
    return [situation.name for situation in SITUATIONS if situation.holds(world)]


def drive_toward(situation: Situation, seed: int) -> Simulation:
    """Return the run of a seed that is likely to come through a situation, with none to two faults more."""
    source = random.Random(f"{situation.name} {seed}")
    course = situation.toward(source)
    strategy = source.choice(course.strategies)
    faults = [*course.faults, *draw_faults(source, strategy, source.choice([0, 0, 1, 2]))]
    try:
        if course.jobs:
            return crowded(strategy, faults, jobs=course.jobs, freezes=course.freezes, seed=seed)
        return run(
            strategy, faults, deeds=course.deeds, seed=seed, rotations_wanted=source.randint(1, 2), **course.options
        )
    except AssertionError as violation:
        violation.add_note(f"toward {situation.name!r}, seed {seed}: {strategy}, {faults}, {course}")
        raise
