"""What the tests of ownership share: a clock that a test moves, and processes that hold; no tests here."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from adapters.ownership import FileOwnership
from engine.errors import OwnedElsewhere
from engine.values import SECOND, Instant, Microseconds, Moment
from tests.architecture.source import ROOT

ROTATION = UUID("00000000-0000-0000-0000-000000000001")
LEASE = Microseconds(30 * SECOND)
SHORT = Microseconds(SECOND // 5)
"""A lease that a test waits for."""

HOLDER = """
import sys
from pathlib import Path
from uuid import UUID
from adapters.ownership import FileOwnership
from engine.errors import Fenced
ownership = FileOwnership(Path(sys.argv[1]), lease=int(sys.argv[3]))
with ownership.hold(UUID(sys.argv[2])) as held:
    print(ownership.owner, flush=True)
    sys.stdin.readline()
    try:
        held()
        print("mine", flush=True)
    except Fenced as fenced:
        print(fenced.message, flush=True)
"""


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.wall, self.boot, self.uptime = 1_800_000_000 * SECOND, "boot-1", 1_000 * SECOND

    def now(self) -> Moment:
        """Return what it was moved to."""
        return Moment(Instant(self.wall), self.boot, Microseconds(self.uptime))

    def wait(self, duration: Microseconds) -> None:
        """Move it."""
        self.wall += duration
        self.uptime += duration


def file_of(tmp_path: Path) -> Path:
    return tmp_path / "locks" / f"{ROTATION}.lock"


@contextmanager
def held_by_another_process(folder: Path, *, lease: int = LEASE) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Have a process that holds ROTATION until it is told to look whether it still does; and its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(ROTATION), str(lease)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=10)


def refused(ownership: FileOwnership) -> str:
    """Return what a process is told that cannot have ROTATION."""
    with pytest.raises(OwnedElsewhere) as told, ownership.hold(ROTATION):
        pass
    return told.value.message
