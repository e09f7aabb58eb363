"""The process between keyturn and a throw-away server: the server lives while its input stays open.

Rule 1: standard library only, and run as a file: it must start where nothing is installed.
Rule 2: it reads its orders (`start`, `stop`, `kill`, `look`) from standard input and answers each with one
line: the process id of the server, or 0 where it does not run. At the end of the input it stops the server,
removes the folder and ends.

The end of the input is the one signal that cannot be missed: it comes when keyturn closes it, and just as
well when keyturn is killed by any signal, SIGKILL included. PR_SET_PDEATHSIG would do less: Linux alone has
it, it follows the thread that made the process, and nobody would remove the folder.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STOP_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.05


def _start(folder: Path, account: tuple[int, int] | None, command: list[str]) -> subprocess.Popen[bytes]:
    user, group = account or (None, None)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=group,
            extra_groups=[] if account else None,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C"},
        )


def _stop(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if server.poll() is None:
        server.send_signal(number)
        try:
            server.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            server.kill()
    server.wait()


def _remove(folder: Path) -> None:
    """Remove the folder; what was begun in it (initdb) may outlive keyturn by seconds, and write until its files go."""
    limit = time.monotonic() + STOP_SECONDS_MAX
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < limit:
        time.sleep(_POLL_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str]) -> None:
    """Obey standard input. Arguments: folder, `uid:gid` or `-`, name of the stopping signal, the command."""
    folder, account_text, stop_name, *command = arguments
    account: tuple[int, int] | None = None
    if account_text != "-":
        user, group = account_text.split(":")
        account = (int(user), int(group))
    # A Ctrl-C reaches the whole foreground group; the server must outlive it until keyturn has cleaned up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server: subprocess.Popen[bytes] | None = None
    try:
        for order in sys.stdin:
            if server is not None and order != "look\n":
                _stop(server, signal.SIGKILL if order == "kill\n" else signal.Signals[stop_name])
            if order == "start\n":
                server = _start(Path(folder), account, command)
            pid = server.pid if server is not None and server.poll() is None else 0
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
    finally:
        if server is not None:
            _stop(server, signal.Signals[stop_name])
        _remove(Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
