"""Processes that rotate and resume at random, and somebody who kills and stops them; no tests here.

`python -m tests.integration.crowd FOLDER SEED PROCESSES SECONDS` loads everything once and forks. What a process sees
is written to a line of a file before it goes on, so that a kill takes no more than the last line. With FOLDER alone it
is `keyturn resume`, watched in the same way.

Rule: the processes work as `keyturn rotate` and `keyturn resume` do, through the same composition. The configuration
alone is read once for all of them, because reading 200 services takes longer than rotating one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from adapters.cli.main import main as keyturn
from adapters.composition import Installation, compose
from adapters.config.load import load
from adapters.config.model import Configuration
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_accounts import Accounts, Keeping
from engine.errors import Conflict, Fenced, InGrace, KeyturnError, OwnedElsewhere, RotationOpen
from engine.facts import Fact, Recorded

LOOKED_AT: Final = 40
"""Services that a resume without a name looks at: one in five, so that it takes no longer than a rotation."""

STOPPED_MAX: Final = 3
KILL_EVERY: Final = 0.5
STOP_EVERY: Final = 0.35
STOP_SECONDS: Final = (1.0, 5.0)
"""Some stop for less than the lease of 2 s, most for longer."""


def note(path: Path, **line: Any) -> None:
    """Append a line that is whole or not there, whoever else appends."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


@dataclass
class Journaled:
    """The accounts of a target, with a line in a journal for each change, written under their lock before they are."""

    inner: Keeping
    journal: Path

    @contextmanager
    def opened(self) -> Iterator[Accounts]:
        """Give the accounts, and note what came into force."""
        with self.inner.opened() as accounts:
            before, held = digest(accounts), marks(accounts)
            yield accounts
            after = digest(accounts)
            if after != before:
                came = [each for each in marks(accounts) if each not in held]
                note(self.journal, before=before, after=after, came=came)


def digest(accounts: Accounts) -> str:
    """Return what tells accounts from others."""
    return sha256(msgspec.json.encode(accounts)).hexdigest()


def marks(accounts: Accounts) -> list[list[str]]:
    """Return login, mark and tag of every value in force."""
    return [[name, held.mark, held.tag] for name, login in accounts.logins.items() for held in login.values]


@dataclass
class CountedLog:
    """The log, with a line for each append that was refused because another process came first."""

    inner: Any
    seen: Path

    def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
        """Append, and note what was refused."""
        try:
            recorded: Sequence[Recorded] = self.inner.append(facts)
        except Conflict:
            note(self.seen, refused=type(facts[0].body).__name__)
            raise
        return recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass
class Watch:
    """Stands around the ports of a process."""

    folder: Path

    @property
    def seen(self) -> Path:
        """What the processes were told."""
        return self.folder / "seen.jsonl"

    def wrap(self, name: str, port: Any) -> object:
        """Return the port, with a journal if it is a target, and its refusals counted if it is the log."""
        if isinstance(port, MemoryTarget):
            port._keeping = Journaled(port._keeping, self.folder / "journals" / f"{port._name}.jsonl")
        return CountedLog(port, self.seen) if name == "log" else port


class Worker:
    """One process: rotates a service, or looks for what is open and resumes it, again and again."""

    def __init__(self, folder: Path, configuration: Configuration, seed: str) -> None:
        self._random = random.Random(seed)
        self._services = list(configuration.services.values())
        watch = Watch(folder)
        self._seen = watch.seen
        self._installation: Installation = compose(configuration, folder / "state", actor="crowd", wrap=watch.wrap)

    def work(self, until: Path) -> None:
        """Go on until the file is there."""
        while not until.exists():
            if self._random.random() < 0.6:
                self._told(self._random.choice(self._services).name, self._rotate)
            else:
                for service in self._random.sample(self._services, LOOKED_AT):
                    self._told(service.name, self._resume)

    def _told(self, service: str, act: Any) -> None:
        """Do something, and note how a process of the command line would have ended where it was refused."""
        try:
            act(service)
        except (OwnedElsewhere, RotationOpen, InGrace, Fenced, Conflict) as refusal:
            note(self._seen, ended=refusal.kind, service=service)
        except KeyturnError as error:
            note(self._seen, ended=error.kind, service=service, unexpected=error.message)

    def _rotate(self, name: str) -> None:
        installation, service = self._installation, self._installation.service(name)
        begun = installation.operations.start(
            name, service.environment, installation.plan(service), logins=service.usernames
        )
        self._drive(begun)

    def _resume(self, name: str) -> None:
        service = self._installation.service(name)
        rotation = self._installation.operations.open_rotation(name, service.environment)
        if rotation is not None:
            self._drive(rotation.id)

    def _drive(self, rotation_id: Any) -> None:
        ended = self._installation.runner.drive(rotation_id, patience=lambda rotation, wait: True)
        note(self._seen, ended=ended.state)


