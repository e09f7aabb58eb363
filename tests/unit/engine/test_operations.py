"""What people and schedules can ask for: each a recorded decision, and refused by name where it cannot be."""

from __future__ import annotations

from uuid import UUID

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.credential import Version
from engine.errors import (
    Conflict,
    IllegalCommand,
    InGrace,
    NoRestorePoint,
    NoSuchRotation,
    Rejected,
    RotationOpen,
    Unavailable,
)
from engine.machine import State
from engine.operations import Operations, require_going_back
from engine.plan import Kind, Strategy
from engine.runner import Runner
from engine.values import CredentialValue, Form, Secret
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench, after, answers, fails
from tests.unit.engine.rotations import rotation

NOBODY = UUID(int=0)


def roll_back_to(bench: Bench, version: Version, *, points: str = "", **plan: object) -> UUID:
    return bench.operations().roll_back_to(
        SERVICE, ENVIRONMENT, bench.plan(**plan), version, logins=bench.logins, reason="leaked", points=points
    )


# --- starting ---------------------------------------------------------------------------------------------------------


def test_a_start_is_one_append_and_touches_nothing_outside() -> None:
    """The rotation and the credential's lock, all or none."""
    bench = Bench()
    rotation_id = bench.start()
    assert bench.asked("log.append", "target", "store.stage", "store.promote") == ["log.append"]
    assert [type(recorded.fact.body).__name__ for recorded in bench.observed] == [
        "RotationStarted",
        "VersionAdopted",
        "RotationOpened",
    ]
    opened = bench.operations().open_rotation(SERVICE, ENVIRONMENT)
    assert opened is not None
    assert (opened.id, opened.reason, opened.actor) == (rotation_id, "asked", "ada")


def test_a_credential_that_nothing_is_done_to_has_no_open_rotation() -> None:
    assert Bench().operations().open_rotation(SERVICE, ENVIRONMENT) is None


def test_what_a_new_rotation_finds_in_its_way_is_the_open_one_and_then_the_one_that_waits() -> None:
    bench = Bench()
    operations = bench.operations()
    assert operations.holder(SERVICE, ENVIRONMENT) is None
    assert operations.waiting_rotation(SERVICE, ENVIRONMENT) is None
    opened = bench.start()
    asked = operations.request(SERVICE, ENVIRONMENT, bench.plan())
    assert asked is not None
    found = operations.holder(SERVICE, ENVIRONMENT)
    assert (found and found.id) == opened
    bench.drive(opened)
    assert operations.holder(SERVICE, ENVIRONMENT) == asked.rotation


def test_a_second_rotation_is_refused() -> None:
    bench = Bench()
    rotation_id = bench.start()
    head = bench.log.head()
    with pytest.raises(RotationOpen, match=str(rotation_id)):
        bench.start(owner="process-2")
    assert bench.log.head() == head


def test_in_grace_the_refusal_tells_until_when() -> None:
    """In the words of whoever spells times for people."""
    bench = Bench(Strategy.DUAL)
    in_grace = Runner(bench.world()).drive(bench.start())
    assert in_grace.grace is not None
    with pytest.raises(InGrace, match=f"until at {in_grace.grace.wall}"):
        bench.start()
    with pytest.raises(InGrace, match=f"until {in_grace.grace.wall}"):
        Operations(bench.world()).start(SERVICE, ENVIRONMENT, bench.plan(), logins=bench.logins)


def test_of_two_that_start_at_once_one_is_refused_by_name() -> None:
    """Both saw the credential free; the log lets one append through."""
    bench = Bench()
    bench.at("log.append", after(lambda: bench.start(owner="process-2")))
    with pytest.raises(RotationOpen):
        bench.start()
    assert len([r for r in bench.observed if isinstance(r.fact.body, e.RotationStarted)]) == 1


def test_a_race_against_one_that_is_in_grace_already_says_so() -> None:
    bench = Bench(Strategy.DUAL)
    bench.at("log.append", after(lambda: Runner(bench.world("process-2")).drive(bench.start(owner="process-2"))))
    with pytest.raises(InGrace, match="until at "):
        bench.start()


def test_a_race_against_one_that_is_over_already_is_to_be_run_again() -> None:
    bench = Bench()
    bench.at("log.append", after(lambda: bench.rotate(owner="process-1")))
    with pytest.raises(Conflict):
        bench.start()
    assert bench.rotate().state is State.COMPLETED


# --- taking over what the store holds ---------------------------------------------------------------------------------


