"""A throw-away MariaDB for the tests: its binaries come from the system, since none come as a wheel.

Rule: as adapters/demo/servers.py has it for the others: 127.0.0.1, a free port, a password of its own, a folder that
goes with it, and `nobody` where root runs the tests.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.demo import servers
from adapters.demo.servers import HOST, ServerFailed, ServerMissing
from engine.values import Secret

if TYPE_CHECKING:
    import pymysql

BASE = "KEYTURN_TEST_MARIADB"
"""The environment variable with the folder that Debian's packages were unpacked to, where they are not installed."""
SMALL = {
    "innodb_buffer_pool_size": "8M",
    "innodb_log_file_size": "4M",
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_fast_shutdown": "2",
    "aria_pagecache_buffer_size": "8M",
    "aria_log_file_size": "8M",
    "key_buffer_size": "1M",
    "performance_schema": "OFF",
}
"""Nothing of a throw-away server is large, nor synced to disk."""


class MariadbServer(servers._Server):
    """A running MariaDB: log in over TCP as `superuser` with `password`."""

    superuser: str = "root"

    def _is_ready(self) -> bool:
        # The greeting begins with the version of the protocol, 10, behind four bytes of the packet's head.
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                return connection.recv(5)[4:5] == b"\n"
        except OSError:
            return False

    @property
    def general_log(self) -> bytes:
        """Every statement that the server was given."""
        return (self.folder / "general.log").read_bytes()

    @property
    def binary_log(self) -> bytes:
        """What replicas are given; statements stand in it as they were written."""
        return b"".join(file.read_bytes() for file in sorted(self.folder.glob("binlog.0*")))

    def connect(self, username: str = "", password: str = "", **given: Any) -> pymysql.Connection[Any]:
        """Return a fresh autocommit connection by the plain driver; the superuser's where no login is given."""
        import pymysql

        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=username or self.superuser,
            password=(password if username else self.password.reveal()).encode(),
            ssl_disabled=True,
            autocommit=True,
            **given,
        )

    def run(self, statement: str, *parameters: object) -> list[Any]:
        """Run one statement as the superuser, out of the general log, and return its rows."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_off = 1")
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())


@cache
def find_mariadb() -> tuple[Path, Path]:
    """Return mariadbd and its folder `usr`; raises `ServerMissing` where there is none we may start."""
    unpacked = os.environ.get(BASE)
    places = [Path(unpacked) / "usr"] if unpacked else [Path("/usr"), Path("/usr/local")]
    for base in places:
        program = base / "sbin" / "mariadbd"
        if servers.may_run(program):
            return program, base
    raise ServerMissing(program="MariaDB")


@contextmanager
def mariadb_server(settings: Mapping[str, str] | None = None) -> Iterator[MariadbServer]:
    """Run a fresh MariaDB for the length of the block, with general log and binary log.

    `settings` are further lines of its configuration. Raises `ServerMissing` or `ServerFailed`.
    """
    program, base = find_mariadb()
    run = [*_with_libraries(base), str(program)]
    for tries_left in reversed(range(servers.PORT_TRIES)):
        with servers._folder("keyturn-mariadb-") as (folder, account):
            port, password = servers._free_port(), Secret(secrets.token_urlsafe(24))
            servers._write(folder / "my.cnf", _configuration(folder, base, port, settings or {}), account)
            command = [*run, f"--defaults-file={folder / 'my.cnf'}"]
            with servers._guarded(folder, account, "SIGTERM", command) as guardian:
                _initialise(command, _tables(base), folder, account, password)
                server = MariadbServer(HOST, port, password, folder, 0, guardian)
                if not servers._did_start(server, tries_left):
                    continue
                yield server
                return


def _configuration(folder: Path, base: Path, port: int, settings: Mapping[str, str]) -> str:
    ours = {
        **SMALL,
        "basedir": str(base),
        "lc_messages_dir": str(_tables(base).parent),
        "character_sets_dir": str(_tables(base).parent / "charsets"),
        "plugin_dir": str(next(base.glob("lib/m*/plugin/auth_ed25519.so")).parent),
        "plugin_load_add": "auth_ed25519",
        "datadir": str(folder / "data"),
        "socket": str(folder / "socket"),
        "pid_file": str(folder / "pid"),
        "bind_address": HOST,
        "port": str(port),
        "skip_name_resolve": "1",
        "server_id": "1",
        "log_bin": str(folder / "binlog"),
        "general_log": "1",
        "general_log_file": str(folder / "general.log"),
        **settings,
    }
    return "[mariadbd]\n" + "".join(f"{name} = {value}\n" for name, value in ours.items())


def _tables(base: Path) -> Path:
    """Return the script that makes the server's own tables; since MariaDB 11 it is called by another name."""
    return next(base.glob("share/m*/*_system_tables.sql"))


def _with_libraries(base: Path) -> list[str]:
    """Return what has a program find the libraries that were unpacked beside it."""
    if base == Path("/usr"):
        return []
    places = [str(place) for root in (base.parent, base) for place in root.glob("lib/*-linux-*")]
    return ["/usr/bin/env", f"LD_LIBRARY_PATH={':'.join(places)}"]


def _initialise(
    command: list[str], tables: Path, folder: Path, account: servers._Account | None, password: Secret
) -> None:
    """Make the tables of the server, and its one account: what mariadb-install-db does, and knows only below /usr."""
    names = (tables.name, tables.name.replace("system", "performance"), tables.name.replace(".sql", "_data.sql"))
    script = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
    script += "\n".join((tables.parent / name).read_text() for name in names)
    root = f"'{MariadbServer.superuser}'@'%'"
    script += (
        "\nDELETE FROM global_priv WHERE User <> 'mariadb.sys';\nFLUSH PRIVILEGES;\n"
        f"GRANT ALL ON *.* TO {root} IDENTIFIED BY '{password.reveal()}' WITH GRANT OPTION;\n"
    )
    (folder / "data").mkdir()
    if account:
        account.own(folder / "data")
    try:
        subprocess.run(
            [*command, "--bootstrap", "--skip-log-bin", "--skip-general-log"],
            input=script.encode(),
            cwd=folder,
            check=True,
            capture_output=True,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C"},
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").splitlines() or ["the server said nothing"]
        raise ServerFailed(program="MariaDB", why=lines[-1]) from None
