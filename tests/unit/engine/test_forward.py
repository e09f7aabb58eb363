"""The effects that lead forward, up to promotion: what is durable before what, and what a lost answer leads to."""

from __future__ import annotations

import pytest

from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.credential import Version
from engine.errors import Rejected, Unavailable, Uncertain
from engine.machine import State
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import Probe, Sighting, Verification
from engine.values import SECOND, CredentialValue, Instant, Microseconds, Secret
from tests.unit.engine.bench import FIRST, HOUR, PATH, Bench, Died, after, answers, dies, fails, lost, works

SHOWS = MemoryOptions(shows_restorable=True)
GIVEN = Secret("canary-given-0123456789")


# --- stage ------------------------------------------------------------------------------------------------------


def test_the_store_holds_the_candidate_before_the_target_is_asked() -> None:
    bench = Bench()
    bench.rotate()
    asked = bench.asked("store.stage", "target.apply", "target.verify", "store.promote")
    assert asked == ["store.stage", "target.apply", "target.verify", "store.promote"]


def test_what_the_store_does_not_give_back_is_not_staged() -> None:
    """It may have lost it; the target is not touched until it shows what was written."""
    bench = Bench()
    rotation_id = bench.start()
    other = CredentialValue("app", Secret("canary-other"))
    bench.at("store.read", works, answers(other), works, answers(None))
    bench.at("target.apply", after(lambda: seen.extend(bench.names(rotation_id))))
    seen: list[str] = []
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert seen[:4] == ["RotationStarted", "EffectPostponed", "EffectPostponed", "CandidateStaged"]


def test_staging_again_writes_no_second_value() -> None:
    """The process died after the store had it: the same value goes on."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("log.append", dies)
    with pytest.raises(Died):
        bench.drive(rotation_id)
    staged = bench.value("pending")
    ended = bench.drive(rotation_id)
    assert bench.value(ended.candidate) == staged


def test_a_given_value_is_the_candidate() -> None:
    bench = Bench()
    ended = bench.rotate(given=GIVEN)
    assert bench.value("current").secret == GIVEN
    assert (ended.imported, ended.state) == (True, State.COMPLETED)


def test_a_given_value_that_was_lost_is_not_replaced_by_another() -> None:
    """The process that had it is gone: the user must give it again."""
    bench = Bench()
    ended = bench.drive(bench.start(imported=True))
    assert ended.state is State.FAILED
    assert ended.cause is not None
    assert (ended.cause.kind, "--new-value-file" in ended.cause.hint) == ("rejected", True)
    assert bench.asked("target.apply") == []


def test_a_given_value_that_was_staged_needs_not_be_given_again() -> None:
    bench = Bench()
    rotation_id = bench.start(imported=True)
    bench.at("log.append", dies)
    with pytest.raises(Died):
        bench.drive(rotation_id, given=GIVEN)
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.value("current").secret == GIVEN


def test_a_target_that_makes_the_value_has_only_its_version_reserved() -> None:
    bench = Bench(Strategy.ISSUE)
    rotation_id = bench.start()
    reserved = bench.until("applying", rotation_id)
    assert bench.names(rotation_id) == ["RotationStarted", "CandidateReserved"]
    assert bench.store.read(PATH, reserved.candidate) is None


def test_going_back_to_a_value_that_the_target_made_stages_the_value_itself() -> None:
    """It exists already, so that nothing is to be made: the store holds it, and a look sees it accepted."""
    bench = Bench(Strategy.ISSUE, settable=True)
    old = bench.target.apply(CredentialValue("app", None), tag="old", deadline=Instant(bench.clock.wall + HOUR))
    bench.store.stage(PATH, "v-old", old)
    rotation_id = bench.start(to=Version("v-old", "app"))
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.names(rotation_id)[1] == "CandidateStaged"
    assert bench.asked("target.apply") == []
    assert bench.value("current") == old


# --- look ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probe", [Probe.ACCEPTED, Probe.UNUSABLE])
def test_a_candidate_that_is_accepted_already_is_not_applied_again(probe: Probe) -> None:
    """An answer was lost, or the value is an old one."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.at("target.probe", answers(Sighting(probe)))
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.bodies(rotation_id, e.CandidateApplied) == [
        e.CandidateApplied(1, "probe", bench.rotation(rotation_id).fingerprint)
    ]
    assert len(bench.asked("target.apply")) == 1


