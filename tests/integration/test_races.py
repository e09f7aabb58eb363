"""Two processes and one credential: one acts, the other is told so, whenever they meet."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import events as e
from engine.machine import State
from engine.plan import Strategy
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.sites import SERVICE, Site

pytestmark = pytest.mark.slow

REPETITIONS = 50
REFUSED = 6
TOLD = ("already has an open rotation", "is being driven by another process", "appended to")
"""What the one that comes second is told: an open rotation, its driver, or that the other one recorded first."""


@pytest.fixture
def raced(tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]) -> Installation:
    """An installation on PostgreSQL that was rotated twice, so that both logins have a value."""
    made = install(tmp_path, make_site(Strategy.ALTERNATING), drivers[0], settings=", keep_versions: 1000")
    made.done("rotate", SERVICE)
    made.done("rotate", SERVICE)
    return made


def _assert_told(ended: Ended) -> None:
    assert ended.code == REFUSED, ended
    assert any(words in ended.err for words in TOLD), ended


def _assert_one_at_a_time(raced: Installation) -> None:
    """The server holds nothing unknown, and each rotation applied one candidate, once, by one owner at a time."""
    raced.assert_sound()
    for rotation in raced.rotations():
        asked = [each for each in rotation.attempts if each.login and not each.version.startswith("-")]
        assert len(asked) <= 1, "a candidate was applied twice"


def test_two_rotations_at_the_same_moment(raced: Installation) -> None:
    """Both have looked and find nothing open; both record the start at once. One wins, the other is told who did."""
    for _ in range(REPETITIONS):
        before, values = len(raced.rotations()), len(raced.values())
        rotate = raced.call("rotate", SERVICE, meet_at="before log.append")
        won, lost = sorted(raced.driver.run(rotate, rotate), key=lambda ended: ended.code)
        assert won.code == 0, won
        assert lost.code == REFUSED, lost
        assert "already has an open rotation" in lost.err
        assert len(raced.rotations()) - before == 1
        assert len(raced.values()) - values == 1, "the one that lost left a candidate"
    print(f"{REPETITIONS} races of two rotations: one won, one was refused")
    _assert_one_at_a_time(raced)
    assert raced.done("audit", "verify", "--json").document["ok"]


def test_a_resume_beside_a_live_rotation(raced: Installation) -> None:
    """At 25 moments of a rotation: the resume finds nothing to do, or is told who drives it."""
    source = random.Random("resume beside rotate")
    met = 0
    for _ in range(25):
        beside = raced.call("resume", delay=source.uniform(0.0, 0.2))
        rotated, resumed = raced.driver.run(raced.call("rotate", SERVICE), beside)
        assert {rotated.code, resumed.code} in ({0}, {0, REFUSED}), (rotated, resumed)
        for ended in (rotated, resumed):
            if ended.code:
                met += 1
                _assert_told(ended)
        if resumed.code:
            assert "->" not in resumed.err, "the resume recorded something"
        if raced.rotations()[-1].state is not State.COMPLETED:
            raced.done("resume")
    print(f"25 resumes beside a rotation, {met} of them met it")
    assert met >= 3
    _assert_one_at_a_time(raced)


def test_two_resumes_of_a_killed_rotation(raced: Installation) -> None:
    """Two processes that resume at the same moment: one drives it, and what it applied was applied once."""
    driven: Counter[int] = Counter()
    for _ in range(15):
        killed = raced.run("rotate", SERVICE, die_at=18)
        assert killed.code < 0, killed
        both = raced.driver.run(raced.call("resume"), raced.call("resume"))
        assert any(ended.code == 0 for ended in both), both
        for ended in both:
            if ended.code:
                _assert_told(ended)
        taken = [fact for fact in raced.facts() if isinstance(fact.body, e.OwnerChanged)]
        assert len({fact.originator_id for fact in taken}) == len(taken), "two processes took the rotation over"
        driven[sum(ended.code == 0 for ended in both)] += 1
    print(f"15 pairs of resumes; processes that ended with 0: {dict(driven)}")
    raced.assert_sound()
