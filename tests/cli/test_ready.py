"""What is wrong with this installation ends a command before anything is decided, recorded or done."""

from __future__ import annotations

import pytest

from adapters.stores.keys import create_key_file
from tests.cli.program import Folder

pytestmark = pytest.mark.slow

OPEN_IN = {"resume": "staging", "rollback": "grace", "abort": "grace", "retire": "grace", "retry": "rollback_failed"}


def commands() -> list[list[str]]:
    """Return every command that drives a rotation which is there already."""
    driving: dict[str, list[str]] = {"resume": [], "rollback": ["--yes"], "abort": [], "retire": [], "retry": []}
    return [[name, "app-db", *more] for name, more in driving.items()]


def opened(folder: Folder, name: str) -> None:
    """Leave the service with an open rotation that the command is for."""
    folder.settled("app-db")
    if OPEN_IN[name] == "staging":
        folder.run("rotate", "app-db", "--detach")
    elif OPEN_IN[name] == "grace":
        folder.ok("rotate", "app-db")
    else:
        folder.configure("app-db", faults="fail_verification, reject_restore")
        assert folder.run("rotate", "app-db").code == 5
        folder.configure("app-db")


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_a_key_that_does_not_open_the_store_records_nothing(folder: Folder, command: list[str]) -> None:
    """Exit 4; with the key back in its place the same command goes on from where things stood."""
    opened(folder, command[0])
    before, key = folder.head(), folder.path / "master.key"
    hidden = key.rename(folder.path / "elsewhere.key")
    create_key_file(key)
    folder.run(*command).refused(4, "secrets.kt")
    assert folder.head() == before
    hidden.rename(key)
    folder.ok(*command)
    assert folder.head() > before


def test_a_passphrase_that_is_not_there_is_a_matter_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, folder: Folder
) -> None:
    """Exit 2 naming variable and key path; a rotation that was half way neither fails nor goes back by itself."""
    monkeypatch.setenv("KT_PASS", "canary passphrase that is long enough")
    text = folder.config.read_text()
    folder.config.write_text(text.replace("key_file: ./master.key", "key: passphrase, passphrase: env://KT_PASS"))
    with monkeypatch.context() as without:
        without.delenv("KT_PASS")
        folder.run("rotate", "app-db").refused(2, "env://KT_PASS", "secretStores.local.passphrase", "not set")
    assert folder.head() == 0
    folder.run("rotate", "app-db", "--detach")
    before = folder.head()
    with monkeypatch.context() as without:
        without.delenv("KT_PASS")
        folder.run("resume").refused(2, "env://KT_PASS", "app-db (default), rotation")
        folder.run("abort", "app-db").refused(2, "env://KT_PASS")
    assert folder.head() == before
    assert folder.ok("resume", "--json").document["state"] == "completed"


def test_a_secret_that_the_target_refers_to_must_be_there(folder: Folder) -> None:
    """Exit 2: the admin's password is not looked for in the middle of a rotation."""
    folder.run("rotate", "app-db", "--detach")
    before, text = folder.head(), folder.config.read_text()
    admin = "admin_credentials: {username: keyturn, password: env://KT_ADMIN}"
    redis = text.replace("type: memory", f"type: redis\n    host: 127.0.0.1\n    tls: disable\n    {admin}")
    folder.config.write_text(redis.replace("    faults: []\n", "").replace("window: 1s", "window: 5s"))
    folder.run("resume").refused(2, "env://KT_ADMIN", "services.app-db.admin_credentials.password")
    assert folder.head() == before
    folder.config.write_text(text)
    folder.ok("resume")


def test_a_grace_period_that_runs_on_needs_nothing(folder: Folder) -> None:
    """Where `resume` would do nothing, it asks for no key either."""
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    (folder.path / "master.key").rename(folder.path / "elsewhere.key")
    folder.ok("resume")
    (folder.path / "elsewhere.key").rename(folder.path / "master.key")


OTHER = "  other: {type: encrypted-file, path: ./other.kt, key_file: ./master.key}\n  dotenv:"


def test_an_open_rotation_goes_on_in_the_store_it_began_in(folder: Folder) -> None:
    """The configuration names another store by now; that one is for the next rotation."""
    folder.config.write_text(folder.config.read_text().replace("  dotenv:", OTHER))
    folder.settled("app-db")
    rotation = folder.run("rotate", "app-db", "--detach", "--json").document
    before = folder.config.read_text()
    folder.config.write_text(before.replace("store: local, key: default", "store: other, key: default"))
    assert folder.ok("resume", "--json").document["state"] == "grace"
    held = folder.wiring().store("local").versions("default/app-db")
    assert (held.current, held.pending) == (rotation["version"], None)
    assert folder.wiring().store("other").versions("default/app-db").versions == ()
    folder.config.write_text(before)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("local", "moved", "the store local is not configured"),
        ("publish: [{store: dotenv, key: APP_DB}]", "publish: []", "the place dotenv:APP_DB is not published to"),
        (
            "type: encrypted-file, path: ./secrets.kt, key_file: ./master.key",
            "type: env-file, path: ./b",
            "no versions",
        ),
    ],
    ids=["store", "place", "kind"],
)
def test_what_a_plan_needs_is_missed_before_anything_is_done(folder: Folder, old: str, new: str, missing: str) -> None:
    """Exit 2 and nothing recorded, forward and back; put back, the rotation goes on."""
    folder.settled("app-db")
    folder.config.write_text(folder.config.read_text().replace("  dotenv:", OTHER))
    rotation_id = folder.run("rotate", "app-db", "--detach", "--json").document["rotation_id"]
    text, before = folder.config.read_text(), folder.head()
    service = text.replace("store: local", "store: other") if "publish" not in old else text
    folder.config.write_text(service.replace(old, new))
    for command in (["resume"], ["resume", rotation_id], ["abort", "app-db"], ["rollback", "app-db", "--yes"]):
        folder.run(*command).refused(2, missing, rotation_id, "put it back")
    assert folder.head() == before
    folder.config.write_text(text)
    assert folder.ok("resume", "--json").document["state"] == "grace"
