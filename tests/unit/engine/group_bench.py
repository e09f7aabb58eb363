"""A bench for groups: several services on memory adapters, any of which can be told not to verify.

Processes die before or after an append of the log, which is where a run of a group can be cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from uuid import UUID

from adapters.event_store.memory import MemoryEventLog
from adapters.stores.memory import MemoryStore
from adapters.targets.memory import MemoryTarget
from engine import group_events as g
from engine.credential import Version
from engine.facts import Fact, Recorded
from engine.group import Group, Standing, begin, go_back
from engine.group_events import FailurePolicy, GroupEvent
from engine.group_runner import GroupRunner, Rotator, Task
from engine.health import CheckResult, Sample
from engine.machine import State
from engine.operations import Operations
from engine.performance import Binding, World
from engine.plan import Plan, Strategy
from engine.ports import Probe, Verification
from engine.process import Wait
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import CredentialValue, Instant, Microseconds, Secret
from tests.unit.engine.bench import HOUR, Died
from tests.unit.engine.surroundings import BEGAN, Clock, Seeded

NAME = "cluster"
ENVIRONMENT = "production"
FIRST = "v0-initial"


class Breakable(MemoryTarget):
    """A target at which no new value is verified while it is `broken`."""

    broken = False
    first: CredentialValue | None = None

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Refuse what is new, where it is broken."""
        if self.broken:
            return Verification(Probe.REFUSED, Probe.UNKNOWN, query=False)
        return super().verify(value, control=control)


