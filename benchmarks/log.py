"""The event log against plain sqlite3 on the same disk, with the same pragmas and the same table.

The raw side writes rows that were encoded before, and reads rows into events and nothing more: no chain, no
library, no facts. Rates of appending are rates of fsync first, so only their ratio says something.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from adapters.event_store.memory import MemoryEventLog
from adapters.event_store.schema import connect
from adapters.event_store.sqlite import SqliteEventLog
from benchmarks.table import Goal, Row, rates
from engine.events import AttemptClosed, AttemptStarted, CandidateApplied, CandidateStaged, CandidateVerified, Event
from engine.facts import Fact, encode, tag_of
from engine.machine import State
from engine.values import Instant

EVENTS = 200_000
BATCH = 500
STREAM_LENGTH = 40
"""Events of one rotation in the log that is read: between the ten and the sixty of a real one."""

_BODIES = (
    CandidateStaged("0123456789abcdef0123456789abcdef"),
    AttemptStarted(1, "v-0123456789abcdef", "app_a", Instant(1_767_225_605_000_000)),
    AttemptClosed(1, done=True),
    CandidateApplied(1),
    CandidateVerified(),
)
INSERT = "INSERT INTO events VALUES (NULL, ?, ?, ?, ?, zeroblob(32))"
STREAM = "SELECT originator_version, tag, state FROM events WHERE originator_id = ? ORDER BY originator_version"
_AFTER = (
    "SELECT position, originator_id, originator_version, tag, state, hash FROM events "
    "WHERE position > ? ORDER BY position LIMIT ?"
)
STORED = msgspec.msgpack.Decoder(tuple[int, str, Event, State | None])


def rows() -> Iterator[Row]:
    """Yield every figure of the log; takes about half a minute."""
    with tempfile.TemporaryDirectory() as folder:
        yield append_row(Path(folder), batch=1, appends=200)
        yield append_row(Path(folder), batch=10, appends=100)
        yield memory_append_row()
        path = Path(folder, "long.db")
        yield from stream_rows(path)
        fill(path)
        yield after_row(path)
        yield verify_row(path)
        yield memory_row(path)


def facts(originator_id: UUID, first: int, length: int) -> list[Fact]:
    """Return facts of one stream, of the kinds and sizes that rotations leave."""
    return [
        Fact(
            originator_id,
            version,
            Instant(1_767_225_600_000_000 + version),
            "alice",
            _BODIES[version % len(_BODIES)],
            State.VERIFYING,
        )
        for version in range(first, first + length)
    ]


def append_row(folder: Path, *, batch: int, appends: int) -> Row:
    """Measure appending `batch` events at once, durably."""
    rounds = 7
    ours = [facts(stream, 1 + n * batch, batch) for stream in [uuid4()] for n in range(rounds * appends)]
    raw = [
        [(each.originator_id.bytes, each.originator_version, tag_of(each.body), encode(each)) for each in save]
        for save in ours
    ]
    to_append, to_append_raw = iter(ours), iter(raw)
    with (
        SqliteEventLog(folder / f"append-{batch}-ours.db") as log,
        SqliteEventLog(folder / f"append-{batch}-raw.db") as other,
        closing(connect(other.path, busy_seconds_max=5)) as connection,
    ):

        def append() -> None:
            for save in islice(to_append, appends):
                log.append(save)

        def append_raw() -> None:
            for save in islice(to_append_raw, appends):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(INSERT, save)
                connection.execute("COMMIT")

        ours_rate, raw_rate = rates(appends * batch, append, append_raw, rounds=rounds)
        assert log.head() == other.head() == rounds * appends * batch
    name = f"append, {batch} event{'s' if batch > 1 else ''} at once"
    return Row(name, "events/s", ours_rate, raw_rate, Goal(at_least=0.6, of_ratio=True))


def memory_append_row() -> Row:
    """Measure appending to the log that simulations use."""
    with MemoryEventLog() as log:
        stream, firsts = uuid4(), count(1)

        def append() -> None:
            for _ in range(2_000):
                log.append(facts(stream, next(firsts), 1))

        (rate,) = rates(2_000, append)
    return Row("append in memory, 1 event at once", "events/s", rate)


def stream_rows(path: Path) -> Iterator[Row]:
    """Measure reading one stream whole."""
    with SqliteEventLog(path) as log, closing(connect(path, busy_seconds_max=5)) as connection:
        for length, repeats in ((100, 50), (10_000, 1)):
            stream = uuid4()
            log.append(facts(stream, 1, length))

            def read(stream: UUID = stream, repeats: int = repeats, length: int = length) -> None:
                for _ in range(repeats):
                    assert len(log.stream(stream)) == length

            def read_raw(stream: UUID = stream, repeats: int = repeats, length: int = length) -> None:
                for _ in range(repeats):
                    found = connection.execute(STREAM, [stream.bytes]).fetchall()
                    assert len([STORED.decode(state) for _, _, state in found]) == length

            ours, raw = rates(repeats * length, read, read_raw)
            goal = Goal(at_least=200_000) if length >= 10_000 else None
            yield Row(f"read one stream of {length:,} events", "events/s", ours, raw, goal)


def fill(path: Path) -> None:
    """Bring the log at `path` to 200,000 events."""
    with SqliteEventLog(path) as log:
        while log.head() < EVENTS:
            log.append([fact for _ in range(50) for fact in facts(uuid4(), 1, STREAM_LENGTH)])


def after_row(path: Path) -> Row:
    """Measure reading the whole log in batches, as a projection does when it is rebuilt."""
    events = read_all(path)
    ours, raw = rates(events, lambda: read_all(path), lambda: read_all_raw(path), rounds=3)
    name = f"read {EVENTS:,} events in batches of {BATCH}"
    return Row(name, "events/s", ours, raw, Goal(at_least=200_000))


def verify_row(path: Path) -> Row:
    """Measure the check of the whole chain and the file, against `PRAGMA integrity_check` alone."""
    with SqliteEventLog(path) as log, closing(connect(path, busy_seconds_max=5)) as connection:
        ours, raw = rates(
            log.head(), log.verify, lambda: connection.execute("PRAGMA integrity_check").fetchall(), rounds=3
        )
    return Row(f"verify {EVENTS:,} events", "events/s", ours, raw)


def memory_row(path: Path) -> Row:
    """Measure the peak memory of a process that reads the whole log in batches."""
    ours, raw = peak_mebibytes("read_all", path), peak_mebibytes("read_all_raw", path)
    return Row(f"peak memory of reading {EVENTS:,} events", "MiB", ours, raw, Goal(at_most=1.25, of_ratio=True))


def read_all(path: Path) -> int:
    """Read the whole log in batches; return the number of events."""
    position = events = 0
    with SqliteEventLog(path, must_exist=True) as log:
        while batch := log.after(position, limit=BATCH):
            position, events = batch[-1].position, events + len(batch)
    return events


def read_all_raw(path: Path) -> int:
    """Do the same with sqlite3 and msgspec alone."""
    position = events = 0
    with closing(connect(path, busy_seconds_max=5)) as connection:
        while batch := connection.execute(_AFTER, [position, BATCH]).fetchall():
            decoded = [STORED.decode(state) for _, _, _, _, state, _ in batch]
            position, events = batch[-1][0], events + len(decoded)
    return events


def peak_mebibytes(reader: str, path: Path) -> float:
    """Return the peak resident memory of a fresh process that runs `reader`; imports are the same for both."""
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom benchmarks import log\n"
        "getattr(log, sys.argv[1])(Path(sys.argv[2]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, reader, str(path)], check=True, stdout=subprocess.PIPE, text=True
    )
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return int(ran.stdout) / unit
