"""The log and many processes: nothing is lost, doubled or out of order, whoever dies."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from time import sleep
from uuid import UUID, uuid4

import pytest

from adapters.event_store import recorder
from adapters.event_store.schema import connect
from adapters.event_store.sqlite import SqliteEventLog
from engine.errors import Conflict
from engine.facts import Fact, Recorded
from tests.integration.event_store_process import fact

SECONDS_MAX = 60
ONE = UUID(int=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is; it does not exist yet."""
    return tmp_path / "state" / "events.db"


@contextmanager
def _processes(*commands: Sequence[object]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that begin their work at the same moment; the block runs while they do it."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.integration.event_store_process", *map(str, command)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for command in commands
        ]
        for process in started:
            stack.callback(process.kill)
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        yield started


def _outputs(processes: list[subprocess.Popen[str]]) -> list[list[str]]:
    """Wait for all to end well; return the lines of each."""
    outputs = [process.stdout.read().splitlines() for process in processes if process.stdout]
    assert [process.wait(timeout=SECONDS_MAX) for process in processes] == [0] * len(processes)
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, 4])
def test_processes_that_append_at_once_lose_nothing(path: Path, writers: int) -> None:
    """Every event is there, positions have no gaps, and the chain holds."""
    with _processes(*[["append", path, 300, 3]] * writers) as processes:
        streams = [UUID(line) for (line,) in _outputs(processes)]
    with SqliteEventLog(path, must_exist=True) as log:
        assert [each.position for each in log.after(0, limit=10_000)] == list(range(1, 300 * writers + 1))
        for stream in streams:
            assert [each.originator_version for each in log.stream(stream)] == list(range(1, 301))
        assert log.verify().events == 300 * writers
        assert log.verify().ok


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, 4])
def test_processes_that_want_the_same_place_are_told_who_was_first(path: Path, writers: int) -> None:
    """Each place is won once; what a loser wanted to append with it is not there either."""
    marks = [f"writer-{number}" for number in range(writers)]
    SqliteEventLog(path).close()
    with _processes(*[["contend", path, ONE, 40, mark] for mark in marks]) as processes:
        outputs = _outputs(processes)
    won = [Counter(lines)["won"] for lines in outputs]
    with SqliteEventLog(path, must_exist=True) as log:
        facts = log.stream(ONE)
        assert won == [40] * writers
        assert [each.originator_version for each in facts] == list(range(1, 80 * writers + 1))
        pairs = [(facts[place].body, facts[place + 1].body) for place in range(0, len(facts), 2)]
        assert all(first == second for first, second in pairs), "two facts of one append stand together"
        assert log.head() == len(facts)
        assert log.verify().ok


@pytest.mark.slow
def test_what_a_killed_process_was_told_is_there(path: Path) -> None:
    """SIGKILL in the middle of appending: each acknowledged event is there, and the next one can append."""
    with _processes(["forever", path], ["forever", path]) as processes:
        acknowledged: list[int] = []
        for process in processes:
            assert process.stdout
            acknowledged += [int(process.stdout.readline()) for _ in range(100)]
        for process in processes:
            process.kill()
        for process in processes:
            assert process.stdout
            # The last line may have been cut short by the kill.
            rest = process.stdout.read().splitlines(keepends=True)
            acknowledged += [int(line) for line in rest if line.endswith("\n")]
    with SqliteEventLog(path, must_exist=True) as log:
        positions = [each.position for each in log.after(0, limit=1_000_000)]
        assert positions == list(range(1, len(positions) + 1))
        assert len(set(acknowledged)) == len(acknowledged) >= 200
        assert set(acknowledged) <= set(positions)
        # One event of each may have been appended without its position having been printed.
        assert len(positions) <= len(acknowledged) + 2
        assert log.verify().ok
        assert log.append([fact(uuid4(), 1)])[0].position == len(positions) + 1


@pytest.mark.slow
def test_twenty_first_starts_at_once_make_one_log(path: Path) -> None:
    """None fails, none finds half a log, and nothing is left lying about."""
    with _processes(*[["append", path, 1, 1]] * 20) as processes:
        _outputs(processes)
    with SqliteEventLog(path, must_exist=True) as log:
        assert log.head() == 20
        assert log.verify().ok
    assert [each.name for each in path.parent.iterdir()] == ["events.db"]