class MortalLog(MemoryEventLog):
    """A log whose process dies at an append: at which number, behind the append or before it."""

    dies_at = 0
    dies_behind = False
    appends = 0

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append, and die when it is time."""
        self.appends += 1
        is_last = self.appends == self.dies_at
        if is_last and not self.dies_behind:
            raise Died
        recorded = super().append(facts)
        if is_last:
            raise Died
        return recorded


class GroupBench:
    """A group `cluster` of dual services whose grace period is an hour."""

    def __init__(
        self,
        steps: Sequence[Sequence[str]] = (("primary",), ("replica-1", "replica-2")),
        *,
        policy: FailurePolicy = FailurePolicy.ROLLBACK_ALL,
        checks: Sequence[str] = (),
        grace: int = HOUR,
        automatic: bool = True,
    ) -> None:
        self.clock, self.random, self.log = Clock(), Seeded(), MortalLog()
        self.steps = tuple(map(tuple, steps))
        self.services = [name for step in self.steps for name in step]
        self.plan = Plan(
            strategy=Strategy.DUAL,
            overlap=True,
            store="local",
            path="path",
            grace=Microseconds(grace),
            rollback_automatic=automatic,
        )
        self.group_plan = g.GroupPlan(
            self.steps, policy, tuple(g.PlannedCheck(name, self.steps[0][0]) for name in checks)
        )
        self.targets, self.stores = {}, {}
        for name in self.services:
            target = Breakable(strategy=Strategy.DUAL, entropy=self.random, now=lambda: self.clock.now().wall)
            wanted = CredentialValue("app", Secret(f"canary-initial-{name}-0123456789"))
            target.first = target.apply(wanted, tag="before", deadline=Instant(BEGAN + HOUR))
            store = MemoryStore()
            store.stage("path", FIRST, target.first)
            store.promote("path", FIRST, target.first, expected=None)
            self.targets[name], self.stores[name] = target, store
        self.seen: dict[str, list[CheckResult]] = {}
        """What each check sees, look by look; the last one for ever."""
        self.looked = 0
        self.order: list[str] = []
        """The services in the order in which their rotations began, forward or back."""
        self.patient = True

    @property
    def world(self) -> World:
        """The world of one process."""
        return World(
            log=self.log,
            clock=self.clock,
            ids=self.random,
            entropy=self.random,
            bind=lambda service, environment, plan: Binding(self.targets[service], self.stores[service]),
            hold=_held,
            owner="process-1",
            actor="ada",
            fingerprint_key=b"k" * 32,
        )

    @property
    def runner(self) -> GroupRunner:
        """A runner, as a fresh process has it."""
        return GroupRunner(self.world, self, patience=lambda wait: self.patient)

    @property
    def group(self) -> Group:
        """The group as of now."""
        return self.runner.load(NAME)

    def start(self, reason: str = "") -> Group:
        """Record that a run begins."""
        members = [g.Member(name, ENVIRONMENT, self.current(name)) for name in self.services]
        runner = self.runner
        group = runner.load(NAME)
        return runner.record(group, begin(group, self.group_plan, members, run_id=self.random.new(), reason=reason))

    def rotate(self) -> Group:
        """Run the group to its end."""
        self.start()
        return self.runner.drive(NAME)

    def roll_back(self, versions: Sequence[g.Destination] = ()) -> Group:
        """Take the newest run back."""
        runner = self.runner
        group = runner.load(NAME)
        runner.record(group, go_back(group, reason="asked", versions=versions))
        return runner.drive(NAME)

    def bodies(self) -> list[GroupEvent]:
        """Return what happened to the group."""
        return [fact.body for fact in self.log.stream(g.group_id(NAME)) if isinstance(fact.body, GroupEvent)]

    def names(self) -> list[str]:
        """Return the names of what happened to the group."""
        return [type(body).__name__ for body in self.bodies()]

    # --- what the services have -----------------------------------------------------------------------------

    def current(self, service: str) -> str | None:
        """Return what the store calls current."""
        return self.stores[service].versions("path").current

    def is_sound(self, service: str) -> bool:
        """Tell whether what the store calls current is accepted."""
        value = self.stores[service].read("path", "current")
        return value is not None and self.targets[service].accepts(value)

    def rotation(self, standing: Standing) -> Rotation | None:
        """Return the rotation that led a service forward."""
        return self.world.load(standing.rotation_id) if standing.rotation_id else None

    # --- the crew -----------------------------------------------------------------------------------------------

    def side_by_side(self, tasks: Sequence[Task]) -> Sequence[Sequence[GroupEvent]]:
        """Do one after the other."""
        return [task(Rotations(self)) for task in tasks]

    def look(self, group: Group) -> Mapping[str, Sample]:
        """See what was planned, a pass where nothing was."""
        self.looked += 1
        return {name: Sample(self._next(name)) for name in group.checks}

    def _next(self, check: str) -> CheckResult:
        planned = self.seen.get(check, [CheckResult.PASS])
        return planned.pop(0) if len(planned) > 1 else planned[0]


class Rotations(Rotator):
    """What a group has done to a service, by the engine itself."""

    def __init__(self, bench: GroupBench) -> None:
        self._bench = bench
        self._operations = Operations(bench.world)

    def begin(self, member: g.Member, rotation_id: UUID, *, reason: str) -> None:
        """Begin a rotation."""
        bench = self._bench
        self._operations.start(
            member.service, ENVIRONMENT, bench.plan, logins=("app",), reason=reason, rotation_id=rotation_id
        )
        bench.order.append(member.service)

    def begin_back(self, member: g.Member, version: str, rotation_id: UUID, *, reason: str) -> None:
        """Begin a rotation of kind rollback."""
        self._operations.roll_back_to(
            member.service,
            ENVIRONMENT,
            self._bench.plan,
            Version(version, "app"),
            logins=("app",),
            reason=reason,
            rotation_id=rotation_id,
        )
        self._bench.order.append(member.service)

    def take_back(self, rotation_id: UUID, *, reason: str) -> None:
        """Have a rotation go back."""
        self._operations.go_back(rotation_id, command="group rollback", reason=reason)
        rotation = self._bench.world.load(rotation_id)
        assert rotation is not None
        self._bench.order.append(rotation.service)

    def drive(self, rotation_id: UUID) -> Rotation:
        """Drive a rotation to its grace period, waiting for whatever else there is."""
        return Runner(self._bench.world).drive(rotation_id, patience=_patience)


def _patience(rotation: Rotation, wait: Wait) -> bool:
    return rotation.state is not State.GRACE


def _held(run_id: UUID) -> AbstractContextManager[Callable[[], None]]:
    return nullcontext(_nothing)


def _nothing() -> None:
    """Hold, and never lose it."""
