"""The effects that lead back: in which order, what is proven, and that nothing is thrown away."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import Fault, MemoryOptions
from engine import events as e
from engine.errors import Rejected, Unavailable, Uncertain
from engine.machine import State
from engine.plan import LoginBudget, Strategy
from engine.ports import Probe, Sighting
from engine.rotation import Rotation
from engine.values import SECOND, CredentialValue, Microseconds, Secret
from tests.unit.engine.bench import FIRST, HOUR, PATH, Bench, after, answers, fails, lost, works

SHOWS = MemoryOptions(shows_restorable=True)


def abort(bench: Bench, rotation_id: UUID, state: str) -> Rotation:
    """Take a rotation back when it stands in a state, and drive it to its end."""
    bench.until(state, rotation_id)
    bench.operations().go_back(rotation_id, command="abort", reason="asked")
    return bench.drive(rotation_id)


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        (Strategy.SINGLE, ["target.restore", "store.promote"]),
        (Strategy.SCRIPT, ["target.restore", "store.promote"]),
        (Strategy.ALTERNATING, ["store.promote", "target.restore"]),
        (Strategy.DUAL, ["store.promote", "target.restore"]),
        (Strategy.ISSUE, ["store.promote", "target.restore"]),
    ],
)
def test_stores_return_first_where_both_are_valid_and_last_where_one_is(strategy: Strategy, order: list[str]) -> None:
    """What the store calls current works at every moment where that can be had."""
    bench = Bench(strategy)
    rotation_id = bench.start()
    bench.until("monitoring", rotation_id)
    before = len(bench.asked("store.promote", "target.restore"))
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.asked("store.promote", "target.restore")[before:] == order
    assert (bench.held.current, bench.accepts(FIRST)) == (FIRST, True)
    assert len(bench.target.strangers([])) == 1


def test_the_candidate_is_quarantined_and_never_deleted() -> None:
    """A late answer may make it live."""
    bench = Bench()
    ended = abort(bench, bench.start(), "verifying")
    assert ended.candidate in bench.held.versions
    assert bench.held.pending is None
    assert bench.call("store.discard").kwargs == {"destroy": False}


def test_going_back_after_promotion_is_taken_down_by_the_credential_and_the_places() -> None:
    bench = Bench(places=["dotenv:A"])
    ended = abort(bench, bench.start(), "monitoring")
    assert bench.noted(e.CurrentChanged)[-1] == e.CurrentChanged(ended.id, FIRST, "app")
    assert [version for _, version in bench.places[0].published] == [ended.candidate, FIRST]
    assert bench.credential.current is not None
    assert bench.credential.current.id == FIRST


def test_before_promotion_no_store_is_touched() -> None:
    bench = Bench(places=["dotenv:A"])
    ended = abort(bench, bench.start(), "verifying")
    assert bench.asked("store.promote", "place") == []
    assert bench.noted(e.CurrentChanged) == []
    assert ended.state is State.ROLLED_BACK


def test_a_store_that_somebody_else_changed_is_not_taken_back() -> None:
    """A person must say which of the two is right; then it is tried again."""
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    candidate = bench.until("monitoring", rotation_id).candidate
    bench.store.promote(PATH, "foreign", CredentialValue("app", Secret("canary-x")), expected=candidate)
    bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert ended.state is State.ROLLBACK_FAILED
    assert ended.cause is not None
    assert "it calls foreign current" in ended.cause.message
    assert bench.asked("target.restore") == []
    bench.store.promote(PATH, candidate, bench.value(candidate), expected="foreign")
    bench.operations().retry(rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


def test_a_target_that_was_never_asked_is_not_asked_to_go_back() -> None:
    """And the log says that nothing was to be seen."""
    bench = Bench()
    rotation_id = bench.start()
    ended = abort(bench, rotation_id, "applying")
    assert bench.asked("target") == []
    assert bench.bodies(rotation_id, e.RollbackVerified) == [e.RollbackVerified("nothing")]
    assert ended.state is State.ROLLED_BACK


def test_a_refused_attempt_leaves_nothing_to_restore() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.apply", fails(Unavailable))
    bench.until("applying", rotation_id)
    bench.drive(rotation_id, patience=lambda rotation, wait: False)
    bench.operations().go_back(rotation_id, command="abort")
    bench.drive(rotation_id)
    assert bench.asked("target.restore") == []


def test_restoring_is_an_attempt_of_its_own() -> None:
    """Recorded with the version that is to be accepted, before the target is asked."""
    bench = Bench()
    rotation_id = bench.start()
    ended = abort(bench, rotation_id, "verifying")
    call = bench.call("target.restore")
    assert ended.attempts[-1].version == FIRST
    assert (ended.attempts[-1].done, ended.attempts[-1].login) == (True, "app")
    assert call.kwargs["deadline"] == ended.attempts[-1].deadline
    assert call.kwargs["candidate"] == bench.value(ended.candidate)
    assert bench.bodies(rotation_id, e.RollbackVerified) == [e.RollbackVerified("login")]


def test_a_lost_attempt_is_waited_for_before_the_old_value_is_set() -> None:
    """Landing late it would overwrite it."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.apply", fails(Uncertain))
    lost_one = bench.drive(rotation_id, patience=lambda rotation, wait: False)
    bench.operations().go_back(rotation_id, command="abort")
    bench.drive(rotation_id)
    assert bench.call("target.restore").at >= lost_one.attempts[0].deadline


