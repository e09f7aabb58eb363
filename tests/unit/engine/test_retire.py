"""Retiring: behind the gate, under an attempt, and proven; then what is old enough is forgotten."""

from __future__ import annotations

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import Fault, MemoryOptions
from engine import events as e
from engine.credential import Version
from engine.errors import Rejected, Unavailable
from engine.machine import State
from engine.plan import LoginBudget, Strategy
from engine.ports import Probe, Sighting, StoreCapabilities
from engine.rotation import Rotation
from engine.values import SECOND, CredentialValue, Instant, Microseconds
from tests.unit.engine.bench import FIRST, HOUR, PATH, Bench, Died, after, answers, dies, fails, works


def stalled(bench: Bench) -> Rotation:
    """Drive a rotation to its first wait in `retiring`."""
    return bench.drive(bench.start(), patience=lambda rotation, wait: rotation.state is not State.RETIRING)


def test_the_old_version_is_taken_away_under_an_attempt() -> None:
    """So that what comes after waits for it: landing late, it could hit another value."""
    bench = Bench(Strategy.ALTERNATING)
    rotation_id = bench.start()
    seen: list[list[e.AttemptStarted]] = []
    bench.at("target.retire", after(lambda: seen.append(bench.bodies(rotation_id, e.AttemptStarted))))
    ended = bench.drive(rotation_id)
    assert seen[0][-1].version == f"-{FIRST}"
    assert (ended.attempts[-1].login, ended.attempts[-1].done) == ("app_a", True)
    call = bench.call("target.retire")
    assert (call.args, call.kwargs["keep"]) == ((bench.value(FIRST),), bench.value("current"))


def test_completed_means_that_the_old_was_refused_and_the_current_accepted() -> None:
    """The current one before the old one is taken away, or nothing might be left, and once more after it."""
    bench = Bench(Strategy.DUAL)
    ended = bench.rotate()
    asked = [(call.name, call.args[0]) for call in bench.calls if call.name in ("target.probe", "target.retire")]
    old, current = bench.value(FIRST), bench.value("current")
    assert asked == [
        ("target.probe", current),
        ("target.retire", old),
        ("target.probe", old),
        ("target.probe", current),
    ]
    assert bench.bodies(ended.id, e.PreviousRetired) == [e.PreviousRetired(refused=True)]
    assert bench.noted(e.VersionRetired) == [e.VersionRetired(FIRST)]


def test_an_old_version_that_is_still_accepted_is_not_retired() -> None:
    """The target said that it was done; the rotation stays open until it is."""
    bench = Bench(Strategy.DUAL, options=MemoryOptions(faults=(Fault.KEEP_RETIRED,)))
    rotation = stalled(bench)
    assert rotation.state is State.RETIRING
    assert rotation.cause is not None
    assert rotation.cause.message == "proving that the old version is refused: the target says accepted."
    assert bench.noted(e.VersionRetired) == []


@pytest.mark.parametrize("probe", [Probe.UNKNOWN, Probe.REFUSED, Probe.UNUSABLE])
@pytest.mark.parametrize(("before", "asked"), [(0, 0), (2, 1)], ids=["at first", "at last"])
def test_a_current_version_that_is_not_accepted_is_not_completed(probe: Probe, before: int, asked: int) -> None:
    """Before the old one is taken away, which then stays; and after it, where the rotation stays open."""
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    bench.until("retiring", rotation_id)
    bench.at("target.probe", *[works] * before, answers(Sighting(probe, "locked")))
    rotation = bench.drive(rotation_id, patience=lambda rotation, wait: False)
    assert rotation.state is State.RETIRING
    assert rotation.cause is not None
    assert rotation.cause.message.endswith(f"the current version is accepted: the target says {probe} (locked).")
    assert (len(bench.asked("target.retire")), bench.accepts(FIRST)) == (asked, not asked)
    assert bench.drive(rotation_id).state is State.COMPLETED


def test_a_current_version_that_is_refused_is_counted_and_does_not_lock_its_login() -> None:
    """Somebody changed it by hand: retiring is tried for ever, and no more often than the target allows."""
    budget = LoginBudget(4, Microseconds(900 * SECOND))
    bench = Bench(Strategy.ALTERNATING, login_budget=budget)
    rotation_id = bench.start()
    bench.until("retiring", rotation_id)
    current, deadline = bench.value("current"), Instant(bench.clock.wall + HOUR)
    bench.target.retire(bench.value(FIRST), keep=current, tag="by hand", deadline=deadline)
    bench.target.restore(None, candidate=current, tag="by hand", deadline=deadline)
    until = bench.clock.wall + 4 * HOUR
    assert bench.drive(rotation_id, patience=lambda rotation, wait: wait.until < until).state is State.RETIRING
    times = [call.at for call in bench.calls if call.name == "target.probe" and call.args[0] == current]
    assert len(times) >= 3 * 4 * budget.tries
    assert max(sum(at <= other <= at + budget.window for other in times) for at in times) <= budget.tries
    assert bench.asked("target.retire") == [], "the old version may be the only one that works"


