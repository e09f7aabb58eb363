"""Where the demo takes place: two servers, a folder with a configuration, and the program itself.

Rule 1: whatever the demo does to a credential, it does with a command of the program, given by the arguments that are
shown; there is no private path into the engine.
Rule 2: passwords of the servers reach the program through a file that is removed at once, never by an argument.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from adapters.demo import servers
from engine.errors import ExitCode, KeyturnError
from engine.values import Secret

if TYPE_CHECKING:
    import psycopg

Program = Callable[[Sequence[str]], int]
"""The command line: takes arguments, prints, and returns the exit code."""

_ADMIN: Final = "keyturn"
_DATABASE: Final = "shop"
_ROOT: Final = Path(__file__).parents[2]
"""What has to be on the path of a child so that it runs this very program."""

_CONFIGURATION: Final = """\
version: 1
secretStores:
  local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}
  dotenv: {type: env-file, path: ./app.env}
services:
  app-db:                                # two logins of PostgreSQL that take turns
    type: postgresql
    host: 127.0.0.1
    port: DATABASE_PORT
    database: shop
    tls: disable                         # loopback; verify-full is the default
    verification_query: SELECT count(*) FROM stock
    admin_credentials: {username: keyturn, password: store://local/admin/app-db}
    credential: {username: shop, store: local, key: demo/app-db}
    publish:
      - store: dotenv
        key: DATABASE_URL
        template: "postgresql://{{ username }}:{{ password }}@{{ host }}:{{ port }}/{{ database }}"
    rotation:
      strategy: alternating
      usernames: [shop_a, shop_b]
      grace_period: 1h
      verification: {attempts: 2}
      retry: {first: 300ms}
  cache:                                 # one user of Redis with two passwords at a time
    type: redis
    host: 127.0.0.1
    port: CACHE_PORT
    tls: disable
    acl: ["~shop:*", +@connection, +acl|whoami, +incrby]
    admin_credentials: {password: store://local/admin/cache}
    credential: {username: shop, store: local, key: demo/cache}
    publish:
      - store: dotenv
        key: CACHE_URL
        template: "redis://{{ username }}:{{ password }}@{{ host }}:{{ port }}/0"
    rotation: {strategy: dual, grace_period: 1h}
"""


class DemoIncomplete(KeyturnError):
    """The demo needs the Python package {module!r}, which is not installed."""

    exit_code = ExitCode.USAGE
    hint = servers.ServerMissing.hint


class DemoBroken(KeyturnError):
    """The demo did not go as it should: {what}."""

    exit_code = ExitCode.UNEXPECTED
    hint = "Please report it with what was printed; nothing of the demo is left behind."


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: its exit code, and the JSON documents that it printed."""

    code: int
    documents: list[dict[str, Any]]

    @property
    def document(self) -> dict[str, Any]:
        """The one document."""
        assert len(self.documents) == 1, "the command prints one document"
        return self.documents[0]


@dataclass(frozen=True)
class Scene:
    """The servers, the folder, and the program to use on them."""

    program: Program
    folder: Path
    database: servers.PostgresServer
    cache: servers.RedisServer

    @property
    def env_file(self) -> Path:
        """The file that the application reads."""
        return self.folder / "app.env"

    def keyturn(self, *arguments: str, expected: ExitCode = ExitCode.DONE) -> Outcome:
        """Run a command of the program here, in this process; raises `DemoBroken` where it ends otherwise."""
        said, told = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(told):
            code = self.program(self._whole(arguments))
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if code != expected:
            reason = " ".join(told.getvalue().split("keyturn:")[-1].split()) or "it said nothing"
            raise DemoBroken(what=f"keyturn {' '.join(arguments)} ended with {code}: {reason}")
        documents = [json.loads(line) for line in said.getvalue().splitlines() if line.startswith("{")]
        return Outcome(code, documents)

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of the program in a process of its own, which is gone at the end of the block."""
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        child = subprocess.Popen(
            [sys.executable, "-m", "adapters.cli.main", *self._whole(arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield child
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()

    @contextmanager
    def administrator(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Connect to the database of the demo as its superuser; each statement is a transaction."""
        with _connected(self.database, _DATABASE) as connection:
            yield connection

    def put(self, path: str, username: str, password: Secret) -> None:
        """Put a password into the encrypted store, as the configuration refers to it."""
        file = self.folder / "password"
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(password.reveal())
            self.keyturn("secret", "put", "local", path, "--username", username, "--value-file", str(file))
        finally:
            file.unlink(missing_ok=True)

    def configure(self) -> str:
        """Write the configuration over the one that `keyturn init` wrote; return its text."""
        text = _CONFIGURATION.replace("DATABASE_PORT", str(self.database.port))
        text = text.replace("CACHE_PORT", str(self.cache.port))
        (self.folder / "keyturn.yaml").write_text(text, encoding="utf-8")
        return text

    def _whole(self, arguments: Sequence[str]) -> list[str]:
        where = ["--config", str(self.folder / "keyturn.yaml"), "--state", str(self.folder / "state")]
        return [*arguments, "--json", *where]


def require() -> None:
    """Look whether all is there that the demo needs; raises `ServerMissing` or `DemoIncomplete`."""
    servers.find_postgres()
    servers.find_redis()
    for module in ("psycopg", "redis"):
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            raise DemoIncomplete(module=error.name) from None
        except ImportError:
            # psycopg raises this where it finds no libpq, which is in a package of its own.
            raise DemoIncomplete(module="psycopg-binary") from None


@contextmanager
def open_scene(program: Program) -> Iterator[Scene]:
    """Start the servers for the length of the block, in folders that go with it; raises what they raise."""
    with ExitStack() as stack:
        folder = stack.enter_context(servers.passing_folder("keyturn-demo-"))
        cache = stack.enter_context(servers.redis_server(aclfile=True))
        database = stack.enter_context(servers.postgres_server())
        yield Scene(program, folder, database, cache)


def furnish(scene: Scene, admin_password: Secret) -> None:
    """Make the database of a shop, its owner, and keyturn's own login, which is no superuser."""
    with _connected(scene.database, "postgres") as connection:
        # Only the verifier goes to the server: a password does not belong into a statement.
        stored = connection.pgconn.encrypt_password(admin_password.reveal().encode(), _ADMIN.encode(), b"scram-sha-256")
        connection.execute(f"CREATE ROLE {_ADMIN} LOGIN CREATEROLE PASSWORD '{stored.decode()}'".encode())
        connection.execute("CREATE ROLE shop NOLOGIN")
        connection.execute(f"GRANT shop TO {_ADMIN} WITH ADMIN OPTION".encode())
        connection.execute(f"CREATE DATABASE {_DATABASE} OWNER shop".encode())
    with scene.administrator() as connection:
        connection.execute("SET ROLE shop")
        connection.execute("CREATE TABLE orders AS SELECT n AS number FROM generate_series(1, 100) AS n")
        connection.execute("CREATE TABLE stock AS SELECT n AS article FROM generate_series(1, 10) AS n")


@contextmanager
def _connected(server: servers.PostgresServer, database: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    import psycopg

    with psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=database,
        user=server.superuser,
        password=server.password.reveal(),
        autocommit=True,
    ) as connection:
        yield connection
