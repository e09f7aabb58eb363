"""A look tells which version works and where it is stored, and makes nothing worse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.credential import Version
from engine.errors import Conflict, OwnedElsewhere, Rejected, Unavailable
from engine.machine import State
from engine.plan import LoginBudget, Strategy
from engine.ports import Probe, Sighting
from engine.process import until_free
from engine.rotation import Rotation
from engine.sightings import Acceptance, Seen, look_around, versions_of
from engine.values import SECOND, CredentialValue, Form, Instant, Microseconds, Secret
from tests.unit.engine.bench import ENVIRONMENT, FIRST, HOUR, PATH, SERVICE, Bench, after, answers, fails
from tests.unit.engine.rotations import rotation
from tests.unit.engine.surroundings import BEGAN

STORED = f"local, {PATH}"
BUDGET = MemoryOptions(lockout_after=6)


def seen(bench: Bench, *versions: str) -> list[tuple[str, str, str | None]]:
    """Return what a look shows."""
    found = look(bench, *versions)
    return [(each.version, each.accepted.value, each.stored_in) for each in found]


def look(bench: Bench, *versions: str) -> tuple[Seen, ...]:
    """Look at versions of the first login."""
    named = [Version(each, bench.logins[0]) for each in versions]
    return look_around(bench.world(), SERVICE, ENVIRONMENT, bench.plan(), named)


def rollback_failed(bench: Bench) -> Rotation:
    """Have going back fail."""
    rotation_id = bench.start()
    bench.until("promoting", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.restore", fails(Rejected))
    failed = bench.drive(rotation_id)
    assert failed.state is State.ROLLBACK_FAILED
    return failed


def wrong(count: int) -> list[str]:
    """Return the names of versions that are to be wrong ones."""
    return [f"wrong-{number}" for number in range(count)]


def hold(bench: Bench, *versions: str) -> None:
    """Have the store hold values that the target never saw."""
    for version in versions:
        bench.store.stage(PATH, version, CredentialValue(bench.logins[0], Secret(f"canary-{version}")))


# --- what is told ---------------------------------------------------------------------------------------------------


def test_of_two_versions_it_is_told_which_one_works() -> None:
    """The candidate is in force, the one to go back to is not, and the store holds both."""
    bench = Bench()
    failed = rollback_failed(bench)
    versions = versions_of(failed)
    found = look_around(bench.world(), SERVICE, ENVIRONMENT, failed.plan, versions)
    assert [(each.version, each.accepted, each.stored_in) for each in found] == [
        (FIRST, Acceptance.REFUSED, STORED),
        (failed.candidate, Acceptance.ACCEPTED, STORED),
    ]


def test_the_versions_of_a_rotation_are_what_it_goes_back_to_and_the_candidate() -> None:
    """Each with its own login; one that was never begun has none."""
    both = rotation(State.APPLYING, login="app_b", previous_login="app_a")
    assert versions_of(both) == (Version("v1", "app_a"), Version("v2", "app_b"))
    assert versions_of(rotation(State.APPLYING, previous=None)) == (Version("v2", "app"),)
    assert versions_of(rotation(State.WAITING, candidate="", previous=None)) == ()


def test_a_version_that_the_store_does_not_hold_is_not_tried() -> None:
    assert seen(Bench(), "v9") == [("v9", "not tried", None)]


def test_a_store_that_cannot_be_read_is_no_reason_to_stop() -> None:
    """What is behind it is not known, and the next version is looked at."""
    bench = Bench()
    bench.at("store.read", fails(Unavailable))
    assert seen(bench, FIRST, FIRST) == [(FIRST, "unknown", None), (FIRST, "accepted", STORED)]


@pytest.mark.parametrize("probe", [Probe.UNKNOWN, Probe.UNUSABLE])
def test_what_the_target_says_is_told_in_its_words(probe: Probe) -> None:
    bench = Bench()
    bench.at("target.probe", answers(Sighting(probe, "too many connections")))
    assert look(bench, FIRST) == (Seen(FIRST, Acceptance(probe.value), STORED, "too many connections"),)


def test_a_verifier_is_seen_in_force_or_not_at_all() -> None:
    """Nobody can log in with it, so that it is never refused; and it costs no login."""
    bench = Bench(options=MemoryOptions(shows_restorable=True, lockout_after=2))
    assert bench.initial is not None
    shown = bench.target.probe(CredentialValue("app", None)).restorable
    assert shown is not None
    bench.store.stage(PATH, "v0", shown)
    bench.store.stage(PATH, "other", CredentialValue("app", Secret("canary-other"), Form.VERIFIER))
    assert seen(bench, "v0", "other") == [("v0", "accepted", STORED), ("other", "unknown", STORED)]
    assert bench.log.head() == 0


def test_a_value_without_a_secret_is_not_tried() -> None:
    bench = Bench(Strategy.ISSUE)
    bench.at("store.read", answers(CredentialValue("app", None, handle="key-1")))
    assert seen(bench, "v2") == [("v2", "not tried", STORED)]
    assert bench.asked("target") == []


# --- what it costs --------------------------------------------------------------------------------------------------


def test_two_wrong_logins_are_the_most_that_a_look_costs() -> None:
    """Also where the target counts none."""
    bench = Bench()
    hold(bench, *wrong(3))
    assert [each[1] for each in seen(bench, *wrong(3), FIRST)] == ["refused", "refused", "not tried", "not tried"]
    assert len(bench.asked("target.probe")) == 2


def test_without_a_budget_nothing_is_recorded() -> None:
    bench = Bench()
    look(bench, FIRST)
    assert bench.log.head() == 0


def test_a_login_is_recorded_before_it_is_tried() -> None:
    """On the credential where no rotation is open, in the rotation where one is."""
    bench = Bench(options=BUDGET)
    bench.at("target.probe", after(lambda: order.append(bench.log.head())))
    order: list[int] = []
    look(bench, FIRST)
    assert order == [1]
    assert [use.login for use in bench.credential.tries] == ["app"]
    failed = rollback_failed(bench)
    look(bench, failed.candidate)
    now = bench.rotation(failed.id)
    assert (now.state, len(now.tries)) == (State.ROLLBACK_FAILED, len(failed.tries) + 1)


def test_a_look_leaves_a_wrong_login_for_going_back() -> None:
    """Of three that the target allows it spends two, so that what leads on need not wait."""
    bench = Bench(options=MemoryOptions(lockout_after=4))
    hold(bench, "wrong")
    assert [each[1] for each in seen(bench, "wrong", FIRST, FIRST)] == ["refused", "accepted", "not tried"]
    assert until_free(bench.credential.tries, "app", LoginBudget(3, HOUR), 1, bench.clock.now()) == 0


def test_no_login_is_spent_where_the_budget_is_used_up() -> None:
    """The target is not asked at all."""
    bench = Bench(options=MemoryOptions(lockout_after=2))
    assert seen(bench, FIRST) == [(FIRST, "not tried", STORED)]
    assert (bench.asked("target"), bench.log.head()) == ([], 0)


def test_a_target_that_takes_long_is_not_asked_again() -> None:
    """One that is out of reach costs one timeout."""
    bench = Bench()
    bench.at("target.probe", after(lambda: bench.clock.wait(Microseconds(6 * SECOND))))
    assert [each[1] for each in seen(bench, FIRST, FIRST)] == ["accepted", "unknown"]
    assert len(bench.asked("target.probe")) == 1


@pytest.mark.parametrize("open_one", [True, False])
def test_another_process_that_appends_first_is_not_disturbed(*, open_one: bool) -> None:
    """Its login counts; ours is not tried."""
    bench = Bench(options=BUDGET)
    if open_one:
        bench.start()
        bench.calls.clear()

    def too_late(effect: Callable[[], object]) -> object:
        raise Conflict(stream="app-db")

    bench.at("log.append", too_late)
    assert seen(bench, FIRST) == [(FIRST, "not tried", STORED)]
    assert bench.asked("target") == []


def test_a_rotation_that_another_process_drives_gets_no_fact_from_a_look() -> None:
    """That process would lose what it is about to record."""
    bench = Bench(options=BUDGET)
    rotation_id = bench.start()
    facts = len(bench.facts(rotation_id))

    def held_elsewhere(rotation_id: UUID) -> AbstractContextManager[Callable[[], None]]:
        raise OwnedElsewhere(rotation_id=rotation_id, owner="process-2", lease="renewed just now")

    world = dataclasses.replace(bench.world(), hold=held_elsewhere)
    (found,) = look_around(world, SERVICE, ENVIRONMENT, bench.plan(), [Version(FIRST, "app")])
    assert found.accepted is Acceptance.NOT_TRIED
    assert len(bench.facts(rotation_id)) == facts


def test_a_look_changes_nothing_outside() -> None:
    bench = Bench()
    failed = rollback_failed(bench)
    bench.calls.clear()
    look(bench, FIRST, failed.candidate)
    assert set(bench.asked("target", "store", "place")) == {"store.read", "target.probe"}


def test_what_is_spent_on_a_look_counts_in_the_next_rotation() -> None:
    bench = Bench(options=BUDGET)
    look(bench, FIRST)
    started = bench.rotation(bench.start())
    assert [(use.login, use.at) for use in started.tries] == [("app", Instant(BEGAN))]
    assert bench.noted(e.LoginSpent) == [e.LoginSpent("app", "boot-1", Microseconds(1_000 * SECOND))]


def test_a_store_that_was_emptied_leaves_nothing_to_try() -> None:
    bench = Bench()
    bench.store = MemoryStore()
    assert seen(bench, FIRST) == [(FIRST, "not tried", None)]
