"""Engines with one deliberate bug each, as data: what is changed, what shows it, and which invariants may see it first.

No tests live here; tests/simulation/test_mutants.py has the simulation catch every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace

from adapters.simulation.crowd import Crowd
from adapters.simulation.nodes import Nodes
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine import backward, commands, forward, operations, policies, process, runner
from engine import events as e
from engine import performance as performing
from engine.errors import Fenced, Unavailable
from engine.operations import Operations
from engine.performance import Performance
from engine.plan import Strategy
from engine.ports import Probe, Verification
from engine.process import Effect
from engine.rotation import Rotation
from engine.values import CredentialValue, Deadline, Instant, Microseconds, deadline_after

Mutation = Callable[[pytest.MonkeyPatch], None]


def _performed(effect: Effect, performer: Callable[[Performance], None]) -> Mutation:
    """Perform an effect otherwise."""
    return lambda patch: patch.setitem(runner.PERFORMERS, effect, performer)


def _instead(module: Any, name: str, other: Any) -> Mutation:
    """Put something else in the place of a function."""
    return lambda patch: patch.setattr(module, name, other)


# --- the bugs -----------------------------------------------------------------------------------------------------


def _never_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(process, "_must_look", lambda rotation: False)


def _believe(performance: Performance) -> None:
    """Take the target's answer for proof."""
    performance.record(e.CandidateVerified(), e.RolloutCompleted())


def _believe_the_rollback(performance: Performance) -> None:
    """Take the target's answer for proof on the way back as well."""
    performance.record(e.RollbackVerified())


def _promote_first(performance: Performance) -> None:
    """Tell consumers before the target accepts anything."""
    rotation = performance.rotation
    value = performance.read(rotation.candidate)
    if value is not None:
        performance.store.promote(performance.path, rotation.candidate, value, expected=rotation.previous)
    forward.apply(performance)


def _stage_nothing(performance: Performance) -> None:
    """Say that the store holds the candidate, and leave that for later."""
    rotation = performance.rotation
    if rotation.plan.issues_value or rotation.imported:
        forward.stage(performance)
    else:
        performance.record(e.CandidateStaged("00"))


def _apply_before_staging(performance: Performance) -> None:
    """Give the target a value that no store holds yet."""
    rotation = performance.rotation
    if performance.read(rotation.candidate) is not None or rotation.plan.issues_value:
        forward.apply(performance)
        return
    value = forward._fresh(performance)
    deadline = performance.begin_attempt(rotation.candidate, rotation.login)
    performance.target.apply(value, tag=performance.tag, deadline=deadline)
    performance.store.stage(performance.path, rotation.candidate, value)
    performance.record(performance.end_attempt(), e.CandidateApplied(1))


