"""`keyturn doctor --repair` on the command line: it says what it saw, asks, does it, and says what is true now."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.drift import Step
from engine.machine import State
from tests.cli.program import Folder
from tests.cli.test_main import on_a_terminal

KEY = "default/app-db"
REPAIR = ("doctor", "--repair")


@pytest.fixture
def rotated(folder: Folder) -> Folder:
    """A service that was rotated twice, in place."""
    folder.configure("app-db", strategy="single")
    folder.ok("rotate", "app-db")
    folder.ok("rotate", "app-db")
    return folder


def edit(folder: Folder) -> Path:
    """Let somebody edit what is published; return the file."""
    file = folder.path / "app.env"
    file.write_text("APP_DB=canary-by-hand\n")
    return file


def move_the_label(folder: Folder) -> str:
    """Let somebody have the store call the version before current; return that one."""
    store = folder.wiring().held_in("app-db")
    held = store.versions(KEY)
    assert held.previous is not None
    value = store.read(KEY, held.previous)
    assert value is not None
    store.promote(KEY, held.previous, value, expected=held.current)
    return held.previous


def repair_of(document: dict[str, object]) -> dict[str, object]:
    """Return what is told of the repair of the one service."""
    findings = document["findings"]
    assert isinstance(findings, list)
    (found,) = [finding["repair"] for finding in findings if "repair" in finding]
    assert isinstance(found, dict)
    return found


def test_a_dry_run_says_what_was_seen_and_what_would_be_done(rotated: Folder) -> None:
    """Of the log, the store, the target and each place; and nothing is changed."""
    moved = move_the_label(rotated)
    head = rotated.head()
    shown = rotated.ok(*REPAIR, "--dry-run").out
    for words in (
        "log     calls v2-",
        f"store   calls {moved} current, and holds v2-",
        f"target  refuses {moved}, accepts v2-",
        "place   dotenv:APP_DB does not have it",
        f"why     the target refuses {moved}, which the stores call current, and accepts v2-",
        "repair  take the stores to v2-",
        "next: keyturn doctor --repair app-db does it.",
    ):
        assert words in shown, shown
    assert rotated.head() == head
    assert rotated.wiring().held_in("app-db").versions(KEY).current == moved


def test_the_document_tells_it_all(rotated: Folder) -> None:
    """What was seen stands beside what is done about it."""
    moved = move_the_label(rotated)
    would = rotated.ok(*REPAIR, "--dry-run", "--json").document
    seen = would["findings"][-1]["seen"]
    assert list(seen) == ["rotation", "log", "store", "target", "places"]
    assert seen["store"]["current"] == moved
    assert [(each["version"], each["accepted"]) for each in seen["target"]] == [
        (moved, "refused"),
        (seen["log"], "accepted"),
    ]
    assert seen["places"] == [{"place": "dotenv:APP_DB", "current": False}]
    assert repair_of(would) | {"why": ""} == {
        "step": Step.GO_TO,
        "version": seen["log"],
        "does": f"take the stores to {seen['log']}, as a recorded rotation",
        "why": "",
        "done": [],
    }
    done = rotated.ok(*REPAIR, "--yes", "--json").document
    assert done["ok"] is True
    assert (repair_of(done)["step"], repair_of(done)["done"]) == (Step.NOTHING, [Step.GO_TO])
    assert done["findings"][-1]["message"].startswith(f"the target accepts {seen['log']}, which log and store")


def test_plain_doctor_names_the_repair(rotated: Folder) -> None:
    """And tells the same of what it saw, also with --json."""
    edit(rotated)
    plain = rotated.run("doctor")
    assert plain.code == 5
    assert "next: keyturn doctor --repair app-db settles it." in plain.out
    assert repair_of(rotated.run("doctor", "--json").document)["step"] == Step.PUBLISH


def test_without_a_terminal_it_is_refused_without_yes(rotated: Folder) -> None:
    file = edit(rotated)
    head = rotated.head()
    rotated.run(*REPAIR).refused(6, "Not confirmed: repair app-db", "--yes")
    assert rotated.head() == head
    assert "canary-by-hand" in file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 6)])
def test_on_a_terminal_it_asks(rotated: Folder, answer: str, code: int) -> None:
    """What is asked is what is done."""
    file = edit(rotated)
    ended, shown = on_a_terminal(rotated, *REPAIR, answer=answer)
    assert ended == code, shown
    assert "Really repair app-db: see that v2-" in shown
    assert ("canary-by-hand" in file.read_text()) is bool(code)


def test_only_the_services_that_are_named_are_looked_at(folder: Folder) -> None:
    """The others stay as they are."""
    folder.configure("app-db", "cache", strategy="single")
    folder.ok("rotate", "--all")
    file = edit(folder)
    told = folder.ok(*REPAIR, "cache", "--yes", "--json").document["findings"]
    assert [finding["subject"] for finding in told if "seen" in finding] == ["service cache"]
    assert "canary-by-hand" in file.read_text()
    folder.run(*REPAIR, "cahce", "--yes").refused(2, "cahce", "cache")


def test_one_service_that_is_refused_holds_up_no_other(folder: Folder) -> None:
    """The worst exit code counts, and the rest is repaired."""
    folder.configure("app-db", "cache", strategy="single")
    folder.ok("rotate", "--all")
    edit(folder)
    folder.configure("app-db", strategy="single", faults="unavailable", more="  cache:\n" + other("cache"))
    ended = folder.run(*REPAIR, "--yes", "--json")
    assert ended.code == 4, ended
    assert "CACHE=" in (folder.path / "app.env").read_text()


def other(name: str) -> str:
    """Return a service without faults, to stand beside one that has some."""
    return (
        f"    type: memory\n    credential: {{username: app, store: local, key: default/{name}}}\n"
        f"    publish: [{{store: dotenv, key: {name.upper()}}}]\n    rotation: {{strategy: single}}\n"
    )


def test_a_target_out_of_reach_is_left_alone(rotated: Folder) -> None:
    """Exit 4; nothing is recorded."""
    edit(rotated)
    rotated.configure("app-db", strategy="single", faults="unavailable")
    head = rotated.head()
    assert rotated.run(*REPAIR, "--yes").code == 4
    assert rotated.head() == head


def test_a_person_is_asked_where_a_rotation_is_paused(rotated: Folder) -> None:
    """Exit 5, and the commands that lead on."""
    rotation = rotated.run("rotate", "app-db", "--detach", "--json").document["rotation_id"]
    rotated.run("pause", rotation)
    rotated.run("resume", rotation)
    asked = rotated.run(*REPAIR, "--yes")
    assert asked.code == 5, asked
    assert f"keyturn continue {rotation}" in asked.out


def test_an_interrupted_rotation_is_driven_on(rotated: Folder) -> None:
    rotation = rotated.run("rotate", "app-db", "--detach", "--json").document["rotation_id"]
    told = rotated.ok(*REPAIR, "--yes", "--json").document
    assert repair_of(told)["done"] == [Step.RESUME]
    assert rotated.ok("show", rotation, "--json").document["state"] == State.COMPLETED


def test_what_a_repair_records_says_who_and_why(rotated: Folder) -> None:
    move_the_label(rotated)
    rotated.ok(*REPAIR, "--yes", "--reason", "moved by hand", "--actor", "ada")
    events = rotated.ok("history", "app-db", "--json").document["events"]
    begun = [event for event in events if event["reason"]][-1]
    assert (begun["reason"], begun["actor"]) == ("doctor --repair: moved by hand", "ada")


def test_a_log_that_is_not_as_it_was_written_is_not_added_to(rotated: Folder) -> None:
    """Whatever was appended could not be told from what was changed."""
    import sqlite3

    file = edit(rotated)
    with sqlite3.connect(rotated.state / "events.db") as connection:
        connection.execute("UPDATE events SET tag = 'promoted.1' WHERE position = 3")
    refused = rotated.run(*REPAIR, "--yes")
    assert refused.code == 5
    assert "event #3 is changed" in refused.out
    assert "canary-by-hand" in file.read_text()


@pytest.mark.parametrize("option", [("--yes",), ("--dry-run",), ("--reason", "because")])
def test_what_goes_with_a_repair_is_refused_without_it(rotated: Folder, option: tuple[str, ...]) -> None:
    rotated.run("doctor", *option).refused(2, option[0], "--repair")


def test_a_place_that_refuses_is_told_and_tried_again_later(rotated: Folder) -> None:
    """A person sees to it; the next repair finds the rest."""
    file = edit(rotated)
    file.unlink()
    file.mkdir()
    failed = rotated.run(*REPAIR, "--yes")
    assert failed.code in (4, 5), failed
    file.rmdir()
    rotated.ok(*REPAIR, "--yes")
    assert "APP_DB=" in file.read_text()
    assert rotated.ok("doctor").code == 0
