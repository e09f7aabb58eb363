"""`kill -9` anywhere in a rollout over twenty instances, in waves: the same waves, the same end, nobody told in vain.

A calm run tells the boundaries: before and after every call of a port and every append to the log. CI takes a sample of
them; `KEYTURN_TEST_WHOLE=rollout pytest -s tests/integration/test_rollout_kill.py` kills at each.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from signal import SIGKILL

import pytest

from adapters.event_store.sqlite import SqliteEventLog
from engine import events as e
from engine import rotation as rotations
from engine.facts import Fact
from engine.machine import State
from tests.integration.installations import Driver, Ended

pytestmark = pytest.mark.slow

WHOLE = os.environ.get("KEYTURN_TEST_WHOLE") == "rollout"
SAMPLE = 12
FLEET = 20
TOLD_AT_ONCE = 4

CONFIG = """version: 1
secretStores:
  local: {{type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
services:
  app:
    type: memory
    credential: {{username: app, store: local, key: default/app}}
    rotation:
      strategy: dual
      grace_period: 0s
      attempt_window: 2s
      retry: {{first: 10ms, longest: 20ms}}
      discovery: {{type: explicit, instances: {instances}}}
      distribution: {{type: memory, parallelism: {at_once}}}
      canary: {{health_monitoring_period: 20ms}}
      rollout:
        waves:
          - {{percentage: 10, health_monitoring: 20ms}}
          - {{percentage: 50, health_monitoring: 20ms}}
          - {{percentage: 100, health_monitoring: 20ms}}
        interval: 10ms
"""


class Rehearsal:
    """An installation on the rehearsal target whose twenty instances have a first version."""

    def __init__(self, folder: Path, driver: Driver) -> None:
        self.work, self._kept, self._driver = folder / "work", folder / "kept", driver
        self.work.mkdir()
        assert self.run("init").code == 0
        entries = [{"id": f"web-{number:02}", "zone": f"zone-{number % 3}"} for number in range(FLEET)]
        text = CONFIG.format(instances=json.dumps(entries), at_once=TOLD_AT_ONCE)
        (self.work / "keyturn.yaml").write_text(text)
        first = self.run("rotate", "app")
        assert first.code == 0, first
        shutil.copytree(self.work, self._kept)

    def run(self, *arguments: str, **options: object) -> Ended:
        """Run the command line in a fresh process."""
        where = ["--config", str(self.work / "keyturn.yaml"), "--state", str(self.work / "state")]
        return self._driver.run({"arguments": [*where, *arguments], **options})[0]

    def put_back(self) -> None:
        """Make everything as it was before the second rotation."""
        shutil.rmtree(self.work)
        shutil.copytree(self._kept, self.work)

    def facts(self) -> list[Fact]:
        """Return the facts of the newest rotation."""
        with SqliteEventLog(self.work / "state" / "events.db", must_exist=True) as log:
            every = [recorded.fact for recorded in log.after(0, limit=100_000)]
        newest = [fact.body.rotation_id for fact in every if isinstance(fact.body, e.RotationOpened)][-1]
        return [fact for fact in every if fact.originator_id == newest]


def summary(facts: list[Fact]) -> tuple[State, list[int], int]:
    """Return how a rotation ended, how large its waves are, and how many instances moved."""
    rotation = rotations.fold(facts)
    assert rotation is not None
    (planned,) = [fact.body for fact in facts if isinstance(fact.body, e.RolloutPlanned)]
    moved = {name for fact in facts if isinstance(fact.body, e.InstancesMoved) for name in fact.body.instances}
    return rotation.state, [len(wave.instances) for wave in planned.waves], len(moved)


def told(facts: list[Fact]) -> Counter[str]:
    """Return how often each instance was told."""
    return Counter(name for fact in facts if isinstance(fact.body, e.InstancesTold) for name in fact.body.instances)


def test_a_rollout_killed_anywhere_goes_on_with_the_same_waves(tmp_path: Path, drivers: list[Driver]) -> None:
    rehearsal = Rehearsal(tmp_path, drivers[0])
    trace = tmp_path / "trace"
    calm = rehearsal.run("rotate", "app", trace=str(trace))
    assert calm.code == 0, calm
    expected = summary(rehearsal.facts())
    assert expected == (State.COMPLETED, [1, 1, 8, 10], FLEET)
    boundaries = len(trace.read_text().splitlines())
    points = range(2, boundaries + 1)
    chosen = points if WHOLE else sorted(random.Random(7).sample(points, SAMPLE))
    for point in chosen:
        rehearsal.put_back()
        killed = rehearsal.run("rotate", "app", die_at=point)
        assert killed.code == -SIGKILL, killed
        with SqliteEventLog(rehearsal.work / "state" / "events.db", must_exist=True) as log:
            begun = sum(isinstance(recorded.fact.body, e.RotationOpened) for recorded in log.after(0, limit=100_000))
        resumed = rehearsal.run("resume" if begun > 1 else "rotate", *(() if begun > 1 else ("app",)))
        assert resumed.code == 0, (point, resumed)
        facts = rehearsal.facts()
        assert summary(facts) == expected, point
        counted = told(facts)
        assert set(counted) == {f"web-{number:02}" for number in range(FLEET)}, point
        again = [name for name, times in counted.items() if times > 1]
        assert max(counted.values()) <= 2, point
        assert len(again) <= TOLD_AT_ONCE, (point, again)
    print(f"{len(chosen)} of {boundaries} points tried, 0 with other waves or another end")