@pytest.mark.parametrize("error", [Unavailable, Rejected])
def test_retiring_has_no_last_try(error: type[Unavailable | Rejected]) -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.retire", *[fails(error)] * 20)
    ended = bench.drive(rotation_id)
    assert ended.state is State.COMPLETED
    assert len(bench.bodies(rotation_id, e.EffectPostponed)) == 20


def test_without_an_old_version_there_is_nothing_to_prove() -> None:
    bench = Bench(vacant=True)
    ended = bench.rotate()
    assert bench.bodies(ended.id, e.PreviousRetired) == [e.PreviousRetired(refused=False)]
    assert bench.noted(e.VersionRetired) == []
    assert bench.call("target.retire").args == (None,)


def test_an_old_version_of_which_only_the_verifier_is_known_cannot_be_tried() -> None:
    bench = Bench(known=False, options=MemoryOptions(shows_restorable=True))
    ended = bench.rotate()
    assert bench.bodies(ended.id, e.PreviousRetired) == [e.PreviousRetired(refused=False)]
    assert bench.initial is not None
    assert not bench.target.accepts(bench.initial)


def test_a_value_that_was_rotated_to_itself_is_not_taken_away() -> None:
    """The user gave the value that is in force."""
    bench = Bench()
    assert bench.initial is not None
    ended = bench.rotate(given=bench.initial.secret)
    assert ended.state is State.COMPLETED
    assert bench.bodies(ended.id, e.PreviousRetired) == [e.PreviousRetired(refused=False)]
    assert bench.target.accepts(bench.initial)


def test_proving_spends_a_login_of_the_old_version_only() -> None:
    bench = Bench(Strategy.ALTERNATING, options=MemoryOptions(lockout_after=9))
    ended = bench.rotate()
    assert [body.login for body in bench.bodies(ended.id, e.LoginTried)] == ["app_b", "app_b", "app_a"]


# --- what the store lost ------------------------------------------------------------------------------------------


def lose(bench: Bench, version: str) -> CredentialValue:
    """Have the store hold everything but a version, under the labels that it had; return what was lost."""
    lost, held = bench.value(version), bench.held
    store = MemoryStore()
    for kept in held.versions:
        if kept != version:
            store.stage(PATH, kept, bench.value(kept))
    assert held.current is not None
    store.promote(PATH, held.current, bench.value(held.current), expected=None)
    bench.store = store
    return lost


@pytest.mark.parametrize("strategy", list(Strategy))
def test_an_old_version_that_the_store_lost_is_retired_without_its_value(strategy: Strategy) -> None:
    """It could not be proven refused, and a rotation that nobody can finish would be worse."""
    bench = Bench(strategy)
    rotation_id = bench.start()
    bench.until("retiring", rotation_id)
    old = lose(bench, FIRST)
    ended = bench.drive(rotation_id, patience=lambda rotation, wait: False)
    assert (ended.state, bench.held.current) == (State.COMPLETED, ended.candidate)
    assert bench.bodies(rotation_id, e.PreviousRetired) == [e.PreviousRetired(refused=False)]
    assert bench.noted(e.VersionRetired) == []
    assert bench.accepts(ended.candidate)
    asked = bench.call("target.retire").args[0]
    if strategy is Strategy.DUAL:
        assert asked is None, "all values of the login but the current one"
    else:
        assert asked == CredentialValue(old.username, None), "the login that had it"
    if strategy not in (Strategy.ISSUE, Strategy.ALTERNATING):  # there it is the target that finds what to take away
        assert not bench.target.accepts(old)
    assert bench.rotate().state is State.COMPLETED


# --- strays -------------------------------------------------------------------------------------------------------


def stray(bench: Bench) -> str:
    """Leave a version in force that nobody saw refused: a rotation failed, and going back by itself was off."""
    rotation_id = bench.start(rollback_automatic=False)
    bench.at("store.promote", fails(Rejected))
    failed = bench.drive(rotation_id)
    assert (failed.state, bench.accepts(failed.candidate)) == (State.FAILED, True)
    return failed.candidate


