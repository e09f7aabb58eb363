"""Repairs in the simulated world: whatever was done by hand, and whatever breaks meanwhile, it is settled."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from adapters.simulation.faults import CALLS, DEATHS, PEOPLE, Crash, Fault
from adapters.simulation.hands import Hand, act, back_up
from adapters.simulation.invariants import Violation
from adapters.simulation.log import SimulatedLog
from adapters.simulation.processes import PROCESSES_MAX
from adapters.simulation.shelves import put_back
from adapters.simulation.watch import Watch
from adapters.simulation.world import ENVIRONMENT, SERVICE, Simulation
from adapters.targets.memory_options import MemoryOptions
from engine import rotation as rotations
from engine.credential import Version
from engine.drift import Decision, Step
from engine.errors import KeyturnError
from engine.facts import Recorded
from engine.machine import ENDED, State
from engine.operations import Operations
from engine.plan import Strategy
from engine.process import Wait
from engine.repair import Repair, settle
from engine.rotation import Rotation
from engine.runner import Runner
from engine.values import SECOND, Instant, Microseconds

OVERLAPPING = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
LOCKS = MemoryOptions(lockout_after=4)
SHOWS = MemoryOptions(shows_restorable=True)


BREAKING = (
    *DEATHS,
    *("abort", "disk_full", "error_after", "forgotten", "late", "lost", "query", "rate_limited", "refused", "rejected"),
    *("stale", "unknown"),
)
"""The kinds of faults that are tried everywhere; the others are like one of these, or need several nodes."""


def kinds_of(call: str) -> list[str]:
    return [kind for kind in CALLS[call] if kind in BREAKING]


class Judge(Watch):
    """A watch that goes on judging values and labels after things were done by hand."""

    def __init__(self, world: Watched) -> None:
        super().__init__(world)
        self._watched = world
        self.served = False
        """What the stores call current was accepted when this was looked at last."""

    def observe(self, recorded: Sequence[Recorded]) -> None:
        """Remember how things were at a moment."""
        super().observe(recorded)
        world = self._watched
        if recorded[-1].position == world.kept_at and world.kept is None:
            world.kept = world.keep()

    def leave(self, call: str) -> None:
        """Check I7, I3 and I8 besides what is checked anyway."""
        super().leave(call)
        world = self._watched
        for version, value in world.seen_values.items():
            held = world.value(version)
            if held is not None and held != value:
                raise Violation(f"I7: the value of {version} changed")
        current = world.value(world.store.versions(world.path).current)
        accepted = current is not None and world.target.accepts(current)
        if self.served and not accepted and world.strategy in OVERLAPPING:
            raise Violation("I3: what the stores call current worked, and does not any more")
        budget = world.capabilities.login_budget
        if world.touched and budget is not None and world.wrong_logins() > budget.tries:
            raise Violation("I8: more wrong logins than the target's budget")
        self.served = accepted


class Watched(Simulation):
    """A world that such a judge watches, and of which how it was at a moment can be kept."""

    def __init__(self, strategy: Strategy, *, kept_at: int = 0, keep: str = "", **options: Any) -> None:
        super().__init__(strategy, **options)
        self.kept_at = kept_at
        self.keep = partial(_kept, keep, self)
        self.kept: Callable[[], None] | None = None
        self.judge = self.watch = Judge(self)

    def disturbed(self) -> None:
        """Somebody did something past keyturn: from here on, what keyturn does is judged."""
        self.touched = True
        self.works, self.judge.served = self.anything_works(), False


def patient(rotation: Rotation, wait: Wait) -> bool:
    """Wait for everything but a grace period, until somebody would look."""
    return rotation.state is not State.GRACE and rotation.failures < 8


def repaired(world: Simulation, *, ask: Callable[[], None] | None = None) -> list[Decision]:
    """Repair, in a new process after every death, until nothing more is to be done; return what was done.

    Where a person is asked, `ask` is what that person does; without it, the person only comes back later.
    """
    done: list[Decision] = []
    for _ in range(PROCESSES_MAX):
        engine = world.world()
        repair = Repair(engine, SERVICE, ENVIRONMENT, world.plan(), logins=world.logins)
        drive = partial(Runner(engine).drive, patience=patient)
        try:
            _, decision = settle(repair, approve=lambda _, decision: done.append(decision), drive=drive)
        except Crash:
            world.story.append("the process died")
            continue
        except KeyturnError as error:
            world.story.append(f"the process ended: {error.message}")
            continue
        world.story.append(f"repair: {decision.step}: {decision.why}")
        if decision.step is Step.NOTHING:
            return done
        if decision.step is Step.ASK and ask is not None:
            ask()
        world.clock.wait(Microseconds(901 * SECOND))  # by then wrong logins count no more
    raise AssertionError(f"it was never settled: {world.story[-20:]}")


def drifted(strategy: Strategy, hand: Hand, *, rotations_before: int = 2, **options: Any) -> Watched:
    """Return a world that was rotated some times, and then something was done by hand."""
    world = Watched(strategy, **options)
    for _ in range(rotations_before):
        world.rotate()
    world.clock.wait(Microseconds(901 * SECOND))
    world.calls.clear()
    world.faultable.clear()
    act(world, hand)
    world.disturbed()
    return world


def assert_settled(world: Watched) -> None:
    """The current version works, log, store and place agree on it, and looking again finds nothing to do."""
    world.calm = True
    held = world.store.versions(world.path)
    current = world.value(held.current)
    assert current is not None
    assert world.target.accepts(current)
    assert world.place.value == current
    logged = world.world().credential(SERVICE, ENVIRONMENT).current
    assert logged == Version(held.current or "", current.username)
    head = world.log.head()
    assert repaired(world) == []
    assert world.log.head() == head or world.capabilities.login_budget is not None
    assert world.log.verify().ok
    if world.open is None:
        world.lead_on()


# --- things done by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("hand", Hand)
@pytest.mark.parametrize("options", [None, LOCKS, SHOWS], ids=["plain", "locks", "shows"])
def test_whatever_was_done_by_hand_is_repaired(strategy: Strategy, hand: Hand, options: MemoryOptions | None) -> None:
    """In every strategy, without a person; also where wrong logins are counted, or what is replaced is shown."""
    if options is SHOWS and strategy is Strategy.ISSUE:
        return  # it shows what it made once, and takes nothing back
    world = drifted(strategy, hand, options=options)
    repaired(world, ask=partial(_take_away_what_nobody_uses, world))
    assert_settled(world)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(set(Strategy) - {Strategy.SCRIPT}))
@pytest.mark.parametrize("hand", Hand)
def test_any_single_fault_in_a_repair(strategy: Strategy, hand: Hand) -> None:
    """Every kind of fault at every call of a repair: repairing again settles it, and nothing is made worse.

    A `script` target holds one value a login, as a `single` one does.
    """
    calm = drifted(strategy, hand)
    repaired(calm)
    for call in CALLS:
        for nth in range(1, calm.faultable[call] + 1):
            for kind in kinds_of(call):
                world = drifted(strategy, hand)
                world.faults = [Fault(call, nth, kind, late=2.0)]
                try:
                    repaired(world, ask=partial(_take_away_what_nobody_uses, world))
                    assert_settled(world)
                except AssertionError as error:
                    error.add_note(f"{call}, {nth}, {kind}")
                    raise


def test_what_was_set_again_and_cannot_be_verified_stays() -> None:
    """It is what consumers have, so that it is not taken away again; the next repair goes on from there."""
    world = drifted(Strategy.DUAL, Hand.REVOKE_CURRENT)
    world.faults = [Fault("target.verify", nth, "refused") for nth in (1, 2)]
    repaired(world)
    assert "RotationFailed -> failed" in world.story
    assert_settled(world)


@pytest.mark.slow
@pytest.mark.parametrize("options", [None, LOCKS, SHOWS], ids=["plain", "locks", "shows"])
def test_seeds_of_repairs_under_faults(options: MemoryOptions | None) -> None:
    """Two hundred seeds of up to four faults, in a repair of one or two things done by hand."""
    for seed in range(200):
        source = random.Random(seed)
        strategy = source.choice([each for each in Strategy if options is not SHOWS or each is not Strategy.ISSUE])
        world = drifted(strategy, source.choice(list(Hand)), options=options, seed=seed)
        if source.random() < 0.5:
            act(world, source.choice(list(Hand)))
            world.disturbed()
        for _ in range(source.randint(1, 4)):
            call = source.choice(sorted(CALLS))
            kind = source.choice([each for each in CALLS[call] if each not in (*PEOPLE, "partial")])
            world.faults.append(Fault(call, source.randint(1, 10), kind, source.choice([0.01, 1.0, 4.9])))
        try:
            repaired(world, ask=partial(_take_away_what_nobody_uses, world))
            assert_settled(world)
        except AssertionError as error:
            error.add_note(f"seed {seed}: {strategy}, {world.faults}")
            raise


# --- rotations that are open ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("hand", Hand)
@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_rotation_that_was_interrupted_after_something_was_done_by_hand(
    strategy: Strategy, hand: Hand, *, back: bool
) -> None:
    """At every append of a rotation, and of one that goes back: the repair ends it, and settles what is in force."""
    for nth in range(1, 40):
        world = Watched(strategy)
        world.rotate()
        world.calls.clear()
        world.faults = [Fault("log.append", nth, "crash_after")]
        world.faults += [Fault("target.verify", each, "refused") for each in (1, 2)] if back else []
        engine = world.world()
        try:
            rotation_id = Operations(engine).start(SERVICE, ENVIRONMENT, world.plan(), logins=world.logins)
            Runner(engine).drive(rotation_id, patience=lambda rotation, wait: True)
        except Crash:
            act(world, hand)
            world.disturbed()
            repaired(world, ask=partial(_take_away_what_nobody_uses, world))
            assert_settled(world)
        else:
            assert nth > 8, "the rotation ended early"
            return


# --- the same version again, where nothing drifted ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
def test_going_to_what_is_current_breaks_no_invariant(strategy: Strategy) -> None:
    """With every fault at every call, in a world that nobody touched, so that all invariants are judged."""

    def begun() -> Watched:
        world = Watched(strategy)
        world.rotate()
        world.calls.clear()
        world.faultable.clear()
        return world

    def gone(world: Watched) -> Rotation:
        current = world.world().credential(SERVICE, ENVIRONMENT).current
        assert current is not None
        return world.rotate(to=current)

    calm = begun()
    ended = gone(calm)
    assert (ended.state, ended.previous, ended.label) == (State.COMPLETED, None, ended.candidate)
    assert calm.calls["target.apply"] == calm.calls["target.retire"] == 0
    for call in CALLS:
        for nth in range(1, calm.faultable[call] + 1):
            for kind in kinds_of(call):
                world = begun()
                world.faults = [Fault(call, nth, kind, late=2.0)]
                assert gone(world).state in ENDED
                world.settle()
                world.lead_on()


# --- backups ------------------------------------------------------------------------------------------------------


def _log_of(recorded: list[Recorded], world: Watched) -> None:
    """Put a log back that ends earlier."""
    world.log, world.fold = SimulatedLog(), {}
    for each in recorded:
        fact = each.fact
        world.log.append([fact])
        if fact.state is not None:
            before = world.fold.get(fact.originator_id)
            world.fold[fact.originator_id] = rotations.evolve(before, fact) if before else rotations.start(fact)


def _kept(what: str, world: Watched) -> Callable[[], None]:
    """Return what puts back the log, the store or the target as it is now."""
    if what == "log":
        return partial(_log_of, list(world.log.after(0, limit=10_000)), world)
    backup = back_up(world)

    def back() -> None:
        if what == "store":
            world.store = put_back(backup.shelf, world.path, world.store_kind, now=lambda: Instant(world.clock.at))
            return
        for accounts, kept in zip(world.accounts, backup.accounts, strict=True):
            accounts.accounts = kept

    return back


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("what", ["log", "store", "target"])
def test_what_was_put_back_from_a_backup_of_any_moment_is_settled(strategy: Strategy, what: str) -> None:
    """Only where a login of `dual` holds two old values by then, a person has to say which of them goes."""
    back_from_a_backup(strategy, what)


def back_from_a_backup(strategy: Strategy, what: str) -> None:
    calm = Watched(strategy)
    for _ in range(3):
        calm.rotate()
    asked = 0
    for moment in range(1, calm.log.head() + 1):
        world = Watched(strategy, kept_at=moment, keep=what)
        for _ in range(3):
            world.rotate()
        if world.kept is None:
            continue  # nothing was seen there: several facts were appended at once
        world.kept()
        world.disturbed()
        done = repaired(world, ask=partial(_take_away_what_nobody_uses, world))
        asked += [decision.step for decision in done].count(Step.SET_AGAIN) > 1
        assert_settled(world)
    assert (asked > 0) is (strategy is Strategy.DUAL and what == "target")


def _take_away_what_nobody_uses(world: Watched) -> None:
    """Be the person who is asked: of what a full login holds, one goes that the stores do not call current."""
    current = world.store.versions(world.path).current
    old = [v for version, v in world.seen_values.items() if version != current and world.target.accepts(v)]
    for value in old[:1] if world.values_in_force() > 1 else []:
        world.target.retire(value, keep=None, tag="by hand", deadline=Instant(world.clock.at + 10**9))
        world.disturbed()
