"""Applications of a fleet as processes, for the length of a test. No tests live here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.instances import Distributor, Instance, Proof, Usage
from engine.values import SECOND, CredentialValue, Instant

_PROGRAM = Path(__file__).with_name("fleet_app.py")


@dataclass(frozen=True)
class App:
    """A running application."""

    id: str
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def instance(self) -> Instance:
        """It, as discovery would list it."""
        return Instance(self.id, endpoint=self.url)

    def stats(self) -> dict[str, Any]:
        """Return what it counted."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=5) as answer:  # noqa: S310 - it is our own
            return dict(json.loads(answer.read()))

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def apps(*settings: dict[str, Any]) -> Iterator[list[App]]:
    """Run an application for each of some settings (`fleet_app.Settings`); all start at once."""
    root = str(Path(__file__).parents[2])
    started: list[tuple[str, subprocess.Popen[str]]] = []
    running: list[App] = []
    try:
        for each in settings:
            process = subprocess.Popen(
                [sys.executable, str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            assert process.stdin is not None
            started.append((str(each.get("id", "web-1")), process))
            process.stdin.write(json.dumps(each) + "\n")
            process.stdin.flush()
        for name, process in started:
            assert process.stdout is not None
            running.append(App(name, int(process.stdout.readline()), process))
        yield running
    finally:
        for name, process in started:
            App(name, 0, process).stop()


def soon(seconds: float = 5.0) -> Instant:
    """Return a deadline so many seconds from now."""
    return Instant(round((time.time() + seconds) * SECOND))


def seen(
    distributor: Distributor,
    instance: Instance,
    value: CredentialValue,
    version: str,
    usage: Usage = Usage.USED,
    *,
    seconds: float = 8.0,
) -> Proof:
    """Look until `usage` is seen, `seconds` at most; return what was seen last."""
    limit = time.monotonic() + seconds
    while True:
        proof = distributor.look(instance, value, version=version)
        if proof.usage is usage or time.monotonic() > limit:
            return proof
        time.sleep(0.02)
