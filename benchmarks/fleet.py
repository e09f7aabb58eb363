"""`keyturn serve` with 5,000 services in monitoring: what it costs, how late it looks, and what a kill leaves.

Run alone by `python -m benchmarks.fleet [SERVICES] [SECONDS]`: a process of its own serves a fleet on disk for twice
that many seconds, and is killed in the middle. The log tells what it did: a look is late by the time between when it
was due and when it was recorded. Linux only, since CPU time and memory are read from /proc.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final
from uuid import UUID

from adapters.composition import Installation, compose
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE
from benchmarks.startup import LAUNCH, environment
from benchmarks.table import Goal, Row, show
from engine.events import HealthSampled
from engine.machine import State
from engine.rotation import Rotation
from engine.values import SECOND, CredentialValue, Instant, Secret
from projections.feed import BATCH

BY_HAND: Final = True
"""It takes minutes, so that it runs where it is named alone."""

SERVICES: Final = 5_000
SECONDS: Final = 150
INTERVAL: Final = 30

_PATIENCE: Final = 600.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_HEAD: Final = """version: 1
secretStores:
  local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}
services:
"""
_SERVICE: Final = """  service-{number}:
    type: memory
    environment: production
    credential: {{username: app, store: local, key: production/service-{number}}}
    rotation:
      strategy: dual
      grace_period: 1h
      ttl: 30d
      health_checks:
        interval: {interval}s
        monitoring_period: {period}s
        checks: [{{type: connection}}]
"""


def rows(services: int = SERVICES, seconds: int = SECONDS, interval: int = INTERVAL) -> Iterator[Row]:
    """Yield the figures; takes twice `seconds`, and some minutes to make the fleet."""
    with tempfile.TemporaryDirectory(prefix="keyturn-fleet.") as name:
        folder = Path(name)
        began = time.monotonic()
        ids = prepare(folder, services, period=2 * seconds, interval=interval)
        yield Row(f"making {services:,} services with a version each, promoted", "s", time.monotonic() - began)
        yield from _status(folder)
        with serving(folder) as served:
            yield Row("serve is ready (/healthz), looks not begun", "s", served.ready_after)
            yield from _measured(served, seconds)
            position = served.log.head()
            yield from _scrapes(served)
            killed_at = served.log.head()
        yield from _lateness(folder, 0, position, interval)
        with serving(folder) as served:
            yield Row("after kill -9, serve is ready (/healthz)", "s", served.ready_after)
            yield from _measured(served, seconds)
            _until_all_end(folder, ids)
            yield Row("peak memory", "MiB", served.memory("VmHWM"))
        yield from _gone_on(folder, ids, killed_at)
        yield from _lateness(folder, killed_at, sys.maxsize, interval)


@dataclass(frozen=True, slots=True)
class Served:
    """A daemon at work."""

    process: subprocess.Popen[bytes]
    log: SqliteEventLog
    address: str
    ready_after: float
    """Seconds from its start until it answered that it is healthy."""

    def cpu_seconds(self) -> float:
        """Return the CPU time it used so far."""
        # Fields 14 and 15 of proc(5) stat, behind a name that may hold spaces and brackets.
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self, name: str = "VmRSS") -> float:
        """Return a figure of its memory in MiB."""
        found = re.search(rf"^{name}:\s+(\d+) kB", self._status(), re.MULTILINE)
        assert found is not None, f"/proc knows no {name}"
        return int(found[1]) / 1024

    def threads(self) -> int:
        """Return how many threads it has."""
        found = re.search(r"^Threads:\s+(\d+)", self._status(), re.MULTILINE)
        assert found is not None, "/proc knows no threads"
        return int(found[1])

    def _status(self) -> str:
        return Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")


def prepare(folder: Path, services: int, *, period: int, interval: int) -> list[UUID]:
    """Make a fleet in a folder, each service with a rotation that was promoted a moment ago; return their ids.

    It is made in memory where the machine has a place for that, so that it does not wait for the disk, and put onto
    the disk then.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        draft = Path(name)
        subprocess.run(
            [sys.executable, "-c", LAUNCH, "init"], cwd=draft, env=environment(draft), capture_output=True, check=True
        )
        text = "".join(_SERVICE.format(number=each, period=period, interval=interval) for each in range(services))
        (draft / "keyturn.yaml").write_text(_HEAD + text)
        ids = _promoted(compose(load(draft / "keyturn.yaml"), draft / "state", actor="benchmark"))
        shutil.copytree(draft, folder, dirs_exist_ok=True)
    return ids


def _promoted(installation: Installation) -> list[UUID]:
    """Rotate every service once, up to its monitoring."""
    operations, runner = installation.operations, installation.runner
    ids = []
    for service in installation.configuration.services.values():
        binding = installation.binding(service)
        later = Instant(installation.world.clock.now().wall + 3_600 * SECOND)
        first = CredentialValue("app", Secret(installation.world.entropy.draw(24).hex()))
        binding.target.apply(first, tag="before", deadline=later)
        binding.store.promote(service.credential.key, "v0", first, expected=None)
        plan = installation.plan(service)
        rotation_id = operations.start(service.name, service.environment, plan, logins=service.usernames)
        rotation = runner.drive(rotation_id, enough=_is_promoted)
        assert _is_promoted(rotation), rotation
        ids.append(rotation_id)
    return ids


