"""Runs the command line in forked children, and kills or stops them where a test says; no tests here.

`python -m tests.integration.kill_driver` reads one order a line (JSON, a list of calls) and answers each with one
line: the exit codes, negative for a signal. Everything is imported once, so that a call costs a fork.

Rule: what is run is the real `main` on real ports; a port is only watched on its way in and out.
"""

from __future__ import annotations

import codecs
import fcntl
import gc
import json
import os
import pkgutil
import resource
import signal
import sys
import termios
import time
from array import array
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import adapters
import projections
from adapters.cli.main import main
from engine.facts import Recorded
from engine.values import CredentialValue

WATCHED: Final = {"log": ("append",)}
"""The methods of a port that are watched; of every other port all are."""

WRAPPED: Final = {
    "die_at",
    "die_in",
    "stay_in",
    "stop_at",
    "pause_at",
    "trace",
    "break_at",
    "full_at",
    "meet_at",
    "no_room_from",
}
"""What a call may ask for that needs its ports watched."""

FORESEEN_BY_NOBODY: Final = "canary-unforeseen"
"""What the error says that a call with `break_at` raises."""


WAIT_SECONDS_MAX: Final = 60.0
"""How long a call waits for a file that another one makes."""


def await_file(path: str) -> None:
    """Return when the file is there."""
    until = time.monotonic() + WAIT_SECONDS_MAX
    while not os.path.exists(path):  # noqa: PTH110 - called a hundred times a second
        if time.monotonic() > until:
            raise TimeoutError(f"nobody made {path}")
        time.sleep(0.01)


class Boundaries:
    """Notes each boundary that the process passes, and kills, breaks, stops or holds it up at one of them."""

    def __init__(self, call: dict[str, Any], meet: Callable[[], None]) -> None:
        self._passed = 0
        self._die_at: int | None = call.get("die_at")
        self._die_in: str | None = call.get("die_in")
        self._stay_in: str | None = call.get("stay_in")
        self._stay_seconds: float = call.get("stay_seconds", 0.0)
        self._there: str | None = call.get("there")
        self._break_at: str | None = call.get("break_at")
        self._trace: str | None = call.get("trace")
        self._full_at: int | None = call.get("full_at")
        self._stop_at: int | None = call.get("stop_at")
        self._pause_at: int | None = call.get("pause_at")
        self._mark: str = call.get("mark", "")
        self._until: str = call.get("until", "")
        self._log: Any = None
        self._meet_at: str | None = call.get("meet_at")
        self._meet = meet
        self._no_room_from: str | None = call.get("no_room_from")
        self._is_full = False

    def pass_by(self, name: str, arguments: tuple[object, ...] = ()) -> None:
        """Take a boundary down; the process may end here."""
        self._passed += 1
        if self._trace is not None:
            with open(self._trace, "a", encoding="utf-8") as trace:  # noqa: PTH123 - appends without a buffer left
                trace.write(f"{time.monotonic_ns()} {name}\n")
        if self._passed == self._die_at or name == self._die_in:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._passed == self._stop_at:
            self._say_who()
            os.kill(os.getpid(), signal.SIGSTOP)  # It goes on from here when somebody sends SIGCONT.
        if self._passed == self._pause_at:
            self._say_who()
            await_file(self._until)
        if self._passed == self._full_at:
            # SQLite takes it for the size that the file has already, and then says what it says on a full disk.
            self._log.recorder.datastore.select("PRAGMA max_page_count = 1")
        if name == self._meet_at:
            self._meet_at = None
            self._meet()
        if name == self._no_room_from:
            self._is_full = True
        if self._is_full:
            # The kernel lets no file of this process grow while a store or a place is asked, and only then.
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            room = 0 if name.startswith(("before store.", "before place.")) else hard
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        if name == self._break_at:
            shown = [value.revealed() for value in arguments if isinstance(value, CredentialValue)]
            raise RuntimeError(FORESEEN_BY_NOBODY, *shown)

    def _say_who(self) -> None:
        """Write the id of this process into the file `mark`."""
        mark = Path(self._mark)
        mark.with_suffix(".half").write_text(str(os.getpid()), encoding="ascii")
        mark.with_suffix(".half").rename(mark)

    def enter(self, recorded: Sequence[Recorded]) -> None:
        """Note that a rotation enters a state; the process may end there, or stay there for a while."""
        state = next((each.fact.state for each in reversed(recorded) if each.fact.state), None)
        if state is not None and state == self._die_in:
            os.kill(os.getpid(), signal.SIGKILL)
        if state is not None and state == self._stay_in:
            self._stay_in = None
            if self._there is not None:
                os.close(os.open(self._there, os.O_WRONLY | os.O_CREAT))
            time.sleep(self._stay_seconds)

    def wrap(self, name: str, port: Any) -> object:
        """Return the port with its public methods watched."""
        if name == "log":
            self._log = port
        members: dict[str, object] = {}
        for member in dir(port):
            if member.startswith("_"):
                continue
            watched = callable(getattr(type(port), member, None)) and member in WATCHED.get(name, (member,))
            members[member] = self._method(name, port, member) if watched else _same(port, member)
        return type(f"Watched{type(port).__name__}", (), members)()

    def _method(self, name: str, port: Any, member: str) -> Callable[..., object]:
        def method(_: object, *args: Any, **kwargs: Any) -> object:
            self.pass_by(f"before {name}.{member}", args)
            result = getattr(port, member)(*args, **kwargs)
            self.pass_by(f"after {name}.{member}")
            if name == "log":
                self.enter(result)
            return result

        return method


