"""Holding a rotation in long steps, over forks and jumps of the clock, and where files are in trouble."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from uuid import UUID

import msgspec
import pytest

from adapters import ownership as module
from adapters.composition import compose, establish
from adapters.config.load import load
from adapters.ownership import GUARD, FileOwnership, HoldLost, Lease, guarded
from adapters.renewing import Renewer
from adapters.system import StateFolderUnusable, SystemClock
from engine.errors import Fenced
from engine.values import SECOND, Microseconds
from tests.architecture.source import ROOT
from tests.unit.adapters.ownership_bench import LEASE, ROTATION, SHORT, Clock, file_of, refused
from tests.unit.config.reading import service
from tests.unit.stores.processes import file_size_limit

# --- renewing -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_step_may_take_longer_than_the_lease(tmp_path: Path) -> None:
    """The thread renews while the process waits for a server."""
    with FileOwnership(tmp_path, lease=SECOND).hold(ROTATION) as held:
        time.sleep(1.5)
        refused(FileOwnership(tmp_path, lease=SECOND))
        held()


@pytest.mark.slow
def test_the_thread_does_not_renew_what_has_run_out(tmp_path: Path, clock: Clock) -> None:
    """A woken thread may come before a taker; what ran out stays so until somebody looks under the guard."""
    ownership = FileOwnership(tmp_path, lease=SHORT, clock=clock)
    with ownership.hold(ROTATION) as held:
        clock.wait(SHORT)
        time.sleep(2 * SHORT / SECOND)  # It would have renewed eight times.
        with ownership.hold(ROTATION), pytest.raises(Fenced):
            held()


@pytest.mark.slow
def test_one_thread_renews_all_that_is_held_and_ends_when_nothing_is(tmp_path: Path) -> None:
    """A lease that is shorter than those before it is renewed in time; holding for a moment needs no thread."""
    long, short = FileOwnership(tmp_path, lease=LEASE), FileOwnership(tmp_path, lease=SECOND)
    with long.hold(UUID(int=2)), short.hold(ROTATION) as held:
        for number in range(3, 23):
            with short.hold(UUID(int=number)):
                assert len(renewing()) == 1
        time.sleep(1.5)
        refused(short)
        held()
    (thread,) = renewing()
    thread.join(LEASE / SECOND)
    assert renewing() == []
    with short.hold(ROTATION) as held:
        time.sleep(1.5)
        refused(short)
        held()


def test_what_was_let_go_of_is_not_renewed_any_more(tmp_path: Path) -> None:
    """Its file is closed, and its number may be that of another one; what is being done is waited for."""
    begun, allowed, done = Event(), Event(), list[str]()

    def renew() -> None:
        begun.set()
        allowed.wait(10)
        done.append("renewed")

    renewer = Renewer()
    renewal = renewer.add(0.01, renew)
    assert begun.wait(10)
    thread = Thread(target=renewer.remove, args=(renewal,))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    allowed.set()
    thread.join(10)
    assert not thread.is_alive()
    count = len(done)
    renewal.do()
    assert len(done) == count >= 1


def renewing() -> list[Thread]:
    """Return the threads that renew leases."""
    return [thread for thread in threading.enumerate() if thread.name == "leases"]


@pytest.mark.slow
def test_the_thread_keeps_no_process_alive(tmp_path: Path) -> None:
    """A process that ends without letting go ends all the same."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom uuid import uuid4\nfrom adapters.ownership import FileOwnership\n"
        "hold = FileOwnership(Path(sys.argv[1]), lease=3_600_000_000).hold(uuid4())\nhold.__enter__()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True, timeout=20)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # from Python 3.12 on
def test_a_process_that_forked_off_holds_nothing(tmp_path: Path, process: Callable[[], FileOwnership]) -> None:
    """It has no thread, is refused when it asks, and leaves the file alone when it leaves the block."""
    hold = process().hold(ROTATION)
    held = hold.__enter__()
    child = os.fork()
    if child == 0:
        wrong = 8 * (threading.active_count() != 1)
        try:
            held()
            wrong += 16
        except Fenced:
            pass
        hold.__exit__(None, None, None)
        os._exit(wrong)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held()
    assert file_of(tmp_path).exists()
    hold.__exit__(None, None, None)


# --- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86_400 * SECOND, 86_400 * SECOND])
def test_a_jump_of_the_wall_clock_changes_nothing(
    clock: Clock, process: Callable[[], FileOwnership], jump: int
) -> None:
    with process().hold(ROTATION) as held:
        clock.wall += jump
        refused(process())
        held()
        clock.wait(LEASE)
        with process().hold(ROTATION):
            pass


