"""`keyturn notify`, and what config check, status and doctor say of channels."""

from __future__ import annotations

import json

import pytest

from engine import channel_events as c
from engine.credential_events import Cause
from tests.cli.notifying import CHANNELS, age, kinds, note, outbox, tell, told
from tests.cli.program import Folder

pytestmark = pytest.mark.slow


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


def test_status_and_doctor_are_silent_about_services_that_tell_nobody(folder: Folder) -> None:
    """Whoever gave a service no channels does not miss them."""
    tell(folder, "{file: {path: told.jsonl}}", "app-db", "silent", faults="fail_verification")
    head, _, tail = folder.config.read_text().rpartition(CHANNELS.format(channels="{file: {path: told.jsonl}}"))
    folder.config.write_text(head + tail)
    folder.run("rotate", "app-db")
    folder.run("rotate", "silent")
    age(folder)
    done = folder.run("doctor")
    assert "nobody was told" not in done.out + done.err
    assert "nobody was told" not in folder.run("status").err


def test_doctor_tells_how_each_channel_stands(folder: Folder) -> None:
    tell(folder, "{file: [{path: told.jsonl}, {path: later/x, name: gone}]}")
    assert "nothing was sent to it yet" in folder.run("doctor").out
    folder.ok("rotate", "app-db")
    shown = folder.run("doctor").out
    assert "2 delivered" in shown
    assert "it is not there" in shown


def test_a_secret_in_the_reason_leaves_on_no_channel(folder: Folder) -> None:
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
    assert [each["waiting"] for each in found["channels"]] == [0, 0], "that it was blocked is told at once"
    assert blocked
    assert all("stands in it" in each["reason"] for each in blocked)
    assert live not in json.dumps(blocked)


def test_a_channel_that_is_disabled_is_said_everywhere_until_a_test_is_taken(folder: Folder) -> None:
    """What waits meanwhile is sent then; the other channel is told of it."""
    tell(folder, "{file: [{path: told.jsonl}, {path: other.jsonl, name: other}]}")
    folder.ok("rotate", "app-db")
    note(folder, "file", lambda name: c.ChannelDisabled(name, Cause("notify", "sink_gone", "it was deleted", "Look.")))
    folder.run("rollback", "app-db", "--yes")
    folder.ok("rotate", "app-db")
    assert kinds(folder) == ["started", "completed"]
    assert "undelivered" in kinds(folder, "other.jsonl")
    states = {each["channel"].partition("-")[0]: each for each in outbox(folder)["channels"]}
    assert (states["file"]["state"], states["other"]["state"]) == ("disabled", "ok")
    assert states["file"]["waiting"] > 0
    assert "is disabled: it was deleted" in folder.ok("notify", "outbox").err
    done = folder.run("doctor")
    assert "it is disabled: it was deleted" in done.out + done.err
    assert "is enabled again" in folder.ok("notify", "test", "app-db/file").out
    told_of = [kind for kind in kinds(folder, "other.jsonl") if kind != "undelivered"]
    assert [kind for kind in kinds(folder) if kind != "failed"] == told_of


def test_the_outbox_of_one_channel_and_everything_in_it(folder: Folder) -> None:
    tell(folder, "{file: [{path: told.jsonl}, {path: other.jsonl, name: other}]}")
    folder.ok("rotate", "app-db")
    document = outbox(folder, "--channel", "other", "--all")
    assert [each["channel"].partition("-")[0] for each in document["channels"]] == ["other"]
    assert [(each["state"], each["kind"]) for each in document["notices"]] == [
        ("delivered", "started"),
        ("delivered", "completed"),
    ]
    shown = folder.ok("notify", "outbox", "--all").out
    assert "Rotation of default/app-db started" in shown
    assert "CHANNEL" in shown
    assert "Rotation of default/app-db started" not in folder.ok("notify", "outbox").out
