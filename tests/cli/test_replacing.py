"""`rotate --on-conflict replace`: what is open is over before the new one begins, or nothing begins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.program import Folder
from tests.cli.test_alongside import begun, ended
from tests.cli.test_conflicts import in_grace, names, queued, shown

pytestmark = pytest.mark.slow


def replaced(folder: Folder, *options: str) -> Any:
    return folder.run("rotate", "app-db", "--on-conflict", "replace", "--json", *options)


def test_where_nothing_is_in_the_way_replacing_is_rotating(folder: Folder) -> None:
    assert replaced(folder).document["state"] == "completed"


def test_an_open_rotation_is_taken_back_before_the_new_one_begins(folder: Folder) -> None:
    """With the reason that was given; the new one replaces the version that is in force again."""
    holder = in_grace(folder)
    done = replaced(folder, "--reason", "leaked")
    assert (done.code, done.document["state"]) == (0, "grace")
    assert done.document["previous_version"] == holder["previous_version"]
    assert shown(folder, holder["rotation_id"])["state"] == "rolled_back"
    reasons = {each["event"]: each["reason"] for each in folder.ok("history", "--json").document["events"]}
    assert reasons["rollback-started.1"] == "leaked"


def test_what_waits_is_withdrawn_with_it(folder: Folder) -> None:
    """Both at once; it does not begin between the two."""
    holder = in_grace(folder)
    waiting = queued(folder)["rotation_id"]
    before = folder.head()
    dry = folder.ok("rotate", "app-db", "--on-conflict", "replace", "--dry-run").out
    assert f"would take rotation {holder['rotation_id']} back from grace to v1-" in dry
    assert f"would withdraw rotation {waiting}, which waits" in dry
    assert folder.head() == before
    assert replaced(folder).document["state"] == "grace"
    assert shown(folder, waiting)["outcome"] == "cancelled"
    assert names(folder)[before : before + 3] == ["rollback-started", "rotation-cancelled", "rotation-closed"]


def test_one_past_the_point_of_no_return_is_driven_to_its_end(folder: Folder) -> None:
    holder = in_grace(folder)
    folder.configure("app-db", faults="keep_retired")
    assert folder.run("retire", "app-db").code == 5
    waits = replaced(folder)
    waits.refused(5, "no new rotation was started", "is not retired")
    folder.configure("app-db")
    dry = folder.ok("rotate", "app-db", "--on-conflict", "replace", "--dry-run").out
    assert f"would drive rotation {holder['rotation_id']}, which is retiring, to its end" in dry
    done = replaced(folder)
    assert (done.code, done.document["previous_version"]) == (0, holder["version"])
    assert shown(folder, holder["rotation_id"])["state"] == "completed"


def test_where_going_back_fails_nothing_is_started(folder: Folder) -> None:
    """Exit 5 the first time and every time after, until a person has acted; no dead end is hidden by a new one."""
    holder = in_grace(folder)
    folder.configure("app-db", faults="reject_restore")
    for _ in range(2):
        done = replaced(folder)
        done.refused(5, "no new rotation was started", "going back failed", "keyturn retry")
        assert (done.document["rotation_id"], done.document["state"]) == (holder["rotation_id"], "rollback_failed")
        folder.run("rotate", "app-db", "--on-conflict", "replace", "--dry-run").refused(5, "keyturn retry")
    assert len([each for each in names(folder) if each == "rotation-started"]) == 2
    folder.configure("app-db")
    folder.ok("retry", "app-db")
    assert replaced(folder).code == 0


def test_a_live_process_carries_out_that_it_is_replaced(folder: Folder) -> None:
    """Its own caller is told that it went back; the new rotation begins after that."""
    folder.settled("app-db")
    process = begun(folder, "rotate", "app-db", "--wait-grace", until="grace period")
    done = replaced(folder)
    code, err = ended(process)
    assert (code, "safely back on v1-" in err) == (3, True), err
    assert (done.code, done.document["state"]) == (0, "grace")
    assert "owner-changed" not in names(folder)


def test_replacing_cannot_be_left_to_resume(folder: Folder) -> None:
    replaced(folder, "--detach").refused(2, "--detach", "no process would be there")
    assert folder.head() == 0


def test_a_value_of_ones_own_replaces_an_open_rotation(folder: Folder) -> None:
    """The process that has it is there all the time."""
    in_grace(folder)
    command = ("rotate", "app-db", "--on-conflict", "replace", "--new-value-file", "-")
    folder.ok(*command, stdin="canary-brought-by-hand-0123456789\n")
    assert "canary-brought-by-hand-0123456789" in folder.secrets()
