"""Who drives a rotation: one live process at a time, and one that stands still loses it when its lease has run out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.ownership import GUARD, FileOwnership, guarded
from engine.errors import Fenced, OwnedElsewhere
from engine.values import SECOND, Microseconds
from tests.unit.adapters.ownership_bench import LEASE, ROTATION, SHORT, Clock, file_of, held_by_another_process, refused

# --- live and dead ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_another_process_holds_is_refused_by_its_name(tmp_path: Path) -> None:
    ownership = FileOwnership(tmp_path, lease=LEASE)
    with held_by_another_process(tmp_path) as (_, owner):
        assert owner in refused(ownership)
    with ownership.hold(ROTATION):
        pass


@pytest.mark.slow
def test_a_process_that_is_killed_lets_go_at_once(tmp_path: Path) -> None:
    """The kernel releases the lock: nobody has to remove a file after a crash, nor wait for the lease."""
    with held_by_another_process(tmp_path) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        assert {path.name for path in tmp_path.iterdir()} == {f"{ROTATION}.lock", GUARD}
        with FileOwnership(tmp_path, lease=LEASE).hold(ROTATION):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [GUARD]


def test_one_process_cannot_hold_a_rotation_twice_but_may_hold_two(process: Callable[[], FileOwnership]) -> None:
    ownership = process()
    with ownership.hold(ROTATION):
        with pytest.raises(OwnedElsewhere), ownership.hold(ROTATION):
            pass
        with ownership.hold(uuid4()):
            pass


def test_many_threads_hold_a_rotation_one_after_the_other(tmp_path: Path) -> None:
    """Taking it while its file is being removed never lets two in at once."""
    ownership = FileOwnership(tmp_path, lease=LEASE)
    inside, crowded, entered = [0], [], [0]

    def enter() -> None:
        for _ in range(25):
            try:
                with ownership.hold(ROTATION):
                    inside[0] += 1
                    crowded.append(inside[0])
                    entered[0] += 1
                    inside[0] -= 1
            except OwnedElsewhere:
                continue

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entered[0] > 0
    assert set(crowded) == {1}


# --- a lease that runs out ----------------------------------------------------------------------------------------


def test_who_stands_still_loses_it_when_the_lease_has_run_out(
    clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    """Not a microsecond before."""
    with process().hold(ROTATION) as held:
        clock.wait(Microseconds(LEASE - 1))
        refused(process())
        held()
        clock.wait(Microseconds(1))
        with process().hold(ROTATION) as taken:
            taken()
            with pytest.raises(Fenced, match=str(ROTATION)):
                held()


def test_who_is_refused_is_told_who_since_when_and_until_when(
    clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    holder = process()
    with holder.hold(ROTATION):
        clock.wait(Microseconds(12 * SECOND))
        message = refused(process())
    assert holder.owner in message
    assert "renewed 12.0 s ago" in message
    assert "taken over in 18.0 s" in message


def test_who_wakes_up_neither_removes_nor_changes_the_file_of_the_taker(
    tmp_path: Path, clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    """Neither with its lease, which it renews in the file that it has open, nor when it lets go."""
    frozen = process().hold(ROTATION)
    held = frozen.__enter__()
    clock.wait(LEASE)
    with process().hold(ROTATION) as taken:
        before = (file_of(tmp_path).stat().st_ino, file_of(tmp_path).read_bytes())
        with pytest.raises(Fenced):
            held()
        frozen.__exit__(None, None, None)
        assert (file_of(tmp_path).stat().st_ino, file_of(tmp_path).read_bytes()) == before
        taken()
        refused(process())
    assert not file_of(tmp_path).exists()


def test_who_wakes_up_when_the_taker_is_done_does_not_go_on(clock: Clock, process: Callable[[], FileOwnership]) -> None:
    """There is no file then, and none is not its own."""
    with process().hold(ROTATION) as held:
        clock.wait(LEASE)
        with process().hold(ROTATION):
            pass
        with pytest.raises(Fenced):
            held()


def test_who_wakes_up_before_anybody_took_over_takes_it_anew(
    clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    """A notebook that slept: nobody was there to take over, and the rotation goes on."""
    with process().hold(ROTATION) as held:
        clock.wait(Microseconds(100 * LEASE))
        held()
        clock.wait(Microseconds(LEASE - 1))
        refused(process())
        held()


def test_who_wakes_up_in_the_middle_of_a_taking_over_waits_for_it(
    tmp_path: Path, clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    """Its lease has run out, so it looks under the guard, which the taker has; then the file is another's."""
    with process().hold(ROTATION) as held, ThreadPoolExecutor(1) as pool:
        clock.wait(LEASE)
        with guarded(tmp_path / "locks"):
            woken = pool.submit(held)
            with pytest.raises(TimeoutError):
                woken.result(0.05)
            (tmp_path / "taker").touch()
            (tmp_path / "taker").rename(file_of(tmp_path))
        with pytest.raises(Fenced):
            woken.result(5)


def test_who_lets_go_in_the_middle_of_a_taking_over_leaves_the_file_of_the_taker(
    tmp_path: Path, clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    hold = process().hold(ROTATION)
    hold.__enter__()
    with ThreadPoolExecutor(1) as pool:
        with guarded(tmp_path / "locks"):
            over = pool.submit(hold.__exit__, None, None, None)
            with pytest.raises(TimeoutError):
                over.result(0.05)
            (tmp_path / "taker").touch()
            (tmp_path / "taker").rename(file_of(tmp_path))
        over.result(5)
    assert file_of(tmp_path).exists()


def test_of_many_takers_at_once_one_gets_it(clock: Clock, process: Callable[[], FileOwnership]) -> None:
    """All have seen the lease run out; whoever comes second finds the file of the first, with a fresh lease."""
    takers, rounds = 6, 25
    meet, part = threading.Barrier(takers), threading.Barrier(takers)

    def take(_: int) -> bool:
        meet.wait()
        try:
            with process().hold(ROTATION) as taken:
                part.wait()
                taken()
                return True
        except OwnedElsewhere:
            part.wait()
            return False

    with ThreadPoolExecutor(takers) as pool:
        for _ in range(rounds):
            with process().hold(ROTATION):
                clock.wait(LEASE)
                assert sum(pool.map(take, range(takers))) == 1


@pytest.mark.slow
def test_a_stopped_process_is_taken_over_and_finds_out(tmp_path: Path) -> None:
    """With real signals and real time: SIGSTOP, the lease runs out, another one takes over, SIGCONT."""
    with held_by_another_process(tmp_path, lease=SHORT) as (process, _):
        assert process.stdin is not None
        assert process.stdout is not None
        process.send_signal(signal.SIGSTOP)
        time.sleep(SHORT / SECOND + 0.1)
        with FileOwnership(tmp_path, lease=LEASE).hold(ROTATION):
            process.send_signal(signal.SIGCONT)
            process.stdin.write("look\n")
            process.stdin.flush()
            assert "was taken over by another process" in process.stdout.readline()
