"""Repairs: what is looked at and what that costs, what is recorded, and rotations with nothing to go back to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.credential import Version
from engine.drift import Decision, Observed, PlaceSeen, Step
from engine.errors import OwnedElsewhere, Rejected, Uncertain
from engine.machine import State
from engine.performance import World
from engine.plan import Kind, Strategy
from engine.ports import Probe, Sighting, Verification
from engine.repair import Repair, settle
from engine.rotation import Rotation
from engine.values import CredentialValue, Form, Instant, Secret
from tests.unit.engine.bench import ENVIRONMENT, FIRST, HOUR, PATH, SERVICE, Bench, answers, fails

LOST = CredentialValue("app", Secret("canary-set-by-hand"))
REFUSED = Verification(Probe.REFUSED, Probe.UNKNOWN, query=False)
LOCKS = MemoryOptions(lockout_after=5)
SHOWS = MemoryOptions(shows_restorable=True)


def rotated(strategy: Strategy = Strategy.SINGLE, *, times: int = 2, **options: object) -> Bench:
    """Return a bench whose credential was rotated some times, without a grace period."""
    bench = Bench(strategy, grace=0, **options)  # type: ignore[arg-type]
    for _ in range(times):
        assert bench.rotate().state is State.COMPLETED
    bench.clock.wait(HOUR)
    bench.calls.clear()
    return bench


def changed(bench: Bench) -> None:
    """Let somebody set another value at the target."""
    current = bench.value(bench.held.current)
    bench.target.apply(
        replace_name(LOST, current.username), tag="by hand", deadline=Instant(bench.clock.now().wall + HOUR)
    )


def replace_name(value: CredentialValue, username: str) -> CredentialValue:
    return CredentialValue(username, value.secret)


def repair_of(bench: Bench, world: World | None = None, *, lightly: bool = False) -> Repair:
    return Repair(world or bench.world(), SERVICE, ENVIRONMENT, bench.plan(), logins=bench.logins, lightly=lightly)


def repaired(bench: Bench, *, reason: str = "") -> tuple[list[Decision], Decision]:
    """Repair, and return what was done and what is true then."""
    done: list[Decision] = []
    _, last = settle(
        repair_of(bench), approve=lambda _, decision: done.append(decision), drive=bench.drive, reason=reason
    )
    return done, last


def begun(bench: Bench, *, to: str | None, alone: bool = True) -> UUID:
    """Begin a rotation with nothing to go back to."""
    version = Version(to, bench.value(to).username) if to else None
    return bench.operations().start(SERVICE, ENVIRONMENT, bench.plan(), logins=bench.logins, to=version, alone=alone)


# --- looking ------------------------------------------------------------------------------------------------------


def test_where_all_is_well_a_look_costs_nothing() -> None:
    """One login with what works, and nothing recorded that could be refused."""
    bench = rotated(options=LOCKS)
    observed = repair_of(bench).look()
    assert [seen.version for seen in observed.looks] == [bench.held.current]
    assert bench.target.wrong_logins("app") == 0
    assert bench.asked("target", "store.stage", "store.promote") == ["target.probe"]


def test_a_repair_spends_two_wrong_logins_at_most_however_often_it_looks() -> None:
    """Each is recorded before it is tried."""
    bench = rotated(times=4, options=LOCKS)
    changed(bench)
    spent = len(bench.noted(e.LoginSpent))
    repair = repair_of(bench)
    for _ in range(4):
        repair.look()
    assert bench.target.wrong_logins("app") == 2
    assert len(bench.noted(e.LoginSpent)) - spent == 2


def test_looking_only_uses_nothing_up_where_all_is_well() -> None:
    """However often; what is refused after all is recorded."""
    bench = rotated(options=LOCKS)
    head = bench.log.head()
    for _ in range(5):
        (seen,) = repair_of(bench, lightly=True).look().looks
        assert seen.accepted.value == "accepted"
    assert bench.log.head() == head
    changed(bench)
    repair_of(bench, lightly=True).look()
    assert bench.target.wrong_logins("app") == len(bench.noted(e.LoginSpent)) == 2


def test_two_logins_are_two_budgets() -> None:
    """With alternating logins, two wrong tries of each."""
    bench = rotated(Strategy.ALTERNATING, times=4, options=LOCKS)
    for login in bench.logins:
        bench.target.retire(CredentialValue(login, None), keep=None, tag="by hand", deadline=Instant(2**60))
    repair_of(bench).look()
    wrong = [bench.target.wrong_logins(login) for login in bench.logins]
    assert max(wrong) <= 2


def test_what_a_repair_saw_to_work_is_not_asked_for_again_where_the_logins_are_spent() -> None:
    """The rotation logged in with it afresh."""
    bench = rotated(times=3)
    changed(bench)
    done, last = repaired(bench)
    assert [decision.step for decision in done] == [Step.SET_AGAIN]
    assert last.step is Step.NOTHING


def test_a_rotation_that_is_only_to_be_driven_on_costs_no_login() -> None:
    bench = rotated()
    bench.until("verifying", bench.start())
    bench.calls.clear()
    observed = repair_of(bench).look()
    assert observed.looks == ()
    assert bench.asked("target") == []


def test_a_version_that_nobody_can_log_in_with_is_not_one_that_is_held() -> None:
    """A verifier, or a value of a login that the service does not have."""
    bench = rotated()
    shown = CredentialValue("app", Secret("canary-verifier"), Form.VERIFIER)
    bench.store.stage(PATH, "verifier", shown)
    bench.store.stage(PATH, "foreign", CredentialValue("somebody", Secret("canary-foreign")))
    held = [version.id for version in repair_of(bench).look().held]
    assert "verifier" not in held
    assert "foreign" not in held
    assert bench.held.current in held


def test_a_place_tells_whether_it_has_what_is_current_or_cannot_be_seen() -> None:
    """`Place` promises to write; only some can be read back."""
    bench = rotated(places=("env:A",))
    assert repair_of(bench).look().places == (PlaceSeen("env:A", current=None),)
    bench.places[0].has = lambda value, *, version: value == bench.value(version)  # type: ignore[attr-defined]
    assert repair_of(bench).look().places == (PlaceSeen("env:A", current=True),)


# --- what is recorded ---------------------------------------------------------------------------------------------


def test_what_is_adopted_tells_why_and_on_whose_account() -> None:
    """Nothing outside is changed by it."""
    bench = rotated()
    bench.store.promote(PATH, "foreign", bench.value(bench.held.current), expected=bench.held.current)
    bench.calls.clear()
    done, last = repaired(bench, reason="restored")
    assert [decision.step for decision in done] == [Step.ADOPT]
    assert last.step is Step.NOTHING
    assert bench.noted(e.VersionAdopted)[-1] == e.VersionAdopted("foreign", "app", "doctor --repair: restored")
    assert bench.observed[-1].fact.actor == "ada"
    assert not bench.asked("target.apply", "target.retire", "target.restore", "store.stage", "store.promote")


def test_without_a_reason_of_a_person_the_log_says_what_was_seen() -> None:
    bench = rotated()
    changed(bench)
    repaired(bench)
    rotation = last_rotation(bench)
    assert rotation.reason.startswith("doctor --repair: the target refuses v2-")


def last_rotation(bench: Bench) -> Rotation:
    assert bench.credential.last is not None
    return bench.rotation(bench.credential.last)


def test_a_rotation_that_a_live_process_drives_is_not_ended() -> None:
    """Its work is not taken out of its hands."""
    bench = Bench(Strategy.DUAL)
    bench.drive(bench.start(), patience=lambda rotation, wait: False)
    bench.target.retire(bench.value(bench.held.current), keep=None, tag="by hand", deadline=Instant(2**60))

    @contextmanager
    def held(rotation_id: UUID) -> Iterator[Callable[[], None]]:
        if bench.held_by:
            raise OwnedElsewhere(rotation_id=rotation_id, owner="host:7")
        yield lambda: None

    repair = repair_of(bench, replace(bench.world(), hold=held))
    head = bench.log.head()
    with pytest.raises(OwnedElsewhere):
        repair.begin(Decision(Step.END, "the target refuses it"))
    assert bench.log.head() == head


def test_a_rotation_that_is_ended_tells_what_was_seen_and_frees_the_credential() -> None:
    """In grace, and the current version was revoked: what is held and works is gone to."""
    bench = Bench(Strategy.ISSUE)
    in_grace = bench.drive(bench.start(), patience=lambda rotation, wait: False)
    bench.target.retire(bench.value(bench.held.current), keep=None, tag="by hand", deadline=Instant(2**60))
    done, last = repaired(bench)
    assert [decision.step for decision in done] == [Step.END, Step.GO_TO]
    ended = bench.rotation(in_grace.id)
    assert ended.cause is not None
    assert (ended.state, ended.cause.step) == (State.FAILED, "repair")
    assert "refuses" in ended.cause.message
    assert last.step is Step.NOTHING
    assert bench.held.current == in_grace.previous


def test_going_back_that_fails_again_is_given_up_and_what_is_in_force_is_settled() -> None:
    """The store refuses to give the version before; nothing is lost by giving up."""
    bench = rotated(rollback_retries=0)
    bench.at("target.verify", answers(REFUSED), answers(REFUSED))
    bench.at("target.restore", fails(Rejected), fails(Rejected))
    stuck = bench.rotate()
    assert stuck.state is State.ROLLBACK_FAILED
    done, last = repaired(bench)
    assert [decision.step for decision in done] == [Step.RETRY, Step.ABANDON, Step.SET_AGAIN]
    assert last.step is Step.NOTHING
    assert bench.rotation(stuck.id).state is State.FAILED
    assert bench.accepts(bench.held.current)


# --- rotations with nothing to go back to ---------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", Strategy)
def test_what_is_current_and_works_is_only_looked_at_and_published(strategy: Strategy) -> None:
    """No write to the target, nothing captured, nothing retired, no version more."""
    bench = rotated(strategy, options=SHOWS if strategy is Strategy.SINGLE else None, places=("env:A",))
    held = bench.held
    ended = bench.drive(begun(bench, to=held.current))
    assert (ended.state, ended.kind) == (State.COMPLETED, Kind.ROLLBACK)
    assert (ended.previous, ended.label) == (None, held.current)
    assert not bench.asked("target.apply", "target.retire", "target.restore")
    assert bench.held == held
    assert [version for _, version in bench.places[0].published][-1] == held.current
    assert bench.credential.current == Version(held.current or "", ended.login)


def test_what_a_version_replaces_is_captured_when_it_is_about_to_be() -> None:
    """And going back to it calls nothing current that nobody can log in with."""
    bench = rotated(options=SHOWS)
    changed(bench)
    held, logged = bench.held, bench.credential.current
    bench.at("target.verify", answers(REFUSED), answers(REFUSED))
    ended = bench.drive(begun(bench, to=held.current))
    assert (ended.state, ended.captured) == (State.ROLLED_BACK, True)
    assert bench.target.accepts(LOST)
    assert (bench.held.current, bench.credential.current) == (held.current, logged)
    done, last = repaired(bench)
    assert ([decision.step for decision in done], last.step) == ([Step.SET_AGAIN], Step.NOTHING)
    assert bench.accepts(held.current)


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.DUAL])
def test_a_version_that_was_set_again_is_not_taken_away(strategy: Strategy) -> None:
    """Where nothing else is known, a verification that fails leaves it in force, and repairing goes on from there."""
    bench = rotated(strategy)
    current = bench.held.current
    bench.target.retire(bench.value(current), keep=None, tag="by hand", deadline=Instant(2**60))
    bench.at("target.verify", answers(REFUSED), answers(REFUSED))
    ended = bench.drive(begun(bench, to=current))
    assert ended.state is State.FAILED
    assert bench.accepts(current)
    assert repaired(bench)[1].step is Step.NOTHING


def test_consumers_are_not_sent_back_to_what_does_not_work() -> None:
    """The stores went to what works, and a place refused it: they stay there."""
    bench = rotated(Strategy.DUAL, places=("env:A",))
    works, older = bench.held.current, bench.held.previous
    bench.store.promote(PATH, older or "", bench.value(older), expected=works)
    bench.at("place.publish", fails(Rejected))
    ended = bench.drive(begun(bench, to=works))
    assert ended.state is State.FAILED
    assert bench.held.current == works
    assert bench.accepts(works)


def test_a_lost_answer_to_setting_it_again_is_looked_into() -> None:
    bench = rotated()
    changed(bench)
    bench.at("target.apply", fails(Uncertain))
    ended = bench.drive(begun(bench, to=bench.held.current))
    assert ended.state is State.COMPLETED
    assert bench.accepts(bench.held.current)


def test_going_to_what_the_stores_call_current_never_goes_back_to_itself() -> None:
    """Also where a person asks for it by `rollback --to`, because the log calls another version current."""
    bench = rotated()
    older = bench.held.previous
    bench.store.promote(PATH, older or "", bench.value(older), expected=bench.held.current)
    rotation = bench.rotation(begun(bench, to=older, alone=False))
    assert (rotation.candidate, rotation.previous, rotation.label) == (older, None, older)
    assert bench.drive(rotation.id).state is State.COMPLETED


def test_an_emptied_store_leads_to_a_fresh_version() -> None:
    bench = rotated()
    bench.store = MemoryStore()
    done, last = repaired(bench)
    assert ([decision.step for decision in done], last.step) == ([Step.ROTATE], Step.NOTHING)


def test_a_target_that_does_not_answer_is_left_alone() -> None:
    """Nothing is recorded, nothing is asked again."""
    bench = rotated()
    bench.at("target.probe", answers(Sighting(Probe.UNKNOWN, "no answer")))
    head = bench.log.head()
    done, last = repaired(bench)
    assert (done, last.step, bench.log.head()) == ([], Step.WAIT, head)
    assert "no answer" in last.why


def test_what_was_seen_is_kept_with_the_decision() -> None:
    """So that a person agrees to what is really done."""
    bench = rotated()
    changed(bench)
    seen: list[tuple[Observed, Decision]] = []
    settle(repair_of(bench), approve=lambda *both: seen.append(both), drive=bench.drive)
    ((observed, decision),) = seen
    assert observed.label == decision.version.id if decision.version else None
    assert observed.acceptance(decision.version).value == "refused"


def test_what_a_failed_rotation_left_and_no_store_holds_makes_room_again() -> None:
    """A store was put back while a rotation was in grace: its version is in force, and nobody knows it any more."""
    bench = Bench(Strategy.DUAL)
    older = bench.value(bench.held.current)
    lost = bench.value(bench.drive(bench.start(), patience=lambda rotation, wait: False).candidate)
    bench.store = MemoryStore()
    bench.store.promote(PATH, FIRST, older, expected=None)
    done, last = repaired(bench)
    assert [decision.step for decision in done] == [Step.END, Step.CLEAR]
    assert last.step is Step.NOTHING
    assert not bench.target.accepts(lost)
    assert bench.accepts(FIRST)
    assert bench.drive(bench.start()).state is State.COMPLETED