@pytest.mark.parametrize("strategy", [Strategy.DUAL, Strategy.ISSUE])
def test_what_failed_rotations_left_in_force_is_taken_out_by_the_next(strategy: Strategy) -> None:
    bench = Bench(strategy, options=MemoryOptions(values_max=4))
    left = stray(bench)
    ended = bench.rotate()
    assert not bench.accepts(left)
    assert bench.noted(e.VersionRetired) == [e.VersionRetired(left), e.VersionRetired(FIRST)]
    assert [a.version for a in ended.attempts if a.login] == [ended.candidate, f"-{FIRST}", f"-{left}"]
    assert [version.id for version in bench.credential.strays] == []


def test_where_a_login_holds_one_value_nothing_is_left_to_take_out() -> None:
    bench = Bench()
    stray(bench)
    ended = bench.rotate()
    assert len([a for a in ended.attempts if a.version.startswith("-")]) == 1


def test_a_stray_that_is_still_accepted_holds_up_the_end() -> None:
    bench = Bench(Strategy.ISSUE)
    left = stray(bench)
    rotation_id = bench.start()
    bench.until("retiring", rotation_id)
    bench.at("target.probe", works, works, works, answers(Sighting(Probe.ACCEPTED)))
    rotation = bench.drive(rotation_id, patience=lambda rotation, wait: False)
    assert rotation.cause is not None
    assert f"the left-over version {left} is refused" in rotation.cause.message
    assert bench.drive(rotation_id).state is State.COMPLETED


def test_strays_that_cannot_be_seen_refused_are_left_to_a_later_rotation() -> None:
    """The store does not hold one, of one only the verifier is known, and one is the current value itself."""
    bench = Bench(Strategy.DUAL, options=MemoryOptions(values_max=4))
    first = bench.rotate()
    performance = bench.performance(first.id)
    same = bench.value("current")
    bench.store.stage(PATH, "same", same)
    for name in ("unheld", "same"):
        performance.note([e.RotationOpened(first.id, "app-db", "production", name, 2, "app")])
    performance.note([e.RotationClosed(first.id, State.FAILED)])
    ended = bench.rotate(given=same.secret)
    assert ended.state is State.COMPLETED
    assert [version.id for version in bench.credential.strays] == ["unheld", "same", first.candidate]


def test_a_stray_waits_where_no_login_may_be_spent() -> None:
    """Of two, one is proven with the last login of the window; the next rotation has logins to spend again."""
    bench = Bench(Strategy.ISSUE, options=MemoryOptions(lockout_after=3))
    first, second = stray(bench), stray(bench)
    assert bench.rotate().state is State.COMPLETED
    assert (bench.accepts(first), bench.accepts(second)) == (False, True)
    assert [version.id for version in bench.credential.strays] == [second]
    bench.rotate()
    assert not bench.accepts(second)


# --- forgetting -----------------------------------------------------------------------------------------------------


def test_old_versions_are_forgotten_recorded_first() -> None:
    """So that no restore point is offered that points at nothing: the process dies in between, and the next does it."""
    bench = Bench(versions_kept=3)
    for _ in range(2):
        bench.rotate()
    rotation_id = bench.start()
    bench.at("store.discard", dies)
    with pytest.raises(Died):
        bench.drive(rotation_id)
    assert bench.noted(e.VersionDestroyed) == [e.VersionDestroyed(FIRST)]
    assert FIRST in bench.held.versions
    bench.drive(rotation_id)
    assert FIRST not in bench.held.versions
    assert len(bench.held.versions) == 3
    assert bench.call("store.discard").kwargs == {"destroy": True}


def test_a_store_without_versions_has_none_to_forget() -> None:
    class Unversioned(MemoryStore):
        capabilities = StoreCapabilities(versioned=False, compare_and_set=True, label_switch=True, readable=False)

    bench = Bench(vacant=True, versions_kept=3)
    bench.store = Unversioned()
    for _ in range(6):
        assert bench.rotate().state is State.COMPLETED
    assert bench.asked("store.discard") == []
    assert bench.noted(e.VersionDestroyed) == []


def test_a_login_is_cleared_only_where_the_store_lost_what_may_be_left_in_it() -> None:
    """Seeing that the current version works, nothing is taken away that the next rotation can name."""
    bench = Bench(Strategy.DUAL, options=MemoryOptions(values_max=4))
    left = stray(bench)
    again = bench.drive(bench.start(to=Version(FIRST, "app")))
    assert bench.bodies(again.id, e.PreviousRetired) == [e.PreviousRetired(refused=False)]
    assert (bench.asked("target.retire"), bench.accepts(left)) == ([], True)
    lose(bench, left)
    again = bench.drive(bench.start(to=Version(FIRST, "app")))
    assert len(bench.asked("target.retire")) == 1
    assert again.state is State.COMPLETED
