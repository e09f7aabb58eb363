"""What people did past keyturn while a rotation was open: nothing that works is taken away, and a person can end it."""

from __future__ import annotations

import pytest

from adapters.stores.memory import MemoryStore
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.errors import IllegalCommand, Rejected
from engine.machine import State
from engine.plan import Strategy
from engine.process import Wait
from engine.rotation import Rotation
from engine.values import Instant
from tests.unit.engine.bench import FIRST, HOUR, PATH, Bench, Died, dies, dies_after, fails, lost, works

BOTH_VALID = [Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE]


def revoke(bench: Bench, version: str) -> None:
    """Take a version away at the target."""
    by_hand = Instant(bench.clock.wall + HOUR)
    bench.target.retire(bench.value(version), keep=None, tag="by hand", deadline=by_hand)


def tried(rotation: Rotation, wait: Wait) -> bool:
    """Wait for everything but a retirement that has had its tries."""
    return rotation.failures < rotation.plan.effect_attempts


def stuck(bench: Bench, rotation: Rotation) -> Rotation:
    """Drive a rotation until its retirement has had its tries."""
    standing = bench.drive(rotation.id, patience=tried)
    assert (standing.state, standing.failures) == (State.RETIRING, standing.plan.effect_attempts)
    return standing


# --- the label ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", BOTH_VALID)
def test_the_old_version_stays_while_the_store_calls_it_current(strategy: Strategy) -> None:
    """Somebody moved the label back in the grace period: consumers have the old version, and keep it."""
    bench = Bench(strategy)
    rotation = bench.until("grace", bench.start())
    bench.store.promote(PATH, FIRST, bench.value(FIRST), expected=rotation.candidate)
    standing = stuck(bench, rotation)
    assert (bench.accepts(FIRST), bench.asked("target.retire")) == (True, [])
    assert standing.cause is not None
    assert standing.cause.message == (
        f"seeing that consumers have the current version: store local calls {FIRST} current, and not "
        f"{rotation.candidate}."
    )
    assert standing.cause.hint == (
        f"Somebody changed the store by hand: keyturn show {rotation.id} names what leads on."
    )
    bench.store.promote(PATH, rotation.candidate, bench.value(rotation.candidate), expected=FIRST)
    assert bench.drive(rotation.id).state is State.COMPLETED


def test_the_old_version_stays_while_the_store_calls_nothing_current() -> None:
    bench = Bench(Strategy.DUAL)
    rotation = bench.until("grace", bench.start())
    bench.store = _without(bench, "")
    standing = stuck(bench, rotation)
    assert bench.accepts(FIRST)
    assert standing.cause is not None
    assert f"store local calls nothing current, and not {rotation.candidate}" in standing.cause.message


def test_what_was_moved_back_by_hand_is_taken_back_when_the_rotation_is_given_up() -> None:
    """Given up, it can be rolled back: log and store agree again."""
    bench = Bench(Strategy.DUAL)
    rotation = bench.until("grace", bench.start())
    bench.store.promote(PATH, FIRST, bench.value(FIRST), expected=rotation.candidate)
    stuck(bench, rotation)
    bench.operations().abandon(rotation.id, reason="moved back by hand")
    bench.operations().go_back(rotation.id, command="rollback")
    assert bench.drive(rotation.id).state is State.ROLLED_BACK
    assert bench.credential.current is not None
    assert (bench.credential.current.id, bench.held.current) == (FIRST, FIRST)


# --- a current version that is gone ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", BOTH_VALID)
@pytest.mark.parametrize("gone", ["revoked", "lost"])
def test_retiring_that_cannot_go_on_is_given_up_and_a_rotation_follows(strategy: Strategy, gone: str) -> None:
    """The current version was revoked at the target, or lost from the store; the next one is made all the same."""
    bench = Bench(strategy)
    rotation = bench.until("retiring", bench.start())
    if gone == "revoked":
        revoke(bench, rotation.candidate)
    else:
        bench.store = _without(bench, rotation.candidate)
    stuck(bench, rotation)
    assert bench.accepts(FIRST), "the old version may be the last that works"
    bench.operations().abandon(rotation.id, reason="gone for good")
    (failed,) = bench.bodies(rotation.id, e.RotationFailed)
    assert (failed.cause.step, failed.reason) == ("retire", "gone for good")
    assert bench.credential.open is None
    if (strategy, gone) == (Strategy.DUAL, "lost"):
        bench.operations().go_back(rotation.id, command="rollback")  # nobody knows what takes up the second place
        assert bench.drive(rotation.id).state is State.ROLLED_BACK
        assert [held.holds(bench.value(FIRST)) for _, held in bench.target.strangers([])] == [True]
    assert bench.rotate().state is State.COMPLETED