def test_what_lost_attempts_made_is_revoked_first() -> None:
    """Nobody holds such a value, and the old one goes on working."""
    bench = Bench(Strategy.ISSUE)
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.drive(rotation_id, patience=lambda rotation, wait: False)
    assert len(bench.target.strangers([])) == 2
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.call("target.retire").kwargs["tag"] == f"{rotation_id.hex[:12]}-a1"
    assert len(bench.target.strangers([])) == 1
    assert bench.accepts(FIRST)


def test_only_what_a_lost_attempt_made_is_revoked() -> None:
    """One that had an answer made nothing."""
    bench = Bench(Strategy.ISSUE)
    rotation_id = bench.start()
    bench.at("target.apply", fails(), lost)
    bench.drive(rotation_id, patience=lambda rotation, wait: rotation.failures < 2)
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    tags = [call.kwargs["tag"] for call in bench.calls if call.name == "target.retire"]
    assert tags == [f"{rotation_id.hex[:12]}-a2"]


def test_a_candidate_that_the_store_lost_is_taken_away_without_its_value() -> None:
    """An attempt as any other on the way back: under a tag, and within the time of a rollback."""
    bench = Bench(Strategy.DUAL, rollback_timeout=Microseconds(2 * SECOND))
    rotation_id = bench.start()
    standing = bench.until("verifying", rotation_id)
    old = bench.value(FIRST)
    bench.store = MemoryStore()
    bench.store.promote(PATH, FIRST, old, expected=None)
    bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert ended.state is State.ROLLED_BACK
    assert [held.holds(old) for _, held in bench.target.strangers([])] == [True]
    taken = bench.call("target.retire")
    (made,) = [each for each in ended.attempts if each.version == f"-{standing.candidate}"]
    assert (made.login, made.done, made.deadline) == ("app", True, taken.at + 2 * SECOND)
    assert (taken.kwargs["tag"], taken.kwargs["deadline"]) == (
        bench.call("target.restore").kwargs["tag"],
        made.deadline,
    )


@pytest.mark.parametrize(("detail", "told"), [("", "accepted"), ("by node 2", "accepted (by node 2)")])
def test_a_candidate_that_is_accepted_beside_the_old_version_is_named(detail: str, told: str) -> None:
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.probe", works, answers(Sighting(Probe.ACCEPTED, detail)))
    standing = bench.drive(rotation_id, patience=lambda rotation, wait: False)
    assert standing.cause is not None
    assert standing.cause.message == f"seeing the candidate refused: the target says {told}."


# --- without an earlier version -------------------------------------------------------------------------------------


def test_where_there_was_no_old_version_the_candidate_is_seen_refused() -> None:
    """A login that was vacant is vacant again; the look spends a login."""
    bench = Bench(vacant=True, options=MemoryOptions(lockout_after=5))
    rotation_id = bench.start()
    bench.at("target.probe", answers(Sighting(Probe.REFUSED)))
    ended = abort(bench, rotation_id, "verifying")
    assert bench.bodies(rotation_id, e.RollbackVerified) == [e.RollbackVerified("refused")]
    assert not bench.accepts(ended.candidate)
    assert [body.login for body in bench.bodies(rotation_id, e.LoginTried)] == ["app"]


def test_a_candidate_that_is_still_accepted_is_no_rollback() -> None:
    bench = Bench(Strategy.DUAL, vacant=True)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.at("target.restore", *[answers(None)] * 3)
    bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert ended.state is State.ROLLBACK_FAILED
    assert ended.cause is not None
    assert "seeing the candidate refused: the target says accepted" in ended.cause.message


def test_where_nobody_ever_held_what_was_made_it_is_revoked() -> None:
    bench = Bench(Strategy.ISSUE, vacant=True)
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.drive(rotation_id, patience=lambda rotation, wait: False)
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.bodies(rotation_id, e.RollbackVerified) == [e.RollbackVerified("revoked")]
    assert bench.target.strangers([]) == []


# --- verifiers --------------------------------------------------------------------------------------------------------


