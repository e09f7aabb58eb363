"""Running a program: in a clean environment, with limits, and with nothing left of it when this returns.

Rule 1: between us and the program stands `program_guardian`, which outlives neither: it ends the program when its time
is over, and when we are gone.
Rule 2: a secret reaches the program by a file in a folder of its own, by a descriptor, or by its standard input; what
it printed comes back without the secret.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from adapters.spellings import without

GUARDIAN: Final = Path(__file__).with_name("program_guardian.py")
"""The program of the guardian, by which its processes are found."""
TEXT_BYTES_MAX: Final = 4_096
"""So much is told of what a program printed."""
_READ_BYTES_MAX: Final = 64 * 1024
"""So much is kept of what a program prints until the secrets are taken out; the rest is read and thrown away."""
_MEMORY_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made in it, with a random name
"""Where Linux keeps files in memory, so that a secret never reaches a disk."""
ENDING_SECONDS: Final = 11.0
"""How much longer than the program its guardian is waited for: it may have much to kill."""


class CannotRun(Exception):
    """A program could not be begun. The message is one line for people."""


class Passing(Enum):
    """How a secret reaches a program."""

    FILE = auto()
    """By a file that only this user can read, which goes with the program."""
    DESCRIPTOR = auto()
    """By an open descriptor, of no file."""
    STDIN = auto()
    """By its standard input."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use at most."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int
    processes: int

    def named(self) -> dict[str, int]:
        """Return the limits of setrlimit(2), by their name behind `RLIMIT_`."""
        return {"CPU": self.cpu_seconds, "AS": self.memory_bytes, "FSIZE": self.file_bytes}


@dataclass(frozen=True, slots=True)
class Order:
    """What is run, and with what."""

    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    """Where it is run."""
    limits: Limits
    secret: str | None
    """What it may read; None where there is nothing, or where it gets that in its environment."""
    passing: Passing
    naming: tuple[str, ...] = ()
    """The variables that name the file or descriptor."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: `exit N`, `signal N`, `timeout`, `processes` or `error …`, and what it printed.

    `output` has no secrets and is within `TEXT_BYTES_MAX`; it is that of standard error where the other one is empty.
    """

    how: str
    output: str


def run(order: Order, *, end: float, secrets: Sequence[str]) -> Ended:
    """Run a program to its end, or until `end` (monotonic seconds); raises `CannotRun` where it cannot be begun."""
    with _secret_folder(order) as folder, _descriptor(order) as descriptor:
        out, out_end = os.pipe()
        error, error_end = os.pipe()
        passed = [out_end, error_end, *([] if descriptor is None else [descriptor])]
        try:
            guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARDIAN)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=passed,
                start_new_session=True,
            )
        except OSError as problem:
            os.close(out)
            os.close(error)
            raise CannotRun(f"no process could be started: {problem.strerror}") from None
        finally:
            os.close(out_end)
            os.close(error_end)
        written = _written(order, folder, descriptor, passed, end)
        return _watched(guardian, written, (out, error), until=end, secrets=secrets)


def _written(order: Order, folder: Path | None, descriptor: int | None, passed: list[int], end: float) -> bytes:
    """Return the order as the guardian reads it."""
    place = "" if folder is None else str(folder / "credential")
    is_read = order.passing is Passing.STDIN
    named = place or (f"/dev/fd/{descriptor}" if descriptor is not None and not is_read else "")
    fields = {
        "command": order.command,
        "environment": order.environment | (dict.fromkeys(order.naming, named) if named else {}),
        "folder": str(order.folder),
        "end": end,
        "limits": order.limits.named(),
        "processes": order.limits.processes,
        "stdin": descriptor if descriptor is not None and is_read else -1,
        "stdout": passed[0],
        "stderr": passed[1],
        "closing": passed,
        "secret_file": place,
        "secret": order.secret if place else "",
    }
    return json.dumps(fields).encode() + b"\n"


def _watched(
    guardian: subprocess.Popen[bytes],
    written: bytes,
    pipes: tuple[int, int],
    *,
    until: float,
    secrets: Sequence[str],
) -> Ended:
    assert guardian.stdin is not None
    assert guardian.stdout is not None
    kept: dict[int, bytearray] = {pipe: bytearray() for pipe in (*pipes, guardian.stdout.fileno())}
    try:
        with suppress(BrokenPipeError):
            guardian.stdin.write(written)
            guardian.stdin.flush()
        _collect(kept, until + ENDING_SECONDS)
    finally:
        # The end of its input tells the guardian to end at once, if it has not ended by itself.
        with suppress(BrokenPipeError):
            guardian.stdin.close()
        guardian.stdout.close()
        for pipe in pipes:
            os.close(pipe)
        try:
            guardian.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            guardian.kill()
            guardian.wait()
    out, error, said = (bytes(each) for each in kept.values())
    cut = len(out) >= _READ_BYTES_MAX, len(error) >= _READ_BYTES_MAX
    shown = [without(raw, secrets, is_cut=is_cut).strip() for raw, is_cut in zip((out, error), cut, strict=True)]
    text = (shown[0] or shown[1])[:TEXT_BYTES_MAX].decode(errors="replace")
    return Ended(said.decode(errors="replace").strip() or "error its guardian ended", text)


def _collect(kept: dict[int, bytearray], until: float) -> None:
    """Read until all ends are closed, or `until` (monotonic seconds); keep the first part of each."""
    with selectors.DefaultSelector() as selector:
        for pipe in kept:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(max(until - time.monotonic(), 0)):
                part = os.read(key.fd, 65536)
                if not part:
                    selector.unregister(key.fd)
                room = _READ_BYTES_MAX - len(kept[key.fd])
                kept[key.fd] += part[:room]


@contextmanager
def _secret_folder(order: Order) -> Iterator[Path | None]:
    """Make a folder for the file of the secret, that only this user can enter; it is gone at the end."""
    if order.secret is None or order.passing is not Passing.FILE:
        yield None
        return
    memory = _MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK) else None
    try:
        folder = Path(tempfile.mkdtemp(prefix="keyturn-", dir=memory))
    except OSError as problem:
        raise CannotRun(f"no folder could be made for the secret: {problem.strerror}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _descriptor(order: Order) -> Iterator[int | None]:
    """Open a descriptor to read the secret from, which stands in no folder."""
    if order.secret is None or order.passing is Passing.FILE:
        yield None
        return
    with tempfile.TemporaryFile(dir=_MEMORY_FOLDER if os.access(_MEMORY_FOLDER, os.W_OK) else None) as file:
        file.write(order.secret.encode())
        file.flush()
        file.seek(0)
        yield file.fileno()
