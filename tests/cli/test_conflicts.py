"""What `rotate --on-conflict` does where a rotation of the credential is open already, as a user meets it."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from engine.values import CredentialValue, Secret
from tests.cli.program import Folder
from tests.cli.test_alongside import begun, ended

pytestmark = pytest.mark.slow


def in_grace(folder: Folder) -> dict[str, Any]:
    """Leave a rotation of `app-db` in its grace period, with nobody at it, and return it."""
    folder.settled("app-db")
    return folder.ok("rotate", "app-db", "--json").document


def queued(folder: Folder, *options: str) -> dict[str, Any]:
    """Ask for a rotation that has to wait, and return it."""
    done = folder.run("rotate", "app-db", "--on-conflict", "queue", "--detach", "--json", *options)
    assert done.code == 8, done
    return done.document


def shown(folder: Folder, rotation_id: str) -> dict[str, Any]:
    return folder.ok("show", rotation_id, "--json").document


def status(folder: Folder) -> dict[str, Any]:
    (only,) = folder.ok("status", "--json").document["services"]
    assert isinstance(only, dict)
    return only


def names(folder: Folder) -> list[str]:
    """Return the names of the events, without their versions."""
    return [each["event"].rpartition(".")[0] for each in folder.ok("history", "--json").document["events"]]


# --- reject ----------------------------------------------------------------------------------------------------------


def test_a_refusal_tells_whose_rotation_stands_in_the_way_and_records_nothing(folder: Folder) -> None:
    """Exit 6; in words, and as a document."""
    holder = folder.run("rotate", "app-db", "--detach", "--json").document
    before = folder.head()
    done = folder.run("rotate", "app-db", "--json")
    done.refused(6, "already has an open rotation", holder["rotation_id"], "(step stage, begun ", "s ago, driven by ")
    told = done.document
    assert told["schema"] == "keyturn.conflict/1"
    assert (told["rotation_id"], told["state"], told["step"]) == (holder["rotation_id"], "staging", "stage")
    assert told["holder"].count(":") == 2
    assert 0 <= told["age_seconds"] < 60
    assert told["error"]["kind"] == "rotation_open"
    assert folder.head() == before


def test_in_grace_the_document_names_the_step_that_is_outstanding(folder: Folder) -> None:
    holder = in_grace(folder)
    told = folder.run("rotate", "app-db", "--json").document
    assert (told["rotation_id"], told["state"], told["step"]) == (holder["rotation_id"], "grace", "end_grace")
    assert told["error"]["kind"] == "in_grace"


# --- concurrent ------------------------------------------------------------------------------------------------------


def test_a_rotation_runs_beside_those_of_other_credentials(folder: Folder) -> None:
    folder.configure("app-db", "other")
    folder.run("rotate", "other", "--detach")
    assert folder.ok("rotate", "app-db", "--on-conflict", "concurrent", "--json").document["state"] == "completed"


def test_two_rotations_of_one_credential_at_once_are_refused_by_name(folder: Folder) -> None:
    """Open, in grace or waiting: one at a time; the dry run says so as well."""
    holder = in_grace(folder)
    before = folder.head()
    for more in ([], ["--dry-run"]):
        done = folder.run("rotate", "app-db", "--on-conflict", "concurrent", *more)
        done.refused(6, "concurrent is refused", holder["rotation_id"], "is grace", "one at a time")
    assert folder.head() == before


# --- queue: asking ---------------------------------------------------------------------------------------------------


def test_where_nothing_is_in_the_way_queueing_is_rotating(folder: Folder) -> None:
    assert folder.ok("rotate", "app-db", "--on-conflict", "queue", "--json").document["state"] == "completed"
    assert not {"rotation-requested", "rotation-queued"} & set(names(folder))


def test_a_request_is_recorded_and_waits(folder: Folder) -> None:
    """Exit 8; no version, no outcome, who asked and why; the open rotation is untouched."""
    holder = in_grace(folder)
    waiting = queued(folder, "--reason", "leaked", "--actor", "ada")
    assert (waiting["state"], waiting["version"], waiting["outcome"]) == ("waiting", None, None)
    assert (waiting["reason"], waiting["actor"], waiting["previous_version"]) == ("leaked", "ada", None)
    assert names(folder)[-2:] == ["rotation-requested", "rotation-queued"]
    assert shown(folder, holder["rotation_id"]) == holder


def test_a_second_request_joins_the_one_that_waits(folder: Folder) -> None:
    """The queue holds one; the second says whose it is and records nothing."""
    in_grace(folder)
    waiting = queued(folder)
    before = folder.head()
    done = folder.run("rotate", "app-db", "--on-conflict", "queue", "--timeout", "1ms", "--json")
    done.refused(8, "waits already", "it waits for rotation")
    assert done.document["rotation_id"] == waiting["rotation_id"]
    assert folder.head() == before


def test_a_value_of_ones_own_cannot_wait(folder: Folder) -> None:
    """It is in this process only; where nothing is in the way it is used."""
    command = ("rotate", "app-db", "--on-conflict", "queue", "--new-value-file", "-")
    folder.ok(*command, stdin="canary-brought-by-hand-0123456789\n")
    holder = folder.ok("rotate", "app-db", "--json").document
    before = folder.head()
    done = folder.run(*command, stdin="canary-brought-by-hand-9876543210\n")
    done.refused(6, "--new-value-file is refused", holder["rotation_id"], "in this process only")
    assert folder.head() == before


def test_what_a_dry_run_of_queueing_says(folder: Folder) -> None:
    holder = in_grace(folder)
    dry = ("rotate", "app-db", "--on-conflict", "queue", "--dry-run")
    assert f"would wait for rotation {holder['rotation_id']}, which is grace" in folder.ok(*dry).out
    waiting = queued(folder)
    before = folder.head()
    assert f"would join rotation {waiting['rotation_id']}" in folder.ok(*dry).out
    assert folder.head() == before


# --- queue: waiting --------------------------------------------------------------------------------------------------


def test_whoever_waits_drives_what_nobody_else_does(folder: Folder) -> None:
    """An abandoned rotation is ended first, then the one that was asked for."""
    holder = folder.run("rotate", "app-db", "--detach", "--json").document
    done = folder.ok("rotate", "app-db", "--on-conflict", "queue", "--json")
    assert "waits for its turn" in done.err
    assert shown(folder, holder["rotation_id"])["state"] == "completed"
    assert (done.document["state"], done.document["outcome"]) == ("grace", None)
    assert done.document["rotation_id"] != holder["rotation_id"]


def test_a_grace_period_is_waited_for_and_said(folder: Folder) -> None:
    """Until when; then the old version is retired and the next rotation begins."""
    folder.configure("app-db", more="      grace_period: 1500ms\n")
    holder = in_grace(folder)
    done = folder.ok("rotate", "app-db", "--on-conflict", "queue", "--json")
    assert "Z: grace period" in done.err
    assert shown(folder, holder["rotation_id"])["state"] == "completed"
    assert (done.document["state"], done.document["previous_version"]) == ("grace", holder["version"])


def test_waiting_is_bounded_by_the_timeout_and_the_request_stays(folder: Folder) -> None:
    """Exit 8, what it waits for, and every way on; `resume` says the same and records nothing."""
    holder = in_grace(folder)
    done = folder.run("rotate", "app-db", "--on-conflict", "queue", "--timeout", "100ms", "--json")
    done.refused(8, f"waits for rotation {holder['rotation_id']}, which is in grace until", "keyturn retire")
    before = folder.head()
    resumed = folder.run("resume", done.document["rotation_id"], "--json")
    resumed.refused(8, "which is in grace until", "keyturn abort")
    assert resumed.document == done.document
    assert folder.run("resume").code == 8
    assert folder.head() == before


def test_a_request_whose_turn_has_come_is_started_by_resume(folder: Folder) -> None:
    """With and without a name; what was asked for is what is done, by whoever asked."""
    in_grace(folder)
    for name in ([], ["waiting"]):
        waiting = queued(folder, "--reason", "leaked", "--actor", "ada")["rotation_id"]
        folder.ok("retire", "app-db")
        assert folder.ok("resume", "--dry-run").out == "app-db: next: start\n"
        resumed = folder.ok("resume", *([waiting] if name else []), "--json").document
        assert (resumed["rotation_id"], resumed["state"]) == (waiting, "grace")
        assert (resumed["reason"], resumed["actor"]) == ("leaked", "ada")
    before = folder.head()
    folder.ok("resume")
    assert folder.head() == before


def test_resume_drives_the_open_one_and_then_the_one_that_waited(folder: Folder) -> None:
    holder = folder.run("rotate", "app-db", "--detach", "--json").document["rotation_id"]
    waiting = queued(folder)["rotation_id"]
    preview = folder.ok("resume", "--dry-run").out
    assert preview == f"app-db: next: stage\napp-db: waits for rotation {holder}, which is staging\n"
    folder.run("resume", waiting).refused(8, f"waits for rotation {holder}, which is staging", "drives both on")
    first, second = folder.ok("resume", "--json").documents
    assert (first["rotation_id"], first["state"]) == (holder, "completed")
    assert (second["rotation_id"], second["state"]) == (waiting, "grace")


def test_behind_one_that_needs_a_person_nobody_waits(folder: Folder) -> None:
    """Exit 5, the command, and the request stays; once the person has acted it begins."""
    folder.settled("app-db")
    folder.configure("app-db", faults="fail_verification, reject_restore")
    stuck = folder.run("rotate", "app-db", "--json").document["rotation_id"]
    done = folder.run("rotate", "app-db", "--on-conflict", "queue", "--json")
    done.refused(5, f"waits for rotation {stuck}, which is rollback_failed and needs you", f"keyturn retry {stuck}")
    assert done.document["state"] == "waiting"
    folder.configure("app-db")
    folder.ok("retry", stuck)
    assert folder.ok("resume", "--json").document["rotation_id"] == done.document["rotation_id"]


def test_an_old_version_that_does_not_go_is_not_waited_for_without_end(folder: Folder) -> None:
    """Exit 5 after the tries of the plan, with what is wrong."""
    in_grace(folder)
    folder.configure("app-db", faults="keep_retired")
    assert folder.run("retire", "app-db").code == 5
    done = folder.run("rotate", "app-db", "--on-conflict", "queue")
    done.refused(5, "which is retiring and needs you: proving that", "keyturn resume", "keyturn abort")


def test_a_start_that_is_refused_when_its_turn_comes_has_failed(folder: Folder) -> None:
    """Nothing was done; the request is over, and the credential free for another one."""
    in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    folder.ok("retire", "app-db")
    store, key = folder.wiring().held_in("app-db"), "default/app-db"
    was = store.versions(key).current
    theirs = CredentialValue("somebody", Secret("canary-of-somebody-else-0123456789"))
    store.promote(key, "theirs", theirs, expected=was)
    done = folder.run("resume", waiting, "--json")
    done.refused(3, "start: taking over app-db", "Nothing was changed")
    assert (done.document["outcome"], done.document["version"]) == ("failed", None)
    assert done.document["error"]["step"] == "start"
    value = store.read(key, was or "")
    assert value is not None
    store.promote(key, was or "", value, expected="theirs")
    folder.ok("rotate", "app-db")


def test_a_target_out_of_reach_when_the_turn_comes_leaves_the_request_as_it_is(folder: Folder) -> None:
    """Exit 4, and it can be started later."""
    in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    folder.ok("retire", "app-db")
    before = folder.head()
    folder.configure("app-db", faults="unavailable")
    folder.run("resume").refused(4, "was not touched", f"{waiting}, which waits on")
    assert folder.head() == before
    folder.configure("app-db")
    assert folder.ok("resume", "--json").document["rotation_id"] == waiting


# --- queue: withdrawing ----------------------------------------------------------------------------------------------


def test_a_request_is_withdrawn_by_its_id(folder: Folder) -> None:
    """Exit 0 for who asked for that, and 0 again; the open rotation is untouched."""
    holder = in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    assert f"would withdraw rotation {waiting}" in folder.ok("abort", waiting, "--dry-run").out
    gone = folder.ok("abort", waiting[:8], "--reason", "not needed", "--json").document
    assert (gone["state"], gone["outcome"], gone["version"]) == ("cancelled", "cancelled", None)
    before = folder.head()
    assert "is withdrawn" in folder.ok("abort", waiting).out
    assert folder.head() == before
    assert shown(folder, "app-db") == holder
    assert "not needed" in [each["reason"] for each in folder.ok("history", "--json").document["events"]]


def test_the_name_of_a_service_means_its_open_rotation_before_the_one_that_waits(folder: Folder) -> None:
    holder = in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    assert shown(folder, "app-db")["rotation_id"] == holder["rotation_id"]
    back = folder.ok("abort", "app-db", "--json").document
    assert (back["rotation_id"], back["state"]) == (holder["rotation_id"], "rolled_back")
    assert shown(folder, "app-db")["rotation_id"] == waiting
    assert folder.ok("abort", "app-db", "--json").document["rotation_id"] == waiting
    assert folder.ok("resume").err == "nothing is unfinished\n"


def test_what_waits_goes_first_but_not_before_going_back(folder: Folder) -> None:
    """A plain rotation is refused by its name; a rollback is urgent and passes it."""
    first = folder.settled("app-db")
    folder.ok("rotate", "app-db")
    waiting = queued(folder)["rotation_id"]
    folder.ok("retire", "app-db")
    folder.run("rotate", "app-db").refused(6, waiting, "which is waiting (step start", "keyturn resume")
    back = folder.ok("rollback", "app-db", "--yes", "--json").document
    assert (back["version"], back["state"]) == (first["version"], "completed")
    assert folder.ok("resume", "--json").document["rotation_id"] == waiting


# --- queue: two processes --------------------------------------------------------------------------------------------


def test_a_live_process_is_waited_for(folder: Folder) -> None:
    """Nobody takes the open rotation from it; the one that waits begins when it is done."""
    folder.configure("app-db", more="      grace_period: 2s\n")
    folder.settled("app-db")
    process = begun(folder, "rotate", "app-db", "--wait-grace", until="grace period")
    done = folder.ok("rotate", "app-db", "--on-conflict", "queue", "--json")
    assert "which another process drives; it is in grace until" in done.err
    assert ended(process)[0] == 0
    assert done.document["state"] == "grace"
    assert "owner-changed" not in names(folder)


def test_a_request_that_another_process_withdraws_ends_the_wait(folder: Folder) -> None:
    """Exit 6: it did not get what it asked for."""
    in_grace(folder)
    process = begun(folder, "rotate", "app-db", "--on-conflict", "queue", until="waits for its turn")
    waiting = status(folder)["waiting"]
    folder.ok("abort", waiting)
    folder.run("retire", "app-db")
    code, err = ended(process)
    assert (code, "cancelled before anything was done" in err) == (6, True), err


def test_a_wait_that_is_interrupted_loses_nothing(folder: Folder) -> None:
    """Exit 130, and what to run; the request stands in the log."""
    in_grace(folder)
    process = begun(folder, "rotate", "app-db", "--on-conflict", "queue", until="grace period")
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert (code, "keyturn resume starts it" in err) == (130, True), err
    waiting = status(folder)["waiting"]
    folder.ok("retire", "app-db")
    assert folder.ok("resume", "--json").document["rotation_id"] == waiting