def test_a_captured_verifier_is_set_back_and_seen_in_force() -> None:
    """Its plain value, which nobody but the consumers know, works again; no place is given a verifier."""
    bench = Bench(known=False, options=SHOWS, places=["dotenv:A"])
    rotation_id = bench.start()
    abort(bench, rotation_id, "verifying")
    assert bench.initial is not None
    assert bench.target.accepts(bench.initial)
    assert bench.bodies(rotation_id, e.RollbackVerified) == [e.RollbackVerified("verifier")]
    assert bench.places[0].published == []
    assert bench.held.current is None


def test_a_verifier_that_is_not_seen_in_force_is_no_rollback() -> None:
    """The target said that it was done, and shows the candidate."""
    bench = Bench(known=False, options=SHOWS)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.at("target.restore", answers(None))
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED


def test_a_verifier_is_in_force_only_where_the_target_shows_it() -> None:
    """ACCEPTED says that the login holds some value, and not which."""
    bench = Bench(known=False, options=SHOWS)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.probe", *[answers(Sighting(Probe.ACCEPTED))] * 3)
    assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED
    bench.operations().retry(rotation_id)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


# --- proof, and its price -------------------------------------------------------------------------------------------


def test_a_rollback_counts_when_a_fresh_login_with_the_old_version_succeeded() -> None:
    """The target answered that it was done, and had lost it."""
    bench = Bench()
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.at("target.restore", answers(None))
    bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert ended.state is State.ROLLBACK_FAILED
    assert bench.asked("target.probe") == ["target.probe"] * 3
    assert ended.cause is not None
    assert "seeing the previous version accepted: the target says refused" in ended.cause.message


def test_a_look_without_an_answer_is_taken_again() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.probe", answers(Sighting(Probe.UNKNOWN)), works)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


def test_a_look_that_comes_after_the_timeout_proves_nothing() -> None:
    """A rollback is seen, or it is not: an answer that late is taken again, and then a person must know."""
    bench = Bench(rollback_timeout=Microseconds(2 * SECOND))
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    slow = after(lambda: bench.clock.wait(Microseconds(2 * SECOND)))
    bench.at("target.probe", *[slow] * 3)
    ended = bench.drive(rotation_id)
    assert (ended.state, ended.failures) == (State.ROLLBACK_FAILED, 0)
    assert ended.cause is not None
    assert "seeing the previous version accepted: the answer came after the rollback timeout" in ended.cause.message
    bench.operations().retry(rotation_id)
    bench.at("target.probe", slow, works)
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


@pytest.mark.parametrize(("timeout", "window"), [(2, 5), (9, 7)])
def test_the_target_has_as_long_to_go_back_as_the_shorter_of_the_two(timeout: int, window: int) -> None:
    """The rollback's timeout, and the window in which any attempt takes effect."""
    bench = Bench(rollback_timeout=Microseconds(timeout * SECOND), attempt_window=Microseconds(window * SECOND))
    abort(bench, bench.start(), "verifying")
    call = bench.call("target.restore")
    assert call.kwargs["deadline"] - call.at == min(timeout, window) * SECOND


@pytest.mark.parametrize("state", ["rolling_back", "verifying_rollback"])
def test_a_rollback_that_a_process_left_for_days_has_all_its_tries(state: str) -> None:
    """Time in which nobody tried is not held against it: one error is followed by another try."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("store.promote", fails(Rejected))
    bench.until(state, rotation_id)
    bench.clock.wait(Microseconds(72 * HOUR))
    bench.at("target.restore", fails(Unavailable))
    bench.at("target.probe", answers(Sighting(Probe.UNKNOWN)))
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert len(bench.bodies(rotation_id, e.EffectPostponed)) == (2 if state == "rolling_back" else 1)


def test_proving_a_rollback_stays_within_the_budget_of_wrong_logins() -> None:
    """A restore that was answered and lost is looked at no more often than the target allows."""
    bench = Bench(options=MemoryOptions(lockout_after=3))
    rotation_id = bench.start()
    bench.at("target.restore", answers(None))
    most: list[int] = []

    def counted(effect: Any) -> Any:
        seen = effect()
        most.append(bench.target.wrong_logins("app"))
        return seen

    bench.at("target.probe", *[counted] * 9)
    bench.at("store.promote", fails(Rejected))
    ended = bench.drive(rotation_id)
    assert (ended.state, ended.plan.login_budget) == (State.ROLLBACK_FAILED, LoginBudget(2, Microseconds(900 * SECOND)))
    assert max(most) <= 2
    assert len(most) == 3


def test_a_login_that_fails_verification_is_taken_back_by_itself() -> None:
    """The whole way: applied, not verified in three tries, restored, seen to work."""
    bench = Bench(options=MemoryOptions(faults=(Fault.FAIL_VERIFICATION,)))
    ended = bench.rotate()
    assert (ended.state, ended.automatic) == (State.ROLLED_BACK, True)
    assert len(bench.bodies(ended.id, e.VerificationFailed)) == 3
    assert (bench.held.current, bench.accepts(FIRST)) == (FIRST, True)
