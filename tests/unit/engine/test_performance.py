"""A performance: the pen that writes the log, and what it is bound to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine import events as e
from engine.credential_events import LATENESS_MAX
from engine.errors import Conflict, Fenced, Rejected, Unavailable
from engine.facts import Fact
from engine.forward import jitter
from engine.machine import State
from engine.performance import Performance, facts_of, noted_facts
from engine.plan import LoginBudget, Strategy
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret, fingerprint
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench, after
from tests.unit.engine.rotations import AT, ROTATION


def test_facts_carry_the_state_that_each_event_leads_to() -> None:
    events: list[e.RotationEvent] = [e.CandidateVerified(), e.RolloutCompleted()]
    facts = facts_of(ROTATION, 6, State.VERIFYING, events, at=AT, actor="ada")
    assert [(f.originator_version, f.state) for f in facts] == [(7, State.DISTRIBUTING), (8, State.PROMOTING)]
    assert facts[0] == Fact(ROTATION, 7, AT, "ada", e.CandidateVerified(), State.DISTRIBUTING)


def test_an_illegal_event_is_a_mistake_of_ours_and_never_written() -> None:
    with pytest.raises(AssertionError, match="Promoted is illegal while the rotation is staging"):
        facts_of(ROTATION, 1, State.STAGING, [e.Promoted()], at=AT, actor="ada")


def test_what_a_credential_notes_has_no_state() -> None:
    credential = Bench().credential
    (fact,) = noted_facts(credential, [e.VersionRetired("v1")], at=AT, actor="ada")
    assert (fact.originator_id, fact.originator_version, fact.state) == (credential.id, 1, None)


def test_a_record_is_written_for_both_or_for_none() -> None:
    """Where the rotation moved meanwhile, nothing is noted either."""
    bench = Bench()
    performance = bench.performance(bench.start())
    before = bench.log.head()
    performance.record(e.CandidateStaged("00"), noted=[e.VersionAdopted("v9", "app")])
    assert [fact.fact.originator_id for fact in bench.log.after(before)] == [
        performance.rotation.id,
        bench.credential.id,
    ]
    assert performance.rotation.state is State.APPLYING

    stale = bench.performance(performance.rotation.id)
    performance.record(e.LoginTried("app"))
    head = bench.log.head()
    with pytest.raises(Conflict):
        stale.record(e.LoginTried("app"), noted=[e.VersionAdopted("v8", "app")])
    assert bench.log.head() == head
    assert "LoginTried" not in [type(f.fact.body).__name__ for f in bench.log.after(head)]


def test_what_others_note_on_the_credential_meanwhile_is_no_hindrance() -> None:
    """A rotation that waits for its turn is taken down there at any moment; what this one notes comes behind it."""
    bench = Bench()
    performance = bench.performance(bench.start())
    ask = after(lambda: bench.operations("process-2").request(SERVICE, ENVIRONMENT, bench.plan()))
    bench.at("log.append", ask)
    performance.record(e.CandidateStaged("00"), noted=[e.VersionAdopted("v9", "app")])
    bench.operations().withdraw(bench.credential.queued or ROTATION, command="abort")
    bench.at("log.append", ask)
    performance.note([e.VersionRetired("v9")])
    noted = [type(fact.body) for fact in bench.log.stream(bench.credential.id)]
    assert noted[-5:] == [
        e.RotationQueued,
        e.VersionAdopted,
        e.RotationClosed,
        e.RotationQueued,
        e.VersionRetired,
    ]
    assert performance.rotation == bench.rotation(performance.rotation.id)


def test_a_conflict_that_nobody_explains_is_passed_on() -> None:
    """Neither the rotation nor its credential has moved: trying again would go on for ever."""
    bench = Bench()
    performance = bench.performance(bench.start())

    def refused(effect: object) -> None:
        raise Conflict(stream="any")

    bench.at("log.append", refused)
    with pytest.raises(Conflict):
        performance.record(e.CandidateStaged("00"), noted=[e.VersionAdopted("v9", "app")])


def test_the_end_of_a_rotation_closes_it_on_its_credential_at_once() -> None:
    """There is no moment in which it is over and still open."""
    bench = Bench()
    performance = bench.performance(bench.start())
    performance.record(e.RotationFailed(e.Cause("stage", "rejected", "no")))
    last = bench.log.after(bench.log.head() - 2)
    assert [type(recorded.fact.body).__name__ for recorded in last] == ["RotationFailed", "RotationClosed"]
    assert bench.credential.open is None


def test_every_append_is_told_after_it_is_durable() -> None:
    bench = Bench()
    bench.rotate()
    assert bench.observed == list(bench.log.after(0))


def test_the_key_of_an_effect_stays_until_the_state_changes() -> None:
    """A repeat under it is the same effect; the next effect has another one."""
    bench = Bench()
    performance = bench.performance(bench.start())
    first = performance.tag
    performance.record(e.LoginTried("app"))
    assert performance.tag == first
    performance.record(e.CandidateStaged("00"))
    assert performance.tag != first
    assert performance.attempt_tag(1) != performance.attempt_tag(2)
    assert bench.performance(performance.rotation.id).tag == performance.tag


def test_an_attempt_is_in_the_log_before_anybody_is_asked() -> None:
    bench = Bench(attempt_window=Microseconds(7 * SECOND))
    performance = bench.performance(bench.start())
    performance.record(e.CandidateStaged("00"))
    deadline = performance.begin_attempt("v1", "app")
    assert deadline == bench.clock.wall + 7 * SECOND
    uptime = Microseconds(bench.clock.uptime + 7 * SECOND)
    begun = e.AttemptStarted(1, "v1", "app", deadline, "boot-1", uptime)
    assert bench.bodies(performance.rotation.id, e.AttemptStarted) == [begun]
    assert performance.end_attempt() == e.AttemptClosed(1, done=True)
    performance.begin_attempt("v1", "app")
    assert performance.end_attempt() == e.AttemptClosed(2, done=True)


@pytest.mark.parametrize("port", ["target", "store", "places"])
def test_who_was_taken_over_asks_nobody_any_more(port: str) -> None:
    """It may have stood still between the decision and the call."""
    bench = Bench(places=["dotenv:A"])
    rotation_id = bench.start()

    def taken() -> None:
        raise Fenced(rotation_id=rotation_id)

    performance = Performance(bench.world(), bench.rotation(rotation_id), held=taken)
    with pytest.raises(Fenced):
        list(performance.places) if port == "places" else getattr(performance, port)


def test_what_was_not_sent_before_its_deadline_is_not_sent() -> None:
    """Another value may be there already; and a wall clock that is set back gives no more time."""
    bench = Bench()
    performance = bench.performance(bench.start())
    performance.record(e.CandidateStaged("00"))
    performance.begin_attempt("v1", "app")
    bench.clock.wait(Microseconds(5 * SECOND))
    bench.clock.jump(-3600)
    with pytest.raises(Unavailable, match="its time was over before it was sent"):
        performance.target.retire(None, keep=None, tag="t", deadline=Instant(0))


def test_ending_an_attempt_that_was_not_begun_is_a_mistake_of_ours() -> None:
    bench = Bench()
    with pytest.raises(AssertionError, match="no attempt was begun"):
        bench.performance(bench.start()).end_attempt()


def test_logins_are_counted_where_the_target_counts_them() -> None:
    bench = Bench()
    free = bench.performance(bench.start())
    free.spend_login("app")
    assert free.rotation.tries == ()
    assert free.can_spend_login("app")

    counting = Bench(login_budget=LoginBudget(1, Microseconds(10 * SECOND)))
    counted = counting.performance(counting.start())
    assert counted.can_spend_login("app")
    counted.spend_login("app")
    now = counting.clock.now()
    assert counting.bodies(counted.rotation.id, e.LoginTried) == [e.LoginTried("app", now.boot, now.uptime)]
    assert not counted.can_spend_login("app")
    assert counted.can_spend_login("other")
    counting.clock.wait(Microseconds(10 * SECOND + LATENESS_MAX + 1))
    assert counted.can_spend_login("app")


def test_a_login_is_not_tried_when_recording_it_took_too_long() -> None:
    """It would be counted from a time at which it had not been tried."""
    bench = Bench(login_budget=LoginBudget(1, Microseconds(10 * SECOND)))
    performance = bench.performance(bench.start())

    def slowly(effect: Any) -> Any:
        bench.clock.wait(LATENESS_MAX)
        return effect()

    bench.at("log.append", slowly)
    with pytest.raises(Unavailable) as caught:
        performance.spend_login("app")
    assert caught.value.message == "trying a login: recording it took too long to count it by its record."


def test_a_value_that_the_store_lost_is_named_with_its_place() -> None:
    """And what to do; no version and no value are told apart."""
    bench = Bench(Strategy.DUAL)
    performance = bench.performance(bench.start())
    assert performance.previous() == bench.value(FIRST)
    before = len(bench.asked("store.read"))
    assert performance.read(None) is None
    assert len(bench.asked("store.read")) == before
    with pytest.raises(Rejected) as caught:
        performance.candidate()
    assert f"the store 'local' does not hold it at {PATH!r}" in caught.value.message
    assert caught.value.advice == "Put store local back from a backup that holds it."
    vacant = Bench(vacant=True)
    assert vacant.performance(vacant.start()).previous() is None


def test_a_fingerprint_is_of_this_credential_and_installation() -> None:
    bench = Bench()
    performance = bench.performance(bench.start())
    value = CredentialValue("app", Secret("canary-x"))
    assert performance.fingerprint(value) == fingerprint(value, credential=PATH, key=b"canary-key")
    assert "canary" not in repr(performance.world)


def test_what_the_stores_are_told_has_the_deadline_of_its_attempt() -> None:
    """A process that stands still before the call makes it too late for the store, which then does nothing."""
    bench = Bench(places=["dotenv:PASSWORD"])
    rotation = bench.rotate()
    attempts = [each for each in rotation.attempts if not each.login]  # one for the store, one for the places
    told = [call for call in bench.calls if call.name in ("store.promote", "place.publish")]
    assert [call.kwargs["deadline"] for call in told] == [each.deadline for each in attempts]
    (staged,) = [call for call in bench.calls if call.name == "store.stage"]
    assert staged.kwargs["deadline"] == staged.at + rotation.plan.attempt_window


def test_going_back_has_a_deadline_too() -> None:
    bench = Bench(Strategy.DUAL, places=["dotenv:PASSWORD"])
    rotation_id = bench.start()
    bench.until("monitoring", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    attempts = {each.deadline for each in bench.drive(rotation_id).attempts if not each.login}
    told = [call for call in bench.calls if call.name in ("store.promote", "place.publish")]
    assert len(told) == 4
    assert {call.kwargs["deadline"] for call in told} == attempts


def test_a_value_that_the_target_made_is_stored_before_it_may_be_revoked_as_lost() -> None:
    """Whoever takes over revokes it behind the deadline; storing it later would hold what does not work."""
    bench = Bench(Strategy.ISSUE)
    rotation = bench.rotate()
    (attempt,) = [each for each in rotation.attempts if each.version == rotation.candidate and each.login]
    (staged,) = [call for call in bench.calls if call.name == "store.stage"]
    assert staged.kwargs["deadline"] == attempt.deadline


def test_jitter_is_less_than_one_whatever_is_drawn() -> None:
    class Full:
        def draw(self, count: int) -> bytes:
            return b"\xff" * count

    bench = Bench()
    performance = Performance(replace(bench.world(), entropy=Full()), bench.rotation(bench.start()))
    assert 0.99 < jitter(performance) < 1
