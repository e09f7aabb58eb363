"""Replay: every fact with the state before and after it."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from msgspec.structs import replace

from engine import events as e
from engine import rotation as rotations
from engine.facts import Recorded
from engine.machine import State, following
from projections.replay import replay, state_at
from tests.histories import histories, recorded
from tests.unit.projections.stories import Story

STORY = Story().rotate("v1").start("v2", reason="leaked").stage().fail()
FACTS = recorded(STORY.facts)


def test_a_step_tells_the_state_before_and_after() -> None:
    """A rotation begins in `waiting`; the data are all fields of the event."""
    first = next(replay(FACTS))
    assert (first["position"], first["event"]) == (1, "rotation-started.2")
    assert (first["before"], first["after"]) == ("waiting", "staging")
    assert first["data"]["service"] == "app-db"
    assert first["data"]["plan"]["strategy"] == "single"
    assert first["data"]["imported"] is False


def test_a_fact_of_a_credential_has_no_state() -> None:
    second = list(replay(FACTS))[1]
    assert second["event"] == "rotation-opened.1"
    assert (second["before"], second["after"]) == (None, None)
    assert second["data"]["rotation_id"] == str(FACTS[0].fact.originator_id)


def test_the_state_is_shown_as_it_was() -> None:
    """At a position, whatever came behind it; before its first fact there is no rotation."""
    own = [each for each in FACTS if each.fact.originator_id == STORY.rotation_id]
    seen = [state_at(own, position) for position in (own[0].position - 1, own[0].position, own[1].position, 10**9)]
    assert [each.state if each else None for each in seen] == [None, State.STAGING, State.APPLYING, State.FAILED]


def test_a_fact_that_carries_no_state_leaves_it() -> None:
    """As the aggregate folds it."""
    tried = STORY.facts[0], replace(STORY.facts[0], originator_version=2, body=e.LoginTried("app"), state=None)
    assert [step["after"] for step in replay(recorded(list(tried)))] == ["staging", "staging"]


@given(histories())
def test_the_steps_are_those_of_the_machine(facts: list[Recorded]) -> None:
    """What replay shows, without asking the machine, is what the machine decided."""
    for step, each in zip(replay(facts), facts, strict=True):
        assert step["position"] == each.position
        assert json.loads(json.dumps(step)) == step
        if step["before"] is not None:
            assert following(State(step["before"]), type(each.fact.body).__name__) == step["after"]


@given(histories())
def test_a_rotation_goes_on_where_the_step_before_left_it(facts: list[Recorded]) -> None:
    """The steps of one rotation form a chain, and end in the state that the aggregate has."""
    for rotation_id in {each.fact.originator_id for each in facts if isinstance(each.fact.body, e.RotationStarted)}:
        own = [each for each in facts if each.fact.originator_id == rotation_id]
        steps = list(replay(own))
        assert all(one["after"] == other["before"] for one, other in pairwise(steps))
        folded = rotations.fold(each.fact for each in own)
        assert folded is not None
        assert folded == state_at(own, own[-1].position)
        assert steps[-1]["after"] == folded.state