def test_what_the_store_holds_already_is_taken_over_as_the_old_version() -> None:
    """Whether the log knows another version or none."""
    bench = Bench()
    first = bench.rotation(bench.start())
    assert (first.previous, first.previous_login, first.label) == (FIRST, "app", FIRST)
    bench.drive(first.id)
    foreign = CredentialValue("app", Secret("canary-foreign"))
    bench.store.promote(PATH, "foreign", foreign, expected=first.candidate)
    assert bench.rotation(bench.start()).previous == "foreign"
    assert bench.noted(e.VersionAdopted) == [e.VersionAdopted(FIRST, "app"), e.VersionAdopted("foreign", "app")]


def test_what_the_log_knows_already_is_not_taken_over_again() -> None:
    bench = Bench()
    first = bench.rotate()
    assert bench.rotation(bench.start()).previous == first.candidate
    assert len(bench.noted(e.VersionAdopted)) == 1


def test_a_label_without_a_value_is_still_what_the_store_calls_current() -> None:
    """Promotion must find that label; whose value it was is read from the configuration."""
    bench = Bench()
    bench.at("store.read", answers(None))
    started = bench.rotation(bench.start())
    assert (started.previous, started.previous_login, started.label) == (FIRST, "app", FIRST)


def test_an_old_version_that_the_store_lost_is_none_to_replace() -> None:
    """It could not be gone back to; the login is taken over anew, and the rotation completes."""
    bench = Bench()
    first = bench.rotate()
    bench.store = MemoryStore()
    started = bench.rotation(bench.start())
    assert (started.previous, started.label, bench.credential.current) == (None, None, Version(first.candidate, "app"))
    assert bench.drive(started.id).state is State.COMPLETED
    assert bench.held.current == started.candidate


def test_an_old_version_that_lost_its_label_is_replaced_all_the_same() -> None:
    """The store holds its value still: it is what the rotation goes back to, until promotion begins."""
    bench = Bench()
    first = bench.rotate()
    old = bench.value(first.candidate)
    bench.store = MemoryStore()
    bench.store.stage(PATH, first.candidate, old)
    started = bench.rotation(bench.start())
    assert (started.previous, started.label) == (first.candidate, None)
    assert bench.drive(started.id).state is State.COMPLETED
    assert not bench.target.accepts(old)


def test_a_held_value_without_a_login_has_that_of_the_configuration() -> None:
    bench = Bench(vacant=True)
    bench.store.promote(PATH, "imported", CredentialValue("", Secret("canary-x")), expected=None)
    assert bench.rotation(bench.start()).previous_login == "app"


def test_a_value_of_another_login_is_not_taken_over() -> None:
    """Somebody else's credential lives in that place: overwriting it would be an outage."""
    bench = Bench(vacant=True)
    bench.store.promote(PATH, "theirs", CredentialValue("somebody", Secret("canary-x")), expected=None)
    with pytest.raises(Rejected, match="holds a login 'somebody' there, and the configuration says 'app'"):
        bench.start()
    assert bench.log.head() == 0


def test_two_logins_may_follow_a_third() -> None:
    """A service that goes over from one login to two keeps the one until it is retired."""
    bench = Bench(Strategy.ALTERNATING, vacant=True)
    bench.store.promote(PATH, "single", CredentialValue("app", Secret("canary-x")), expected=None)
    taken = bench.rotation(bench.start())
    assert (taken.previous_login, taken.login, taken.plan.overlap) == ("app", "app_a", True)


def test_a_store_that_cannot_say_what_it_holds_lets_nothing_begin() -> None:
    bench = Bench()
    bench.at("store.versions", fails(Unavailable))
    with pytest.raises(Unavailable):
        bench.start()
    assert bench.log.head() == 0


# --- going back ----------------------------------------------------------------------------------------------------


def test_going_back_to_an_earlier_version_is_a_rotation_of_its_own() -> None:
    bench = Bench()
    bench.rotate()
    bench.rotate()
    back = bench.drive(roll_back_to(bench, Version(FIRST, "app")))
    assert (back.kind, back.candidate, back.state, back.reason) == (Kind.ROLLBACK, FIRST, State.COMPLETED, "leaked")
    assert (bench.held.current, bench.accepts(FIRST)) == (FIRST, True)
    assert [version.id for version in bench.credential.lineage] == [FIRST]