UNCLEAR = (answers(Sighting(Probe.UNKNOWN, "out of reach")), answers(Sighting(Probe.UNKNOWN)))


def test_where_repeating_is_harmless_an_unclear_look_is_followed_by_applying_again() -> None:
    """Half of the change may have been made; the same value again makes it whole."""
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.apply", fails(Uncertain), fails(Uncertain))
    bench.at("target.probe", *UNCLEAR)
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.asked("target.")[:5] == ["target.apply", "target.probe"] * 2 + ["target.apply"]


def test_where_it_is_not_harmless_no_clear_answer_is_waited_for() -> None:
    """Applying on it would be repeating blindly."""
    bench = Bench(options=MemoryOptions(retry=RetryClass.PROBE_FIRST))
    rotation_id = bench.start()
    bench.at("target.apply", fails(Uncertain))
    bench.at("target.probe", *UNCLEAR)
    assert bench.drive(rotation_id).state is State.COMPLETED
    causes = [body.cause for body in bench.bodies(rotation_id, e.EffectPostponed)]
    assert [(cause.step, cause.message.rpartition(": ")[2]) for cause in causes] == [
        ("apply", "as planned."),
        ("probe", "out of reach."),
        ("probe", "no clear answer."),
    ]
    assert bench.asked("target.")[:5] == ["target.apply", *["target.probe"] * 3, "target.apply"]


def test_what_was_refused_is_settled_and_applied_again() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.apply", fails(Uncertain))
    ended = bench.drive(rotation_id)
    assert bench.bodies(rotation_id, e.AttemptSettled) == [e.AttemptSettled(1)]
    assert [attempt.done for attempt in ended.attempts if attempt.login] == [False, True, True]
    assert ended.state is State.COMPLETED


def test_what_may_not_be_repeated_goes_back_instead() -> None:
    """Though the target refuses the value: a program of the user's may have done half of it."""
    bench = Bench(options=MemoryOptions(retry=RetryClass.NEVER_REPEAT))
    rotation_id = bench.start()
    bench.at("target.apply", fails(Uncertain))
    ended = bench.drive(rotation_id)
    assert ended.state is State.ROLLED_BACK
    assert (ended.cause.kind if ended.cause else "") == "never_repeat"
    assert len(bench.asked("target.apply")) == 1
    assert bench.names(rotation_id)[4:6] == ["AttemptSettled", "RollbackStarted"]


def test_a_given_value_that_may_not_be_repeated_is_still_applied_once() -> None:
    """The look before the first attempt settles nothing but that it is not there yet."""
    bench = Bench(options=MemoryOptions(retry=RetryClass.NEVER_REPEAT))
    ended = bench.rotate(given=GIVEN)
    assert bench.bodies(ended.id, e.AttemptSettled) == [e.AttemptSettled(0)]
    assert ended.state is State.COMPLETED


@pytest.mark.parametrize("retry", [RetryClass.IDEMPOTENT, RetryClass.PROBE_FIRST])
def test_what_a_lost_attempt_made_is_revoked_by_its_tag(retry: RetryClass) -> None:
    """Nobody holds the value; another one is made under another tag, and the old version stays valid meanwhile."""
    bench = Bench(Strategy.ISSUE, options=MemoryOptions(retry=retry))
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    kept: list[bool] = []
    bench.at("target.retire", works, after(lambda: kept.append(bench.accepts(FIRST))))
    ended = bench.drive(rotation_id)
    assert bench.bodies(rotation_id, e.OrphanRevoked) == [e.OrphanRevoked(1)]
    assert (ended.state, kept) == (State.COMPLETED, [True])
    assert len(bench.target.strangers([])) == 1
    tags = [call.kwargs["tag"] for call in bench.calls if call.name == "target.apply"]
    assert len(set(tags)) == 2
    assert bench.call("target.retire", 0).kwargs["tag"] == tags[0]
    assert bench.call("target.retire", 0).at >= ended.attempts[0].deadline, "before that it may still be made"


