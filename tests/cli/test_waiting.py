"""How a rotation that waits for its turn is shown, by every command that shows rotations."""

from __future__ import annotations

import pytest

from tests.cli.program import Folder
from tests.cli.test_conflicts import in_grace, queued, shown, status

pytestmark = pytest.mark.slow


def test_status_shows_the_open_rotation_and_names_the_one_that_waits(folder: Folder) -> None:
    """Without an open one the state is `waiting`; restore points and due times are those of before."""
    holder = in_grace(folder)
    before = status(folder)
    waiting = queued(folder)["rotation_id"]
    assert status(folder) == {**before, "waiting": waiting}
    assert f"app-db: rotation {waiting} waits for its turn" in folder.ok("status").err
    folder.ok("retire", "app-db")
    after = status(folder)
    assert (after["state"], after["rotation_id"], after["waiting"]) == ("waiting", waiting, waiting)
    assert (after["version"], after["last_outcome"]) == (holder["version"], "completed")
    assert after["restore_points"] == before["restore_points"]
    folder.ok("abort", waiting)
    assert status(folder) == {**after, "state": "ok", "rotation_id": holder["rotation_id"], "waiting": None}


def test_what_waits_is_not_due(folder: Folder) -> None:
    """However long ago the last rotation was."""
    folder.configure("app-db", ttl="1s")
    in_grace(folder)
    queued(folder)
    folder.ok("retire", "app-db")
    assert "nothing is due" in folder.ok("rotate", "--due").err


def test_show_tells_what_can_be_done_about_it(folder: Folder) -> None:
    """And how it was, at every event."""
    in_grace(folder)
    waiting = queued(folder)
    position = folder.head() - 1
    seen = folder.ok("show", waiting["rotation_id"])
    assert "state              waiting" in seen.out
    assert f"possible: keyturn resume {waiting['rotation_id']}" in seen.err
    assert f"possible: keyturn abort {waiting['rotation_id']}" in seen.err
    folder.ok("retire", "app-db")
    folder.ok("resume")
    assert folder.ok("show", waiting["rotation_id"], "--at", f"#{position}", "--json").document == waiting
    assert shown(folder, waiting["rotation_id"])["state"] == "grace"


def test_history_and_replay_tell_that_it_waited(folder: Folder) -> None:
    """The facts of the request are its own, not those of the rotation that was open."""
    in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    *_, asked, place = folder.ok("history", "app-db", "--json").document["events"]
    assert (asked["event"], asked["state"], asked["version"]) == ("rotation-requested.1", "waiting", None)
    assert (place["event"], place["state"], place["version"]) == ("rotation-queued.1", None, None)
    assert asked["rotation_id"] == place["rotation_id"] == waiting
    assert [e["position"] for e in folder.ok("history", "--status", "waiting", "--json").document["events"]] == [
        asked["position"]
    ]
    (alone,) = folder.ok("replay", waiting, "--json").documents
    assert (alone["event"], alone["before"], alone["after"]) == ("rotation-requested.1", "waiting", "waiting")
    assert alone["position"] in [each["position"] for each in folder.ok("replay", "app-db", "--json").documents]


def test_one_can_go_back_to_what_was_current_when_it_was_asked_for(folder: Folder) -> None:
    first = folder.settled("app-db")
    folder.run("rotate", "app-db", "--detach")
    queued(folder)
    asked = folder.head() - 1
    folder.ok("resume", "app-db")
    folder.ok("retire", "app-db")
    assert folder.ok("resume", "--json").document["state"] == "grace"
    folder.ok("retire", "app-db")
    assert (
        folder.ok("rollback", "app-db", "--to", f"#{asked}", "--yes", "--json").document["version"] == first["version"]
    )


def test_doctor_names_what_waits(folder: Folder) -> None:
    """Fine behind an open rotation; a warning with the command where nobody began it."""
    in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    assert f"ok    service app-db: rotation {waiting} waits for its turn" in folder.ok("doctor").out
    folder.ok("retire", "app-db")
    seen = folder.ok("doctor").out
    assert f"rotation {waiting} waits for its turn, which has come\n      next: keyturn resume {waiting}" in seen


def test_what_waits_is_not_lost_sight_of_when_its_service_is_gone(folder: Folder) -> None:
    in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    folder.ok("retire", "app-db")
    text = folder.config.read_text()
    folder.config.write_text(text.replace("app-db:", "new-db:", 1))
    for command in (["resume"], ["resume", waiting[:6]], ["abort", waiting]):
        folder.run(*command).refused(2, waiting, "is waiting", "Put the service back")
    assert [each["service"] for each in folder.ok("status", "--json").document["services"]] == ["new-db", "app-db"]
    folder.config.write_text(text)
    assert folder.ok("resume", "--json").document["rotation_id"] == waiting
