"""A rollout as a document and as a line: waves, who moved, who is outstanding, and why it rests."""

from __future__ import annotations

from engine import events as e
from engine.plan import Plan, Strategy
from engine.rollout import RolloutPolicy, Stage
from engine.rollout_events import PauseKind
from engine.values import Deadline, Instant
from projections.rollouts import in_a_line, rollout_document
from projections.rotations import error_of, rotation_document
from projections.times import to_text
from tests.histories import BEGAN
from tests.unit.projections.stories import REFUSED, Story

LATER = Deadline(Instant(BEGAN + 3_600_000_000))


def story() -> Story:
    """Tell of four instances in two waves, of which two may be unverified."""
    told = Story()
    told.plan = Plan(Strategy.DUAL, overlap=True, rollout=RolloutPolicy((Stage(100),), max_unverified=2))
    return told.rotate("v1").start("v2").roll_out(("web-1", "web-2"), ("web-3", "web-4"))


def test_without_instances_there_is_nothing_to_tell() -> None:
    plain = Story().start("v1").rotation
    assert (rollout_document(plain), in_a_line(plain)) == (None, "")


def test_the_wave_at_hand_is_told_with_who_is_outstanding() -> None:
    told = story().move(e.InstancesTold(("web-1", "web-2"), "v2", LATER), e.InstancesMoved(("web-1",)))
    seen = rollout_document(told.rotation)
    assert seen is not None
    assert (seen["instances"], seen["moved"], seen["unverified"], seen["unverified_max"]) == (4, 1, 2, 2)
    assert (seen["wave"], seen["outstanding"]) == (0, ["web-2"])
    assert [(each["instances"], each["moved"], each["state"]) for each in seen["waves"]] == [
        (2, 1, "distributing"),
        (2, 0, "waiting"),
    ]
    assert in_a_line(told.rotation) == "wave 1 of 2, 1 of 4 instances moved, 2 of 2 unverified"


def test_a_soak_a_hold_and_a_rest_say_until_when_and_why() -> None:
    told = story().move(e.InstancesMoved(("web-1", "web-2")), e.WaveDistributed(0), e.SoakStarted(0, LATER))
    seen = rollout_document(told.rotation)
    assert seen is not None
    assert (seen["soak_until"], seen["waves"][0]["state"]) == (to_text(LATER.wall), "soaking")
    told.move(e.WavePassed(0, LATER))
    held = rotation_document(told.rotation)
    assert held["not_before"] == to_text(LATER.wall)
    assert (held["rollout"]["held_for"], held["rollout"]["unverified"]) == ("the wait after the wave", 0)
    told.move(e.RolloutPaused(kind=PauseKind.FAILURE, cause=REFUSED))
    seen = rollout_document(told.rotation)
    error = error_of(told.rotation)
    assert seen is not None
    assert error is not None
    assert (seen["paused"], error["message"]) == ("failure", REFUSED.message)


def test_going_back_is_told_by_who_is_back() -> None:
    told = story().move(e.InstancesTold(("web-1", "web-2"), "v2", LATER), e.RollbackStarted(automatic=False))
    told.move(e.InstancesReturned(("web-2",)))
    seen = rollout_document(told.rotation)
    assert seen is not None
    assert (seen["returned"], seen["outstanding"], seen["unverified"]) == (1, ["web-1"], 0)
    assert in_a_line(told.rotation) == "1 instance back on v1"


def test_who_is_gone_is_counted_apart() -> None:
    told = story().move(e.InstancesLeft(("web-4",)))
    seen = rollout_document(told.rotation)
    assert seen is not None
    assert (seen["instances"], seen["gone"]) == (3, 1)
