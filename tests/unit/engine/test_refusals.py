"""What a refusal says: what was asked for, of what, why not, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.commands import end_grace, go_back, making_room, retry
from engine.credential import Credential, Version, credential_id
from engine.errors import Fenced, IllegalCommand, InGrace, NoRestorePoint, Rejected, Unavailable, Uncertain
from engine.machine import State
from engine.operations import Operations, require_going_back
from engine.performance import Binding
from engine.plan import Plan, RetryClass, Strategy
from engine.policies import unreachable
from engine.ports import Probe, Sighting
from engine.values import SECOND, CredentialValue, Form, Microseconds, Secret
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench, after, answers, fails, lost, works
from tests.unit.engine.rotations import ROTATION, attempt, plan, rotation

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
                rotation(State.PROMOTING, plan(settable=False), attempts=(attempt(done=True),)),
                OPEN,
                command="abort",
                reason="",
            ),
            "abort",
            "promoting, and the target takes no earlier version back",
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
            lambda: go_back(
                rotation(State.FAILED),
                Credential(OPEN.id, "app-db", "production", last=ROTATION, lineage=(Version("v9", "app"),)),
                command="rollback",
                reason="",
            ),
            "rollback",
            "failed, and v9 is current since",
        ),
        (lambda: making_room(None, rotation(State.STAGING), OPEN, reason=""), "replacing it", "staging"),
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
    assert ended.cause.hint == "Put store local back from a backup that holds it."


# --- starting -----------------------------------------------------------------------------------------------------


def test_a_start_without_more_is_a_plain_one() -> None:
    """No reason, and a value that is still to be made."""
    bench = Bench()
    bound: list[tuple[str, str, object]] = []
    world = bench.world()

    def bind(service: str, environment: str, plan: Plan | None) -> Binding:
        bound.append((service, environment, plan))
        return world.bind(service, environment, plan)

    watched = replace(world, bind=bind)
    rotation_id = Operations(watched).start(SERVICE, ENVIRONMENT, bench.plan(), logins=bench.logins)
    (started,) = bench.bodies(rotation_id, e.RotationStarted)
    assert (started.reason, started.imported) == ("", False)
    assert bound == [(SERVICE, ENVIRONMENT, bench.plan())]


def test_a_login_that_is_not_configured_says_what_to_correct() -> None:
    bench = Bench()
    bench.store.stage(PATH, "v9", CredentialValue("somebody", Secret("canary-other-login")))
    bench.store.promote(PATH, "v9", bench.value("v9"), expected=FIRST)
    with pytest.raises(Rejected) as caught:
        bench.start()
    assert caught.value.message == (
        "taking over app-db: the store holds a login 'somebody' there, and the configuration says 'app'."
    )
    assert caught.value.advice == "Correct credential.username, or choose another key in the store."


def test_a_lost_race_says_until_when_the_other_rotation_is_in_grace() -> None:
    """Another process began one, and came to its grace period, while this one asked the store."""
    bench = Bench(Strategy.DUAL)
    bench.at("store.versions", after(lambda: bench.until("grace", bench.start(owner="process-2"))))
    with pytest.raises(InGrace) as caught:
        bench.start()
    opened = bench.operations().open_rotation(SERVICE, ENVIRONMENT)
    assert opened is not None
    assert opened.grace is not None
    assert f"of rotation {opened.id} until at {opened.grace.wall} (" in caught.value.message


# --- the runner ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", range(1, 7))
def test_who_loses_a_rotation_in_the_middle_of_an_effect_stops_before_the_next_call(asked: int) -> None:
    """The lease is looked at before each call of a port, not only between effects."""
    bench = Bench()
    rotation_id = bench.start()
    left = [asked]

    def ask() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Fenced(rotation_id=rotation_id)

    bench.ask = ask
    bench.calls.clear()
    with pytest.raises(Fenced) as caught:
        bench.drive(rotation_id)
    assert str(rotation_id) in caught.value.message
    calls = len(bench.asked("target", "store", "place"))
    assert calls < asked
    bench.ask = lambda: None
    assert bench.drive(rotation_id).state is State.COMPLETED


def test_what_the_target_answered_is_told_apart_from_what_was_seen() -> None:
    bench = Bench()
    ended = bench.rotate()
    assert [body.observed for body in bench.bodies(ended.id, e.CandidateApplied)] == ["answer"]


def test_a_verification_that_comes_too_late_says_so() -> None:
    bench = Bench(verification_timeout=Microseconds(2 * SECOND))
    rotation_id = bench.start()

    def slowly() -> None:
        bench.clock.wait(Microseconds(2 * SECOND))

    bench.at("target.verify", after(slowly))
    bench.drive(rotation_id)
    (failed,) = bench.bodies(rotation_id, e.VerificationFailed)
    assert failed.cause.message == (
        "the target gave no clear answer to a login with the new version (it came after the verification timeout)"
    )


def test_a_store_that_does_not_give_back_what_was_written_is_not_believed() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("store.read", works, answers(None))
    assert cause_after(bench, rotation_id).message == (
        "staging the candidate: the store does not give back what was written."
    )


def test_a_given_value_that_was_lost_says_how_to_give_it_again() -> None:
    bench = Bench()
    ended = bench.drive(bench.start(imported=True))
    assert ended.cause is not None
    assert ended.cause.message == "staging the candidate: the given value was not stored before the process ended."
    assert ended.cause.hint == "Give it again: keyturn rotate --new-value-file."


def test_a_call_that_is_too_late_says_what_it_was_for() -> None:
    bench = Bench()
    performance = bench.performance(bench.start())
    performance.record(e.CandidateStaged("00"))
    performance.begin_attempt("v1", "app")
    bench.clock.wait(Microseconds(5 * SECOND))
    with pytest.raises(Unavailable) as caught:
        performance.store.versions(PATH)
    assert caught.value.message == "asking for a change: its time was over before it was sent."