def _is_promoted(rotation: Rotation) -> bool:
    return rotation.state is State.MONITORING


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve a fleet while the block runs, and kill what serves it at the end."""
    said = folder / "said.txt"
    began = time.monotonic()
    with said.open("wb") as stream, SqliteEventLog(folder / "state" / LOG_FILE, must_exist=True) as log:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, "serve", "--listen", "127.0.0.1:0"],
            cwd=folder,
            env=environment(folder),
            stderr=stream,
        )
        try:
            while not (address := _healthy(said.read_text(encoding="utf-8"))):
                assert process.poll() is None, said.read_text(encoding="utf-8")
                assert time.monotonic() - began < _PATIENCE, "it is not healthy"
                time.sleep(0.05)
            yield Served(process, log, address, time.monotonic() - began)
        finally:
            process.kill()
            process.wait()


def _healthy(said: str) -> str:
    """Return the address at which a daemon says that it is healthy; empty while it does not."""
    address = re.search(r"http://([0-9.:]+)/", said)
    if address is None:
        return ""
    try:
        with urllib.request.urlopen(f"http://{address[1]}/healthz", timeout=10) as answer:
            return address[1] if answer.status == 200 else ""
    except urllib.error.URLError:
        return ""


def _scrapes(served: Served) -> Iterator[Row]:
    for what in ("the first answer of /metrics", "/metrics again"):
        began = time.monotonic()
        with urllib.request.urlopen(f"http://{served.address}/metrics", timeout=_PATIENCE) as answer:
            assert b"keyturn_check_status{" in answer.read()
        yield Row(what, "s", time.monotonic() - began)


def _status(folder: Path) -> Iterator[Row]:
    for what in ("the first status of it, which folds the log", "status again, from the view"):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", LAUNCH, "status", "--json"],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            check=True,
        )
        yield Row(what, "s", time.monotonic() - began)


def _measured(served: Served, seconds: int) -> Iterator[Row]:
    """Let it serve for a while, and yield what that cost."""
    cpu, head, began = served.cpu_seconds(), served.log.head(), time.monotonic()
    most = 0.0
    threads = 0
    while time.monotonic() - began < seconds:
        time.sleep(1)
        assert served.process.poll() is None, "it has ended"
        most, threads = max(most, served.memory()), max(threads, served.threads())
    took = time.monotonic() - began
    yield Row("events recorded", "1/s", (served.log.head() - head) / took)
    yield Row("CPU seconds a second", "cores", (served.cpu_seconds() - cpu) / took, goal=Goal(at_most=1))
    yield Row("memory (RSS)", "MiB", most, goal=Goal(at_most=500))
    yield Row("threads", "", threads)


@dataclass(frozen=True, slots=True)
class Look:
    """A health check that was recorded: of which rotation, where, when, and when the next one is due."""

    rotation_id: UUID
    position: int
    at: Instant
    due: Instant


def looks(folder: Path) -> dict[UUID, list[Look]]:
    """Return the looks of every rotation, oldest first."""
    found: dict[UUID, list[Look]] = {}
    with SqliteEventLog(folder / "state" / LOG_FILE, must_exist=True) as log:
        position = 0
        while facts := log.after(position, limit=BATCH):
            position = facts[-1].position
            for recorded in facts:
                fact, body = recorded.fact, recorded.fact.body
                if isinstance(body, HealthSampled):
                    look = Look(fact.originator_id, recorded.position, fact.at, body.due.wall)
                    found.setdefault(fact.originator_id, []).append(look)
    return found


def _lateness(folder: Path, after: int, until: int, interval: int) -> Iterator[Row]:
    """Yield how late looks were that followed another one, both recorded between two positions.

    At first all services are due at once, as nobody has them; two intervals later that has evened out.
    """
    pairs = [
        (earlier, later)
        for each in looks(folder).values()
        for earlier, later in pairwise(each)
        if after < earlier.position and later.position <= until
    ]
    begun = min(earlier.at for earlier, _ in pairs)
    even = begun + 2 * interval * SECOND
    for when, chosen, goal in (
        ("all due at once", [pair for pair in pairs if pair[1].at <= even], None),
        ("from then on", [pair for pair in pairs if pair[1].at > even], Goal(at_most=interval / 10)),
    ):
        late = sorted((later.at - earlier.due) / SECOND for earlier, later in chosen)
        assert late, f"no look was due: {when}"
        yield Row(f"looks that were due, {when}", "", len(late))
        yield Row(f"lateness of a look, median, {when}", "s", percentile(late, 0.5))
        yield Row(f"lateness of a look, p99, {when}", "s", percentile(late, 0.99), goal=goal)
        yield Row(f"lateness of a look, longest, {when}", "s", late[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the figure that a share of the ordered ones does not exceed."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _until_all_end(folder: Path, ids: Sequence[UUID]) -> None:
    began = time.monotonic()
    while set(_states(folder, ids)) != {State.GRACE}:
        assert time.monotonic() - began < _PATIENCE, "not every rotation has come to its grace period"
        time.sleep(5)


def _states(folder: Path, ids: Sequence[UUID]) -> list[State | None]:
    with SqliteEventLog(folder / "state" / LOG_FILE, must_exist=True) as log:
        return [log.stream(each)[-1].state for each in ids]


def _gone_on(folder: Path, ids: Sequence[UUID], killed_at: int) -> Iterator[Row]:
    """Yield that every service goes on behind a kill: looked at again, never before it was due, and come to its end."""
    every = looks(folder)
    resumed = sum(any(look.position > killed_at for look in every[each]) for each in ids)
    early = sum(later.at < earlier.due for each in every.values() for earlier, later in pairwise(each))
    states = _states(folder, ids)
    yield Row("services looked at on both sides of the kill", "", resumed, goal=Goal(at_least=len(ids)))
    yield Row("looks before they were due (none twice)", "", early, goal=Goal(at_most=0))
    yield Row("services whose grace period began", "", states.count(State.GRACE), goal=Goal(at_least=len(ids)))


if __name__ == "__main__":
    title = (__doc__ or "").splitlines()[0]
    sys.exit(0 if show(title, rows(*map(int, sys.argv[1:]))) else 1)