@dataclass
class Crowd:
    """The processes, and what is done to them."""

    folder: Path
    configuration: Configuration
    source: random.Random
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("forked", "killed", "stopped", "let_go"), 0))
    _running: dict[int, float | None] = field(default_factory=dict)
    """Process ids, and when a stopped one is to go on."""

    def unleash(self, count: int, seconds: float) -> None:
        """Keep so many at work for so long, killing and stopping; then have all go on, finish, and end."""
        began = time.monotonic()
        kill_at = stop_at = 0.0
        while (now := time.monotonic() - began) < seconds:
            self._reap()
            while len(self._running) < count:
                self._fork()
            self._go_on(now)
            if now >= kill_at:
                kill_at = now + self.source.expovariate(1 / KILL_EVERY)
                self._send(signal.SIGKILL, "killed")
            if now >= stop_at:
                stop_at = now + self.source.expovariate(1 / STOP_EVERY)
                self._stop(now)
            time.sleep(0.01)
        self._finish()

    def _fork(self) -> None:
        self.counts["forked"] += 1
        pid = os.fork()
        if pid == 0:
            self._become(f"{self.counts['forked']}")
        self._running[pid] = None

    def _become(self, seed: str) -> NoReturn:
        code = 1
        try:
            Worker(self.folder, self.configuration, seed).work(self.folder / "over")
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _send(self, number: signal.Signals, counted: str) -> int | None:
        awake = [pid for pid, until in self._running.items() if until is None]
        if not awake:
            return None
        pid = self.source.choice(awake)
        self._strike(pid, number)
        self.counts[counted] += 1
        return pid

    def _strike(self, pid: int, number: signal.Signals) -> None:
        """Send a signal, and note when: before one that takes a process its life, after one that gives it back."""
        if number is not signal.SIGCONT:
            note(self.folder / "fates.jsonl", pid=pid, signal=number.name, at=time.time_ns() // 1_000)
        os.kill(pid, number)
        if number is signal.SIGCONT:
            note(self.folder / "fates.jsonl", pid=pid, signal=number.name, at=time.time_ns() // 1_000)

    def _stop(self, now: float) -> None:
        if sum(until is not None for until in self._running.values()) >= STOPPED_MAX:
            return
        pid = self._send(signal.SIGSTOP, "stopped")
        if pid is None:
            return
        if self._is_writable():
            self._running[pid] = now + self.source.uniform(*STOP_SECONDS)
        else:
            self.counts["let_go"] += 1
            self._strike(pid, signal.SIGCONT)

    def _is_writable(self) -> bool:
        """Tell whether anybody can append. The one stopped may be the writer of the log, and then nobody can."""
        connection = sqlite3.connect(self.folder / "state" / "events.db", timeout=0.5, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

    def _go_on(self, now: float) -> None:
        for pid, until in self._running.items():
            if until is not None and now >= until:
                self._strike(pid, signal.SIGCONT)
                self._running[pid] = None

    def _reap(self) -> None:
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                assert code in (0, -signal.SIGKILL), f"a process ended with {code}"
                del self._running[pid]

    def _finish(self) -> None:
        (self.folder / "over").touch()
        for pid, until in self._running.items():
            if until is not None:
                self._strike(pid, signal.SIGCONT)
        last = time.monotonic() + 3.0
        while self._running and time.monotonic() < last:
            self._reap()
            time.sleep(0.01)
        for pid in self._running:
            self._strike(pid, signal.SIGKILL)  # In the middle of something: it is left to `keyturn resume`.
        for pid in self._running:
            os.waitpid(pid, 0)


def main() -> None:
    """Do what the arguments say; print what was done as JSON."""
    folder, *arguments = sys.argv[1:]
    configuration = Path(folder) / "keyturn.yaml"
    if not arguments:
        where = ["--config", str(configuration), "--state", f"{folder}/state"]
        sys.exit(keyturn([*where, "resume"], wrap=Watch(Path(folder)).wrap))
    seed, count, seconds = arguments
    (Path(folder) / "journals").mkdir()
    crowd = Crowd(Path(folder), load(configuration), random.Random(seed))
    crowd.unleash(int(count), float(seconds))
    print(json.dumps(crowd.counts))


if __name__ == "__main__":
    main()
