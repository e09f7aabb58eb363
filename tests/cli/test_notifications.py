"""Notifications as a user has them: who is told what of a rotation, what waits, and what became of it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from projections.shapes import UNHEARD_TABLE
from tests.cli.program import Folder

pytestmark = pytest.mark.slow

CHANNELS = "      notifications: {channels}\n"


def tell(folder: Folder, channels: str = "{file: {path: told.jsonl}}", *names: str, **more: str) -> None:
    """Configure services with channels."""
    folder.configure(*(names or ("app-db",)), more=CHANNELS.format(channels=channels), **more)


def told(folder: Folder, name: str = "told.jsonl") -> list[dict[str, Any]]:
    """Return what a file was told."""
    path = folder.path / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kinds(folder: Folder, name: str = "told.jsonl") -> list[str]:
    return [line["kind"] for line in told(folder, name)]


def outbox(folder: Folder, *arguments: str) -> dict[str, Any]:
    return folder.ok("notify", "outbox", "--json", *arguments).document


def age(folder: Folder) -> None:
    """Let an hour pass for the views: what was told a moment ago may still be on its way."""
    with closing(sqlite3.connect(folder.state / "views.db")) as views, views:
        views.execute(f"UPDATE {UNHEARD_TABLE} SET unheard_at = unheard_at - 3600000000")


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
    _note_given_up(folder)
    listed = outbox(folder)
    assert [(each["state"], each["kind"]) for each in listed["notices"]] == [("given_up", "completed")]
    (folder.path / "told.jsonl").unlink()
    done = folder.ok("notify", "outbox", "--replay")
    assert "1 are sent again" in done.err
    assert kinds(folder) == ["completed"]
    assert outbox(folder)["notices"] == []
    assert [each["state"] for each in outbox(folder, "--all")["notices"]] == ["delivered", "delivered"]


def _note_given_up(folder: Folder) -> None:
    """Take down, as if the sink had refused it, that the last notice was given up."""
    from adapters.event_store.sqlite import SqliteEventLog
    from engine import channel_events as c
    from engine.credential_events import Cause
    from engine.facts import Fact
    from engine.values import Instant

    with SqliteEventLog(folder.state / "events.db") as log:
        name = folder.wiring().configuration.services["app-db"].channels[0].id
        stream = log.stream(c.channel_id(name))
        last = stream[-1].body
        assert isinstance(last, c.NotificationDelivered)
        cause = Cause("notify", "rejected", "it says no", "Look.")
        event = c.NotificationGivenUp(name, last.positions, 1, cause)
        log.append([Fact(c.channel_id(name), len(stream) + 1, Instant(stream[-1].at + 1), "eve", event)])


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


# --- the commands ---------------------------------------------------------------------------------------


def test_a_test_is_sent_now_and_is_not_part_of_the_log(folder: Folder) -> None:
    """Whatever the events of the channel."""
    tell(folder, "{file: {path: told.jsonl, events: [completed]}}")
    done = folder.ok("notify", "test", "file", "--json").document
    (line,) = told(folder)
    assert (line["kind"], line["key"], line["position"]) == ("failed", done["key"], 0)
    folder.ok("notify", "test", "app-db/file", "--event", "rolled_back", "--service", "app-db")
    assert kinds(folder) == ["failed", "rolled_back"]
    assert folder.head() == 0


def test_a_test_of_a_sink_that_is_not_there_fails(folder: Folder) -> None:
    tell(folder, "{file: {path: later/told.jsonl}}")
    folder.run("notify", "test", "file").refused(4, "No such file")


@pytest.mark.parametrize(
    "arguments",
    [
        ("notify", "test", "slack"),
        ("notify", "preview", "1", "--channel", "slack"),
        ("notify", "outbox", "--channel", "x"),
    ],
)
def test_a_channel_that_is_not_there_is_refused(folder: Folder, arguments: tuple[str, ...]) -> None:
    tell(folder)
    folder.ok("rotate", "app-db")
    done = folder.run(*arguments)
    assert done.code == 2
    assert "file-" in done.err


def test_a_name_that_two_channels_have_is_refused_and_their_ids_are_told(folder: Folder) -> None:
    tell(folder)
    text = folder.config.read_text()
    other = text.partition("services:")[2].replace("app-db", "other").replace("told.jsonl", "other.jsonl")
    folder.config.write_text(text + other.replace("APP_DB", "OTHER"))
    folder.run("notify", "test", "file").refused(2, "several are called so", " or ")
    folder.ok("notify", "test", "other/file")
    assert kinds(folder, "other.jsonl") == ["failed"]


def test_a_preview_shows_the_bytes_and_sends_nothing(folder: Folder) -> None:
    tell(folder)
    folder.ok("rotate", "app-db")
    (first, _), before = told(folder), folder.head()
    shown = folder.ok("notify", "preview", str(first["position"]), "--channel", "file")
    assert json.loads(shown.out) == first
    assert (folder.head(), len(told(folder))) == (before, 2)
    folder.run("notify", "preview", "999999", "--channel", "file").refused(6, "#999999")
    folder.run("notify", "preview", str(first["position"] + 1), "--channel", "file").refused(6)


def test_a_preview_says_where_the_channel_would_not_be_sent_it(folder: Folder) -> None:
    tell(folder, "{file: {path: told.jsonl, events: [completed]}}")
    folder.ok("rotate", "app-db")
    (completed,) = told(folder)
    started = next(
        number
        for number in range(1, completed["position"])
        if folder.run("notify", "preview", str(number), "--channel", "file").code == 0
    )
    document = folder.ok("notify", "preview", str(started), "--channel", "file", "--json").document
    assert document["goes"] is False
    assert json.loads(document["bodies"][0])["kind"] == "started"


def test_the_routes_tell_who_hears_of_what(folder: Folder) -> None:
    tell(folder, "{file: [{path: a}, {path: b, name: pager, events: [failed]}]}")
    routes = folder.ok("notify", "route", "--json").document["routes"]
    heard = {each["event"]: [name.partition("-")[0] for name in each["channels"]] for each in routes}
    assert heard["started"] == ["file"]
    assert sorted(heard["failed"]) == sorted(heard["rollback_failed"]) == ["file", "pager"]
    assert {each["event"] for each in routes if each["critical"]} == {
        "failed",
        "rollback_failed",
        "rollback_started",
        "undelivered",
    }


# --- what is noticed ------------------------------------------------------------------------------------


def test_a_word_that_is_unknown_is_told_by_the_check(folder: Folder) -> None:
    tell(folder, "{file: {path: told.jsonl, events: [complete]}}")
    done = folder.run("config", "check")
    assert done.code == 2
    assert "'completed'" in done.out + done.err
    tell(folder)


def test_a_kind_that_is_unknown_is_told_by_the_check(folder: Folder) -> None:
    tell(folder, "{fil: {path: told.jsonl}}")
    done = folder.run("config", "check")
    assert done.code == 2
    assert "Did you mean 'file'?" in done.out + done.err
    tell(folder)


def test_a_critical_event_that_reaches_nobody_is_noted(folder: Folder) -> None:
    tell(folder, "{file: {path: told.jsonl, events: [completed]}}")
    done = folder.ok("config", "check")
    assert "nobody is told where it ends in: failed, rollback_started, rollback_failed" in done.out + done.err
    tell(folder, "{file: {path: told.jsonl, events: [failed]}}")
    done = folder.ok("config", "check")
    assert "nobody is told" not in done.out + done.err


def test_a_sink_that_cannot_be_right_is_a_problem(folder: Folder) -> None:
    tell(folder, "{file: {path: later/told.jsonl}}")
    done = folder.run("config", "check")
    assert done.code == 2
    assert "does not exist" in done.out + done.err


def test_what_a_channel_is_never_told_is_no_problem(folder: Folder) -> None:
    """PagerDuty has no form of a rotation that started."""
    tell(folder, "{pagerduty: {integration_key: env://KEY, events: [failed]}}")
    folder.ok("config", "check")


def test_status_and_doctor_say_that_nobody_was_told(folder: Folder) -> None:
    """Of what failed a while ago; once it is told, they say so no more."""
    tell(folder, "{file: {path: later/told.jsonl}}", faults="fail_verification")
    folder.run("rotate", "app-db")
    assert "nobody was told" not in folder.run("status").err
    age(folder)
    assert "app-db: nobody was told of event #" in folder.run("status").err
    done = folder.run("doctor")
    assert "nobody was told what happened to default/app-db" in done.out + done.err
    (folder.path / "later").mkdir()
    folder.ok("notify", "outbox", "--replay")
    assert "nobody was told" not in folder.run("status").err + folder.run("doctor").out


def test_doctor_tells_how_each_channel_stands(folder: Folder) -> None:
    tell(folder, "{file: [{path: told.jsonl}, {path: later/x, name: gone}]}")
    assert "nothing was sent to it yet" in folder.run("doctor").out
    folder.ok("rotate", "app-db")
    shown = folder.run("doctor").out
    assert "2 delivered" in shown
    assert "it is not there" in shown


def test_a_secret_in_the_reason_leaves_on_no_channel(folder: Folder, tmp_path: Path) -> None:
    """Somebody pastes the live password into --reason: the message is blocked, and the outbox says why."""
    tell(folder, "{file: [{path: a.jsonl}, {path: b.jsonl, name: other}]}")
    folder.settled("app-db")
    (live,) = folder.secrets()
    folder.run("rotate", "app-db", "--reason", f"{live} leaked")
    folder.printed.clear()  # what a person typed is in the history that they ask for
    for name in ("a.jsonl", "b.jsonl"):
        assert live not in (folder.path / name).read_text()
        assert "undelivered" in kinds(folder, name)
    found = outbox(folder)
    blocked = [each for each in found["notices"] if each["state"] == "blocked"]
    assert blocked
    assert [each["waiting"] for each in found["channels"]] == [0, 0], "that it was blocked is told at once"
    assert all("stands in it" in each["reason"] for each in blocked)
    assert live not in json.dumps(blocked)
