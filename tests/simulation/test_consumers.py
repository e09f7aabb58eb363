"""Seen by those who use the credential, and by those who read the log: nobody is refused in time, nothing is missed."""

from __future__ import annotations

import random

import pytest

from adapters.simulation import watch
from adapters.simulation.follower import KeptRows
from adapters.simulation.invariants import Violation
from adapters.simulation.jobs import crowd_of, draw_faults
from adapters.simulation.world import GRACE, run
from engine import events as e
from engine import runner
from engine.performance import Performance
from engine.plan import Strategy
from engine.process import Effect
from engine.values import SECOND, Microseconds, deadline_after
from projections.feed import Tracking

MINUTE = Microseconds(60 * SECOND)
OVERLAPPING = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", Strategy)
def test_consumers_that_read_within_the_grace_period_are_never_refused(strategy: Strategy) -> None:
    """Two hundred seeds of up to eight faults; where a login holds one value, the longest time is told."""
    longest = longest_back = 0
    for seed in range(200):
        source = random.Random(f"{strategy} {seed}")
        faults = draw_faults(source, strategy, source.choice([0, 1, 2, 8]))
        world = run(strategy, faults, seed=seed, consumers=(Microseconds(SECOND), MINUTE, GRACE))
        assert world.consumers is not None
        longest = max(longest, world.consumers.longest)
        longest_back = max(longest_back, world.consumers.longest_back)
    print(f"{strategy}: refused for {longest / SECOND} s at most, {longest_back / SECOND} s where it was taken back")
    assert (longest > 0) is (strategy not in OVERLAPPING)


def test_where_one_value_is_held_a_consumer_waits_until_it_reads_again() -> None:
    """From the change of the target to the next reading: a calm rotation, and a consumer that reads every minute."""
    world = run(Strategy.SINGLE, rotations_wanted=1, consumers=(MINUTE,))
    assert world.consumers is not None
    assert 0 < world.consumers.longest <= MINUTE


@pytest.mark.parametrize("strategy", OVERLAPPING)
def test_who_reads_less_often_than_the_grace_period_is_refused(strategy: Strategy) -> None:
    """That is measured, and nobody's fault but of who chose the two."""
    world = run(strategy, consumers=(Microseconds(3 * GRACE),))
    assert world.consumers is not None
    assert world.consumers.longest > 0


def test_old_sessions_survive_a_change() -> None:
    """A target asks for the password when a session begins, and never again."""
    world = run(Strategy.SINGLE, consumers=(MINUTE,))
    assert world.consumers is not None
    assert world.consumers.outliving > 0


def test_an_engine_without_grace_is_caught_by_its_consumers(monkeypatch: pytest.MonkeyPatch) -> None:
    def pass_at_once(performance: Performance) -> None:
        now = performance.world.clock.now()
        performance.record(e.MonitoringPassed(deadline_after(now, performance.rotation.plan.grace)), e.GraceEnded())

    monkeypatch.setitem(runner.PERFORMERS, Effect.MONITOR, pass_at_once)
    monkeypatch.setattr(watch, "check_write", lambda *what: None)  # which would see it before the consumers do
    with pytest.raises(Violation, match="I3: a consumer"):
        run(Strategy.DUAL, consumers=(MINUTE,))


@pytest.mark.slow
def test_a_follower_takes_each_fact_once_whatever_dies() -> None:
    """It dies in every fifth step; processes die and are frozen; the view that is kept is the one made anew."""
    deaths = 0
    for seed in range(150):
        source = random.Random(seed)
        strategy = source.choice(list(Strategy))
        single = run(strategy, draw_faults(source, strategy, 4), seed=seed, follows=True)
        crowd = crowd_of(seed, follows=True)
        assert single.follower is not None
        assert crowd.follower is not None
        deaths += single.follower.deaths + crowd.follower.deaths
    assert deaths > 1000


def test_a_follower_that_forgets_where_it_was_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    track = KeptRows.track

    def forgetful(page: KeptRows, tracking: Tracking) -> None:
        if tracking.position % 3:
            track(page, tracking)

    monkeypatch.setattr(KeptRows, "track", forgetful)
    with pytest.raises(Violation, match="I12: a follower"):
        run(Strategy.SINGLE, follows=True)
