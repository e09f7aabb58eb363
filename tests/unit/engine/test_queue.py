"""Asking for a rotation while another one is open: waiting for one's turn, beginning, withdrawing."""

from __future__ import annotations

from uuid import UUID

import pytest

from engine import events as e
from engine.credential import Version
from engine.errors import Conflict, IllegalCommand, InGrace, Rejected, RotationOpen, Unavailable, Uncertain
from engine.machine import State
from engine.operations import Request
from engine.plan import Strategy
from engine.rotation import Rotation
from engine.runner import never
from tests.unit.engine.bench import ENVIRONMENT, FIRST, SERVICE, Bench, after, fails


def request(bench: Bench, owner: str = "process-2", reason: str = "leaked") -> Request | None:
    return bench.operations(owner).request(SERVICE, ENVIRONMENT, bench.plan(), reason=reason)


def waiting(bench: Bench) -> UUID:
    """Have a rotation wait behind the one that is open, and return its id."""
    asked = request(bench)
    assert asked is not None
    assert asked.is_new
    return asked.rotation.id


def begin(bench: Bench, rotation_id: UUID, owner: str = "process-2") -> Rotation:
    return bench.operations(owner).start_queued(rotation_id, logins=bench.logins)


def opened_at_once(bench: Bench) -> int:
    """Return how many rotations were open at once, at most, by the whole log."""
    open_now: set[UUID] = set()
    most = 0
    for recorded in bench.log.after(0, limit=10_000):
        body = recorded.fact.body
        if isinstance(body, e.RotationOpened):
            open_now.add(body.rotation_id)
        elif isinstance(body, e.RotationClosed):
            open_now.discard(body.rotation_id)
        most = max(most, len(open_now))
    return most


# --- asking ----------------------------------------------------------------------------------------------------------


def test_where_nothing_is_in_the_way_nothing_waits_and_nothing_is_recorded() -> None:
    bench = Bench()
    assert request(bench) is None
    assert bench.log.head() == 0


def test_a_request_is_one_append_with_its_place_in_the_queue() -> None:
    """Who asked, why, and the policy of that moment; the open rotation does not notice."""
    bench = Bench()
    holder = bench.rotation(bench.start())
    bench.calls.clear()
    bench.observed.clear()
    rotation = bench.rotation(waiting(bench))
    assert bench.asked("log.append", "target", "store") == ["log.append"]
    assert [type(each.fact.body) for each in bench.observed] == [e.RotationRequested, e.RotationQueued]
    assert (rotation.state, rotation.candidate, rotation.previous) == (State.WAITING, "", None)
    assert rotation.version == 1
    assert (rotation.plan, rotation.reason, rotation.owner, rotation.actor) == (
        bench.plan(),
        "leaked",
        "process-2",
        "ada",
    )
    assert bench.operations().waiting_rotation(SERVICE, ENVIRONMENT) == rotation
    assert bench.operations().open_rotation(SERVICE, ENVIRONMENT) == holder


def test_a_second_request_joins_the_one_that_waits() -> None:
    """Also when the open one is over: its turn comes first."""
    bench = Bench()
    holder = bench.start()
    first = waiting(bench)
    head = bench.log.head()
    second = request(bench, "process-3", "again")
    assert second == Request(bench.rotation(first), is_new=False)
    assert bench.log.head() == head
    bench.drive(holder)
    third = request(bench, "process-3")
    assert third == Request(bench.rotation(first), is_new=False)


def test_of_two_that_ask_at_once_the_second_joins_the_first() -> None:
    """Both saw the queue empty; the log lets one append through."""
    bench = Bench()
    bench.start()
    bench.at("log.append", after(lambda: request(bench, "process-3")))
    asked = request(bench)
    assert asked is not None
    assert (asked.is_new, asked.rotation.owner) == (False, "process-3")
    assert len(bench.noted(e.RotationQueued)) == 1


def test_a_request_that_comes_just_when_the_open_one_ends_is_not_recorded() -> None:
    """Nothing is in its way any more, so it can begin at once."""
    bench = Bench()
    holder = bench.start()
    bench.at("log.append", after(lambda: bench.drive(holder)))
    assert request(bench) is None
    assert bench.credential.queued is None


