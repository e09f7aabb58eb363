"""What is watched: every port call of every process, every fact, and what lands late or is done by hand in between.

Rule: a watch looks up what is planned and has it judged (invariants.py); it decides nothing about a rotation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from adapters.simulation import people
from adapters.simulation.faults import CHANGING, STORE_WRITES, WRITES, Fault
from adapters.simulation.hands import BACKUPS, act, back_up
from adapters.simulation.invariants import Violation, check_fact, check_logins, check_world, check_write
from adapters.simulation.nodes import Nodes
from adapters.simulation.shelves import image_of
from adapters.simulation.surroundings import Process, SimulatedClock
from adapters.simulation.trace import Happening, Step
from adapters.stores.shelf import Shelf
from adapters.targets.memory_accounts import Accounts
from engine import events as e
from engine.errors import PortError
from engine.facts import Fact, Recorded
from engine.machine import State
from engine.ports import Probe, Sighting
from engine.values import SECOND, CredentialValue, Form, Microseconds

if TYPE_CHECKING:
    from adapters.simulation.crowd import Crowd
    from adapters.simulation.world import Simulation


_CHANGES: Final = frozenset(e.StateChange.__args__)
_OUTCOMES: Final = _CHANGES | {e.EffectPostponed, e.VerificationFailed, e.OwnerChanged}
"""The facts that say how an effect went, or who goes on: what follows is decided on another look."""

CALLS_MAX: Final = 5_000
"""Calls a world may see: more means that something is tried for ever; a run of many faults makes some hundreds."""


class Watch:
    """The watcher of the ports of one world."""

    def __init__(self, world: Simulation) -> None:
        self.clock: SimulatedClock = world.clock
        self.stale_since: int | None = None
        """The change of state after which a stale answer was given last."""
        self.crowd: Crowd | None = None
        """The processes, where several run at once."""
        self._calls = 0
        self._world = world
        self._limited: dict[str, tuple[Fault, int]] = {}
        self._shelf_before: Shelf | None = None
        self._accounts_before: list[Accounts] | None = None

    def enter(self, call: str, args: tuple[Any, ...], kwargs: dict[str, Any], process: Process) -> Fault | None:
        """Count a call, check what must hold before it, and return the fault planned for it."""
        world = self._world
        if self.crowd is not None:
            self.crowd.at_call(process, call)
        self.clock.wait(Microseconds(1000))
        world.calls[call] += 1
        self._calls += 1
        if self._calls > CALLS_MAX:
            raise Violation(f"L1: no end after {CALLS_MAX} calls")
        world.faultable[call] += not world.calm
        is_write = call in WRITES or call in STORE_WRITES
        if is_write:
            check_write(world, call, args, kwargs)
        if world.deeds:
            self._do_by_hand(call, world.calls[call])
        if is_write:
            self._remember(call)
        fault = None if world.calm else self._fault_at(call, process)
        if fault is not None and fault.kind == "forgotten" and call == "target.retire" and args[0] is None:
            world.forgot_orphan = True
        return fault

    def _fault_at(self, call: str, process: Process) -> Fault | None:
        nth = self._world.calls[call]
        for fault in self._world.faults:
            if fault.nth == nth and fault.call == call:
                self._world.used[fault] = self._world.calls.copy()
                self._world.story.append(f"{call}: {fault.kind}")
                self._world.happened(Happening.FAULT, fault.kind, owner=process.owner, call=call, detail=process.effect)
                if fault.kind == "rate_limited":
                    self._limited[call] = fault, fault.calls - 1
                return fault
        if call in self._limited:
            limiting, left = self._limited.pop(call)
            if left > 1:
                self._limited[call] = limiting, left - 1
            return limiting
        return None

    def _remember(self, call: str) -> None:
        """Keep what is there before a write, where something stale is going to be shown."""
        if not any(fault.kind == "stale" for fault in self._world.faults):
            return
        if call in STORE_WRITES:
            self._shelf_before = image_of(self._world.store, self._world.path)
        else:
            self._accounts_before = [accounts.image() for accounts in self._world.accounts]

    def leave(self, call: str) -> None:
        """Check what must hold between any two calls; a call that only reads leaves it as it was checked before.

        So does an append: of what is judged it changes which attempts are open, and that matters where the target makes
        its values. What lands late in between, or is done by hand, is checked as well.
        """
        only_recorded = call == "log.append" and not self._world.capabilities.issues_value and not self._world.touched
        if call in CHANGING and not only_recorded:
            check_world(self._world)
        elif call.startswith("target."):
            check_logins(self._world)

    def later(self, fault: Fault, effect: Callable[[], Any]) -> None:
        """Let an effect of a port land later, and check what must hold then."""

        def land() -> None:
            try:
                effect()
            except PortError as refusal:
                self._world.story.append(f"a late effect was refused: {refusal.message}")
                self._world.happened(Happening.LATE_REFUSED, fault.kind, call=fault.call)
            else:
                self._world.story.append("a late effect landed")
                self._world.happened(Happening.LANDED, fault.kind, call=fault.call)
            check_world(self._world)

        self.clock.later(self._latest(fault), land)

    def _latest(self, fault: Fault) -> int:
        """Return after how many microseconds an effect lands: what stores are asked under an attempt, by its deadline.

        A target is given the deadline, and refuses what arrives after it; for a store it is the client's timeout.
        """
        after = int(fault.late * SECOND)
        rotation = self._world.open
        attempt = rotation.attempts[-1] if rotation is not None and rotation.attempts else None
        if fault.call in WRITES or attempt is None or attempt.login or attempt.closed:
            return after
        return max(min(after, attempt.limit.uptime - self.clock.at - 1), 0)

    def linger(self, seconds: int, process: Process) -> None:
        """Let an answer take its time."""
        if self.crowd is None:
            self.clock.wait(Microseconds(seconds * SECOND))
        else:
            self.crowd.linger(process, seconds * SECOND)

    def command(self, kind: str) -> None:
        """Be the operator who decides something at this moment."""
        people.command(self._world, kind)

    def come_first(self) -> None:
        """Be the other process that appends first."""
        people.come_first(self._world)

    def stale_store(self) -> Shelf | None:
        """Return what the store held before the last write; None where nothing was written."""
        self.stale_since = self._world.changes
        return self._shelf_before

    def stale_probe(self, value: CredentialValue) -> Sighting | None:
        """Return what a probe showed before the last write to the target; None where nothing was written."""
        if self._accounts_before is None or value.secret is None or value.form is Form.VERIFIER:
            return None
        self.stale_since = self._world.changes
        held = [accounts.find(value) for accounts in self._accounts_before]
        return Sighting(Probe.ACCEPTED if all(held) else Probe.UNKNOWN if any(held) else Probe.REFUSED)

    def on_some_nodes(self, effect: Callable[[], Any]) -> None:
        """Have an effect reach the first node of the target only; where there is one node, it is not reached."""
        if isinstance(self._world.target, Nodes):
            self._world.target.reach = 1
            try:
                effect()
            finally:
                self._world.target.reach = len(self._world.accounts)

    def observe(self, recorded: Sequence[Recorded]) -> None:
        """Fold facts as they are appended, and check what they claim."""
        place = f"log.append {self._world.calls['log.append']}"
        for item in recorded:
            self._note(item.fact, place)
        if self._world.follower is not None:
            self._world.follower.follow()
        seen = {type(item.fact.body) for item in recorded}
        if seen & _OUTCOMES:
            self._world.is_unseen = False
            if any(deed.hand in BACKUPS for deed in self._world.deeds):
                self._world.backups.append(back_up(self._world))
        if seen & _CHANGES:
            self._world.changes += 1
            if self._world.deeds:
                self._do_by_hand("", self._world.changes)
        for onlooker in self._world.onlookers:
            onlooker(recorded)

    def _do_by_hand(self, call: str, nth: int) -> None:
        """Do what is to be done by hand at this moment, unless a lost call may still land.

        Before a call, what the call does was looked up already: until the next outcome nobody is to blame.
        """
        world = self._world
        if world.calm or not self.clock.quiet:
            return
        for deed in [deed for deed in world.deeds if deed.call == call and deed.nth <= nth]:
            world.deeds.remove(deed)
            world.touched = True
            act(world, deed.hand)
            world.works = world.anything_works()
            world.is_unseen = bool(call)

    def _note(self, fact: Fact, place: str) -> None:
        world, body = self._world, fact.body
        name = type(body).__name__
        if fact.state is None:  # it is a fact of a credential
            world.trace.append(Step(self.clock.at, Happening.FACT, name, call=place))
            return
        before = world.fold.get(fact.originator_id)
        if isinstance(body, e.RotationStarted):
            world.places_before[fact.originator_id] = world.place.value
        world.pairs.add((before.state if before else State.WAITING, name))
        rotation = world.fold[fact.originator_id] = world.log.rotation_after(fact)
        world.story.append(f"{name} -> {fact.state}")
        detail = self._detail(body)
        world.trace.append(Step(self.clock.at, Happening.FACT, name, fact.state, call=place, detail=detail))
        check_fact(world, before, rotation, body)

    def _detail(self, body: e.Event) -> str:
        """Return what is worth knowing of a fact besides its name."""
        match body:
            case e.CandidateApplied():
                return body.observed
            case e.RotationStarted():
                return f"{self._world.values_in_force()} in force"
            case _:
                return ""
