"""Whatever is wrong is told in three lines: what, where, what to do; nothing was changed, and no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.demo import servers
from tests.cli.forking import Forking
from tests.cli.program import HEAD, Folder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("before", "after", "key", "what"),
    [
        ("strategy: dual", "strategy: duel", "services.app-db.rotation.strategy", "keyturn.yaml:"),
        ("ttl: 30d", "tll: 30d", "services.app-db.rotation.tll", "Did you mean 'ttl'?"),
        ("ttl: 30d", "ttl: 30", "services.app-db.rotation.ttl", "500ms, 30s, 10m, 24h or 30d"),
        ("ttl: 30d", "ttl: 30d\n      ttl: 10d", "services.app-db.rotation.ttl", "keyturn.yaml:"),
        ("store: local, key", "store: lokal, key", "services.app-db.credential.store", "Did you mean 'local'?"),
        ("default/app-db", "../../etc/passwd", "services.app-db.credential.key", "keyturn.yaml:"),
        ("app-db:", "../app:", "services.../app", "a name"),
        ("type: memory", "type: memroy", "services.app-db.type", "Did you mean 'memory'?"),
        ("version: 1", "version: 7", "version", "keyturn.yaml:1"),
        ("key_file: ./master.key", "key_file: [a]", "secretStores.local.key_file", "keyturn.yaml:3"),
    ],
    ids=lambda value: None,
)
def test_a_wrong_configuration_is_told_by_line_key_and_what_was_meant(
    folder: Folder, before: str, after: str, key: str, what: str
) -> None:
    """The same by every command; `config check` lists all of it."""
    text = folder.config.read_text()
    assert before in text
    folder.config.write_text(text.replace(before, after, 1))
    folder.run("rotate", "app-db").refused(2, key, what, "keyturn config check")
    check = folder.run("config", "check", "--json")
    assert check.code == 2
    assert key in [problem["key"] for problem in check.document["problems"]]
    folder.config.write_text(text)
    assert folder.head() == 0


def test_a_secret_in_the_configuration_is_refused_and_not_repeated(folder: Folder) -> None:
    text = folder.config.read_text().replace(
        "key_file: ./master.key", "key: passphrase, passphrase: canary-in-the-wrong-place"
    )
    folder.config.write_text(text)
    done = folder.run("rotate", "app-db")
    done.refused(2, "secretStores.local", "reference")
    assert "canary" not in done.err + done.out
    folder.config.unlink()


def test_a_configuration_that_is_not_there_is_named(folder: Folder) -> None:
    folder.config.unlink()
    folder.run("rotate", "app-db").refused(2, "keyturn.yaml", "keyturn init")
    folder.run("--config", "other.yaml", "plan", "--all").refused(2, "other.yaml")
    folder.run("plan", "--all", KEYTURN_CONFIG="third.yaml").refused(2, "third.yaml")


def test_a_state_folder_that_is_not_there_is_named(folder: Folder) -> None:
    """Nothing is made in its place: a second log would know nothing of what the first one holds."""
    nowhere = folder.path / "nowhere"
    for command in (["rotate", "app-db"], ["status"], ["history"], ["audit", "verify"], ["resume"]):
        folder.run(*command, "--state", str(nowhere)).refused(2, str(nowhere), "keyturn init")
    assert not nowhere.exists()
    folder.run("status", "--state", "postgresql://user:canary@host/db").refused(2, "postgresql://…", "Give a path")
    assert not [text for text in folder.printed if "canary" in text]
    folder.ok("rotate", "app-db", "--state", folder.state.as_uri())


def test_a_state_folder_that_others_may_write_is_refused(folder: Folder) -> None:
    folder.state.chmod(0o777)
    folder.run("rotate", "app-db").refused(2, "others may write", "0700")


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["rotate"], 2, ["No service is named", "--all"]),
        (["rotate", "app-bd"], 2, ["no service 'app-bd'", "Did you mean 'app-db'?"]),
        (["rotate", "../app-db"], 2, ["no service '../app-db'"]),
        (["rotate", "app-db", "--all"], 2, ["--all", "without names"]),
        (["rotate", "app-db", "--timeout", "5"], 2, ["a duration with its unit", "keyturn rotate --help"]),
        (["rotate", "app-db", "--detach", "--new-value-file", "x"], 2, ["--detach"]),
        (["rotate", "app-db", "--new-value-file", "nowhere"], 2, ["nowhere", "No such file"]),
        (["rotate", "app-db", "--new-value", "hunter2"], 2, ["--new-value"]),
        (["rotat"], 2, ["Did you mean 'rotate'?", "keyturn --help"]),
        (["rollback", "app-db", "--yes"], 6, ["no previous version", "Restore points: none"]),
        (["rollback", "nope", "--yes"], 2, ["no service 'nope'"]),
        (["resume", "nope"], 2, ["no rotation 'nope'", "keyturn history"]),
        (["abort", "app-db"], 2, ["no rotation 'app-db'"]),
        (["show", "nope"], 2, ["no rotation 'nope'"]),
        (["show", ""], 2, ["no rotation ''"]),
        (["replay", "app-db", "--until", "soon"], 2, ["--until soon", "#41"]),
        (["history", "--since", "yesterday"], 2, ["--since yesterday", "2026-03-01"]),
        (["history", "nope"], 2, ["no service 'nope'"]),
        (["status", "nope"], 2, ["no service 'nope'"]),
        (["secret", "get", "app-db"], 6, ["no current version of app-db", "keyturn rotate app-db"]),
        (["secret", "get", "app-db", "--version", "v7"], 6, ["no v7 version"]),
        (["exec", "app-db", "--", "true"], 6, ["no current version of app-db"]),
    ],
)
def test_wrong_usage_is_told_with_the_next_step(
    folder: Folder, arguments: list[str], code: int, parts: list[str]
) -> None:
    folder.run(*arguments).refused(code, *parts)
    assert not [text for text in folder.printed if "hunter2" in text]
    assert folder.head() == 0


@pytest.mark.parametrize(
    "text", ["", "\n", "two\nlines", "a\0b", "x" * 70_000], ids=["empty", "newline", "lines", "nul", "long"]
)
def test_a_value_that_is_none_is_refused_without_being_shown(folder: Folder, text: str) -> None:
    done = folder.run("rotate", "app-db", "--new-value-file", "-", stdin=text)
    done.refused(2, "--new-value-file -", "one line with the value")
    assert folder.head() == 0


def test_a_log_of_another_program_is_refused(folder: Folder) -> None:
    (folder.state / "events.db").write_text("not a database, and longer than the header of one would be" * 20)
    folder.run("rotate", "app-db").refused(2, "is not an event log of keyturn", "--state")
    folder.run("status").refused(2, "is not an event log of keyturn")


def test_a_key_that_is_lost_stops_everything_that_needs_the_store(folder: Folder) -> None:
    """Exit 4 names the file; nothing is recorded."""
    folder.settled("app-db")
    before = folder.head()
    (folder.path / "master.key").rename(folder.path / "kept.key")
    folder.run("rotate", "app-db").refused(4, "master.key", "service app-db (default)")
    folder.run("secret", "get", "app-db").refused(4, "master.key")
    (folder.path / "kept.key").rename(folder.path / "master.key")
    assert folder.head() == before


def test_a_broken_view_changes_no_outcome(folder: Folder) -> None:
    """The rotation is done and says so; the view is complained of, and can be deleted."""
    folder.settled("app-db")
    (folder.state / "views.db").write_text("this is no database" * 100)
    done = folder.run("rotate", "app-db", "--json")
    assert (done.code, done.document["state"]) == (0, "grace")
    assert "the views are behind the log" in done.err
    (folder.state / "views.db").unlink()
    assert "grace" in folder.ok("status").out


POSTGRES = """
  app-db:
    type: postgresql
    host: 127.0.0.1
    port: {port}
    database: postgres
    tls: disable
    admin_credentials: {{username: {user}, password: env://CANARY_ADMIN}}
    credential: {{username: app, store: local, key: default/app-db}}
    rotation: {{strategy: single}}
"""


def test_a_server_that_is_not_there_is_told_of(folder: Folder) -> None:
    """Exit 4, before anything was recorded."""
    folder.config.write_text(_postgres(9, "admin"))
    done = folder.run("rotate", "app-db", CANARY_ADMIN="canary-admin-password")
    done.refused(4, "app-db")
    assert "canary-admin" not in done.err + done.out
    folder.configure("app-db")
    assert folder.head() == 0


def _postgres(port: int, user: str) -> str:
    return HEAD + POSTGRES.format(port=port, user=user)


def test_a_wrong_admin_password_is_told_of(folder: Folder, postgres_server: servers.PostgresServer) -> None:
    """Exit 4: the server refused our own login; the password is in no message."""
    folder.config.write_text(_postgres(postgres_server.port, postgres_server.superuser))
    done = folder.run("rotate", "app-db", CANARY_ADMIN="canary-admin-password")
    done.refused(4, "app-db")
    assert "canary-admin" not in done.err + done.out
    folder.configure("app-db")
    assert folder.head() == 0


def test_a_driver_that_is_not_installed_is_named_with_its_extra(folder: Folder) -> None:
    """Exit 2 and the command that installs it."""
    blocked = folder.path / "blocked"
    for name in ("psycopg", "psycopg_binary"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise ModuleNotFoundError('none', name={name!r})")
    folder.config.write_text(_postgres(9, "admin"))
    path = os.pathsep.join((str(blocked), folder.environment()["PYTHONPATH"]))
    done = folder.run("rotate", "app-db", PYTHONPATH=path, CANARY_ADMIN="canary")
    done.refused(2, "psycopg", "keyturn[postgres]")
    folder.configure("app-db")
    assert folder.head() == 0


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path: Path, forking: Forking) -> None:
    folder = Folder(tmp_path, forking)
    (tmp_path / "file").touch()
    folder.run("init", "--state", str(tmp_path / "file" / "state")).refused(2, "state")
    assert not folder.config.exists()
