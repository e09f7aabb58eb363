"""Running `keyturn demo` as a process of its own, in a temporary folder of its own, and seeing what it leaves."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.demo import servers

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 120.0
"""Far more than a demo takes, on a machine that does much else."""


@dataclass(frozen=True)
class Place:
    """Where a demo runs: its temporary folder, the checkout it is run from, and whose process it is."""

    temporary: Path
    checkout: Path
    interpreter: str = sys.executable
    user: str | None = None

    def start(self, *arguments: str, prelude: str = "pass", path: str | None = None) -> subprocess.Popen[str]:
        """Start the demo; `prelude` is a statement that runs before the program is imported."""
        account = pwd.getpwnam(self.user) if self.user else None
        script = f"import sys; {prelude}; from adapters.cli.main import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.Popen(
            [self.interpreter, "-c", script, "demo", *arguments],
            cwd=self.checkout,
            env={
                "PATH": os.environ["PATH"] if path is None else path,
                "HOME": str(self.temporary),
                "TMPDIR": str(self.temporary),
                # A copied interpreter knows neither our packages nor where its own library is now.
                "LD_LIBRARY_PATH": str(Path(self.interpreter).parents[1] / "lib"),
                "PYTHONPATH": os.pathsep.join((str(self.checkout), sysconfig.get_path("purelib"))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "LC_ALL": "C.UTF-8",
            },
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, prelude: str = "pass", path: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the demo to its end."""
        with self.start(*arguments, prelude=prelude, path=path) as process:
            said, told = process.communicate(timeout=SECONDS_MAX)
        return subprocess.CompletedProcess(process.args, process.returncode, said, told)

    def is_clean(self, *, seconds_max: float = 15.0) -> bool:
        """Tell whether no file is left, and soon no process that works there or names the place."""
        limit = time.monotonic() + seconds_max
        while left := [*self.temporary.iterdir(), *self._processes()]:
            if time.monotonic() > limit:
                print(*left, sep="\n")
                return False
            time.sleep(0.05)
        return True

    def stop_when_guarded(self, process: subprocess.Popen[str], *, seconds_max: float = 30.0) -> None:
        """Halt a demo at a moment when every folder that it made has its guardian: before that nobody can clean up."""
        limit = time.monotonic() + seconds_max
        while True:
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            guardians = [each for each in self._processes() if servers.GUARDIAN.name in each]
            if all(any(str(folder) in each for each in guardians) for folder in self.temporary.iterdir()):
                return
            assert time.monotonic() < limit, "a folder is without a guardian"
            process.send_signal(signal.SIGCONT)
            time.sleep(0.02)

    def _processes(self) -> Sequence[str]:
        wanted = str(self.temporary)
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if wanted in command or (process / "cwd").readlink().is_relative_to(wanted):
                    found.append(f"{process.name}: {command}")
            except OSError:
                continue  # It has ended, or is none of ours.
        return found


@contextmanager
def place(*, user: str | None = None) -> Iterator[Place]:
    """Make a place; another user gets a checkout and, where ours is closed to it, an interpreter of its own."""
    # Not pytest's folder: servers that run as `nobody` must be able to pass through it.
    with tempfile.TemporaryDirectory(prefix="keyturn-test-", ignore_cleanup_errors=True) as name:
        outer = Path(name)
        outer.chmod(0o755)
        temporary = outer / "tmp"
        temporary.mkdir()
        temporary.chmod(0o755)  # The program may have narrowed the umask of this process.
        if user is None:
            yield Place(temporary, ROOT)
            return
        checkout = outer / "checkout"
        for package in ("engine", "adapters", "projections"):
            shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "keyturn.py", checkout)
        interpreter = sys.executable
        if not servers.may_run(Path(interpreter)):
            interpreter = _copy_interpreter(outer / "python")
        subprocess.run(["chmod", "-R", "a+rX", *outer.glob("[cp]*")], check=True)
        os.chown(temporary, pwd.getpwnam(user).pw_uid, -1)
        yield Place(temporary, checkout, interpreter, user)


def _copy_interpreter(folder: Path) -> str:
    """Copy the interpreter with its standard library, and return the path of the copy."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix)
    (folder / "bin").mkdir(parents=True)
    shutil.copy((base / "bin" / version).resolve(), folder / "bin" / version)
    left_out = shutil.ignore_patterns("site-packages", "test", "config-*", "__pycache__")
    shutil.copytree(base / "lib" / version, folder / "lib" / version, ignore=left_out)
    for library in (base / "lib").glob("libpython*"):
        shutil.copy(library, folder / "lib")
    return str(folder / "bin" / version)
