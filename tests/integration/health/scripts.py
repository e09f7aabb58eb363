"""What the tests of scripts share: writing one, and finding the processes that one began. No test lives here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.health import HealthCheck
from engine.values import SECOND, Microseconds
from tests.unit.health.bench import check


def script(folder: Path, body: str, *, interpreter: str = "/bin/sh") -> str:
    """Write an executable script, and return its name."""
    path = folder / "look"
    path.write_text(f"#!{interpreter}\n{body}\n")
    path.chmod(0o755)
    return path.name


def script_check(folder: Path, body: str, *, seconds: float = 10, **raw: Any) -> HealthCheck:
    """Return a check that runs a script of this body."""
    interpreter = raw.pop("interpreter", "/bin/sh")
    given = {"script": script(folder, body, interpreter=interpreter), **raw}
    return check("script", given, base=folder, timeout=Microseconds(int(seconds * SECOND)))


def running(mark: str) -> list[int]:
    """Return the processes, but zombies, whose arguments or environment hold a mark."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in told:
                found.append(int(process.name))
    return found


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until something holds; return whether it did in time."""
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True