def test_a_lease_of_another_boot_is_not_judged(
    tmp_path: Path, clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    """Its times say nothing on this one; whoever has it locked is alive."""
    with process().hold(ROTATION):
        clock.boot = "boot-2"
        clock.wait(LEASE)
        refused(process())


def test_time_goes_on_while_the_machine_sleeps() -> None:
    """Where the system can tell; a machine that slept has leases that ran out."""
    boottime = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    assert abs(SystemClock().now().uptime - time.clock_gettime_ns(boottime) // 1_000) < SECOND


# --- trouble with files -------------------------------------------------------------------------------------------


def test_a_file_that_was_removed_by_hand_is_not_held_any_more(
    tmp_path: Path, process: Callable[[], FileOwnership]
) -> None:
    """Another process may have found nothing and begun, so this one stops."""
    with process().hold(ROTATION) as held:
        file_of(tmp_path).unlink()
        with process().hold(ROTATION) as other:
            with pytest.raises(Fenced):
                held()
            other()


def test_a_folder_that_was_removed_by_hand_ends_the_hold(tmp_path: Path, process: Callable[[], FileOwnership]) -> None:
    with process().hold(ROTATION) as held:
        (tmp_path / "locks").rename(tmp_path / "elsewhere")
        with pytest.raises(Fenced):
            held()
        (tmp_path / "locks").touch()
        with pytest.raises(HoldLost, match="Not a directory"):
            held()


@pytest.mark.parametrize("content", [b"", b"host:17:4711", b"00000000 {}", b"\xff" * 600])
def test_a_locked_file_without_a_lease_is_not_taken_over(
    tmp_path: Path, clock: Clock, process: Callable[[], FileOwnership], content: bytes
) -> None:
    """It is of a keyturn without leases, or was damaged by hand: its holder is alive, and nobody knows how much."""
    (tmp_path / "locks").mkdir()
    with file_of(tmp_path).open("wb", buffering=0) as file:
        file.write(content)
        fcntl.flock(file, fcntl.LOCK_EX)
        clock.wait(Microseconds(100 * LEASE))
        assert "nothing of a lease" in refused(process())
    with process().hold(ROTATION):
        pass


def test_a_lease_that_was_changed_by_hand_or_half_written_is_none(
    tmp_path: Path, clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    """One digit, and it would have run out: what its check sum does not fit is not believed."""
    with process().hold(ROTATION):
        until = str(clock.uptime + LEASE).encode()
        text = file_of(tmp_path).read_bytes()
        assert until in text
        with file_of(tmp_path).open("r+b") as file:
            file.write(text.replace(until, str(clock.uptime).encode()))
        assert "nothing of a lease" in refused(process())


def test_what_a_killed_process_left_half_done_is_in_nobodys_way(
    tmp_path: Path, process: Callable[[], FileOwnership]
) -> None:
    (tmp_path / "locks").mkdir()
    file_of(tmp_path).with_suffix(".new").symlink_to(tmp_path / "elsewhere")
    with process().hold(ROTATION) as held:
        held()
    assert [path.name for path in (tmp_path / "locks").iterdir()] == [GUARD]
    assert not (tmp_path / "elsewhere").exists()


def test_on_a_full_disk_nothing_is_held(tmp_path: Path, process: Callable[[], FileOwnership]) -> None:
    """It is said so, and no half of a file is left."""
    with file_size_limit(0), pytest.raises(StateFolderUnusable, match="File too large"), process().hold(ROTATION):
        pass
    assert [path.name for path in (tmp_path / "locks").iterdir()] == [GUARD]


def test_a_lease_that_cannot_be_renewed_runs_out_and_says_why(
    clock: Clock, process: Callable[[], FileOwnership]
) -> None:
    with process().hold(ROTATION) as held:
        clock.wait(LEASE)
        with file_size_limit(0), pytest.raises(HoldLost, match="File too large"):
            held()
        held()


@pytest.mark.parametrize("name", [f"{ROTATION}.lock", GUARD])
def test_no_link_is_followed(tmp_path: Path, process: Callable[[], FileOwnership], name: str) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateFolderUnusable, match="symbolic links"), process().hold(ROTATION):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_none_is_refused(tmp_path: Path, process: Callable[[], FileOwnership]) -> None:
    (tmp_path / "locks").touch()
    with pytest.raises(StateFolderUnusable, match="locks"), process().hold(ROTATION):
        pass


def test_a_guard_that_is_not_let_go_of_is_told_of(
    tmp_path: Path, process: Callable[[], FileOwnership], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was stopped within the few calls that need it; nobody can tell how far it came."""
    monkeypatch.setattr(module, "_GUARD_SECONDS_MAX", 0.02)
    (tmp_path / "locks").mkdir()
    with guarded(tmp_path / "locks"), pytest.raises(StateFolderUnusable) as told, process().hold(ROTATION):
        pass
    assert "another process has had it locked" in told.value.message
    assert "is stopped" in told.value.advice


# --- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "seconds"), [("", 30), ("lease: 7s\n", 7)])
def test_the_lease_of_the_configuration_is_the_one_that_is_held_by(tmp_path: Path, line: str, seconds: int) -> None:
    """It is 30 s where the configuration says nothing."""
    (tmp_path / "keyturn.yaml").write_text(line + service())
    establish(tmp_path / "state")
    installation = compose(load(tmp_path / "keyturn.yaml"), tmp_path / "state", actor="ada")
    with installation.log, installation.world.hold(ROTATION):
        written = (tmp_path / "state" / "locks" / f"{ROTATION}.lock").read_bytes().partition(b" ")[2]
        lease = msgspec.json.decode(written, type=Lease)
    assert lease.owner == installation.world.owner
    assert lease.until - lease.renewed == seconds * SECOND
