"""`kill -9` at each point of a delivery: nothing is lost, and what is told twice is told under the same key."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from adapters.composition import establish
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.outbox.dispatcher import open_channels
from adapters.quick_status import LOG_FILE
from adapters.system import SystemClock
from tests.architecture.source import ROOT
from tests.integration.delivery_process import POINTS
from tests.unit.outbox.bench import failing

pytestmark = pytest.mark.slow

RUNS = 30
"""Deaths at each point and in each way of sending: 300 in all."""

CONFIGURATION = """
version: 1
secretStores: {held: {type: memory}}
services:
  app:
    type: memory
    credential: {username: app, store: held, key: default/app}
    rotation: {strategy: dual, notifications: {file: {path: told.jsonl, events: [failed]}}}
"""


class Deliveries:
    """An installation with a channel, and processes that deliver."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "keyturn.yaml").write_text(CONFIGURATION)
        establish(folder / "state")
        self.log = SqliteEventLog(folder / "state" / LOG_FILE, must_exist=True)
        channels = load(folder / "keyturn.yaml").services["app"].channels
        open_channels(self.log, [each.id for each in channels], "eve")
        self.failures: list[int] = []
        command = [sys.executable, "-m", "tests.integration.delivery_process", str(folder)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def fail(self, count: int) -> None:
        """Have rotations fail."""
        for _ in range(count):
            facts = failing(len(self.failures) + 1, SystemClock().now().wall)
            self.failures.append(self.log.append(facts)[-1].position)

    def run(self, point: str, passed: int, batch: int) -> int:
        """Have a process deliver; return how it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{point}\t{passed}\t{batch}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def told(self) -> dict[int, list[str]]:
        """Return the keys under which each failure was told, by its position."""
        found: dict[int, list[str]] = defaultdict(list)
        for line in (self.folder / "told.jsonl").read_text().splitlines():
            document = json.loads(line)
            found[document["position"]].append(document["key"])
        return found


@pytest.fixture
def deliveries(tmp_path: Path) -> Iterator[Deliveries]:
    """An installation without any failure so far."""
    made = Deliveries(tmp_path)
    yield made
    made.process.communicate(timeout=10)
    made.log.close()


@pytest.mark.parametrize("batch", [0, 1], ids=["one by one", "in digests"])
@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_and_what_is_told_twice_has_the_same_key(
    deliveries: Deliveries, point: str, batch: int
) -> None:
    """More fails between two deaths, so that the process that comes after finds more than the one before."""
    source = random.Random(f"{point} {batch}")
    for number in range(RUNS):
        deliveries.fail(source.randint(3, 5))
        passed = source.randint(0, 1 if "append" in point else 0) if batch else source.randint(0, 2)
        assert deliveries.run(point, passed, batch) == -SIGKILL
        if number % 10 == 9:  # so that never more waits than a channel holds
            assert deliveries.run("nowhere", 0, batch) == 0
    told = deliveries.told()
    assert sorted(told) == deliveries.failures, "lost"
    assert [position for position, keys in told.items() if len(set(keys)) > 1] == [], "twice, under different keys"
    again = sum(len(keys) - 1 for keys in told.values())
    assert (again > 0) is (point in {"after send", "inside append"}), "the deaths were not where they should be"
    assert deliveries.run("nowhere", 0, batch) == 0
    assert deliveries.told() == told
