"""What exactly a port is asked: arguments that the outside relies upon, whatever went wrong before."""

from __future__ import annotations

from uuid import UUID

import pytest

from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.errors import Rejected
from engine.machine import State
from engine.plan import Strategy
from engine.values import SECOND, CredentialValue, Form, Microseconds, Secret
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench, fails, lost


def promoted(bench: Bench) -> UUID:
    """Return a rotation that consumers have the candidate of, and that is to be taken back."""
    rotation_id = bench.start()
    bench.until("monitoring", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    return rotation_id


def test_where_nobody_was_sent_to_the_candidate_the_stores_are_asked_nothing() -> None:
    """Going back before promotion touches the target alone, and the old version needs no look before it.

    Behind it both are looked at: the old one works, and the candidate does not any more.
    """
    bench = Bench(Strategy.DUAL)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.calls.clear()
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.asked("target.", "store.promote") == ["target.restore", "target.probe", "target.probe"]


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
