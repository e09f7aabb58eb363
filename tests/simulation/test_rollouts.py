"""Rollouts under everything that may happen to them: no outage, no more at risk than allowed, and an end that is true.

`python -m tests.simulation.campaign rollouts 0 600` plays more of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from adapters.simulation.coverage import OF_ROLLOUTS
from adapters.simulation.fleet_history import ACTIONS
from adapters.simulation.invariants import Violation
from adapters.simulation.rollouts import FIRST, RolloutRun
from engine import events as e
from engine import gate, handing, process, rollout, soaking
from engine.machine import BEFORE_RETIRING, State
from engine.plan import Strategy
from engine.rollout import RolloutPolicy, Stage
from engine.values import SECOND, Microseconds

SEEDS = (*range(300), 398, 536, 859, 24214)
"""Three hundred, and those that come where few do: where one is missing below, `campaign rollouts` finds another.
In the last one a wave is empty when it begins to soak, and somebody comes back to it."""
MINUTE = Microseconds(60 * SECOND)
POLICY = RolloutPolicy(
    stages=(Stage(25, MINUTE), Stage(100, MINUTE)), canary_soak=MINUTE, max_unverified=8, parallelism=4
)
"""A canary, then two stages in parts of eight at most."""


@pytest.mark.slow
def test_random_histories_violate_nothing() -> None:
    """Crashes, pauses, aborts, instances that come, go and fail, checks that see nothing: I3, I6, I10 and L1 hold."""
    ends, actions, pairs = Counter[State](), Counter[str](), Counter[tuple[State, str]]()
    for seed in SEEDS:
        run = RolloutRun(seed)
        ends[run.play().state] += 1
        actions.update(run.done)
        pairs.update(run.pairs)
    assert set(ends) == {State.COMPLETED, State.ROLLED_BACK}
    assert set(actions) == set(ACTIONS)
    assert {pair for pair in OF_ROLLOUTS if pair not in pairs} == set()


@pytest.mark.parametrize("seed", [0, 7])
def test_a_history_is_a_function_of_its_seed(seed: int) -> None:
    first, second = RolloutRun(seed), RolloutRun(seed)
    assert first.play() == second.play()
    assert first.story == second.story


# --- a process that dies --------------------------------------------------------------------------------------------


def _run(script: dict[int, str], strategy: Strategy = Strategy.ALTERNATING) -> RolloutRun:
    run = RolloutRun(1, script=script, count=20, strategy=strategy, policy=POLICY)
    run.play()
    return run


def _sizes(run: RolloutRun) -> list[int]:
    """Return how many instances each wave has that was ever planned."""
    assert run.rotation is not None
    planned = [f.body for f in run.log.stream(run.rotation.id) if isinstance(f.body, e.RolloutPlanned)]
    return [len(wave.instances) for each in planned for wave in each.waves]


def _times(run: RolloutRun) -> Counter[str]:
    """Return how often each instance was handed the new version."""
    return Counter({each: count for (each, version), count in run.handed.items() if version != FIRST})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crash_before", "crash_after"])
def test_a_death_at_any_call_changes_nothing(kind: str) -> None:
    """The same waves, the same end; who was told twice had not been seen to have it when the process died."""
    calm = _run({})
    for call in range(1, calm.calls + 1):
        run = _run({call: kind})
        assert run.rotation is not None
        assert run.rotation.state is State.COMPLETED
        assert _sizes(run) == _sizes(calm) == [1, 4, 8, 7]
        twice = _times(run) - _times(calm)
        assert len(twice) <= POLICY.parallelism, (call, twice)
        assert set(twice.values()) <= {1}


# --- going back -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE])
def test_an_abort_at_any_call_ends_with_everybody_on_the_old_version(strategy: Strategy) -> None:
    """From every state before the point of no return; after it the rotation completes."""
    calm = _run({}, strategy)
    seen = set[State]()
    for call in range(2, calm.calls + 1, 1 if strategy is Strategy.ALTERNATING else 5):
        run = _run({call: "abort"}, strategy)
        assert run.rotation is not None
        back = [fact for fact in run.log.stream(run.rotation.id) if isinstance(fact.body, e.RollbackStarted)]
        held = set(run.distributor.held().values())
        assert held == {run.rotation.previous if back else run.rotation.candidate}
        seen |= {state for state, event in run.pairs if event == "RollbackStarted"}
    if strategy is Strategy.ALTERNATING:
        assert seen >= set(BEFORE_RETIRING) - {State.PAUSED}


def test_the_way_back_has_neither_canary_nor_soak() -> None:
    """All that were told are called back within seconds, the last wave first."""
    calm = _run({})
    run = _run({calm.calls * 3 // 4: "abort"})
    assert run.rotation is not None
    facts = run.log.stream(run.rotation.id)
    began = next(fact for fact in facts if isinstance(fact.body, e.RollbackStarted))
    returned = [(fact.at, fact.body.instances) for fact in facts if isinstance(fact.body, e.InstancesReturned)]
    assert returned
    assert returned[-1][0] - began.at < 5 * SECOND
    assert all(len(instances) <= POLICY.parallelism for _, instances in returned)
    places = run.rotation.fleet.places if run.rotation.fleet else {}
    order = [places[each] for _, instances in returned for each in instances]
    assert order == sorted(order, reverse=True)


# --- the predicates can fail ----------------------------------------------------------------------------------------


def _found(seeds: range) -> str:
    for seed in seeds:
        try:
            RolloutRun(seed).play()
        except Violation as violation:
            return str(violation)[:3].rstrip(":")
    return ""


BROKEN: Final[dict[str, tuple[list[tuple[Any, str, Any]], str]]] = {
    "more are told than may be": (
        [
            (handing, "room", lambda fleet, policy, waves, wanted, *, most: list(wanted)[:20]),
            (rollout, "_within", lambda members, policy: [list(members)]),
        ],
        "I10",
    ),
    "silence passes": ([(soaking, "_watched", lambda performance, wave: soaking.Verdict.PASSED)], "I10"),
    "the gate is open": ([(gate, "_is_unused", lambda performance, effect: True)], "I6"),
    "nobody is called back": (
        [(each, "must_recall", lambda rotation, *, anew=False: False) for each in (process, gate)],
        "I3",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_engine_that_is_broken_is_found(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A predicate says so within some hundred runs."""
    changes, invariant = BROKEN[what]
    for module, name, broken in changes:
        monkeypatch.setattr(module, name, broken)
    assert _found(range(1000)) == invariant