def test_going_back_asks_the_store_of_its_plan_and_minds_what_is_current_there() -> None:
    """Somebody made another one current, which the log does not know: that is what is left, and is gone back to."""
    bench = Bench()
    bench.rotate()
    bench.store.promote(PATH, "foreign", CredentialValue("", Secret("canary-foreign")), expected=bench.held.current)
    bench.bound.clear()
    started = bench.rotation(roll_back_to(bench, Version(FIRST, "app")))
    assert (started.candidate, started.previous, started.previous_login) == (FIRST, "foreign", "app")
    assert set(map(repr, bench.bound)) == {repr(bench.plan())}


def test_a_version_that_no_store_holds_cannot_be_gone_back_to() -> None:
    bench = Bench()
    with pytest.raises(NoRestorePoint) as caught:
        roll_back_to(bench, Version("v9", "app"), points="v1, v2")
    assert "no store holds that version any more. Restore points: v1, v2" in caught.value.message
    with pytest.raises(NoRestorePoint, match="Restore points: none"):
        roll_back_to(bench, Version("v9", "app"))


def test_a_verifier_cannot_be_gone_back_to() -> None:
    """It could be set, and then nobody could log in."""
    bench = Bench()
    bench.store.stage(PATH, "v0-verifier", CredentialValue("app", Secret("canary-x"), Form.VERIFIER))
    with pytest.raises(NoRestorePoint, match="only its verifier is held"):
        roll_back_to(bench, Version("v0-verifier", "app"))


def test_a_target_that_cannot_be_set_back_is_not_asked_to() -> None:
    bench = Bench(Strategy.ISSUE)
    with pytest.raises(NoRestorePoint, match="cannot be set back to a known value"):
        roll_back_to(bench, Version(FIRST, "app"))
    assert bench.log.head() == 0


def test_an_open_rotation_is_taken_back_with_its_reason() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.operations().go_back(rotation_id, command="abort", reason="too late")
    assert bench.bodies(rotation_id, e.RollbackStarted) == [e.RollbackStarted(automatic=False, reason="too late")]
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


def test_a_failed_rotation_is_taken_back_and_closed_again() -> None:
    bench = Bench(options=MemoryOptions(), rollback_automatic=False)
    rotation_id = bench.start()
    bench.at("store.promote", fails(Rejected))
    assert bench.drive(rotation_id).state is State.FAILED
    assert not bench.accepts(FIRST)
    bench.operations().go_back(rotation_id, command="rollback")
    with pytest.raises(RotationOpen):
        bench.start()
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.accepts(FIRST)
    assert bench.rotation(bench.start()).state is State.STAGING


def test_a_completed_rotation_is_not_taken_back() -> None:
    bench = Bench()
    with pytest.raises(IllegalCommand, match="rollback is not possible while the rotation is completed"):
        bench.operations().go_back(bench.rotate().id, command="rollback")


def test_while_a_rotation_is_open_it_can_only_be_taken_back_whole() -> None:
    """Any other version would be a second rotation."""
    open_one = rotation(State.MONITORING)
    require_going_back(open_one, None)
    require_going_back(open_one, Version("v1", "app"))
    with pytest.raises(IllegalCommand, match=r"going back to v0 is not possible .* taken back to v1 only"):
        require_going_back(open_one, Version("v0", "app"))
    with pytest.raises(IllegalCommand, match="taken back to nothing only"):
        require_going_back(rotation(State.MONITORING, previous=None), Version("v0", "app"))


# --- retrying, and ending grace -----------------------------------------------------------------------------------


def test_a_failed_rollback_is_tried_again() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("promoting", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.restore", fails(Rejected))
    assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED
    bench.operations().retry(rotation_id, reason="fixed")
    assert bench.bodies(rotation_id, e.RollbackRetried) == [e.RollbackRetried("fixed")]
    assert bench.drive(rotation_id).state is State.ROLLED_BACK


def test_a_grace_period_is_ended_now() -> None:
    bench = Bench(Strategy.DUAL)
    rotation_id = Runner(bench.world()).drive(bench.start()).id
    bench.operations().end_grace(rotation_id)
    assert bench.bodies(rotation_id, e.GraceEnded) == [e.GraceEnded(early=True)]
    assert Runner(bench.world()).drive(rotation_id).state is State.COMPLETED
    assert bench.clock.waits == []


def test_what_does_not_exist_is_named() -> None:
    operations = Bench().operations()
    for ask in (
        lambda: operations.rotation(NOBODY),
        lambda: operations.go_back(NOBODY, command="abort"),
        lambda: operations.retry(NOBODY),
        lambda: operations.end_grace(NOBODY),
    ):
        with pytest.raises(NoSuchRotation, match="00000000-0000"):
            ask()
