"""The simulation has teeth: engines with one deliberate bug each are caught, within few seeds.

A mutant that survives means that an invariant is not looked at, or that no run comes near it. Run with `-rA` (or
`-s`) to see which seed caught which mutant, and what it saw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from adapters.simulation.invariants import Violation
from adapters.simulation.seeds import handled, seeded
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine import backward, forward, process, runner
from engine import events as e
from engine.errors import Unavailable
from engine.performance import Performance
from engine.process import Effect
from engine.values import CredentialValue, Instant, Microseconds, deadline_after

SEEDS: Final = 2000
"""Seeds that a mutant may survive; most are caught by one of the first ten, and all so far by one of 250."""

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


class Mutant(NamedTuple):
    """A bug, what may show it, and how the target behaves where that is needed."""

    name: str
    mutate: Mutation
    seen: tuple[str, ...]
    """The invariants that may be the first to fail."""
    options: MemoryOptions | None = None
    by_hand: bool = False
    """What shows it is done by hand, at a target that does not guard itself."""


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
]


def _run(seed: int, mutant: Mutant) -> None:
    """Run a seed of the kind that may show it."""
    if mutant.by_hand:
        handled(seed, options=mutant.options, around=Unguarded)
    else:
        seeded(seed, options=mutant.options)


def _first_violation(mutant: Mutant) -> tuple[int, str]:
    """Return the first seed that breaks an invariant, and which; fails the test where none does."""
    for seed in range(SEEDS):
        try:
            _run(seed, mutant)
        except Violation as violation:
            return seed, str(violation)
    pytest.fail(f"{SEEDS} seeds saw nothing wrong with it")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an invariant that is about the bug, and not by chance."""
    mutant.mutate(monkeypatch)
    seed, violation = _first_violation(mutant)
    print(f"{mutant.name}: seed {seed} saw {violation}")
    assert violation.startswith(mutant.seen), violation


@pytest.mark.slow
def test_the_engine_itself_survives_where_logins_are_locked() -> None:
    """What catches the mutants does not catch the engine; without lockout that is tested by more seeds elsewhere."""
    for seed in range(400):
        seeded(seed, options=LOCKS)
