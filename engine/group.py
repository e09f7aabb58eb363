"""A group of services that are rotated together: its machine, its fold, and what is decided about it.

Rule 1: the table says which event is legal when; folding never asks it, since each event carries its state.
Rule 2: nothing here performs; engine/group_runner.py does, and asks here what comes next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

import msgspec
from msgspec.structs import replace
from transitions import Machine

from engine import group_events as g
from engine.credential_events import Cause
from engine.errors import GroupIllegal, GroupOpen
from engine.facts import Fact
from engine.group_events import FailurePolicy, GroupEvent, GroupState, MemberOutcome
from engine.health import CheckResult
from engine.values import Deadline, Instant

ENDED: Final = frozenset({GroupState.IDLE, GroupState.COMPLETED, GroupState.FAILED, GroupState.ROLLED_BACK})
"""No run is under way: another one may begin."""

_CHANGES: Final[tuple[tuple[str, tuple[GroupState, ...], GroupState], ...]] = (
    ("GroupStarted", tuple(sorted(ENDED)), GroupState.ROTATING),
    ("StepRotated", (GroupState.ROTATING,), GroupState.CHECKING),
    ("StepPassed", (GroupState.CHECKING,), GroupState.ROTATING),
    ("GroupCompleted", (GroupState.ROTATING,), GroupState.COMPLETED),
    ("GroupFailed", (GroupState.ROTATING, GroupState.CHECKING), GroupState.FAILED),
    (
        "GroupRollbackStarted",
        (GroupState.ROTATING, GroupState.CHECKING, GroupState.COMPLETED, GroupState.FAILED, GroupState.ROLLED_BACK),
        GroupState.ROLLING_BACK,
    ),
    ("GroupRolledBack", (GroupState.ROLLING_BACK,), GroupState.ROLLED_BACK),
    ("GroupRollbackFailed", (GroupState.ROLLING_BACK,), GroupState.ROLLBACK_FAILED),
    ("GroupRollbackRetried", (GroupState.ROLLBACK_FAILED,), GroupState.ROLLING_BACK),
)

_INTERNAL: Final[tuple[tuple[str, tuple[GroupState, ...]], ...]] = (
    ("MemberBegun", (GroupState.ROTATING, GroupState.ROLLING_BACK)),
    ("MemberEnded", (GroupState.ROTATING,)),
    ("GroupChecked", (GroupState.CHECKING,)),
    ("MemberReturned", (GroupState.ROLLING_BACK,)),
)

MACHINE: Final = Machine(
    model=None,
    states=[state.value for state in GroupState],
    transitions=[
        {"trigger": event, "source": [s.value for s in sources], "dest": to.value} for event, sources, to in _CHANGES
    ]
    + [{"trigger": event, "source": [s.value for s in sources], "dest": None} for event, sources in _INTERNAL],
    initial=GroupState.IDLE.value,
    auto_transitions=False,
)
"""The machine that every group is driven by."""

TABLE: Final[dict[tuple[GroupState, str], GroupState]] = {
    (GroupState(source), name): GroupState(transition.dest or source)
    for name, event in MACHINE.events.items()
    for source, transitions in event.transitions.items()
    for transition in transitions
}
"""(state, event) to the state that follows; what is not in it is illegal."""


class Standing(msgspec.Struct, frozen=True):
    """How one service of the group stands in the run."""

    member: g.Member
    rotation_id: UUID | None = None
    """The rotation that leads it forward."""
    outcome: MemberOutcome | None = None
    returning: UUID | None = None
    """The rotation that leads it back, where that is another one."""
    is_back: bool = False
    cause: Cause | None = None

    @property
    def service(self) -> str:
        """The name of the service."""
        return self.member.service


class Look(msgspec.Struct, frozen=True):
    """What a check of the group saw last."""

    check: str
    result: CheckResult
    text: str = ""


class Group(msgspec.Struct, frozen=True):
    """A group as of its last fact: its newest run."""

    id: UUID
    name: str
    version: int = 0
    """How many facts it has, of all runs."""
    state: GroupState = GroupState.IDLE
    run_id: UUID | None = None
    plan: g.GroupPlan = g.GroupPlan(())
    members: tuple[Standing, ...] = ()
    step: int = 0
    until: Deadline = g.NEVER
    due: Deadline = g.NEVER
    looks: tuple[Look, ...] = ()
    cause: Cause | None = None
    reason: str = ""
    actor: str = ""
    automatic: bool = False
    """It goes back by itself."""
    versions: tuple[g.Destination, ...] = ()
    """Where services go back to, where that is not the version of before."""
    started_at: Instant = Instant(0)
    ended_at: Instant | None = None

    def standing(self, service: str) -> Standing:
        """Return how a service of the group stands."""
        return next(each for each in self.members if each.service == service)

    @property
    def checks(self) -> tuple[str, ...]:
        """Return the checks that look after the present step, by name."""
        reached = {name for step in self.plan.steps[: self.step + 1] for name in step}
        return tuple(check.name for check in self.plan.checks if check.service in reached)

    @property
    def asked(self) -> dict[str, str]:
        """Return the versions that a person asked for, by service."""
        return {each.service: each.version for each in self.versions}

    @property
    def wanted(self) -> dict[str, str | None]:
        """Return the version that each service goes back to."""
        return {each.service: each.member.before for each in self.members} | self.asked


def evolve(group: Group, fact: Fact) -> Group:
    """Return the group after one more fact; a fact of something else is refused."""
    body = fact.body
    if not isinstance(body, GroupEvent):
        raise TypeError(f"{type(body).__name__} is not an event of a group")
    after = replace(group, version=fact.originator_version, state=body.to)
    if body.to in ENDED or body.to is GroupState.ROLLBACK_FAILED:
        after = replace(after, ended_at=fact.at)
    match body:
        case g.GroupStarted():
            return Group(
                group.id,
                group.name,
                fact.originator_version,
                body.to,
                run_id=body.run_id,
                plan=body.plan,
                members=tuple(Standing(member) for member in body.members),
                reason=body.reason,
                actor=fact.actor,
                started_at=fact.at,
            )
        case g.MemberBegun() if body.to is GroupState.ROLLING_BACK:
            return _with(after, body.service, returning=body.rotation_id)
        case g.MemberBegun():
            return _with(after, body.service, rotation_id=body.rotation_id)
        case g.MemberEnded():
            cause = after.cause if body.cause is None else body.cause
            return replace(_with(after, body.service, outcome=body.outcome, cause=body.cause), cause=cause)
        case g.StepRotated():
            return replace(after, until=body.until, due=g.NEVER, looks=())
        case g.GroupChecked():
            others = tuple(each for each in after.looks if each.check != body.check)
            return replace(after, due=body.due, looks=(*others, Look(body.check, body.result, body.text)))
        case g.StepPassed():
            return replace(after, step=body.step + 1)
        case _:
            return _go_back_or_end(after, body)


def _go_back_or_end(after: Group, body: GroupEvent) -> Group:
    """Fold what leads back, or ends a run."""
    match body:
        case g.GroupRollbackStarted():
            cause = after.cause if body.cause is None else body.cause
            begun = replace(after, automatic=body.automatic, cause=cause, versions=body.versions, ended_at=None)
            return replace(begun, members=tuple(replace(m, is_back=False, returning=None) for m in begun.members))
        case g.MemberReturned():
            return _with(after, body.service, is_back=True)
        case g.GroupFailed() | g.GroupRollbackFailed():
            return replace(after, cause=body.cause)
        case g.GroupRollbackRetried():
            return replace(after, ended_at=None)
        case _:
            return after


def _with(group: Group, service: str, **changes: object) -> Group:
    members = tuple(replace(each, **changes) if each.service == service else each for each in group.members)
    return replace(group, members=members)


def fold(name: str, facts: Iterable[Fact]) -> Group:
    """Return the group after all `facts`, oldest first; an idle one where there are none."""
    group = Group(g.group_id(name), name)
    for fact in facts:
        group = evolve(group, fact)
    return group


# --- decisions -------------------------------------------------------------------------------------------------------


def begin(
    group: Group, plan: g.GroupPlan, members: Sequence[g.Member], *, run_id: UUID, reason: str
) -> list[GroupEvent]:
    """Decide on a run; raises `GroupOpen` where one is under way, or needs a person."""
    if group.state not in ENDED:
        raise GroupOpen(group=group.name, state=group.state)
    return [g.GroupStarted(run_id, group.name, plan, tuple(members), reason=reason)]


def go_back(group: Group, *, reason: str, versions: Sequence[g.Destination] = ()) -> list[GroupEvent]:
    """Decide on taking the newest run back, or services to the `versions` given; raises `GroupIllegal`."""
    _require(group, "GroupRollbackStarted", "rollback")
    return [g.GroupRollbackStarted(automatic=False, reason=reason, versions=tuple(versions))]


def retry(group: Group, *, reason: str) -> list[GroupEvent]:
    """Decide on trying again to go back; raises `GroupIllegal` in any other state."""
    _require(group, "GroupRollbackRetried", "retry")
    return [g.GroupRollbackRetried(reason=reason)]


def _require(group: Group, event: str, command: str) -> None:
    if (group.state, event) not in TABLE:
        raise GroupIllegal(group=group.name, command=command, state=group.state)


def after_step(group: Group, *, until: Deadline) -> list[GroupEvent]:
    """Decide what follows when every service of the step has ended: checks, the next step, or the way back."""
    step = group.plan.steps[group.step]
    missed = [group.standing(name) for name in step if group.standing(name).outcome is not MemberOutcome.ROTATED]
    if missed and group.plan.failure_policy is not FailurePolicy.CONTINUE:
        return give_up(group, missed[0].cause or _unsaid(missed[0]))
    return [g.StepRotated(group.step, until)]


def after_looks(group: Group, *, is_over: bool) -> list[GroupEvent]:
    """Decide what follows from what the checks saw last; nothing where they are to look again."""
    unwell = [each for each in group.looks if each.result not in (CheckResult.PASS, CheckResult.WARN)]
    if not unwell and {each.check for each in group.looks} >= set(group.checks):
        return [g.StepPassed(group.step)]
    if not is_over or not unwell:
        return []
    seen = unwell[0]
    message = f"the check {seen.check} did not pass in time: {seen.text or seen.result}"
    hint = f"keyturn group status {group.name} tells how each service stands."
    cause = Cause("check_group", "unhealthy", message, hint)
    if group.plan.failure_policy is FailurePolicy.CONTINUE:
        return [g.GroupFailed(cause)]
    return give_up(group, cause)


def give_up(group: Group, cause: Cause) -> list[GroupEvent]:
    """Decide how a run ends that cannot go on."""
    if group.plan.failure_policy is FailurePolicy.ROLLBACK_ALL:
        return [g.GroupRollbackStarted(automatic=True, cause=cause)]
    return [g.GroupFailed(cause)]


def ending(group: Group) -> list[GroupEvent]:
    """Decide how a run ends whose steps are through."""
    missed = [each for each in group.members if each.outcome is not MemberOutcome.ROTATED]
    return [g.GroupFailed(missed[0].cause or _unsaid(missed[0]))] if missed else [g.GroupCompleted()]


def _unsaid(standing: Standing) -> Cause:
    return Cause("rotate", "failed", f"{standing.service} was not rotated")
