"""The tutorial works as it stands: its shell blocks are run in order, and print what the page says they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from adapters.demo import servers
from tests.conftest import without_server

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
OWN = "## Your own PostgreSQL"
_MARK = "=== block"
_VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\bv(\d+)-[0-9a-f]{6}\b"), r"v\1"),
    (re.compile(r"^#\d+", re.MULTILINE), "#"),
)


class Block(NamedTuple):
    """A shell block, and the lines that the page shows below it."""

    commands: str
    shown: list[str]


def part(*, own: bool) -> str:
    """Return the rehearsal, or the part on a PostgreSQL of one's own."""
    return PAGE.read_text(encoding="utf-8").split(OWN)[own]


def _fenced(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def blocks(text: str) -> list[Block]:
    """Return the blocks that are to be run (`sh`), each with the `text` that follows it, if any."""
    found: list[Block] = []
    for kind, body in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if kind == "sh":
            found.append(Block(body, []))
        elif kind == "text":
            found[-1].shown.extend(_same(body))
    return found


def _same(text: str) -> list[str]:
    """Return the lines with what differs between two runs taken out."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text.splitlines()


def run(found: list[Block], folder: Path, *programs: Path, **environment: str) -> list[list[str]]:
    """Run the blocks in one shell, which ends at the first command that fails; return what each printed.

    Other programs that they need are in the folders `programs`.
    """
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    program = bin_folder / "keyturn"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m adapters.cli.main "$@"\n')
    program.chmod(0o755)
    script = "".join(f"echo '{_MARK}'\n{block.commands}" for block in found)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            "PATH": os.pathsep.join((str(bin_folder), os.environ["PATH"], *map(str, programs))),
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return [_same(printed) for printed in done.stdout.split(f"{_MARK}\n")[1:]]


def _assert_shown(found: list[Block], printed: list[list[str]]) -> None:
    """Every line that the page shows was printed, in that order; the page may leave lines out."""
    for block, lines in zip(found, printed, strict=True):
        rest = iter(lines)
        missing = [line for line in block.shown if line not in rest]
        assert not missing, f"{block.commands}printed\n{chr(10).join(lines)}"


@pytest.mark.slow
def test_the_rehearsal_prints_what_the_page_says(tmp_path: Path) -> None:
    """Rotating, interrupting, going back and breaking it, without a server."""
    found = blocks(part(own=False))
    assert len(found) >= 8
    assert sum(bool(block.shown) for block in found) >= 6
    _assert_shown(found, run(found, tmp_path))
    assert not (tmp_path / ".local").exists(), "the state stays in the folder of the rehearsal"


@pytest.fixture
def own_database() -> Iterator[servers.PostgresServer]:
    """A PostgreSQL with a database `app`, whose owner `app` logs in: how the page finds it."""
    try:
        servers.find_postgres()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.postgres_server() as server:
        _execute(server, "CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app")
        yield server


def _execute(server: servers.PostgresServer, *statements: str) -> None:
    with psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.superuser,
        password=server.password.reveal(),
        dbname="postgres",
        autocommit=True,
    ) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.slow
def test_a_postgresql_of_ones_own_is_rotated_by_the_same_commands(
    own_database: servers.PostgresServer, tmp_path: Path
) -> None:
    """The statements, the configuration and the commands of the page; only the place of the server is another."""
    server, text = own_database, part(own=True)
    (statements,) = _fenced(text, "sql")
    _execute(server, statements, "ALTER ROLE keyturn PASSWORD 'canary-admin'")
    (configuration,) = _fenced(text, "yaml")
    for said, here in (
        ("host: db.internal", f"host: {server.host}"),
        ("port: 5432", f"port: {server.port}"),
        ("tls: verify-full", "tls: disable"),
    ):
        assert said in configuration
        configuration = configuration.replace(said, here)
    (tmp_path / "theirs.yaml").write_text(configuration)
    (tmp_path / "password").write_text("canary-admin")
    prepared = """\
keyturn init
mv theirs.yaml keyturn.yaml
keyturn secret put local admin/app-db --username keyturn --value-file password
"""
    found = [Block(prepared, []), *blocks(text)]
    printed = run(found, tmp_path, servers.find_postgres(), KEYTURN_STATE=str(tmp_path / "state"))
    _assert_shown(found, printed)
    assert "canary-admin" not in str(printed)
