"""What a process of its own does to a log, for the tests of the event store; no tests here.

`python -m tests.integration.event_store_process MODE PATH [ARGUMENT…]` says `ready`, waits for a line on
stdin, so that many begin at once, and then prints what it did, a line each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

from adapters.event_store.sqlite import SqliteEventLog
from engine.errors import Conflict
from engine.events import CandidateStaged
from engine.facts import Fact
from engine.values import Instant


def fact(originator_id: UUID, version: int, mark: str = "f0") -> Fact:
    """Return a fact for a place in a stream; `mark` tells it from others."""
    return Fact(originator_id, version, Instant(1_767_225_600_000_000 + version), "alice", CandidateStaged(mark))


def append(path: Path, events: str, batch: str) -> None:
    """Append to a stream of its own, `batch` facts at once."""
    originator_id = uuid4()
    with SqliteEventLog(path) as log:
        for first in range(1, int(events) + 1, int(batch)):
            log.append([fact(originator_id, version) for version in range(first, first + int(batch))])
    print(originator_id)


def contend(path: Path, originator_id: str, events: str, mark: str) -> None:
    """Append to a stream that others append to as well; print `won` or `lost` for each try."""
    stream = UUID(originator_id)
    with SqliteEventLog(path) as log:
        won = 0
        while won < int(events):
            version = len(log.stream(stream)) + 1
            try:
                log.append([fact(stream, version, mark), fact(stream, version + 1, mark)])
            except Conflict:
                print("lost")
                continue
            won += 1
            print("won")


def forever(path: Path) -> None:
    """Append until killed; print each position when, and not before, it was acknowledged."""
    originator_id = uuid4()
    with SqliteEventLog(path) as log:
        for version in count(1):
            (recorded,) = log.append([fact(originator_id, version)])
            print(recorded.position, flush=True)


MODES: dict[str, Callable[..., None]] = {"append": append, "contend": contend, "forever": forever}


def main() -> None:
    """Do what the arguments say."""
    mode, path, *arguments = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    MODES[mode](Path(path), *arguments)


if __name__ == "__main__":
    main()
