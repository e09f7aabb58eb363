"""The process between keyturn and a program: it starts it, watches it, and leaves nothing of it behind.

Rule 1: standard library only, and run as a file: it is started for every run, so it imports little.
Rule 2: it reads what to do as one line of JSON from standard input, writes how it ended as one line to standard
output, and ends. The end of the input before that says that keyturn is gone: then so is the script.
Rule 3: what the script began goes with it, whatever session or process group it moved to: this process is the
subreaper of them all (prctl(2), PR_SET_CHILD_SUBREAPER), so no descendant can get out of its sight. Where the system
knows no subreapers, the script's own process group goes, which is all that can be named.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_SECONDS = 0.02
"""How often the descendants are counted."""
_KILL_SECONDS_MAX = 10.0
_AT_ONCE_MAX = 100
_FIRST = -20
_PAUSE_SECONDS = 0.001
_SET_DEATH_SIGNAL = 1
_SET_SUBREAPER = 36
"""PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of linux/prctl.h."""


class _Order:
    """What is to be done; the names are those of the JSON."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    end: float
    """When its time is over, on the clock that never goes back, which all processes share."""
    limits: dict[str, int]
    """Limits by their name behind `RLIMIT_`."""
    processes: int
    """How many processes there may be at a time."""
    stdin: int
    """What it reads as its standard input; -1 for nothing."""
    stdout: int
    stderr: int
    closing: list[int]
    """Descriptors that are for the script and not for this process."""
    secret_file: str
    """Where `secret` is written; empty where it is not."""
    secret: str

    def __init__(self, fields: dict[str, object]) -> None:
        self.__dict__.update(fields)


def _prctl(option: int, argument: int) -> None:
    function = getattr(ctypes.CDLL(None), "prctl", None)
    if function is not None:
        function(option, argument, 0, 0, 0)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as names:
                found += map(int, names.read().split())
    except OSError:
        pass
    return found


def _descendants(most: int) -> list[int]:
    """Return the script and every process that it began; where there are more than `most`, one more than that.

    Looking at all of them would take the longer, the more urgent it is.
    """
    found: list[int] = []
    waiting = _children(os.getpid())
    while waiting and len(found) <= most:
        pid = waiting.pop()
        found.append(pid)
        waiting += _children(pid)
    return found


def _reap(ended: dict[int, int]) -> bool:
    """Note the status of every process that has ended; return whether any is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        ended[pid] = status


def _kill_all(script: int | None) -> None:
    """Kill until nothing is left. A whole group dies at once, so a script that forks as fast as it can is caught.

    `script` is its process id, and None where it has ended: the number may be somebody else's by now. That nothing is
    left is asked of the system itself: whoever lost its parent is a child of this process.
    """
    limit = time.monotonic() + _KILL_SECONDS_MAX
    if script is not None:
        _kill(os.killpg, script)
    while _reap({}) and time.monotonic() < limit:
        groups = set()
        pids = _descendants(_AT_ONCE_MAX)
        for pid in pids:
            try:
                groups.add(os.getpgid(pid))
            except ProcessLookupError:
                continue
        for group in groups - {os.getpgrp()}:
            _kill(os.killpg, group)
        for pid in pids:
            _kill(os.kill, pid)
        time.sleep(_PAUSE_SECONDS)


def _kill(function: Callable[[int, int], None], identity: int) -> None:
    try:
        function(identity, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _limit(limits: dict[str, int]) -> None:
    """Set the limits of this process, which the script inherits; a limit that is lower already stays."""
    for name, most in {"CORE": 0, **limits}.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        _, hard = resource.getrlimit(kind)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def _threads_of_this_user() -> int:
    """Return how many threads the user has: RLIMIT_NPROC counts them all, wherever they were begun."""
    count, user = 0, os.getuid()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                pass
    return count


def _start(order: _Order) -> int:
    """Start the script in a session of its own; return its process id, or raise OSError where it cannot be run."""
    limits = dict(order.limits)
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    if os.getuid() != 0:
        # For everybody but the superuser it counts what runs already.
        limits["NPROC"] = _threads_of_this_user() + order.processes
    else:
        # The superuser is not held to it, so whoever counts must get its turn however many there are.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _FIRST)
    reader, writer = os.pipe()
    guardian = os.getpid()
    script = os.fork()
    if script == 0:
        try:
            _become(order, limits, guardian, usual)
        except OSError as error:
            os.write(writer, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(writer)
    for descriptor in order.closing:
        os.close(descriptor)
    with os.fdopen(reader, "rb") as answer:
        why = answer.read()
    if why:
        os.waitpid(script, 0)
        raise OSError(int(why), os.strerror(int(why)))
    return script


def _become(order: _Order, limits: dict[str, int], guardian: int, usual: int) -> None:
    """Become the script."""
    os.setsid()
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != guardian:
        return
    given = os.open(os.devnull, os.O_RDONLY) if order.stdin < 0 else order.stdin
    for source, place in ((given, 0), (order.stdout, 1), (order.stderr, 2)):
        os.dup2(source, place)
        os.set_inheritable(source, False)
    os.setpriority(os.PRIO_PROCESS, 0, usual)
    os.chdir(order.folder)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _limit(limits)
    os.execve(order.command[0], order.command, order.environment)


def _watch(script: int, order: _Order) -> str:
    """Wait for the script; return how it ended: `exit N`, `signal N`, `timeout`, `processes` or `gone`."""
    wake, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    ended: dict[int, int] = {}
    while True:
        _reap(ended)
        if script in ended:
            status = ended[script]
            return f"exit {os.WEXITSTATUS(status)}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
        if time.monotonic() >= order.end:
            return "timeout"
        if len(_descendants(order.processes)) > order.processes:
            return "processes"
        ready, _, _ = select.select([0, wake], [], [], min(_LOOK_SECONDS, max(order.end - time.monotonic(), 0)))
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready and not os.read(0, 1):
            return "gone"


def _write_secret(order: _Order) -> None:
    """Write what the script may read to a file that this user alone can read."""
    if order.secret_file:
        descriptor = os.open(order.secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(order.secret)


def _remove_secret(order: _Order) -> None:
    """Remove the folder of the secret, with whatever the script left in it."""
    if not order.secret_file:
        return
    top = os.path.dirname(order.secret_file)
    for folder, folders, files in os.walk(top, topdown=False):
        for name in [*files, *folders]:
            inside = os.path.join(folder, name)
            if os.path.isdir(inside) and not os.path.islink(inside):
                os.rmdir(inside)
            else:
                os.unlink(inside)
    os.rmdir(top)


def _read_order() -> _Order | None:
    """Return what to do; None where the input ends before it is said."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            return None
        line += part
    return _Order(json.loads(line))


def main() -> None:
    """Run one script as standard input says, and say on standard output how it ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = _read_order()
    if order is None:
        return
    _prctl(_SET_SUBREAPER, 1)
    try:
        _write_secret(order)
        try:
            script = _start(order)
        except OSError as error:
            said = f"error {error.strerror}"
        else:
            said = _watch(script, order)
            _kill_all(None if said.startswith(("exit", "signal")) else script)
    finally:
        _remove_secret(order)
    os.write(1, f"{said}\n".encode())


if __name__ == "__main__":
    main()
