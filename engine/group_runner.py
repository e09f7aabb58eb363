"""The runner of groups: load, do what comes next with the services of a step, append what became of it, repeat.

Rule 1: what is about to be done to a service is recorded before it is done, under an id that is drawn once: a run
that died is driven on by the same code.
Rule 2: nothing here changes a credential; a rotation does, and every rotation is driven by engine/runner.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from engine import group as groups
from engine import group_events as g
from engine.credential_events import Cause
from engine.errors import Conflict, Fenced, KeyturnError
from engine.facts import Fact
from engine.group import Group, Standing
from engine.group_events import GroupEvent, GroupState, MemberOutcome
from engine.health import Sample
from engine.machine import ENDED, State
from engine.performance import World
from engine.policies import can_go_back
from engine.rotation import Rotation
from engine.values import Microseconds, deadline_after


class Rotator(Protocol):
    """What a group has done to one service at a time. Each method returns when there is nothing more to do now."""

    def begin(self, member: g.Member, rotation_id: UUID, *, reason: str) -> None:
        """Record that the service is rotated, under this id; raises `KeyturnError` where that cannot begin."""
        ...

    def begin_back(self, member: g.Member, version: str, rotation_id: UUID, *, reason: str) -> None:
        """Record that the service goes back to a version, under this id; raises `KeyturnError`."""
        ...

    def take_back(self, rotation_id: UUID, *, reason: str) -> None:
        """Record that a rotation goes back; raises `KeyturnError`."""
        ...

    def drive(self, rotation_id: UUID) -> Rotation:
        """Drive a rotation until its new version is current and watched, or it rests, or its time is up."""
        ...


Task = Callable[[Rotator], Sequence[GroupEvent]]
"""Work on one service, and what it leads to; nothing where it goes on."""


class Crew(Protocol):
    """Who does the work, and looks."""

    def side_by_side(self, tasks: Sequence[Task]) -> Sequence[Sequence[GroupEvent]]:
        """Do all of them, each with a rotator of its own; return what each led to, in their order."""
        ...

    def look(self, group: Group) -> Mapping[str, Sample]:
        """Look once with every check of the present step (`Group.checks`), by name."""
        ...


class _Way(StrEnum):
    """How a service gets back."""

    IS_BACK = "is_back"
    TAKE_BACK = "take_back"
    DRIVE = "drive"
    ANEW = "anew"
    NONE = "none"


class GroupRunner:
    """Drives groups, one at a time, in this process."""

    def __init__(self, world: World, crew: Crew, *, patience: Callable[[Microseconds], bool]) -> None:
        """`patience` tells whether to wait so long for the next look of the checks."""
        self._world = world
        self._crew = crew
        self._patience = patience

    def load(self, name: str) -> Group:
        """Return a group as of now."""
        return groups.fold(name, self._world.log.stream(g.group_id(name)))

    def record(self, group: Group, events: Sequence[GroupEvent]) -> Group:
        """Append events; raises `Conflict` where another process appended to the group first."""
        at, state, facts = self._world.clock.now().wall, group.state, []
        for number, event in enumerate(events, start=group.version + 1):
            name = type(event).__name__
            assert groups.TABLE.get((state, name)) is event.to, f"{name} is illegal while the group is {state}"
            facts.append(Fact(group.id, number, at, self._world.actor, event))
            state = event.to
        self._world.append(facts)
        for fact in facts:
            group = groups.evolve(group, fact)
        return group

    def drive(self, name: str) -> Group:
        """Drive the newest run until it is over, rests, or has to wait for a rotation or for longer than `patience`.

        Raises `OwnedElsewhere` where a live process drives it, and `Fenced` where one took it over.
        """
        group = self.load(name)
        if group.run_id is None or group.state in groups.ENDED:
            return group
        with self._world.hold(group.run_id) as held:
            while group.state not in (*groups.ENDED, GroupState.ROLLBACK_FAILED):
                held()
                try:
                    events = self._next(group)
                    if not events:
                        return group
                    held()
                    self.record(group, events)
                except Conflict:
                    pass  # whatever another process decided is read before anything else is done
                group = self.load(name)
        return group

    def _next(self, group: Group) -> Sequence[GroupEvent]:
        """Do what comes next; return what to record of it, nothing where it has to wait."""
        match group.state:
            case GroupState.ROTATING:
                return self._rotate(group)
            case GroupState.CHECKING:
                return self._check(group)
            case _:
                return self._return(group)

    # --- forward ----------------------------------------------------------------------------------------------------

    def _rotate(self, group: Group) -> Sequence[GroupEvent]:
        if group.step >= len(group.plan.steps):
            return groups.ending(group)
        left = [each for name in group.plan.steps[group.step] if (each := group.standing(name)).outcome is None]
        if not left:
            until = deadline_after(self._world.clock.now(), group.plan.check_timeout)
            return groups.after_step(group, until=until)
        unknown = [each for each in left if each.rotation_id is None]
        if unknown:
            return [g.MemberBegun(each.service, self._world.ids.new(), group.state) for each in unknown]
        done = self._crew.side_by_side([self._forward(group, each) for each in left])
        return [event for events in done for event in events]

    def _forward(self, group: Group, standing: Standing) -> Task:
        rotation_id = standing.rotation_id
        assert rotation_id is not None, "it was drawn before"

        def task(rotator: Rotator) -> Sequence[GroupEvent]:
            try:
                if self._world.load(rotation_id) is None:
                    rotator.begin(standing.member, rotation_id, reason=_reason(group))
                rotation = rotator.drive(rotation_id)
                if rotation.state is State.FAILED and _is_half_done(rotation):
                    rotator.take_back(rotation_id, reason=f"{_reason(group)}: it failed")
                    rotation = rotator.drive(rotation_id)
            except (Conflict, Fenced):
                raise  # another process acted: the log is read again before anything is concluded
            except KeyturnError as error:
                return [_ended(group, standing, MemberOutcome.FAILED, _cause(standing, error))]
            outcome = outcome_of(rotation.state)
            if outcome is None:
                return []
            return [_ended(group, standing, outcome, None if outcome is MemberOutcome.ROTATED else rotation.cause)]

        return task

    # --- whether all go together ------------------------------------------------------------------------------------

    def _check(self, group: Group) -> Sequence[GroupEvent]:
        if not group.checks:
            return [g.StepPassed(group.step)]
        clock = self._world.clock
        left = group.due.left(clock.now())
        if left:
            if not self._patience(left):
                return []
            clock.wait(left)
        due = deadline_after(clock.now(), group.plan.check_interval)
        looks: list[GroupEvent] = [
            g.GroupChecked(name, sample.result, due, sample.text) for name, sample in self._crew.look(group).items()
        ]
        after = group
        for number, event in enumerate(looks, start=group.version + 1):
            after = groups.evolve(after, Fact(group.id, number, clock.now().wall, self._world.actor, event))
        return [*looks, *groups.after_looks(after, is_over=not group.until.left(clock.now()))]

    # --- back ---------------------------------------------------------------------------------------------------------

    def _return(self, group: Group) -> Sequence[GroupEvent]:
        for step in reversed(group.plan.steps):
            left = [each for name in step if not (each := group.standing(name)).is_back]
            if left:
                return self._return_step(group, left)
        return [g.GroupRolledBack()]

    def _return_step(self, group: Group, left: Sequence[Standing]) -> Sequence[GroupEvent]:
        ways = {each.service: self._way(group, each) for each in left}
        anew = [each for each in left if ways[each.service] is _Way.ANEW and each.returning is None]
        if anew:
            return [g.MemberBegun(each.service, self._world.ids.new(), group.state) for each in anew]
        done = self._crew.side_by_side([self._backward(group, each, ways[each.service]) for each in left])
        events = [event for each in done for event in each]
        # What is back is recorded first: behind a failure nothing more may be.
        return sorted(events, key=lambda event: isinstance(event, g.GroupRollbackFailed))[: _until_failure(events)]

    def _way(self, group: Group, standing: Standing) -> _Way:
        world, member = self._world, standing.member
        asked, wanted = group.asked.get(standing.service), group.wanted[standing.service]
        forward = world.load(standing.rotation_id) if standing.rotation_id else None
        back = world.load(standing.returning) if standing.returning else None
        if back is not None and back.state not in ENDED:
            return _Way.DRIVE
        if forward is not None and (forward.state not in ENDED or _is_half_done(forward)):
            is_free = forward.state not in _ON_ITS_WAY and wanted in (forward.previous, None)
            return _Way.TAKE_BACK if is_free else _Way.DRIVE
        never_moved = forward is None or forward.state is not State.COMPLETED
        current = world.credential(member.service, member.environment).current
        if (never_moved and asked is None) or (current is not None and current.id == wanted):
            return _Way.IS_BACK
        return _Way.NONE if wanted is None else _Way.ANEW

    def _backward(self, group: Group, standing: Standing, way: _Way) -> Task:
        service, wanted = standing.service, group.wanted[standing.service]

        def task(rotator: Rotator) -> Sequence[GroupEvent]:
            try:
                match way:
                    case _Way.IS_BACK:
                        return [g.MemberReturned(service, wanted)]
                    case _Way.NONE:
                        return [g.GroupRollbackFailed(_no_way_back(standing))]
                    case _Way.TAKE_BACK if standing.rotation_id is not None:
                        rotator.take_back(standing.rotation_id, reason=_reason(group))
                        rotation = rotator.drive(standing.rotation_id)
                    case _:
                        rotation = self._led_back(rotator, group, standing)
            except (Conflict, Fenced):
                raise  # another process acted: the log is read again before anything is concluded
            except KeyturnError as error:
                return [g.GroupRollbackFailed(_cause(standing, error))]
            if rotation.state is State.ROLLBACK_FAILED or (rotation.state is State.FAILED and rotation.cause):
                return [g.GroupRollbackFailed(rotation.cause or _no_way_back(standing))]
            if rotation.id == standing.returning and rotation.state is State.ROLLED_BACK:
                return [g.GroupRollbackFailed(rotation.cause or _no_way_back(standing))]
            # Where it is over, the next look at the credential tells whether it is where it should be.
            current = self._world.credential(standing.member.service, standing.member.environment).current
            is_there = rotation.state in ENDED and current is not None and current.id == wanted
            return [g.MemberReturned(service, wanted)] if is_there else []

        return task

    def _led_back(self, rotator: Rotator, group: Group, standing: Standing) -> Rotation:
        """Drive the rotation that leads back, begun if it was not; else the one that cannot be taken back any more."""
        rotation_id, wanted = standing.returning or standing.rotation_id, group.wanted[standing.service]
        assert rotation_id is not None, "it was drawn before"
        if standing.returning and wanted and self._world.load(standing.returning) is None:
            rotator.begin_back(standing.member, wanted, standing.returning, reason=_reason(group))
        return rotator.drive(rotation_id)


_ON_ITS_WAY = (State.RETIRING, State.ROLLING_BACK, State.VERIFYING_ROLLBACK)
"""A rotation that goes where it goes, and is driven there."""


def outcome_of(state: State) -> MemberOutcome | None:
    """Return how it ended for a service whose rotation is in a state; None where it is not through."""
    match state:
        case State.GRACE | State.RETIRING | State.COMPLETED:
            return MemberOutcome.ROTATED
        case State.ROLLED_BACK | State.FAILED | State.CANCELLED:
            return MemberOutcome.FAILED
        case State.ROLLBACK_FAILED:
            return MemberOutcome.STUCK
        case _:
            return None


def _ended(group: Group, standing: Standing, outcome: MemberOutcome, cause: Cause | None) -> GroupEvent:
    return g.MemberEnded(standing.service, outcome, group.state, cause)


def _until_failure(events: Sequence[Any]) -> int:
    """Return how many events there are, of several failures only the first."""
    failures = sum(isinstance(event, g.GroupRollbackFailed) for event in events)
    return len(events) - max(failures - 1, 0)


def _reason(group: Group) -> str:
    return f"group {group.name}" + (f": {group.reason}" if group.reason else "")


def _cause(standing: Standing, error: KeyturnError) -> Cause:
    return Cause("rotate", error.kind, f"{standing.service}: {error.message}", error.advice)


def _no_way_back(standing: Standing) -> Cause:
    message = f"{standing.service} has no version of before to go back to"
    return Cause("rollback", "no_way_back", message, f"keyturn status {standing.service} tells where it is.")


def _is_half_done(rotation: Rotation) -> bool:
    """Tell whether a rotation failed half way and was left there, since going back by itself is off."""
    reached = rotation.attempted or rotation.promotable
    return rotation.state is State.FAILED and reached and can_go_back(rotation)