def _same(port: Any, member: str) -> property:
    return property(lambda _: getattr(port, member))


class Gate:
    """Lets processes through when as many have come as it was made for, or after two seconds."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._come, self._comer = os.pipe()

    def meet(self) -> None:
        """Wait for the others."""
        os.write(self._comer, b"!")
        until = time.monotonic() + 2.0
        waiting = array("i", [0])
        while waiting[0] < self._count and time.monotonic() < until:
            fcntl.ioctl(self._come, termios.FIONREAD, waiting)  # How many have come: nobody reads what they wrote.
            time.sleep(0.0001)

    def close(self) -> None:
        """Let go of what it is made of."""
        os.close(self._come)
        os.close(self._comer)


def _run(call: dict[str, Any], start: int, gate: Gate) -> int:
    """Be the child: wait for the start, and for the file `once`; run the command line with its streams in files."""
    os.read(start, 1)
    if "once" in call:
        await_file(call["once"])
    time.sleep(call.get("delay", 0.0))
    for descriptor, path in ((1, call["out"]), (2, call["err"])):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.update(call.get("environ", {}))
    if "user" in call and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(call["user"])
        os.setuid(call["user"])
    wrap = Boundaries(call, gate.meet).wrap if WRAPPED & call.keys() else None
    return main(call["arguments"], wrap=wrap)


def _fork(call: dict[str, Any], start: int, gate: Gate) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 99  # What no command answers: the child broke outside of `main`.
    try:
        code = _run(call, start, gate)
    finally:
        if "done" in call:
            Path(call["done"]).touch()
        os._exit(code)


def _perform(calls: list[dict[str, Any]]) -> list[int]:
    """Run all calls at the same moment; return their exit codes in order."""
    start, starter = os.pipe()
    gate = Gate(len(calls))
    pids = [_fork(call, start, gate) for call in calls]
    os.write(starter, b"!" * len(pids))
    for pid, call in zip(pids, calls, strict=True):
        if "kill_after" in call:
            time.sleep(call["kill_after"])
            os.kill(pid, signal.SIGKILL)
        if "kill_when" in call:
            _kill_when(Path(call["kill_when"]), pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    gate.close()
    os.close(start)
    os.close(starter)
    return codes


def _kill_when(sign: Path, pid: int) -> None:
    """Kill a process as soon as a file is there; one that ends before is left to its end."""
    while not sign.exists():
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)


def _import_everything() -> None:
    for package in (adapters, projections):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for late in ("psycopg", "redis", "ctypes"):
        import_module(late)  # The program imports them when they are used.
    for encoding in ("ascii", "idna", "latin-1", "utf-8-sig"):
        codecs.lookup(encoding)  # Python imports them late too, and a child that is an ordinary user may not.
    gc.freeze()


def _serve() -> None:
    """Obey standard input until it ends."""
    _import_everything()
    for order in sys.stdin:
        answer = json.dumps(_perform(json.loads(order)))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