# --- beginning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", Strategy)
def test_a_turn_that_has_come_is_a_rotation_like_any_other(strategy: Strategy) -> None:
    """It replaces what is current by then, not what was when it was asked for; who asked and why stay."""
    bench = Bench(strategy)
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    began = begin(bench, rotation_id, "process-3")
    assert (began.state, began.previous) == (State.STAGING, bench.rotation(holder).candidate)
    assert (began.reason, began.actor, began.owner) == ("leaked", "ada", "process-3")
    assert began.candidate == f"v2-{rotation_id.hex[:6]}"
    assert bench.names(rotation_id)[:2] == ["RotationRequested", "RotationStarted"]
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert (bench.credential.open, bench.credential.queued) == (None, None)
    assert opened_at_once(bench) == 1


def test_what_the_one_before_left_behind_is_minded() -> None:
    """Its unanswered attempts are fences for the one that waited."""
    bench = Bench(rollback_automatic=False, effect_attempts=1)
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.at("target.apply", fails(Uncertain))
    failed = bench.drive(holder)
    assert failed.state is State.FAILED
    assert [fence.version for fence in begin(bench, rotation_id).fences] == [failed.candidate]


@pytest.mark.parametrize("grace", [False, True])
def test_before_its_turn_it_does_not_begin(grace: bool) -> None:  # noqa: FBT001 - a parameter
    """Refused by the name of what is open; nothing is recorded, and it waits on."""
    bench = Bench(Strategy.DUAL)
    holder = bench.start()
    rotation_id = waiting(bench)
    if grace:
        bench.drive(holder, patience=never)
    head = bench.log.head()
    with pytest.raises(InGrace if grace else RotationOpen, match=str(holder)):
        begin(bench, rotation_id)
    assert bench.log.head() == head
    assert bench.rotation(rotation_id).state is State.WAITING


def test_a_turn_is_taken_once() -> None:
    """Whoever comes later finds it begun and records nothing; whoever comes at once loses the race for it."""
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    bench.at("log.append", after(lambda: begin(bench, rotation_id, "process-3")))
    with pytest.raises(RotationOpen, match=str(rotation_id)):
        begin(bench, rotation_id, "process-2")
    head = bench.log.head()
    assert begin(bench, rotation_id, "process-4").owner == "process-3"
    assert bench.log.head() == head
    assert bench.names(rotation_id).count("RotationStarted") == 1


def test_a_turn_that_is_refused_has_failed_and_frees_the_credential() -> None:
    """Nothing was done, and the log says why; what the credential minds is left as it was."""
    bench = Bench(login_budget=None)
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    tries = bench.credential.tries
    bench.at("store.versions", fails(Rejected))
    failed = begin(bench, rotation_id)
    assert failed.cause is not None
    assert (failed.state, failed.cause.step, failed.cause.kind) == (State.FAILED, "start", "rejected")
    assert failed.ended_at is not None
    assert (bench.credential.open, bench.credential.queued, bench.credential.tries) == (None, None, tries)
    assert bench.credential.last == holder
    assert bench.rotate().state is State.COMPLETED


@pytest.mark.parametrize("error", [Unavailable, Uncertain])
def test_a_store_that_cannot_say_what_it_holds_lets_it_wait_on(error: type[Unavailable | Uncertain]) -> None:
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    head = bench.log.head()
    bench.at("store.versions", fails(error))
    with pytest.raises(error):
        begin(bench, rotation_id)
    assert (bench.log.head(), bench.rotation(rotation_id).state) == (head, State.WAITING)
    assert begin(bench, rotation_id).state is State.STAGING


def test_nobody_passes_one_that_waits_but_who_goes_back() -> None:
    """A fresh version is what it makes anyway; going back to an earlier one is urgent, and it waits for that too."""
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    with pytest.raises(RotationOpen, match=f"{rotation_id}, which is waiting"):
        bench.start(owner="process-3")
    back = bench.start(to=Version(FIRST, "app"))
    with pytest.raises(RotationOpen, match=str(back)):
        begin(bench, rotation_id)
    bench.drive(back)
    assert begin(bench, rotation_id).previous == FIRST