@pytest.mark.slow
def test_threads_of_one_process_append_through_one_log(path: Path) -> None:
    """More threads than connections: all is there, and the same place is won once."""
    with SqliteEventLog(path) as log:
        conflicts: list[Conflict] = []

        def append() -> None:
            mine = uuid4()
            for version in range(1, 21):
                log.append([fact(mine, version)])
            try:
                log.append([fact(ONE, 1)])
            except Conflict as conflict:
                conflicts.append(conflict)

        threads = [Thread(target=append) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.head() == 20 * 20 + 1
        assert len(conflicts) == 19
        assert log.verify().ok


def test_what_threads_append_at_once_is_committed_once_and_each_is_told_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thread has the log, the others queue, and the next commits for all of them.

    Where the place of one is taken, that one is told, and the others are recorded, each by a commit of its own.
    """
    statements: list[str] = []

    def traced(path: Path, *, busy_seconds_max: float) -> sqlite3.Connection:
        connection = connect(path, busy_seconds_max=busy_seconds_max)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(recorder, "connect", traced)
    with SqliteEventLog(path) as log:
        assert _at_once(log, [[fact(uuid4(), 1), fact(ONE, version)] for version in range(1, 9)]) == []
        assert statements.count("BEGIN IMMEDIATE") == 1
        assert [conflict.fields["stream"] for conflict in _at_once(log, [[fact(uuid4(), 1)], [fact(ONE, 1)]])] == [
            str(ONE)
        ]
        assert log.head() == 17
        assert log.verify().ok


def _at_once(log: SqliteEventLog, appends: Sequence[Sequence[Fact]]) -> list[Conflict]:
    """Append from a thread each, all of which come while another one has the log; return the conflicts."""
    conflicts: list[Conflict] = []

    def append(facts: Sequence[Fact]) -> None:
        try:
            assert [recorded.fact for recorded in log.append(facts)] == list(facts)
        except Conflict as conflict:
            conflicts.append(conflict)

    threads = [Thread(target=append, args=(facts,)) for facts in appends]
    with log.recorder.datastore.turn():
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while log.recorder.waiting < number:
                sleep(0.001)
    for thread in threads:
        thread.join()
    return conflicts


# --- following the log -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_subscription_sees_what_other_processes_append(path: Path) -> None:
    """All of it, in order, none missed and none twice, from the first event or from any other."""
    with SqliteEventLog(path) as log:
        log.append([fact(ONE, version) for version in range(1, 11)])
        with (
            log.subscribe(4, poll_seconds=0.005) as subscription,
            _processes(*[["append", path, 200, 1]] * 3) as processes,
        ):
            seen = [next(subscription) for _ in range(6 + 600)]
            _outputs(processes)
            assert subscription.batch(seconds_max=0) == []
        assert seen == log.after(4, limit=10_000)


def test_a_subscription_sees_what_its_own_process_appends(path: Path) -> None:
    """At once, whichever connection the append went through."""
    with SqliteEventLog(path) as log, log.subscribe(0, poll_seconds=0.001) as subscription:
        for version in range(1, 21):
            recorded = log.append([fact(ONE, version)])
            assert [next(subscription)] == recorded


def test_a_subscription_hands_out_batches(path: Path) -> None:
    """500 at most at a time, then whatever has come since, then nothing once its time is up."""
    with SqliteEventLog(path) as log, log.subscribe(0, poll_seconds=0.001) as subscription:
        log.append([fact(ONE, version) for version in range(1, 702)])
        assert next(subscription).position == 1
        batches = [subscription.batch(seconds_max=0.01) for _ in range(3)]
        assert [len(batch) for batch in batches] == [499, 201, 0]
        assert [each.position for batch in batches for each in batch] == list(range(2, 702))


def test_a_subscription_that_is_closed_ends(path: Path) -> None:
    """From another thread, while it waits; and to close it twice changes nothing."""
    with SqliteEventLog(path) as log:
        subscription = log.subscribe(0, poll_seconds=5)
        seen: list[Recorded] = []
        reader = Thread(target=lambda: seen.extend(subscription))
        reader.start()
        subscription.close()
        subscription.close()
        reader.join(timeout=SECONDS_MAX)
        assert not reader.is_alive()
        assert seen == []
        assert subscription.batch() == []