def _apply_first(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(runner.PERFORMERS, Effect.STAGE, _stage_nothing)
    patch.setitem(runner.PERFORMERS, Effect.APPLY, _apply_before_staging)


def _retire_at_once(performance: Performance, version: str, old: CredentialValue | None, current: Any) -> None:
    """Take the old version away under the attempt that applied the new one, long after its deadline."""
    deadline = performance.rotation.attempts[-1].deadline if performance.rotation.attempts else Instant(0)
    performance.target.retire(old, keep=current, tag=performance.tag, deadline=deadline)


def _destroy(performance: Performance) -> None:
    """Clean up behind a rollback."""
    candidate = performance.rotation.candidate
    if candidate != performance.store.versions(performance.path).current:
        performance.store.discard(performance.path, candidate, destroy=True)
    backward.restore(performance)


def _forget_everything_old(patch: pytest.MonkeyPatch) -> None:
    """Keep what is current, and nothing else."""
    patch.setattr(
        forward,
        "destroyable",
        lambda rotation, credential, held, *, now: [v for v in held.versions if v not in (held.current, held.previous)],
    )


def _no_grace(performance: Performance) -> None:
    performance.record(e.MonitoringPassed(deadline_after(performance.world.clock.now(), Microseconds(0))))


class Unguarded:
    """The memory target, but it does not refuse to retire where the value to keep is not accepted."""

    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Take it away, whatever is left then."""
        unkept = old is not None and keep is not None and not self._target.accepts(keep)
        self._target.retire(old, keep=None if unkept else keep, tag=tag, deadline=deadline)


def _retire_unseen(patch: pytest.MonkeyPatch) -> None:
    """Take the old version away without seeing first that the current one works."""
    expect, retired = forward._expect, forward._take_away
    taken: set[tuple[object, str]] = set()

    def take_away(performance: Performance, *what: Any) -> None:
        taken.add((performance, performance.tag))
        retired(performance, *what)

    def expect_after(performance: Performance, *what: Any) -> None:
        if (performance, performance.tag) in taken:
            expect(performance, *what)

    patch.setattr(forward, "_take_away", take_away)
    patch.setattr(forward, "_expect", expect_after)


def _promote_from_the_log(performance: Performance) -> None:
    """Expect the store to call current what the log takes for the old version."""
    rotation = performance.rotation
    value = performance.candidate()
    performance.store.promote(performance.path, rotation.candidate, value, expected=rotation.previous)
    forward.promote(performance)


def _take_for_occupied(patch: pytest.MonkeyPatch) -> None:
    """Take a look that showed nothing for one that showed that there is nothing to capture."""
    look = forward._take_over

    def take_over(performance: Performance) -> bool:
        try:
            return look(performance)
        except Unavailable:
            return False

    patch.setattr(forward, "_take_over", take_over)


# --- more bugs: what is in doubt ------------------------------------------------------------------------------------


def _close_in_doubt(patch: pytest.MonkeyPatch) -> None:
    """Take a lost answer for a definite one: the attempt is closed, and nothing waits for it."""

    def close_and_follow(rotation: Rotation, effect: Effect, error: Any, **more: Any) -> Any:
        closed = [e.AttemptClosed(each.number) for each in rotation.attempts if not each.closed]
        return [*closed, *policies.after_failure(rotation, effect, error, **more)]

    patch.setattr(runner, "after_failure", close_and_follow)


def _promise_too_short(patch: pytest.MonkeyPatch) -> None:
    """Record a shorter time than the target is given."""
    begin = Performance.begin_attempt

    def begin_short(self: Performance, version: str, login: str, **more: Any) -> Instant:
        deadline = begin(self, version, login, **{**more, "longest": Microseconds(500_000)})
        return Instant(deadline + 4_500_000)

    patch.setattr(Performance, "begin_attempt", begin_short)


def _closing_without(field: str) -> Mutation:
    """Leave nothing of this kind to the next rotation."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        closing = commands.closing
        patch.setattr(performing, "closing", lambda *what, **more: _without(closing(*what, **more), field))

    return mutate


def _without(closed: e.RotationClosed, field: str) -> e.RotationClosed:
    return replace(closed, **{field: ()})


def _fences_but_labels(patch: pytest.MonkeyPatch) -> None:
    """Wait for attempts on the target alone: what the stores were told may land when it likes."""
    unanswered = process._unanswered
    patch.setattr(process, "_unanswered", lambda rotation: [each for each in unanswered(rotation) if each.login])


def _leave_orphans(performance: Performance) -> None:
    """Say that what a lost attempt made was revoked."""
    attempt = performance.rotation.in_doubt
    assert attempt is not None, "a candidate without a value was never attempted"
    performance.record(e.OrphanRevoked(attempt.number))


def _one_tag(patch: pytest.MonkeyPatch) -> None:
    """Use the idempotency key of the first attempt again."""
    patch.setattr(Performance, "attempt_tag", lambda self, number: f"{self.rotation.id.hex[:12]}-a1")


# --- more bugs: what is seen -----------------------------------------------------------------------------------------


def _judge_kindly(patch: pytest.MonkeyPatch) -> None:
    """Promote on silence."""

    def kindly(rotation: Rotation, seen: Verification, **more: Any) -> Any:
        silent = seen.candidate is Probe.UNKNOWN
        return policies.judge(
            rotation, Verification(Probe.ACCEPTED, Probe.REFUSED, query=True) if silent else seen, **more
        )

    patch.setattr(forward, "judge", kindly)


def _silence_is_refusal(patch: pytest.MonkeyPatch) -> None:
    """Treat a target that cannot be reached as one that refuses."""

    def impatient(performance: Performance, value: CredentialValue, wanted: Probe, which: str) -> None:
        seen = performance.target.probe(value).probe
        if seen is not wanted and not (seen is Probe.UNKNOWN and wanted is Probe.REFUSED):
            raise Unavailable(what=f"proving that {which} is {wanted}", why=f"the target says {seen}")

    patch.setattr(forward, "_expect", impatient)


def _look_at_one_node(patch: pytest.MonkeyPatch) -> None:
    """Forget the second node when looking."""
    patch.setattr(Nodes, "probe", lambda self, value: self._nodes[0].probe(value))
    patch.setattr(Nodes, "verify", lambda self, value, *, control: self._nodes[0].verify(value, control=control))


def _look_at_once(patch: pytest.MonkeyPatch) -> None:
    """Judge a lost attempt while it may still take effect."""
    patch.setattr(process, "_before_looking", lambda *what: None)


# --- more bugs: order, time and places ---------------------------------------------------------------------------


def _retire_early(performance: Performance) -> None:
    """Take the old version away before the new one is seen to work."""
    rotation = performance.rotation
    old, current = performance.read(rotation.previous), performance.candidate()
    if rotation.plan.overlap:
        deadline = Instant(performance.world.clock.now().wall + 1_000_000)
        performance.target.retire(old, keep=current, tag=performance.tag, deadline=deadline)
    forward.verify(performance)


def _by_the_wall_clock(name: str) -> Mutation:
    """Count by what the wall clock shows, whatever it was set to."""
    return lambda patch: patch.setattr(Deadline, name, lambda self, now: Microseconds(max(self.wall - now.wall, 0)))


def _leave_the_places(patch: pytest.MonkeyPatch) -> None:
    """Go back in the store, and leave the further places as they are."""
    patch.setattr(backward, "publish", lambda *what, **more: None)


def _target_first(patch: pytest.MonkeyPatch) -> None:
    """Take the candidate away before consumers have left it."""
    patch.setattr(backward, "_is_in_force", lambda *what: False)


def _begin_beside(patch: pytest.MonkeyPatch) -> None:
    """Begin without looking whether a rotation of the same credential is open."""
    patch.setattr(Operations, "open_rotation", lambda self, service, environment: None)
    patch.setattr(operations, "in_the_way", lambda *what, **more: None)


def _ask_anyway(patch: pytest.MonkeyPatch) -> None:
    """Wake up, and ask for what another process has taken back meanwhile."""

    def may_ask(self: Performance) -> None:
        with suppress(Fenced):
            self._held()

    patch.setattr(Performance, "_may_ask", may_ask)


def _hold_nothing(patch: pytest.MonkeyPatch) -> None:
    """Drive a rotation that another process drives: nobody holds it, and nobody looks."""
    patch.setattr(Crowd, "_has_run_out", lambda self, lease: True)
    patch.setattr(Crowd, "_check", lambda self, rotation_id, lease: self._pause(lease.member))


class Mutant(NamedTuple):
    """A bug, what may show it, and how the target behaves where that is needed."""

    name: str
    mutate: Mutation
    seen: tuple[str, ...]
    """The invariants that may be the first to fail."""
    options: MemoryOptions | None = None
    by_hand: bool = False
    """What shows it is done by hand, at a target that does not guard itself."""
    kinds: tuple[str, ...] = ()
    """The kinds of faults that lead to it; empty for all."""
    strategy: Strategy | None = None
    crowd: bool = False
    """What shows it is another process."""


ANY: Final = ("I2", "I3", "I5", "I6", "I8")
"""What may be seen first where a change lands that nobody waited for."""
UNHEARD: Final = ("error_after", "late")
SILENT: Final = ("forgotten", "unknown")
ISSUE: Final = Strategy.ISSUE
LOCKS: Final = MemoryOptions(lockout_after=3)
SHOWS: Final = MemoryOptions(shows_restorable=True)

MUTANTS: Final = [
    Mutant("no fence", _instead(process, "fence", lambda rotation, effect, now: Microseconds(0)), ("I8",)),
    Mutant("repeats blindly", _never_look, ("I2", "I5: values besides the current one")),
    Mutant("does not verify", _performed(Effect.VERIFY, _believe), ("I3", "I5")),
    Mutant("does not take the stores back", _instead(backward, "_demote", lambda *what: False), ("I3", "I5")),
    Mutant("does not verify a rollback", _performed(Effect.VERIFY_ROLLBACK, _believe_the_rollback), ("I5",)),
    Mutant("does not prove a retirement", _instead(forward, "_expect", lambda *what: None), ("I5",)),
    Mutant("skips the grace period", _performed(Effect.MONITOR, _no_grace), ("I6",)),
    Mutant("applies before it stages", _apply_first, ("I6", "I2")),
    Mutant("promotes before it applies", _performed(Effect.APPLY, _promote_first), ("I3",)),
    Mutant("forgets the login budget", _instead(process, "_budget", lambda *what: None), ("I8",), LOCKS),
    Mutant("retires with a stale attempt", _instead(forward, "_take_away", _retire_at_once), ("I6", "L1")),
    Mutant("destroys a failed candidate", _performed(Effect.RESTORE, _destroy), ("I7", "I2")),
    Mutant("forgets what may be wanted back", _forget_everything_old, ("I7", "I2")),
    Mutant("retires without seeing the current one first", _retire_unseen, ("I1",), by_hand=True),
    Mutant("sends back without looking", _instead(backward, "_is_in_force", lambda *what: True), ("I3",), by_hand=True),
    Mutant("promotes by the log", _performed(Effect.PROMOTE, _promote_from_the_log), ("L2",), SHOWS),
    Mutant("takes over unseen", _take_for_occupied, ("L2", "I1"), SHOWS),
    Mutant("closes an attempt in doubt", _close_in_doubt, ANY, kinds=("late", "abort")),
    Mutant("promises too short a time", _promise_too_short, ANY, kinds=("late", "abort")),
    Mutant("forgets fences between rotations", _closing_without("fences"), ANY, kinds=("late", "lost")),
    Mutant("forgets spent logins between rotations", _closing_without("tries"), ("I8",), LOCKS),
    Mutant("does not wait for the stores", _fences_but_labels, ("I3", "I5"), kinds=("late", "abort", "rejected")),
    Mutant("leaves orphans", _instead(forward, "_revoke_orphans", _leave_orphans), ANY, kinds=UNHEARD, strategy=ISSUE),
    Mutant("uses a tag again", _one_tag, (*ANY, "L1", "L2"), kinds=UNHEARD, strategy=ISSUE),
    Mutant("looks before it can tell", _look_at_once, ANY, kinds=("late",), strategy=ISSUE),
    Mutant("promotes on silence", _judge_kindly, ("I3", "I5"), kinds=SILENT),
    Mutant("takes silence for a refusal", _silence_is_refusal, ("I5",), kinds=SILENT),
    Mutant("looks at one node", _look_at_one_node, ("I3", "I5"), kinds=("partial",)),
    Mutant("captures nothing", _instead(forward, "_take_over", lambda performance: False), ("I1",), SHOWS),
    Mutant("retires before it verifies", _performed(Effect.VERIFY, _retire_early), ("I6", "I3")),
    Mutant(
        "fences by the wall clock", _by_the_wall_clock("left"), ANY, kinds=("late", "lost", "clock_forward", "abort")
    ),
    Mutant("ends grace by the wall clock", _by_the_wall_clock("remaining"), ("I6", "I3"), kinds=("clock_forward",)),
    Mutant("leaves the places", _leave_the_places, ("I3",), kinds=("abort", "refused", "query")),
    Mutant("takes the target back first", _target_first, ("I3",), kinds=("abort",)),
    Mutant("begins beside an open rotation", _begin_beside, ("I4",), crowd=True),
    Mutant("asks though it was taken over", _ask_anyway, ANY, crowd=True),
    Mutant("holds nothing while it drives", _hold_nothing, ANY, crowd=True),
]