def _without(bench: Bench, version: str) -> MemoryStore:
    """Return a store that holds everything but one version."""
    store = MemoryStore()
    for held in bench.held.versions:
        if held != version:
            store.stage(PATH, held, bench.value(held))
    return store


def test_retiring_that_has_tries_left_is_not_given_up() -> None:
    bench = Bench(Strategy.DUAL)
    rotation = bench.until("retiring", bench.start())
    with pytest.raises(IllegalCommand, match="giving up is not possible while the rotation is retiring"):
        bench.operations().abandon(rotation.id)


# --- going back that cannot succeed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", Strategy)
def test_going_back_is_given_up_and_a_rotation_follows(strategy: Strategy) -> None:
    """The credential is free; whatever is in force is replaced by what the next rotation makes."""
    bench = Bench(strategy)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.restore", *[fails(Rejected)] * 9)
    bench.at("target.probe", *[works] * 9)
    assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED
    bench.operations().abandon(rotation_id, reason="never mind")
    ended = bench.rotation(rotation_id)
    assert (ended.state, ended.ended_at, bench.credential.open) == (State.FAILED, bench.clock.wall, None)
    assert bench.bodies(rotation_id, e.RollbackAbandoned) == [e.RollbackAbandoned("never mind")]
    if strategy is Strategy.DUAL:
        bench.operations().go_back(rotation_id, command="rollback")  # both places of the login are taken
        bench.steps.clear()
        assert bench.drive(rotation_id).state is State.ROLLED_BACK
    assert bench.rotate().state is State.COMPLETED


# --- a key that the target made -------------------------------------------------------------------------------------


def made_and_stored(bench: Bench) -> Rotation:
    """Have the process die when the store holds the key that the target made, and nothing of it is recorded."""
    rotation_id = bench.start()
    bench.at("store.stage", dies_after)
    with pytest.raises(Died):
        bench.drive(rotation_id)
    standing = bench.rotation(rotation_id)
    assert (standing.state, standing.in_doubt is not None) == (State.APPLYING, True)
    return standing


def test_a_key_that_the_store_holds_is_not_revoked_while_the_one_before_does_not_work() -> None:
    """Somebody revoked that one by hand: what the lost attempt made is the last that works."""
    bench = Bench(Strategy.ISSUE)
    rotation = made_and_stored(bench)
    revoke(bench, FIRST)
    bench.operations().go_back(rotation.id, command="abort")
    ended = bench.drive(rotation.id)
    assert (ended.state, bench.accepts(rotation.candidate)) == (State.ROLLBACK_FAILED, True)
    assert bench.asked("target.retire", "target.restore") == []
    assert ended.cause is not None
    assert f"keyturn abort {rotation.id} gives going back up" in ended.cause.hint
    bench.operations().abandon(rotation.id)
    assert bench.rotate().state is State.COMPLETED


def test_a_key_that_the_store_holds_is_revoked_where_the_one_before_works() -> None:
    bench = Bench(Strategy.ISSUE)
    rotation = made_and_stored(bench)
    candidate = bench.value(rotation.candidate)
    bench.operations().go_back(rotation.id, command="abort")
    assert bench.drive(rotation.id).state is State.ROLLED_BACK
    assert (bench.accepts(FIRST), bench.target.accepts(candidate)) == (True, False)


def test_a_key_that_nobody_holds_is_revoked_without_a_look() -> None:
    """It is of no use to anybody, whatever became of the one before."""
    bench = Bench(Strategy.ISSUE, options=MemoryOptions(lockout_after=9))
    rotation_id = bench.start()
    bench.at("target.apply", lost)
    bench.at("log.append", works, works, dies)
    with pytest.raises(Died):
        bench.drive(rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    assert bench.drive(rotation_id).state is State.ROLLED_BACK
    first, *_ = bench.asked("target.retire", "target.probe")
    assert first == "target.retire"
    assert len(bench.target.strangers([bench.value(FIRST)])) == 0


def test_looking_whether_the_key_before_works_is_counted() -> None:
    """It may be refused: once before anything is revoked, and once more in the end, as the one that was made is."""
    bench = Bench(Strategy.ISSUE, options=MemoryOptions(lockout_after=9))
    rotation = made_and_stored(bench)
    bench.operations().go_back(rotation.id, command="abort")
    bench.drive(rotation.id)
    assert [body.login for body in bench.noted(e.RotationClosed)[-1].tries] == ["app", "app", "app"]
