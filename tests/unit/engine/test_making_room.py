"""Making room for a rotation that replaces what is open: one decision, and no more than is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import events as e
from engine.errors import Conflict, IllegalCommand, Rejected
from engine.machine import State
from engine.plan import Strategy
from engine.rotation import Rotation
from engine.values import Microseconds
from tests.unit.engine.bench import ENVIRONMENT, PATH, SERVICE, Bench, after, fails
from tests.unit.engine.test_queue import request, waiting


def make_room(bench: Bench, owner: str = "process-2") -> Rotation | None:
    return bench.operations(owner).make_room(SERVICE, ENVIRONMENT, reason="replaced")


def test_where_nothing_is_in_the_way_there_is_room() -> None:
    bench = Bench()
    assert make_room(bench) is None
    assert bench.log.head() == 0


def test_the_open_one_goes_back_and_the_one_that_waits_is_withdrawn_at_once() -> None:
    """One append: nobody can begin what waits between the two."""
    bench = Bench(Strategy.DUAL)
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.observed.clear()
    goes = make_room(bench)
    assert goes is not None
    assert (goes.id, goes.state) == (holder, State.ROLLING_BACK)
    assert [type(each.fact.body) for each in bench.observed] == [
        e.RollbackStarted,
        e.RotationCancelled,
        e.RotationClosed,
    ]
    assert bench.bodies(holder, e.RollbackStarted) == [e.RollbackStarted(automatic=False, reason="replaced")]
    assert bench.rotation(rotation_id).state is State.CANCELLED
    head = bench.log.head()
    assert make_room(bench) == goes
    assert bench.log.head() == head
    assert bench.drive(holder).state is State.ROLLED_BACK
    assert make_room(bench) is None


def test_making_room_needs_no_reason() -> None:
    bench = Bench()
    holder = bench.start()
    bench.operations().make_room(SERVICE, ENVIRONMENT)
    assert bench.bodies(holder, e.RollbackStarted) == [e.RollbackStarted(automatic=False, reason="")]


def test_one_that_waits_alone_is_withdrawn() -> None:
    bench = Bench()
    holder = bench.start()
    rotation_id = waiting(bench)
    bench.drive(holder)
    assert make_room(bench) is None
    assert bench.rotation(rotation_id).state is State.CANCELLED
    assert bench.rotate().state is State.COMPLETED


@pytest.mark.parametrize("state", ["retiring", "rolling_back", "verifying_rollback"])
def test_one_that_is_on_its_way_to_an_end_is_left_to_it(state: str) -> None:
    bench = Bench(Strategy.DUAL, grace=Microseconds(0))
    holder = bench.start()
    if state != "retiring":
        bench.until("promoting", holder)
        bench.operations().go_back(holder, command="abort")
    if state != "rolling_back":
        bench.until(state, holder)
    head = bench.log.head()
    left = make_room(bench)
    assert left is not None
    assert (left.state, bench.log.head()) == (state, head)


def test_one_that_could_not_go_back_stays_and_so_does_what_waits() -> None:
    """A person has to see to that first."""
    bench = Bench()
    holder = bench.start()
    bench.until("promoting", holder)
    rotation_id = waiting(bench)
    bench.operations().go_back(holder, command="abort")
    bench.at("target.restore", fails(Rejected))
    assert bench.drive(holder).state is State.ROLLBACK_FAILED
    head = bench.log.head()
    stuck = make_room(bench)
    assert stuck is not None
    assert (stuck.state, bench.log.head()) == (State.ROLLBACK_FAILED, head)
    assert bench.rotation(rotation_id).state is State.WAITING


def test_where_there_is_no_way_back_nothing_is_recorded() -> None:
    """Not even that what waits is withdrawn."""
    bench = Bench(known=False)
    holder = bench.start()
    bench.until("promoting", holder)
    rotation_id = waiting(bench)
    head = bench.log.head()
    with pytest.raises(IllegalCommand, match=r"replacing it is not possible .* with no earlier version"):
        make_room(bench)
    assert (bench.log.head(), bench.rotation(rotation_id).state) == (head, State.WAITING)


def test_a_race_against_the_open_one_is_to_be_decided_again() -> None:
    """It may have passed the point of no return meanwhile."""
    bench = Bench()
    holder = bench.start()
    bench.at("log.append", after(lambda: bench.drive(holder)))
    with pytest.raises(Conflict):
        make_room(bench)
    assert make_room(bench) is None


@pytest.mark.parametrize("ask", [request, make_room], ids=["queue", "replace"])
def test_a_credential_without_a_history_has_nothing_in_its_way(ask: Callable[[Bench], object]) -> None:
    bench = Bench(vacant=True)
    assert ask(bench) is None
    assert bench.held.current is None
    assert bench.store.versions(PATH).versions == ()
