"""What a refusal says, and what exactly a port is asked: words to act on, and arguments to rely on."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.commands import end_grace, go_back, retry
from engine.credential import Credential, Version, credential_id
from engine.errors import IllegalCommand, NoRestorePoint, Rejected, Uncertain
from engine.machine import State
from engine.operations import require_going_back
from engine.plan import RetryClass, Strategy
from engine.policies import unreachable
from engine.ports import Probe, Sighting
from engine.values import SECOND, CredentialValue, Form, Microseconds, Secret
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench, answers, fails, lost
from tests.unit.engine.rotations import ROTATION, attempt, rotation

OPEN = Credential(credential_id("app-db", "production"), "app-db", "production", open=ROTATION, last=ROTATION)
OTHER = UUID(int=7)

# --- decisions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "command", "state"),
    [
        (lambda: retry(rotation(State.GRACE), reason=""), "retry", "grace"),
        (lambda: end_grace(rotation(State.VERIFYING)), "retire", "verifying"),
        (lambda: go_back(rotation(State.RETIRING), OPEN, command="abort", reason=""), "abort", "retiring"),
        (
            lambda: go_back(
                rotation(State.APPLYING, previous=None, attempts=(attempt(),)), OPEN, command="abort", reason=""
            ),
            "abort",
            "applying, with no earlier version",
        ),
        (
            lambda: go_back(
                rotation(State.FAILED),
                Credential(OPEN.id, "app-db", "production", open=OTHER, last=OTHER),
                command="rollback",
                reason="",
            ),
            "rollback",
            "failed and a later one exists",
        ),
        (
            lambda: require_going_back(rotation(State.APPLYING), Version("v7", "app")),
            "going back to v7",
            "open (applying): it can be taken back to v1 only",
        ),
    ],
)
def test_an_illegal_command_is_named_with_the_state_and_the_rotation(
    refused: Callable[[], object], command: str, state: str
) -> None:
    """The message says what was asked for and why not; the hint leads to the rotation."""
    with pytest.raises(IllegalCommand) as caught:
        refused()
    assert caught.value.message == f"{command} is not possible while the rotation is {state}."
    assert caught.value.advice == f"keyturn show {ROTATION} tells how it came to be there."


def test_an_end_of_grace_needs_no_reason() -> None:
    assert end_grace(rotation(State.GRACE)) == [e.GraceEnded(early=True)]


def test_why_a_version_is_out_of_reach_is_said_in_words() -> None:
    verifier = CredentialValue("app", Secret("canary-verifier"), Form.VERIFIER)
    assert unreachable(None, settable=True) == "no store holds that version any more"
    assert unreachable(verifier, settable=True) == "only its verifier is held, which nobody can log in with"
    plain = CredentialValue("app", Secret("canary-plain"))
    assert unreachable(plain, settable=False) == "the target cannot be set back to a known value"
    assert unreachable(plain, settable=True) == ""


# --- operations ---------------------------------------------------------------------------------------------------


def test_a_version_that_cannot_be_gone_back_to_is_named_with_its_service() -> None:
    bench = Bench()
    with pytest.raises(NoRestorePoint) as caught:
        bench.operations().roll_back_to(SERVICE, ENVIRONMENT, bench.plan(), Version("v9", "app"), logins=bench.logins)
    assert caught.value.message == (
        "app-db cannot go back to v9: no store holds that version any more. Restore points: none."
    )
    assert caught.value.advice == "keyturn rollback app-db --to VERSION takes one of them."


def test_decisions_without_a_reason_have_none() -> None:
    """And those with one keep it, on the facts of the rotation they are about."""
    bench = Bench(Strategy.ALTERNATING)
    first = bench.rotate()
    operations = bench.operations()
    points = Version(FIRST, "app_a")
    back = operations.roll_back_to(SERVICE, ENVIRONMENT, bench.plan(), points, logins=bench.logins)
    assert [body.reason for body in bench.bodies(back, e.RotationStarted)] == [""]
    bench.at("target.restore", *[fails(Rejected)] * 2)
    operations.go_back(back, command="abort")
    assert [body.reason for body in bench.bodies(back, e.RollbackStarted)] == [""]
    assert first.state is State.COMPLETED


def test_a_retry_without_a_reason_has_none_and_one_with_a_reason_keeps_it() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    for reason in ({}, {"reason": "the disk has room again"}):
        bench.at("target.restore", fails(Rejected))
        assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED
        bench.operations().retry(rotation_id, **reason)
    assert [body.reason for body in bench.bodies(rotation_id, e.RollbackRetried)] == ["", "the disk has room again"]
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


def test_a_grace_period_that_a_person_ends_has_the_reason() -> None:
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    bench.until("grace", rotation_id)
    bench.operations().end_grace(rotation_id, reason="nobody uses it")
    assert [(body.early, body.reason) for body in bench.bodies(rotation_id, e.GraceEnded)] == [(True, "nobody uses it")]


# --- effects ------------------------------------------------------------------------------------------------------


def cause_after(bench: Bench, rotation_id: UUID) -> e.Cause:
    """Drive a rotation until it has to wait or rests, and return what went wrong last."""
    cause = bench.drive(rotation_id, patience=lambda rotation, wait: False).cause
    assert cause is not None
    return cause


def promoted(bench: Bench) -> UUID:
    """Return a rotation that consumers have the candidate of, and that is to be taken back."""
    rotation_id = bench.start()
    bench.until("monitoring", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    return rotation_id


def test_a_look_that_shows_nothing_says_what_was_looked_at() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.at("target.probe", answers(Sighting(Probe.UNKNOWN)))
    looked = bench.drive(rotation_id, patience=lambda rotation, wait: rotation.failures < 2).cause
    assert looked is not None
    assert looked.message == "looking whether the target accepts the new version: no clear answer."


def test_a_first_look_at_a_login_says_what_it_was_for() -> None:
    bench = Bench(known=False, options=MemoryOptions(shows_restorable=True))
    rotation_id = bench.start()
    bench.at("target.probe", answers(Sighting(Probe.UNKNOWN)))
    assert cause_after(bench, rotation_id).message == "looking what the login holds: no clear answer."


def test_an_attempt_that_may_not_be_repeated_says_why_it_is_given_up() -> None:
    bench = Bench(options=MemoryOptions(retry=RetryClass.NEVER_REPEAT))
    rotation_id = bench.start()
    bench.at("target.apply", fails(Uncertain))
    bench.drive(rotation_id)
    (began,) = bench.bodies(rotation_id, e.RollbackStarted)
    assert began.cause is not None
    assert began.cause.message == (
        "the answer of the only attempt was lost, the target refuses its value, and it may not be repeated"
    )


def test_an_unclear_look_on_the_way_back_says_what_was_looked_at() -> None:
    bench = Bench(Strategy.DUAL)
    rotation_id = promoted(bench)
    bench.at("target.probe", answers(Sighting(Probe.UNKNOWN)))
    looked = cause_after(bench, rotation_id)
    assert looked.message == "seeing whether the previous version works: the target says unknown."


def test_a_store_that_somebody_changed_is_named_on_the_way_back() -> None:
    """With what leads to the comparison of store and target."""
    bench = Bench(Strategy.DUAL)
    rotation_id = promoted(bench)
    bench.store.stage(PATH, "v9-by-hand", CredentialValue("app", Secret("canary-by-hand")))
    bench.store.promote(PATH, "v9-by-hand", bench.value("v9-by-hand"), expected=bench.held.current)
    cause = cause_after(bench, rotation_id)
    assert cause.message == ("taking the store back: it calls v9-by-hand current, which this rotation does not know.")
    assert cause.hint == "Someone else changed the store: keyturn doctor compares it with the target."


def test_where_nobody_was_sent_to_the_candidate_the_stores_are_asked_nothing() -> None:
    """Going back before promotion touches the target alone, and the old version needs no look before it."""
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.calls.clear()
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.asked("target.", "store.promote") == ["target.restore", "target.probe"]


def test_what_the_stores_are_told_is_an_attempt_without_a_login_both_ways() -> None:
    bench = Bench(Strategy.DUAL)
    rotation_id = promoted(bench)
    ended = bench.drive(rotation_id)
    told = [(each.version, each.done) for each in ended.attempts if not each.login]
    assert told == [(ended.candidate, True), (FIRST, True)]


@pytest.mark.parametrize("strategy", [Strategy.DUAL, Strategy.ALTERNATING])
def test_the_target_is_asked_to_go_back_to_what_was_there_under_the_tag_of_the_effect(strategy: Strategy) -> None:
    bench = Bench(strategy)
    rotation_id = promoted(bench)
    going = bench.rotation(rotation_id)
    bench.drive(rotation_id)
    call = bench.call("target.restore")
    assert call.args == (bench.value(FIRST),)
    assert call.kwargs["candidate"] == bench.value(going.candidate)
    assert call.kwargs["tag"] == f"{rotation_id.hex[:12]}-{going.entered}"


def test_what_is_retired_is_asked_for_with_what_stays_a_tag_and_a_deadline() -> None:
    """So that the target can refuse to leave a login without a value, and a late request does nothing."""
    bench = Bench(Strategy.DUAL, options=MemoryOptions(values_max=4))
    left = []
    for _ in range(2):
        rotation_id = bench.start(rollback_automatic=False)
        bench.at("store.promote", fails(Rejected))
        left.append(bench.drive(rotation_id).candidate)
    ended = bench.rotate()
    calls = [call for call in bench.calls if call.name == "target.retire"]
    assert [call.args for call in calls] == [(bench.value(each),) for each in (FIRST, *left)]
    assert {call.kwargs["keep"].revealed() for call in calls} == {bench.value(ended.candidate).revealed()}
    assert {call.kwargs["tag"] for call in calls} == {f"{ended.id.hex[:12]}-{entered(bench, ended.id, 'GraceEnded')}"}
    for call in calls:
        assert call.kwargs["deadline"] == call.at + 5 * SECOND


def entered(bench: Bench, rotation_id: UUID, name: str) -> int:
    """Return the number of the fact of this name in a rotation."""
    return bench.names(rotation_id).index(name) + 1


def test_what_a_lost_attempt_made_is_revoked_by_its_tag_and_what_is_known_is_kept() -> None:
    """Within the attempt window: a request that is later than that does nothing."""
    bench = Bench(Strategy.ISSUE, attempt_window=Microseconds(7 * SECOND))
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.drive(rotation_id, patience=lambda rotation, wait: wait.why != "grace period")
    call = next(call for call in bench.calls if call.name == "target.retire")
    assert call.args == (None,)
    assert call.kwargs["keep"] == bench.initial
    assert call.kwargs["tag"] == f"{rotation_id.hex[:12]}-a1"
    assert call.kwargs["deadline"] == call.at + 7 * SECOND


def test_what_a_lost_attempt_made_is_revoked_on_the_way_back_as_well() -> None:
    """One that was answered is not: its value is known, and taken out by itself."""
    bench = Bench(Strategy.ISSUE)
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.at("target.retire", fails(Rejected))
    bench.drive(rotation_id)
    calls = [call for call in bench.calls if call.name == "target.retire"]
    assert [call.kwargs["tag"] for call in calls] == [f"{rotation_id.hex[:12]}-a1"] * len(calls)
    assert len(calls) == 2
    assert {call.kwargs["keep"].revealed() for call in calls} == {bench.value(FIRST).revealed()}


def test_a_first_rotation_that_is_taken_back_restores_nothing() -> None:
    """There was no version before: the attempt is recorded for none."""
    bench = Bench(Strategy.DUAL, vacant=True)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert [each.version for each in ended.attempts] == [ended.candidate, ""]
    assert bench.call("target.restore").args == (None,)


def test_a_first_rotation_has_nothing_to_retire_by_name() -> None:
    bench = Bench(Strategy.DUAL, vacant=True)
    ended = bench.rotate()
    assert [each.version for each in ended.attempts if each.login] == [ended.candidate, "-"]


def test_strays_are_looked_through_to_the_last() -> None:
    """One that is not held, or known by its verifier alone, does not hide those behind it."""
    bench = Bench(Strategy.DUAL, options=MemoryOptions(values_max=6))
    first = bench.rotate()
    performance = bench.performance(first.id)
    bench.store.stage(PATH, "shown", CredentialValue("app", Secret("canary-verifier"), Form.VERIFIER))
    for name in ("unheld", "shown"):
        performance.note([e.RotationOpened(first.id, SERVICE, ENVIRONMENT, name, 2, "app")])
    performance.note([e.RotationClosed(first.id, State.FAILED)])
    rotation_id = bench.start(rollback_automatic=False)
    bench.at("store.promote", fails(Rejected))
    last = bench.drive(rotation_id).candidate
    bench.rotate()
    assert not bench.accepts(last)


def test_a_captured_value_is_not_left_pending() -> None:
    """It is kept, and the candidate is what is pending next."""
    bench = Bench(known=False, options=MemoryOptions(shows_restorable=True))
    rotation_id = bench.start()
    bench.until("applying", rotation_id)
    captured = bench.bodies(rotation_id, e.PreviousCaptured)[0].version
    assert bench.call("store.discard").args == (PATH, captured)
    assert bench.call("store.discard").kwargs == {"destroy": False}
    assert bench.rotation(rotation_id).vacant is False


def test_a_refusal_of_the_store_names_the_version_the_store_and_the_path() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("applying", rotation_id)
    bench.store = MemoryStore()
    ended = bench.drive(rotation_id)
    assert ended.cause is not None
    assert ended.cause.message == (
        f"reading version {ended.candidate}: the store 'local' does not hold it at '{PATH}'."
    )
    assert ended.cause.hint == "Restore the store from a backup, or begin again: keyturn rotate."
