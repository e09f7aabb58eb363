"""Taking over a login that no store knows: what it holds is looked at, and captured where it would be lost."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.errors import Rejected
from engine.machine import State
from engine.plan import Strategy
from engine.ports import Probe, Sighting
from engine.values import Form
from tests.unit.engine.bench import Bench, answers, fails, works

SHOWS = MemoryOptions(shows_restorable=True)
UNCLEAR = Sighting(Probe.UNKNOWN, "no route")


def test_what_nobody_knows_is_captured_before_it_is_replaced() -> None:
    """The verifier that the target shows goes into the store, as the version to go back to."""
    bench = Bench(known=False, options=SHOWS)
    rotation_id = bench.start()
    staged = bench.until("applying", rotation_id)
    assert staged.previous == f"v0-{rotation_id.hex[:6]}"
    assert (staged.captured, staged.previous_login) == (True, "app")
    assert bench.value(staged.previous).form is Form.VERIFIER
    assert (bench.held.pending, bench.held.current) == (staged.candidate, None)
    assert bench.noted(e.VersionAdopted) == [e.VersionAdopted(staged.previous, "app")]
    stored = bench.call("store.stage", 0)
    assert stored.kwargs["deadline"] == stored.at + bench.plan().attempt_window
    assert bench.drive(rotation_id).state is State.COMPLETED
    assert bench.names(rotation_id)[:3] == ["RotationStarted", "PreviousCaptured", "CandidateStaged"]


def test_what_was_captured_is_held_and_not_pending() -> None:
    """Nothing is to be made of it."""
    bench = Bench(known=False, options=SHOWS)
    bench.at("store.stage", works, fails(Rejected))
    ended = bench.rotate()
    assert (ended.state, bench.held.pending, bench.held.versions) == (State.FAILED, None, (ended.previous,))


@pytest.mark.parametrize(
    ("strategy", "more", "captures"),
    [
        (Strategy.SINGLE, {"known": False, "options": SHOWS}, True),
        (Strategy.ALTERNATING, {"known": False, "options": SHOWS}, True),
        (Strategy.SCRIPT, {"known": False, "options": SHOWS}, True),
        (Strategy.SINGLE, {"known": False, "options": SHOWS, "settable": False}, False),
        (Strategy.SINGLE, {"known": False}, False),
        (Strategy.DUAL, {"known": False, "options": SHOWS}, False),
        (Strategy.SINGLE, {"options": SHOWS}, False),
    ],
    ids=["single", "alternating", "script", "not settable", "not shown", "dual", "known"],
)
def test_only_what_would_be_lost_and_can_be_set_back_is_captured(
    strategy: Strategy, more: dict[str, Any], *, captures: bool
) -> None:
    bench = Bench(strategy, **more)
    assert ("PreviousCaptured" in bench.names(bench.rotate().id)) is captures


@pytest.mark.parametrize(("probe", "vacant"), [(Probe.REFUSED, True), (Probe.ACCEPTED, False)])
def test_a_login_is_vacant_only_where_the_target_showed_it(probe: Probe, *, vacant: bool) -> None:
    bench = Bench(vacant=True)
    rotation_id = bench.start()
    bench.at("target.probe", answers(Sighting(probe)))
    assert bench.drive(rotation_id).vacant is vacant


def test_a_value_is_not_replaced_before_it_was_looked_at() -> None:
    """One look was unclear: the next shows the verifier, and what was in force works again after going back."""
    bench = Bench(known=False, options=SHOWS)
    rotation_id = bench.start()
    bench.at("target.probe", answers(UNCLEAR))
    staged = bench.until("applying", rotation_id)
    (postponed,) = bench.bodies(rotation_id, e.EffectPostponed)
    assert (postponed.cause.step, postponed.cause.kind) == ("stage", "unavailable")
    assert "looking what the login holds: no route" in postponed.cause.message
    assert staged.captured
    bench.at("store.promote", fails(Rejected))
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.initial is not None
    assert bench.target.accepts(bench.initial)


def test_where_no_look_is_clear_nothing_is_replaced() -> None:
    """It fails while the login has its old value: a rotation that could not be taken back never begins."""
    bench = Bench(known=False, options=SHOWS)
    bench.at("target.probe", *[answers(UNCLEAR)] * 5)
    assert bench.rotate().state is State.FAILED
    assert bench.asked("target.apply", "store.stage") == []
    assert bench.initial is not None
    assert bench.target.accepts(bench.initial)


@pytest.mark.parametrize(
    ("strategy", "plan"),
    [(Strategy.DUAL, {}), (Strategy.ISSUE, {}), (Strategy.SINGLE, {"settable": False})],
    ids=["dual", "issue", "not settable"],
)
def test_what_is_not_replaced_or_could_not_be_set_back_needs_no_clear_look(
    strategy: Strategy, plan: dict[str, Any]
) -> None:
    """It is not taken for vacant, and nothing could be captured anyway."""
    bench = Bench(strategy, known=False, **plan)
    rotation_id = bench.start()
    bench.at("target.probe", answers(UNCLEAR))
    ended = bench.drive(rotation_id)
    assert (ended.state, ended.vacant, ended.captured) == (State.COMPLETED, False, False)
    assert bench.bodies(rotation_id, e.EffectPostponed) == []


@pytest.mark.parametrize("shows", [True, False])
def test_after_a_first_rotation_that_was_taken_back_the_next_completes(*, shows: bool) -> None:
    """The store calls nothing current still, whatever the log took over; promotion expects just that."""
    bench = Bench(known=False, options=MemoryOptions(shows_restorable=shows))
    rotation_id = bench.start()
    bench.until("applying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert (bench.held.current, bench.credential.current is not None) == (None, shows)
    second = bench.rotate()
    assert (second.state, second.label, bench.held.current) == (State.COMPLETED, None, second.candidate)


def test_a_login_is_looked_at_once_before_it_is_changed() -> None:
    bench = Bench(Strategy.DUAL, known=False)
    bench.until("verifying", bench.start())
    assert bench.asked("target") == ["target.probe", "target.apply"]


def test_a_given_value_that_is_in_force_already_was_applied_by_no_attempt() -> None:
    bench = Bench()
    assert bench.initial is not None
    ended = bench.rotate(given=bench.initial.secret)
    (applied,) = bench.bodies(ended.id, e.CandidateApplied)
    assert (applied.attempt, applied.observed) == (0, "probe")
