"""Who works for a group: rotations of its services, side by side, each thread with an installation of its own.

Rule: nothing here decides about a group (engine/group.py does) or about a rotation (engine/commands.py does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.cli.ready import require_ready
from adapters.cli.starting import ready
from engine import group_events as g
from engine.credential import Version
from engine.errors import OwnedElsewhere
from engine.group import Group
from engine.group_events import GroupEvent
from engine.group_runner import Rotator, Task, outcome_of
from engine.health import Sample, Subject
from engine.machine import State, rests
from engine.operations import Operations
from engine.policies import is_inconclusive, is_stuck
from engine.process import Wait
from engine.rotation import Rotation
from engine.values import CURRENT, SECOND, Instant, Microseconds

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service

_LOOKS_AGAIN: Final = Microseconds(SECOND // 5)
"""How often it is seen whether another process is through with a rotation."""


class Crew:
    """The port `Crew` of the engine: `until` is when it stops waiting, if ever."""

    def __init__(self, session: Session, *, until: Instant | None, say: Callable[[str], None]) -> None:
        self._session = session
        self._until = until
        self._say = say

    def side_by_side(self, tasks: Sequence[Task]) -> Sequence[Sequence[GroupEvent]]:
        """Do all of them at once; return what each led to, in their order."""
        sessions = [self._session, *(self._session.twin() for _ in tasks[1:])]
        rotators = [_Rotations(session, self._until, self._say) for session in sessions]
        if len(tasks) == 1:
            return [tasks[0](rotators[0])]
        with ThreadPoolExecutor(len(tasks), thread_name_prefix="group") as pool:
            return list(pool.map(lambda task, rotator: task(rotator), tasks, rotators))

    def look(self, group: Group) -> Mapping[str, Sample]:
        """Look once with every check of the present step that is still configured."""
        wiring, world = self._session.installation.wiring, self._session.installation.world
        seen: dict[str, Sample] = {}
        for service, check in wiring.looks(group.name):
            if check.name not in group.checks:
                continue
            store = wiring.held_in(service.name)
            held = store.versions(service.credential.key).current
            credential = world.credential(service.name, service.environment)
            seen[check.name] = check.look(
                Subject(
                    service=service.name,
                    environment=service.environment,
                    strategy=service.strategy.value,
                    rotation_id=str(credential.last or ""),
                    new_version=held or "",
                    new=store.read(service.credential.key, CURRENT),
                )
            )
            self._say(f"{check.name}: {seen[check.name].result} {seen[check.name].text}".rstrip())
        return seen


class _Rotations(Rotator):
    """What a group has done to one service at a time, by an installation of this thread's own."""

    def __init__(self, session: Session, until: Instant | None, say: Callable[[str], None]) -> None:
        self._session = session
        self._until = until
        self._say = say

    @property
    def _operations(self) -> Operations:
        return self._session.installation.operations

    def _service(self, member: g.Member) -> Service:
        return self._session.installation.service(member.service)

    def begin(self, member: g.Member, rotation_id: UUID, *, reason: str) -> None:
        """Look whether it can begin, as `keyturn rotate` does, and record that it begins."""
        service = self._service(member)
        plan = self._session.installation.plan(service)
        self._operations.refuse_if_open(service.name, service.environment)
        ready(self._session, service, plan)
        self._operations.start(
            service.name,
            service.environment,
            plan,
            logins=service.usernames,
            reason=reason,
            rotation_id=rotation_id,
        )

    def begin_back(self, member: g.Member, version: str, rotation_id: UUID, *, reason: str) -> None:
        """Record that a rotation of kind rollback begins."""
        service, installation = self._service(member), self._session.installation
        plan = installation.plan(service)
        require_ready(installation, service.name, service.environment, plan)
        known = installation.world.credential(service.name, service.environment).known
        wanted = next((each for each in known if each.id == version), Version(version, service.usernames[0]))
        self._operations.roll_back_to(
            service.name,
            service.environment,
            plan,
            wanted,
            logins=service.usernames,
            reason=reason,
            rotation_id=rotation_id,
        )

    def take_back(self, rotation_id: UUID, *, reason: str) -> None:
        """Record that a rotation goes back."""
        self._operations.go_back(rotation_id, command="group rollback", reason=reason)

    def drive(self, rotation_id: UUID) -> Rotation:
        """Drive a rotation until its grace period, a rest, or the end of patience; tell how it stands then."""
        clock = self._session.installation.world.clock

        def patient(rotation: Rotation, wait: Wait) -> bool:
            return rotation.state is not State.GRACE and (self._until is None or clock.now().wall < self._until)

        def enough(rotation: Rotation) -> bool:
            return is_stuck(rotation) or is_inconclusive(rotation)

        while True:
            try:
                rotation = self._session.installation.runner.drive(rotation_id, patience=patient, enough=enough)
            except OwnedElsewhere:
                rotation = self._operations.rotation(rotation_id)
                is_through = outcome_of(rotation.state) is not None or rests(rotation.state)
                if not is_through and (self._until is None or clock.now().wall < self._until):
                    clock.wait(_LOOKS_AGAIN)  # a daemon drives it
                    continue
            break
        self._say(f"{rotation.service}: {rotation.state}, rotation {rotation.id}")
        return rotation
