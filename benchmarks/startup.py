"""How long commands take from the shell, against an interpreter that does nothing.

Each figure is the median over fresh processes that take turns. The log holds 10,000 rotations of 100 services. A
`status` is answered from the view; the first one behind something new has to fold that first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

from msgspec.structs import replace

from adapters.event_store.memory import MemoryEventLog
from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE
from benchmarks.engine import Installation
from benchmarks.table import Goal, Row
from engine.credential import credential_id
from engine.events import CurrentChanged, Event, RotationClosed, RotationOpened, RotationStarted
from engine.facts import Fact

ROOT: Final = Path(__file__).parents[1]
SERVICES: Final = 100
ROTATIONS: Final = 10_000
PROCESSES: Final = 11

LAUNCH: Final = "from adapters.cli.main import run; run()"
"""What the command that an installation makes does; an editable install would add the search of its finders."""

_HEAD: Final = """version: 1
secretStores:
  local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}
services:
"""
_SERVICE: Final = """  service-{number}:
    type: memory
    environment: production
    credential: {{username: app, store: local, key: production/service-{number}}}
    rotation: {{strategy: dual, grace_period: 0s, ttl: 30d}}
"""


def rows() -> Iterator[Row]:
    """Yield the figures, in milliseconds; takes about half a minute."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        first = milliseconds(folder, ["status"], rounds=1)[0]
        yield Row(f"status, the first one behind {ROTATIONS:,} rotations", "ms", first)
        assert rotated_services(folder) == SERVICES - 1
        bare, helped, told, listed, rotated, quickest = milliseconds(
            folder, None, ["--help"], ["status"], ["status", "--json"], ["rotate", "service-0"], ["machine"]
        )
        yield Row("--help (raw: bare python)", "ms", helped, bare, Goal(at_most=4, of_ratio=True))
        yield Row("status of 100 services (raw: bare python)", "ms", told, bare, Goal(at_most=4, of_ratio=True))
        yield Row("status --json (raw: bare python)", "ms", listed, bare, Goal(at_most=4, of_ratio=True))
        yield Row("a whole rotate, memory target (raw: bare python)", "ms", rotated, bare)
        yield Row("machine, which loads click (raw: bare python)", "ms", quickest, bare)


def milliseconds(folder: Path, *commands: list[str] | None, rounds: int = PROCESSES) -> list[float]:
    """Return how long each command takes, as the median of fresh processes; None is a bare interpreter."""
    taken: list[list[float]] = [[] for _ in commands]
    for _ in range(rounds):
        for times, arguments in zip(taken, commands, strict=True):
            script = ["-c", "pass"] if arguments is None else ["-c", LAUNCH, *arguments]
            start = perf_counter()
            ran = subprocess.run(
                [sys.executable, *script], cwd=folder, env=environment(folder), capture_output=True, check=False
            )
            times.append((perf_counter() - start) * 1000)
            assert ran.returncode == 0, ran.stderr.decode()
    return [median(times) for times in taken]


def rotated_services(folder: Path) -> int:
    """Return how many services the status shows as rotated: that the log is read at all."""
    script = [sys.executable, "-c", LAUNCH, "status", "--json"]
    ran = subprocess.run(script, cwd=folder, env=environment(folder), capture_output=True, check=True)
    return sum(each["last_outcome"] == "completed" for each in json.loads(ran.stdout)["services"])


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of the processes: the project's code, the state of the benchmark."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "KEYTURN_STATE": str(folder / "state"), "HOME": str(folder)}


def prepare(folder: Path) -> None:
    """Make a configuration, a key and a log."""
    services = "".join(_SERVICE.format(number=number) for number in range(SERVICES))
    config = folder / "keyturn.yaml"
    subprocess.run(
        [sys.executable, "-c", LAUNCH, "init"], cwd=folder, env=environment(folder), capture_output=True, check=True
    )
    config.write_text(_HEAD + services)
    with SqliteEventLog(folder / "state" / LOG_FILE) as log:
        for facts in histories():
            log.append(facts)


def histories() -> Iterator[list[Fact]]:
    """Yield the facts of a hundred rotations each of every service but the first, copies of one that took place."""
    with MemoryEventLog() as log:
        installation = Installation(log)
        installation.rotate(installation.service())
        model = [recorded.fact for told in installation.told for recorded in told]
    per_service = ROTATIONS // (SERVICES - 1) + 1
    for number in range(1, SERVICES):
        service = f"service-{number}"
        versions = count(1)
        yield [
            fact for ordinal in range(1, per_service + 1) for fact in copies(model, service, ordinal, uuid4(), versions)
        ]


def copies(model: list[Fact], service: str, ordinal: int, rotation_id: UUID, versions: Iterator[int]) -> Iterator[Fact]:
    """Yield the facts of a rotation again, as those of another one: the `ordinal`-th of a service."""
    rename: Callable[[Event], Event] = lambda body: renamed(body, service, ordinal, rotation_id)
    for fact in model:
        if fact.state is not None:
            yield replace(fact, originator_id=rotation_id, body=rename(fact.body))
        elif ordinal == 1 or type(fact.body).__name__ != "VersionAdopted":
            stream = credential_id(service, "production")
            yield replace(fact, originator_id=stream, originator_version=next(versions), body=rename(fact.body))


def renamed(body: Event, service: str, ordinal: int, rotation_id: UUID) -> Event:
    """Return an event as that of another rotation; versions that nothing reads back keep their names."""
    version, previous = f"v{ordinal}", f"v{ordinal - 1}"
    match body:
        case RotationStarted():
            return replace(body, service=service, version=version, previous=previous)
        case RotationOpened():
            return replace(body, service=service, rotation_id=rotation_id, version=version, ordinal=ordinal)
        case CurrentChanged():
            return replace(body, rotation_id=rotation_id, version=version)
        case RotationClosed():
            return replace(body, rotation_id=rotation_id)
        case _:
            return body
