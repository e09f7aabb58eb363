"""Several processes at once in one simulated world: a baton goes from call to call, and whoever stands still loses.

Rule 1: every process runs in a thread of its own, and one of them at a time: at each port call, and wherever somebody
waits, the baton goes to the next one, drawn from the seed. So a run is still a function of its seed.
Rule 2: a process may be frozen wherever it gives the baton away. For longer than a lease it is frozen before it sees
whether it still holds its rotation, and never between that look and a call of a store or a place: that instant no
program can close where the other side knows no deadlines (docs/decisions/0007).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from uuid import UUID

from adapters.simulation.faults import STORE_WRITES
from adapters.simulation.surroundings import Process, SimulatedClock
from adapters.simulation.trace import Happening
from engine.errors import Fenced, OwnedElsewhere
from engine.performance import World
from engine.values import SECOND, Microseconds, Moment

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation

LEASE: Final = 30 * SECOND
"""How long a process that gives no sign of life keeps what it holds."""
SWITCH: Final = 0.3
"""How often the baton goes to another process at a call."""


class Freeze(NamedTuple):
    """The `process` (from 0) stands still for `seconds` at the `nth` place (from 1) where it gives the baton away."""

    process: int
    nth: int
    seconds: int


Job: TypeAlias = Callable[["Crowd", "Member"], None]
"""What a process does, and those that take its place where it dies."""


class Stopped(BaseException):
    """The run is over: something is violated in another process."""


@dataclass(eq=False)
class Member:
    """One process of a crowd: its thread, when it goes on, and whether it stands still."""

    number: int
    job: Job
    turn: Semaphore = field(default_factory=lambda: Semaphore(0))
    process: Process = field(default_factory=lambda: Process(""))
    wake: int = 0
    lives: int = 0
    places: int = 0
    frozen_until: int = 0
    lapses: int = 0
    """When its leases run out if it stands still."""
    done: bool = False


@dataclass(eq=False)
class Lease:
    """What a process holds: a rotation, until it lets go, or stands still for too long."""

    member: Member
    life: int
    lost: bool = False


class Crowd:
    """The processes of one world, and who holds which rotation."""

    def __init__(self, world: Simulation, source: random.Random, *, freezes: Sequence[Freeze] = ()) -> None:
        self.world = world
        self._source = source
        self._freezes = {(freeze.process, freeze.nth): freeze.seconds for freeze in freezes}
        self._members: list[Member] = []
        self._leases: dict[UUID, Lease] = {}
        self._over = Semaphore(0)
        self._violation: BaseException | None = None

    def run(self, jobs: Sequence[Job]) -> None:
        """Let every job be done, each in a process of its own; raises the violation that one of them met."""
        self._members = [Member(number, job) for number, job in enumerate(jobs)]
        self.world.watch.crowd = self
        threads = [Thread(target=self._live, args=(member,), daemon=True) for member in self._members]
        for thread in threads:
            thread.start()
        self._next(None).turn.release()
        self._over.acquire()
        for member, thread in zip(self._members, threads, strict=True):
            member.turn.release()  # who still waits is told that it is over
            thread.join()
        self.world.watch.crowd = None
        if self._violation is not None:
            raise self._violation

    # --- the baton -----------------------------------------------------------------------------------------

    def _live(self, member: Member) -> None:
        """Do a job from beginning to end, with a new process after every death."""
        member.turn.acquire()
        if self._violation is not None:
            return
        try:
            self._do(member)
        except BaseException as violation:  # noqa: BLE001 - it is raised again where the crowd was begun
            if self._violation is None:
                self._violation = violation
                self._over.release()
            return
        member.done = True
        following = self._next(member)
        if following is member:
            self._over.release()
        else:
            following.turn.release()

    def _do(self, member: Member) -> None:
        try:
            member.job(self, member)
        finally:
            self._let_go(member)

    def _next(self, member: Member | None) -> Member:
        """Return who goes on: one that can, drawn from the seed; time passes where everybody waits."""
        clock = self.world.clock
        alive = [other for other in self._members if not other.done]
        if not alive:
            assert member is not None, "a crowd has members"
            return member
        ready = [other for other in alive if other.wake <= clock.at]
        while not ready:
            clock.wait(Microseconds(min(other.wake for other in alive) - clock.at))
            ready = [other for other in alive if other.wake <= clock.at]
        if member in ready and self._source.random() >= SWITCH:
            assert member is not None, "nobody is not ready"
            return member
        return self._source.choice(ready)

    def give_way(self, member: Member) -> None:
        """Let others go on, and return when it is this one's turn again."""
        following = self._next(member)
        if following is not member:
            following.turn.release()
            member.turn.acquire()
            if self._violation is not None:
                raise Stopped
        self._wake_up(member)

    def sleep(self, member: Member, duration: int) -> None:
        """Wait while the others go on."""
        member.wake = self.world.clock.at + max(duration, 1)
        self.give_way(member)

    def linger(self, process: Process, duration: int) -> None:
        """Let the answer to a process take its time while the others go on."""
        self.sleep(self._member_of(process), duration)

    def _member_of(self, process: Process) -> Member:
        return next(member for member in self._members if member.process is process)

    # --- standing still --------------------------------------------------------------------------------------

    def at_call(self, process: Process, call: str) -> None:
        """Give the baton away before a port call; stores and places are not called after a lease ran out here."""
        is_blind = call in STORE_WRITES or call.startswith("place.")
        self._pause(self._member_of(process), longest=LEASE // 2 if is_blind else None)

    def _pause(self, member: Member, *, longest: int | None = None) -> None:
        """Stand still where that is planned here; else just let others go on."""
        member.places += 1
        seconds = self._freezes.pop((member.number, member.places), 0)
        if seconds:
            duration = seconds * SECOND if longest is None else min(seconds * SECOND, longest)
            now = self.world.clock.at
            member.frozen_until = member.wake = now + duration
            member.lapses = now + LEASE - self._source.randrange(LEASE // 4)  # renewed every quarter of a lease
            self.world.happened(Happening.FROZEN, "process", owner=member.process.owner)
        self.give_way(member)

    def _wake_up(self, member: Member) -> None:
        """Notice, after standing still, which leases ran out meanwhile."""
        if not member.frozen_until or self.world.clock.at < member.frozen_until:
            return
        lapsed = self.world.clock.at >= member.lapses
        for lease in self._leases.values():
            lease.lost = lease.lost or (lease.member is member and lapsed)
        member.frozen_until = 0
        self.world.happened(Happening.WOKE, "lapsed" if lapsed else "in time", owner=member.process.owner)

    # --- ownership ---------------------------------------------------------------------------------------------

    def seen_by(self, member: Member) -> World:
        """Return the world as a new process of a member sees it."""
        self._let_go(member)
        member.lives += 1
        member.process = Process(f"process-{member.number}.{member.lives}")
        self.world.happened(Happening.BORN, "process", owner=member.process.owner)
        clock = MemberClock(self, member)
        return self.world.seen_by(member.process, clock=clock, hold=partial(self._hold, member))

    @contextmanager
    def _hold(self, member: Member, rotation_id: UUID) -> Iterator[Callable[[], None]]:
        """Hold a rotation as `Ownership.hold` promises."""
        held = self._leases.get(rotation_id)
        if held is not None and held.member is not member:
            if not self._has_run_out(held):
                raise OwnedElsewhere(
                    rotation_id=rotation_id, owner=held.member.process.owner, lease="its lease is simulated"
                )
            self.world.happened(Happening.TAKEN_OVER, held.member.process.owner, owner=member.process.owner)
        lease = self._leases[rotation_id] = Lease(member, member.lives)
        try:
            yield partial(self._check, rotation_id, lease)
        finally:
            if self._leases.get(rotation_id) is lease:
                del self._leases[rotation_id]

    def _has_run_out(self, lease: Lease) -> bool:
        return lease.lost or (bool(lease.member.frozen_until) and self.world.clock.at >= lease.member.lapses)

    def _check(self, rotation_id: UUID, lease: Lease) -> None:
        """Raise `Fenced` where the rotation is not held any more."""
        self._pause(lease.member)
        if lease.lost or self._leases.get(rotation_id) is not lease:
            raise Fenced(rotation_id=rotation_id)

    def _let_go(self, member: Member) -> None:
        """A process that died holds nothing."""
        self._leases = {held: lease for held, lease in self._leases.items() if lease.member is not member}


class MemberClock:
    """The clock of one process: while it waits, the others go on."""

    def __init__(self, crowd: Crowd, member: Member) -> None:
        self._crowd = crowd
        self._member = member
        self._clock: SimulatedClock = crowd.world.clock

    def now(self) -> Moment:
        """Return the virtual time."""
        return self._clock.now()

    def wait(self, duration: Microseconds) -> None:
        """Let time pass for everybody."""
        self._crowd.sleep(self._member, duration)
