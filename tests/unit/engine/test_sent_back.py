"""Going back after promotion: consumers are sent only to what was seen to work, and only where they had left it."""

from __future__ import annotations

from typing import Final

import pytest

from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.errors import Rejected
from engine.machine import State
from engine.plan import Strategy
from engine.ports import Probe, Sighting
from engine.rotation import Rotation
from engine.values import Instant
from tests.unit.engine.bench import FIRST, HOUR, Bench, after, answers, fails, lost, works

# --- seen before anybody is sent there ----------------------------------------------------------------------------


def promoted(bench: Bench) -> Rotation:
    """Drive a rotation until consumers have the new version, and decide to take it back."""
    rotation_id = bench.start()
    bench.until("monitoring", rotation_id)
    bench.calls.clear()
    bench.operations().go_back(rotation_id, command="abort")
    return bench.rotation(rotation_id)


def revoke(bench: Bench, version: str) -> None:
    """Take a version away at the target, by hand."""
    by_hand = Instant(bench.clock.wall + HOUR)
    bench.target.retire(bench.value(version), keep=None, tag="by hand", deadline=by_hand)


def test_consumers_are_not_sent_to_a_version_that_does_not_work() -> None:
    """Somebody revoked it, and the target cannot make it valid again: the candidate stays what they have."""
    bench = Bench(Strategy.ISSUE, places=["dotenv:A"])
    rotation = promoted(bench)
    revoke(bench, FIRST)
    ended = bench.drive(rotation.id)
    assert ended.state is State.ROLLBACK_FAILED
    assert ended.cause is not None
    assert ended.cause.message == (f"going back: the target refuses {FIRST}, and cannot be set back to a known value.")
    assert f"keyturn abort {rotation.id} gives going back up" in ended.cause.hint
    assert bench.asked("store.promote", "target.restore", "place") == []
    assert (bench.held.current, bench.accepts(rotation.candidate)) == (rotation.candidate, True)


@pytest.mark.parametrize("strategy", [Strategy.DUAL, Strategy.ALTERNATING])
def test_what_can_be_set_back_is_set_back_before_consumers_are_sent_there(strategy: Strategy) -> None:
    bench = Bench(strategy)
    rotation = promoted(bench)
    revoke(bench, FIRST)
    accepted: list[bool] = []
    bench.at("store.promote", after(lambda: accepted.append(bench.accepts(FIRST))))
    assert bench.drive(rotation.id).state is State.ROLLED_BACK
    assert bench.asked("store.promote", "target.restore") == ["target.restore", "store.promote"]
    assert accepted == [True]


@pytest.mark.parametrize("probe", [Probe.UNKNOWN, Probe.UNUSABLE])
def test_an_unclear_look_at_the_old_version_sends_nobody_there(probe: Probe) -> None:
    """It is taken again."""
    bench = Bench(Strategy.DUAL)
    rotation = promoted(bench)
    bench.at("target.probe", answers(Sighting(probe)))
    waiting = bench.drive(rotation.id, patience=lambda rotation, wait: False)
    assert (waiting.state, bench.held.current) == (State.ROLLING_BACK, rotation.candidate)
    assert bench.asked("store.promote", "target.restore") == []
    assert bench.drive(rotation.id).state is State.ROLLED_BACK


def test_looking_at_the_old_version_spends_a_login() -> None:
    """It may be refused; where nobody was sent to the candidate, there is nothing to look at first."""
    bench = Bench(Strategy.ALTERNATING, options=MemoryOptions(lockout_after=9))
    bench.drive(promoted(bench).id)
    assert [body.login for body in bench.noted(e.RotationClosed)[-1].tries] == ["app_b", "app_b", "app_a", "app_a"]
    unsent = Bench(Strategy.ALTERNATING, options=MemoryOptions(lockout_after=9))
    rotation_id = unsent.start()
    unsent.until("verifying", rotation_id)
    unsent.operations().go_back(rotation_id, command="abort")
    unsent.drive(rotation_id)
    assert [body.login for body in unsent.noted(e.RotationClosed)[-1].tries] == ["app_a"]


# --- the places ---------------------------------------------------------------------------------------------------

PLACES: Final = ("dotenv:A", "dotenv:B", "dotenv:C")


def written(bench: Bench) -> list[list[str]]:
    """Return what each place was given."""
    return [[version for _, version in place.published] for place in bench.places]


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.DUAL])
def test_a_place_that_refuses_for_good_does_not_keep_a_rotation_from_going_back(strategy: Strategy) -> None:
    """It has the old version still, and would refuse again; what was written is written back, and nothing else."""
    bench = Bench(strategy, places=PLACES)
    bench.at("place.publish", works, fails(Rejected), works, fails(Rejected))
    ended = bench.rotate()
    assert ended.state is State.ROLLED_BACK
    assert written(bench) == [[ended.candidate, FIRST], [], []]


def test_a_place_of_which_nobody_knows_is_written_back_and_the_later_ones_are_not() -> None:
    """Its answer was lost, so that it may have the candidate; those after it were never asked."""
    bench = Bench(places=PLACES, effect_attempts=1)
    bench.at("place.publish", works, lost)
    ended = bench.rotate()
    assert ended.state is State.ROLLED_BACK
    assert written(bench) == [[ended.candidate, FIRST], [ended.candidate, FIRST], []]


def test_a_place_that_refuses_after_an_answer_was_lost_is_written_back() -> None:
    """It may have the candidate all the same: found by a seed of the simulation."""
    bench = Bench(places=PLACES)
    bench.at("place.publish", works, lost, fails(Rejected))
    ended = bench.rotate()
    assert ended.state is State.ROLLED_BACK
    assert written(bench) == [[ended.candidate, FIRST], [ended.candidate, FIRST], []]


@pytest.mark.parametrize("hiccup", ["store.discard", "target.probe"])
def test_a_place_that_refused_is_left_alone_however_often_going_back_is_tried(hiccup: str) -> None:
    """What made the rotation go back is known as long as it does, whatever goes wrong on the way."""
    bench = Bench(places=PLACES)
    bench.at("place.publish", works, fails(Rejected))
    bench.at(hiccup, fails(), fails())
    ended = bench.rotate()
    assert ended.state is State.ROLLED_BACK
    assert len(bench.bodies(ended.id, e.EffectPostponed)) == 2
    assert written(bench)[1:] == [[], []]
    assert ended.cause is not None
    assert (ended.cause.step, ended.cause.kind) == ("promote", "rejected")


def test_a_rollback_that_is_tried_again_in_the_end_tells_what_made_it_go_back() -> None:
    """While it cannot go back that is what is wrong; once it is back, it is not."""
    bench = Bench(places=PLACES, rollback_retries=0)
    bench.at("place.publish", fails(Rejected))
    bench.at("store.discard", fails())
    failed = bench.rotate()
    assert failed.cause is not None
    assert (failed.state, failed.cause.step) == (State.ROLLBACK_FAILED, "restore")
    bench.operations().retry(failed.id)
    ended = bench.drive(failed.id)
    assert ended.cause is not None
    assert (ended.state, ended.cause.step) == (State.ROLLED_BACK, "promote")