def test_a_look_spends_a_login() -> None:
    bench = Bench(options=MemoryOptions(lockout_after=9))
    ended = bench.rotate(given=GIVEN)
    at_look = bench.names(ended.id).index("AttemptSettled")
    assert bench.names(ended.id)[at_look - 1] == "LoginTried"


# --- a pause ---------------------------------------------------------------------------------------------------------


def test_a_pause_that_was_asked_for_begins_when_the_candidate_is_verified() -> None:
    """Nobody is given the version; when the rollout goes on, it is promoted."""
    bench = Bench()
    rotation_id = bench.start()
    bench.performance(rotation_id).record(e.PauseRequested("wait for Monday"))
    paused = bench.drive(rotation_id)
    assert (paused.state, paused.pausing, bench.held.current) == (State.PAUSED, False, FIRST)
    assert bench.names(rotation_id)[-2:] == ["CandidateVerified", "RolloutPaused"]
    bench.performance(rotation_id).record(e.RolloutResumed())
    ended = bench.drive(rotation_id)
    assert (ended.state, bench.held.current) == (State.COMPLETED, ended.candidate)


# --- apply ----------------------------------------------------------------------------------------------------------


def test_the_attempt_is_recorded_before_the_target_is_asked() -> None:
    """With the deadline and the tag that the target is given."""
    bench = Bench(attempt_window=Microseconds(7 * SECOND))
    rotation_id = bench.start()
    seen: list[list[e.AttemptStarted]] = []
    bench.at("target.apply", after(lambda: seen.append(bench.bodies(rotation_id, e.AttemptStarted))))
    began = bench.clock.now()
    candidate = bench.drive(rotation_id).candidate
    call = bench.call("target.apply")
    uptime = Microseconds(began.uptime + 7 * SECOND)
    assert seen == [[e.AttemptStarted(1, candidate, "app", Instant(call.at + 7 * SECOND), "boot-1", uptime)]]
    assert call.kwargs == {"tag": f"{rotation_id.hex[:12]}-a1", "deadline": call.at + 7 * SECOND}


def test_a_value_that_was_made_is_staged_before_it_counts_as_applied() -> None:
    bench = Bench(Strategy.ISSUE)
    rotation_id = bench.start()
    seen: list[str] = []
    bench.at("store.stage", after(lambda: seen.extend(bench.names(rotation_id))))
    ended = bench.drive(rotation_id)
    assert seen[-1] == "AttemptStarted"
    assert ended.fingerprint == bench.bodies(rotation_id, e.CandidateApplied)[0].fingerprint != ""


@pytest.mark.parametrize("error", [Unavailable, Rejected])
def test_a_value_that_was_made_and_could_not_be_stored_is_an_orphan(error: type[Unavailable | Rejected]) -> None:
    """The store's refusal is no answer of the target's: the attempt stays open, and what it made is revoked."""
    bench = Bench(Strategy.ISSUE)
    rotation_id = bench.start()
    bench.at("store.stage", fails(error))
    ended = bench.drive(rotation_id)
    assert ended.attempts[0].closed is False
    assert ended.state is (State.COMPLETED if error is Unavailable else State.ROLLED_BACK)
    assert len(bench.target.strangers([])) == 1


def test_a_candidate_that_the_store_lost_is_not_applied() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("applying", rotation_id)
    bench.at("store.read", answers(None), answers(None))
    ended = bench.drive(rotation_id)
    assert (ended.state, ended.cause.kind if ended.cause else "") == (State.FAILED, "rejected")
    assert bench.asked("target.apply") == []


# --- verify ---------------------------------------------------------------------------------------------------------


def test_verifying_tries_a_random_wrong_value_and_spends_two_logins() -> None:
    bench = Bench(options=MemoryOptions(lockout_after=9))
    first, second = bench.rotate(), bench.rotate()
    calls = [call for call in bench.calls if call.name == "target.verify"]
    controls = [call.kwargs["control"].reveal() for call in calls]
    assert len(set(controls)) == 2
    assert min(map(len, controls)) >= 32
    names = bench.names(second.id)
    assert names[names.index("CandidateVerified") - 2 :][:2] == ["LoginTried", "LoginTried"]
    assert names.index("RolloutCompleted") == names.index("CandidateVerified") + 1
    assert first.state is second.state is State.COMPLETED


