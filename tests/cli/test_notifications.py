"""Notifications as a user has them: who is told what of a rotation, and what waits."""

from __future__ import annotations

import subprocess

import pytest

from engine import channel_events as c
from engine.credential_events import Cause
from tests.cli.notifying import kinds, note, outbox, tell, told
from tests.cli.program import Folder

pytestmark = pytest.mark.slow


# --- what is told ---------------------------------------------------------------------------------------


def test_a_rotation_is_told_as_it_happens(folder: Folder) -> None:
    tell(folder)
    rotated = folder.ok("rotate", "app-db", "--reason", "it leaked", "--json").document
    started, completed = told(folder)
    assert (started["kind"], completed["kind"]) == ("started", "completed")
    assert started["rotation_id"] == completed["rotation_id"] == rotated["rotation_id"]
    assert (started["service"], started["reason"]) == ("app-db", "it leaked")
    assert started["key"] != completed["key"]
    assert folder.ok("audit", "verify", "--json").document["ok"]


def test_a_rotation_that_fails_is_told_with_step_and_cause(folder: Folder) -> None:
    tell(folder, faults="fail_verification")
    folder.run("rotate", "app-db")
    failed = next(line for line in told(folder) if line["urgency"] == "error")
    assert failed["error"]["step"]
    assert failed["error"]["message"]


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        ("[]", ["started", "rollback_started", "rolled_back"]),
        ("[started]", ["started"]),
        ("[failed]", ["rollback_started"]),
        ("[rollback]", ["rollback_started", "rolled_back"]),
        ("[rolled_back]", ["rolled_back"]),
        ("[started, failed]", ["started", "rollback_started"]),
        ("[completed, overdue]", []),
    ],
)
def test_events_choose_what_is_told(folder: Folder, events: str, wanted: list[str]) -> None:
    tell(folder)
    folder.settled("app-db")
    (folder.path / "told.jsonl").unlink()
    tell(folder, f"{{file: {{path: told.jsonl, events: {events}}}}}", faults="fail_verification")
    folder.run("rotate", "app-db").refused(3)
    assert kinds(folder) == wanted


def test_two_channels_are_told_each_what_it_asked_for(folder: Folder) -> None:
    tell(folder, "{file: [{path: all.jsonl}, {path: ends.jsonl, name: ends, events: [completed]}]}")
    folder.ok("rotate", "app-db")
    assert kinds(folder, "all.jsonl") == ["started", "completed"]
    assert kinds(folder, "ends.jsonl") == ["completed"]


def test_two_services_share_a_sink_and_each_is_told_once(folder: Folder) -> None:
    tell(folder, "{file: {path: told.jsonl}}", "one", "two")
    folder.ok("rotate", "one", "two")
    assert sorted((line["service"], line["kind"]) for line in told(folder)) == [
        ("one", "completed"),
        ("one", "started"),
        ("two", "completed"),
        ("two", "started"),
    ]
    (channel,) = outbox(folder)["channels"]
    assert (channel["delivered"], channel["waiting"], channel["state"]) == (4, 0, "ok")


def test_a_new_channel_is_not_told_what_was_before_it(folder: Folder) -> None:
    folder.ok("rotate", "app-db")
    tell(folder)
    folder.ok("rotate", "app-db")
    assert kinds(folder).count("started") == 1


def test_what_changes_nothing_tells_nothing_and_records_nothing(folder: Folder) -> None:
    tell(folder)
    for arguments in (
        ("rotate", "app-db", "--dry-run"),
        ("plan", "app-db"),
        ("status",),
        ("config", "check"),
        ("notify", "route"),
        ("notify", "outbox"),
        ("doctor",),
    ):
        folder.run(*arguments)
        assert folder.head() == 0, arguments
        assert told(folder) == [], arguments
    folder.ok("rotate", "app-db")
    before, lines = folder.head(), told(folder)
    for arguments in (("status",), ("history",), ("notify", "outbox"), ("notify", "route"), ("doctor",)):
        folder.run(*arguments)
    assert (folder.head(), told(folder)) == (before, lines)


# --- what waits -----------------------------------------------------------------------------------------


def test_what_one_command_leaves_the_next_one_sends(folder: Folder) -> None:
    """The folder of the file was missing, and is there now; the rotation did not mind."""
    tell(folder, "{file: {path: later/told.jsonl}}")
    folder.ok("rotate", "app-db")
    (channel,) = outbox(folder)["channels"]
    assert (channel["state"], channel["waiting"], channel["delivered"]) == ("resting", 2, 0)
    assert "No such file" in channel["error"]["message"]
    (folder.path / "later").mkdir()
    folder.ok("notify", "outbox", "--replay")
    assert kinds(folder, "later/told.jsonl") == ["started", "completed"]
    (channel,) = outbox(folder)["channels"]
    assert (channel["state"], channel["waiting"], channel["delivered"], channel["error"]) == ("ok", 0, 2, None)


def test_a_test_that_is_taken_has_what_waits_sent(folder: Folder) -> None:
    tell(folder, "{file: {path: later/told.jsonl}}")
    folder.ok("rotate", "app-db")
    (folder.path / "later").mkdir()
    assert folder.ok("notify", "test", "file", "--json").document["enabled"]
    assert kinds(folder, "later/told.jsonl") == ["failed", "started", "completed"]
    assert not folder.ok("notify", "test", "file", "--json").document["enabled"]


def test_replay_sends_again_what_was_given_up(folder: Folder) -> None:
    tell(folder)
    folder.ok("rotate", "app-db")
    position = told(folder)[-1]["position"]
    cause = Cause("notify", "rejected", "it says no", "Look.")
    note(folder, "file", lambda name: c.NotificationGivenUp(name, (position,), 1, cause))
    listed = outbox(folder)
    assert [(each["state"], each["kind"]) for each in listed["notices"]] == [("given_up", "completed")]
    (folder.path / "told.jsonl").unlink()
    done = folder.ok("notify", "outbox", "--replay")
    assert "1 are sent again" in done.err
    assert kinds(folder) == ["completed"]
    assert outbox(folder)["notices"] == []
    assert [each["state"] for each in outbox(folder, "--all")["notices"]] == ["delivered", "delivered"]


def test_two_commands_at_once_tell_each_thing_once(folder: Folder) -> None:
    names = ("one", "two", "three")
    tell(folder, "{file: {path: told.jsonl}}", *names)
    processes = [
        subprocess.Popen(
            folder.command("rotate", name),
            cwd=folder.path,
            env=folder.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    folder.ok("notify", "outbox", "--replay")
    assert sorted((line["service"], line["kind"]) for line in told(folder)) == sorted(
        (name, kind) for name in names for kind in ("started", "completed")
    )
    for name in names:
        assert [line["kind"] for line in told(folder) if line["service"] == name] == ["started", "completed"]


def test_a_view_that_cannot_be_used_keeps_no_rotation_from_its_work(folder: Folder) -> None:
    """Notices wait in the log; when the view is made again, they are sent."""
    tell(folder)
    (folder.state / "views.db").mkdir()
    done = folder.run("rotate", "app-db")
    assert done.code == 0, done
    assert "notifications are not sent now" in done.err
    (folder.state / "views.db").rmdir()
    folder.ok("notify", "outbox", "--replay")
    assert kinds(folder) == ["started", "completed"]