def test_a_rotation_that_waits_has_nothing_to_be_driven() -> None:
    bench = Bench()
    bench.start()
    rotation_id = waiting(bench)
    head = bench.log.head()
    assert bench.drive(rotation_id, owner="process-3").state is State.WAITING
    assert bench.log.head() == head


# --- the open one does not notice ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", Strategy)
def test_a_request_at_any_moment_costs_the_open_rotation_nothing(strategy: Strategy) -> None:
    """It asks the target and the store exactly what it asks alone, though its credential takes the request down."""
    alone = Bench(strategy)
    alone.rotate()
    asked = alone.asked("target", "store.stage", "store.promote", "store.discard")
    appends = alone.asked("log.append")
    for nth in range(1, len(appends)):
        bench = Bench(strategy)
        holder = bench.start()
        bench.at("log.append", *[lambda effect: effect()] * (nth - 1), after(lambda bench=bench: request(bench)))  # type: ignore[misc]
        assert bench.drive(holder).state is State.COMPLETED
        assert bench.asked("target", "store.stage", "store.promote", "store.discard") == asked, nth
        assert bench.credential.queued is not None


def test_a_decision_about_the_open_one_is_still_met_at_once() -> None:
    """Only what its credential takes down is no hindrance; what happens to the rotation itself is."""
    bench = Bench(Strategy.DUAL)
    holder = bench.start()
    bench.until("promoting", holder)
    bench.at("log.append", after(lambda: bench.operations("process-2").go_back(holder, command="abort")))
    assert bench.drive(holder).state is State.ROLLED_BACK


# --- withdrawing -----------------------------------------------------------------------------------------------------


def test_a_request_is_withdrawn_before_anything_was_done() -> None:
    """The queue is free again, and the open rotation goes on."""
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.operations().withdraw(rotation_id, command="abort", reason="not needed")
    gone = bench.rotation(rotation_id)
    assert (gone.state, bench.bodies(rotation_id, e.RotationCancelled)) == (
        State.CANCELLED,
        [e.RotationCancelled("not needed")],
    )
    assert (bench.credential.open, bench.credential.queued) == (holder, None)
    assert waiting(bench) != rotation_id
    assert bench.drive(holder).state is State.COMPLETED


def test_withdrawing_takes_no_notice_of_what_else_the_credential_takes_down() -> None:
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.at("log.append", after(lambda: bench.drive(holder)))
    bench.operations().withdraw(rotation_id, command="abort")
    assert bench.rotation(rotation_id).state is State.CANCELLED


def test_asking_and_withdrawing_need_no_reason() -> None:
    bench = Bench()
    bench.start()
    operations = bench.operations()
    asked = operations.request(SERVICE, ENVIRONMENT, bench.plan())
    assert asked is not None
    assert asked.rotation.reason == ""
    operations.withdraw(asked.rotation.id, command="abort")
    assert bench.bodies(asked.rotation.id, e.RotationCancelled) == [e.RotationCancelled("")]


def test_a_turn_that_meets_another_change_of_the_credential_is_to_be_taken_again() -> None:
    """It is not in its own way."""
    bench = Bench()
    first = bench.start()
    rotation_id = waiting(bench)
    bench.drive(first)
    performance = bench.performance(first)
    bench.at("store.versions", after(lambda: performance.note([e.VersionRetired("v9")])))
    with pytest.raises(Conflict):
        begin(bench, rotation_id)
    assert begin(bench, rotation_id).state is State.STAGING


def test_what_has_begun_is_not_withdrawn() -> None:
    """Also where it begins at that very moment."""
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    bench.at("log.append", after(lambda: begin(bench, rotation_id)))
    with pytest.raises(IllegalCommand, match="abort is not possible while the rotation is staging"):
        bench.operations().withdraw(rotation_id, command="abort")
    assert bench.rotation(rotation_id).state is State.STAGING