def test_a_candidate_is_not_promoted_before_it_was_verified() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.verify", answers(Verification(Probe.ACCEPTED, Probe.REFUSED, query=False)))
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.asked("target.verify", "store.promote") == ["target.verify", "target.verify", "store.promote"]
    (failed,) = bench.bodies(rotation_id, e.VerificationFailed)
    assert bench.call("target.verify").at >= failed.not_before


def test_what_comes_after_the_timeout_is_no_verification() -> None:
    """However well it went."""
    bench = Bench(verification_timeout=Microseconds(3 * SECOND))
    rotation_id = bench.start()
    bench.at("target.verify", after(lambda: bench.clock.wait(Microseconds(3 * SECOND))))
    assert bench.drive(rotation_id).state is State.COMPLETED
    (failed,) = bench.bodies(rotation_id, e.VerificationFailed)
    assert "after the verification timeout" in failed.cause.message


def test_a_jump_of_the_wall_clock_is_no_timeout() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.at("target.verify", after(lambda: bench.clock.jump(-100)))
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.bodies(rotation_id, e.VerificationFailed) == []


# --- distribute and promote ---------------------------------------------------------------------------------------


def test_a_rollout_of_no_waves_that_was_left_open_is_completed() -> None:
    bench = Bench()
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.performance(rotation_id).record(e.CandidateVerified())
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.bodies(rotation_id, e.RolloutCompleted) == [e.RolloutCompleted(0)]


def test_a_store_that_somebody_else_changed_is_left_as_it_is() -> None:
    """Promotion compares with the version that the rotation began from."""
    bench = Bench()
    rotation_id = bench.start()
    bench.until("promoting", rotation_id)
    bench.store.promote(PATH, "foreign", CredentialValue("app", Secret("canary-foreign")), expected=FIRST)
    ended = bench.drive(rotation_id)
    assert bench.held.current == "foreign"
    assert ended.state is State.ROLLBACK_FAILED, "what the store calls current is not ours to judge"


def test_every_place_of_the_plan_is_written_once_after_the_store() -> None:
    """A process that dies between two of them writes only the one that is left."""
    bench = Bench(places=["dotenv:A", "dotenv:B"])
    rotation_id = bench.start()
    bench.at("place.publish", works, dies)
    with pytest.raises(Died):
        bench.drive(rotation_id)
    assert bench.held.current == bench.rotation(rotation_id).candidate
    ended = bench.drive(rotation_id)
    current = (bench.value("current"), ended.candidate)
    assert [place.published for place in bench.places] == [[current], [current]]
    assert [body.place for body in bench.bodies(rotation_id, e.Published)] == ["dotenv:A", "dotenv:B"]


def test_promotion_is_taken_down_by_the_credential_with_it() -> None:
    bench = Bench()
    rotation_id = bench.start()
    rotation = bench.until("monitoring", rotation_id)
    assert bench.noted(e.CurrentChanged) == [e.CurrentChanged(rotation_id, rotation.candidate, "app")]
    assert bench.credential.current == Version(rotation.candidate, "app")


def test_monitoring_without_checks_passes_and_grace_begins() -> None:
    bench = Bench(Strategy.DUAL, login_budget=LoginBudget(9, HOUR))
    rotation_id = bench.start()
    rotation = bench.until("grace", rotation_id)
    assert rotation.grace is not None
    assert (rotation.grace.wall, rotation.grace.uptime) == (bench.clock.wall + HOUR, bench.clock.uptime + HOUR)
    assert (bench.accepts(FIRST), bench.accepts("current")) == (True, True)


def test_where_nobody_had_a_value_there_is_no_grace() -> None:
    """There is no old version whose consumers need the time."""
    bench = Bench(Strategy.DUAL, vacant=True)
    assert bench.rotate().state is State.COMPLETED
    assert bench.clock.waits == []
