"""A store that calls nothing current yet: what may be taken back, and from when on there is nothing to go back to."""

from __future__ import annotations

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.errors import IllegalCommand, Rejected, Uncertain
from engine.machine import State
from engine.plan import Strategy
from engine.values import CredentialValue, Instant, Secret
from tests.unit.engine.bench import HOUR, PATH, Bench, Died, Step, dies_after, fails, works

SHOWS = MemoryOptions(shows_restorable=True)


@pytest.mark.parametrize(("answer", "state"), [(fails(Uncertain), "promoting"), (works, "monitoring")])
def test_once_the_store_was_asked_nobody_is_sent_back_to_a_verifier(answer: Step, state: str) -> None:
    """It has nothing else to call current: consumers cannot log in with what was captured."""
    bench = Bench(known=False, options=SHOWS)
    rotation_id = bench.start()
    bench.until("promoting", rotation_id)
    bench.at("store.promote", answer)
    bench.at("log.append", works, dies_after)
    with pytest.raises(Died):
        bench.drive(rotation_id)
    with pytest.raises(IllegalCommand, match=f"abort is not possible while the rotation is {state}"):
        bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert (ended.state, bench.held.current) == (State.COMPLETED, ended.candidate)


@pytest.mark.parametrize("refused", [True, False])
def test_until_the_store_may_call_it_current_a_candidate_is_taken_away_again(*, refused: bool) -> None:
    """The store was not asked, or has refused: the verifier is in force again, and nothing is called current."""
    bench = Bench(known=False, options=SHOWS)
    rotation_id = bench.start()
    bench.until("promoting", rotation_id)
    bench.at("store.promote", fails(Rejected))
    if not refused:
        bench.operations().go_back(rotation_id, command="abort")
    ended = bench.drive(rotation_id)
    assert bench.initial is not None
    assert (ended.state, bench.held.current, bench.target.accepts(bench.initial)) == (State.ROLLED_BACK, None, True)


def test_a_first_value_that_was_added_is_taken_away_where_the_store_refuses_it() -> None:
    """Otherwise both places of the login stay taken, and no rotation would ever begin again."""
    bench = Bench(Strategy.DUAL, known=False)
    bench.at("store.promote", fails(Rejected))
    ended = bench.rotate()
    assert (ended.state, bench.accepts(ended.candidate)) == (State.ROLLED_BACK, False)
    bench.target.retire(bench.initial, keep=None, tag="by hand", deadline=Instant(bench.clock.wall + HOUR))
    assert bench.rotate().state is State.COMPLETED


def test_a_candidate_that_the_store_calls_current_after_all_is_not_taken_away() -> None:
    """Somebody promoted it by hand while it was being taken back: consumers have it, and there is nothing else."""
    bench = Bench(Strategy.DUAL, known=False)
    rotation_id = bench.start()
    bench.until("promoting", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    candidate = bench.rotation(rotation_id).candidate
    bench.store.promote(PATH, candidate, bench.value(candidate), expected=None)
    ended = bench.drive(rotation_id)
    assert (ended.state, bench.accepts(candidate)) == (State.ROLLBACK_FAILED, True)
    assert ended.cause is not None
    assert ended.cause.message == (f"going back: store local calls {candidate} current, and called nothing so before.")
    assert f"keyturn abort {rotation_id} gives going back up" in ended.cause.hint


def test_where_the_store_calls_nothing_current_going_back_changes_nothing_of_that() -> None:
    """It lost the label and not the value: the log goes on calling current what it did."""
    bench = Bench()
    first = bench.rotate()
    old = bench.value(first.candidate)
    bench.store = MemoryStore()
    bench.store.stage(PATH, first.candidate, old)
    changed = bench.noted(e.CurrentChanged)
    bench.at("store.promote", fails(Rejected))
    assert bench.rotate().state is State.ROLLED_BACK
    assert (bench.held.current, bench.target.accepts(old)) == (None, True)
    assert bench.noted(e.CurrentChanged) == changed


@pytest.mark.parametrize(
    ("known", "now", "told"),
    [
        (True, "v9", "calls v9 current, and called v0-initial so when it began"),
        (True, "", "calls nothing current, and called v0-initial so when it began"),
        (False, "v9", "calls v9 current, and called nothing so when it began"),
    ],
)
def test_a_label_that_moved_before_anything_was_done_is_told(*, known: bool, now: str, told: str) -> None:
    bench = Bench(Strategy.DUAL, known=known)
    rotation_id = bench.start()
    bench.store = MemoryStore()
    if now:
        bench.store.promote(PATH, now, CredentialValue("app", Secret("canary-by-hand")), expected=None)
    standing = bench.drive(rotation_id, patience=lambda rotation, wait: False)
    assert standing.cause is not None
    assert (standing.state, standing.cause.message) == (State.STAGING, f"staging the candidate: the store {told}.")
