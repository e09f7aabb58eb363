"""Rotating, going back and resuming, as a user does it: exit codes, words, and what is recorded."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from adapters.composition import establish
from tests.cli.program import Folder

pytestmark = pytest.mark.slow

ROTATION_FIELDS = [
    "schema",
    "rotation_id",
    "service",
    "environment",
    "kind",
    "strategy",
    "state",
    "outcome",
    "version",
    "previous_version",
    "started_at",
    "ended_at",
    "duration_seconds",
    "actor",
    "reason",
    "error",
    "not_before",
    "events",
    "waves",
    "rollout",
    "health",
    "known",
]


def test_a_rotation_ends_with_the_new_version_current(folder: Folder) -> None:
    """Exit 0, one document, and the place that consumers read has the value that the store holds."""
    done = folder.ok("rotate", "app-db", "--json", "--actor", "ada", "--reason", "monday")
    assert list(done.document) == ROTATION_FIELDS
    assert done.document["schema"] == "keyturn.rotation/1"
    assert (done.document["state"], done.document["actor"], done.document["reason"]) == ("completed", "ada", "monday")
    (value,) = folder.secrets()
    assert value in (folder.path / "app.env").read_text()


def test_only_a_version_that_replaces_another_has_a_grace_period(folder: Folder) -> None:
    """The first is current and done at once; the second leaves the first valid until the period ends."""
    first = folder.settled("app-db")
    second = folder.ok("rotate", "app-db", "--json").document
    assert (second["state"], second["previous_version"]) == ("grace", first["version"])
    assert folder.ok("status", "--json").document["services"][0]["grace_until"] is not None


def test_without_a_terminal_progress_is_a_line_an_event_on_stderr(folder: Folder) -> None:
    folder.settled("app-db")
    done = folder.ok("rotate", "app-db")
    assert "candidate verified -> distributing" in done.err
    assert "\x1b" not in done.err + done.out
    assert "stays valid until" in done.out


def test_a_second_rotation_waits_for_the_end_of_the_grace_period(folder: Folder) -> None:
    """Refused with 6 and the way out; `retire` is that way, and ends what it says."""
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    folder.run("rotate", "app-db").refused(6, "in the grace period", "keyturn retire")
    assert folder.ok("retire", "app-db", "--json", "--reason", "sure").document["state"] == "completed"
    assert "sure" in [event["reason"] for event in folder.ok("history", "--json").document["events"]]
    before = folder.head()
    folder.ok("retire", "app-db")
    assert folder.head() == before
    folder.ok("rotate", "app-db")


def test_a_version_that_does_not_verify_is_taken_back(folder: Folder) -> None:
    """Exit 3: failed, and safely back; the old value still stands where consumers read it."""
    folder.settled("app-db")
    published = (folder.path / "app.env").read_text()
    folder.configure("app-db", faults="fail_verification")
    done = folder.run("rotate", "app-db", "--json")
    done.refused(3, "safely back on v1-")
    assert done.document["outcome"] == "rolled_back"
    assert done.document["error"]["step"] == "verify"
    assert (folder.path / "app.env").read_text() == published


def test_a_rollback_that_fails_calls_a_person_and_can_be_retried(folder: Folder) -> None:
    """Exit 5 tells where both versions are and what to run; `retry` ends it once the cause is gone."""
    folder.settled("app-db")
    folder.configure("app-db", faults="fail_verification, reject_restore")
    done = folder.run("rotate", "app-db", "--json")
    done.refused(5, "going back failed", "store local, default/app-db", "keyturn retry")
    assert done.document["state"] == "rollback_failed"
    folder.run("resume").refused(5, "keyturn retry")
    assert "keyturn retry" in folder.ok("show", "app-db").err
    doctor = folder.run("doctor")
    assert (doctor.code, "is rollback_failed\n      next: keyturn retry" in doctor.out) == (5, True)
    folder.run("rotate", "app-db").refused(6, "already has an open rotation")
    folder.configure("app-db")
    assert folder.ok("retry", "app-db", "--json").document["state"] == "rolled_back"


def test_a_failed_rotation_that_may_not_go_back_by_itself_is_taken_back_by_a_person(folder: Folder) -> None:
    """Exit 5 while both versions may be in force; `rollback` takes back that very rotation."""
    folder.settled("app-db")
    folder.configure("app-db", faults="fail_verification")
    folder.config.write_text(folder.config.read_text().replace("max_retries: 0", "automatic: false"))
    done = folder.run("rotate", "app-db", "--json")
    done.refused(5, "The target accepts v1-", " and v2-", "keyturn rollback app-db goes back")
    assert done.document["outcome"] == "failed"
    back = folder.ok("rollback", "app-db", "--yes", "--json").document
    assert (back["rotation_id"], back["state"]) == (done.document["rotation_id"], "rolled_back")


def test_a_first_rotation_that_fails_with_no_way_back_says_what_leads_forward(folder: Folder) -> None:
    """Nothing is held of what was there before, and no command is named that would be refused."""
    folder.configure("app-db", strategy="single")
    folder.settled("app-db")
    for lost in (folder.path / "secrets.kt", *folder.state.glob("*.db*")):
        lost.unlink()
    establish(folder.state)
    folder.configure("app-db", strategy="single", faults="fail_verification")
    done = folder.run("rotate", "app-db", "--json")
    version = done.document["version"]
    done.refused(5, f"The target accepts {version}; {version} is in store local", "keyturn rotate app-db leads forward")
    folder.run("rollback", "app-db", "--yes").refused(6)
    folder.configure("app-db", strategy="single")
    folder.ok("rotate", "app-db")


def test_what_is_waited_for_is_said_once(folder: Folder) -> None:
    """On stderr, with its end, also where nothing moves; not for what is over at once, and not in the data."""
    folder.configure("app-db", more="      grace_period: 1500ms\n")
    assert "waits until" not in folder.ok("rotate", "app-db").err
    done = folder.ok("rotate", "app-db", "--wait-grace", "--json")
    (line,) = [line for line in done.err.splitlines() if line.startswith("waits until")]
    assert line.endswith("Z: grace period")
    assert "waits" not in done.out


def test_a_target_out_of_reach_is_not_touched(folder: Folder) -> None:
    """Exit 4, and nothing is recorded."""
    folder.settled("app-db")
    before = folder.head()
    folder.configure("app-db", faults="unavailable")
    folder.run("rotate", "app-db").refused(4, "was not touched", "service app-db (default)", "keyturn doctor")
    assert folder.head() == before


def test_detached_is_recorded_and_left_to_resume(folder: Folder) -> None:
    """Exit 8; `resume` without a name drives it; a second one appends nothing."""
    done = folder.run("rotate", "app-db", "--detach", "--json")
    done.refused(8, "keyturn resume")
    assert done.document["state"] == "staging"
    assert "next: stage" in folder.ok("resume", "--dry-run").out
    assert folder.ok("resume", "--json").document["state"] == "completed"
    before = folder.head()
    folder.ok("resume")
    assert folder.head() == before


def test_an_answer_that_was_lost_is_waited_for_until_the_timeout(folder: Folder) -> None:
    """Exit 8 when --timeout ends; the rotation is finished by `resume`, named by the beginning of its id."""
    folder.configure("app-db", faults="lose_apply_reply", more="    retry: probe_first\n", window="2s")
    done = folder.run("rotate", "app-db", "--timeout", "10ms", "--json")
    done.refused(8, "keyturn resume")
    assert done.document["state"] == "applying"
    folder.configure("app-db")
    assert folder.ok("resume", done.document["rotation_id"][:8], "--json").document["state"] == "completed"


def test_waiting_for_the_grace_period_ends_with_the_old_version_retired(folder: Folder) -> None:
    folder.configure("app-db", more="      grace_period: 1s\n")
    folder.settled("app-db")
    assert folder.ok("rotate", "app-db", "--wait-grace", "--json").document["state"] == "completed"


def test_waiting_for_the_grace_period_is_bounded_by_the_timeout(folder: Folder) -> None:
    folder.settled("app-db")
    assert folder.run("rotate", "app-db", "--wait-grace", "--timeout", "1ms").code == 8


def test_an_interrupted_rotation_can_be_resumed(folder: Folder) -> None:
    """Ctrl-C ends with 130 and the command that goes on; nobody holds the rotation after it."""
    folder.settled("app-db")
    process = subprocess.Popen(
        folder.command("rotate", "app-db", "--wait-grace"),
        cwd=folder.path,
        env=folder.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "monitoring passed" in line:
            break
    time.sleep(0.2)
    folder.run("resume").refused(6, "is being driven by another process", f":{process.pid}:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "keyturn resume" in err
    assert "Traceback" not in err
    folder.ok("resume", "app-db")


def test_of_two_processes_that_rotate_one_service_one_is_refused(folder: Folder) -> None:
    """One ends with 0, the other with 6: whichever comes second finds it open, or in its grace period."""
    folder.settled("app-db")
    processes = [
        subprocess.Popen(
            folder.command("rotate", "app-db"),
            cwd=folder.path,
            env=folder.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    assert sorted(process.wait(timeout=30) for process in processes) == [0, 6]


def test_several_services_are_rotated_one_after_the_other_and_the_worst_code_wins(folder: Folder) -> None:
    """JSON Lines, one document each; what is refused for one is told in one, and does not stop the others."""
    folder.configure("one", "two", "three")
    folder.settled("two")
    folder.ok("rotate", "two")
    done = folder.run("rotate", "--all", "--json")
    assert done.code == 6
    assert [document["service"] for document in done.documents] == ["one", "two", "three"]
    schemas = [document["schema"].partition("/")[0] for document in done.documents]
    assert schemas == ["keyturn.rotation", "keyturn.conflict", "keyturn.rotation"]


def test_only_what_is_due_is_rotated(folder: Folder) -> None:
    """Never rotated is due; after that, when the ttl has passed."""
    folder.configure("one", "two")
    folder.ok("rotate", "one")
    assert [d["service"] for d in folder.ok("rotate", "--due", "--json").documents] == ["two"]
    assert "nothing is due" in folder.ok("rotate", "--due").err


def test_a_value_of_ones_own_is_taken_from_stdin(folder: Folder) -> None:
    folder.ok("rotate", "app-db", "--new-value-file", "-", stdin="canary-brought-by-hand-0123456789\n")
    assert folder.secrets() == {"canary-brought-by-hand-0123456789"}


def test_a_dry_run_shows_the_plan_and_records_nothing(folder: Folder) -> None:
    assert folder.ok("rotate", "app-db", "--dry-run").out == folder.ok("plan", "app-db").out
    assert folder.head() == 0


def test_a_rotation_in_grace_is_taken_back_itself(folder: Folder) -> None:
    """Exit 0: going back is what was asked for; without --yes it is refused where nobody can be asked."""
    folder.settled("app-db")
    rotation = folder.ok("rotate", "app-db", "--json").document
    folder.run("rollback", "app-db").refused(6, "Not confirmed", "--yes")
    assert "would go back to v1-" in folder.ok("rollback", "app-db", "--dry-run").out
    back = folder.ok("rollback", "app-db", "--yes", "--json", "--reason", "slow").document
    assert (back["rotation_id"], back["state"]) == (rotation["rotation_id"], "rolled_back")
    assert folder.ok("abort", "app-db", "--json").document["state"] == "rolled_back"


def test_a_finished_rotation_is_left_by_a_rotation_of_kind_rollback(folder: Folder) -> None:
    """By version, by event and by time; what is current already is said, and appends nothing."""
    first = folder.settled("app-db")
    folder.ok("rotate", "app-db")
    folder.ok("retire", "app-db")
    back = folder.ok("rollback", "app-db", "--yes", "--json").document
    assert (back["kind"], back["version"], back["state"]) == ("rollback", first["version"], "completed")
    before = folder.head()
    for to in (first["version"], "v1", "#" + str(before)):
        assert "is current already" in folder.ok("rollback", "app-db", "--to", to, "--yes").err
    assert folder.head() == before
    assert folder.ok("rollback", "app-db", "--to", "v2", "--yes", "--json").document["version"].startswith("v2-")
    moment = folder.ok("history", "--json").document["events"][before - 1]["at"]
    assert folder.ok("rollback", "app-db", "--to", moment, "--yes", "--json").document["version"] == first["version"]


def test_what_cannot_be_gone_back_to_is_refused_with_what_can(folder: Folder) -> None:
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    folder.ok("retire", "app-db")
    folder.run("rollback", "app-db", "--to", "v9", "--yes").refused(6, "v9", "Restore points: v1-")
    folder.run("rollback", "app-db", "--to", "#999", "--yes").refused(6, "no event #999")
    folder.run("retry", "app-db").refused(6, "retry is not possible while the rotation is completed")
    folder.run("abort", "app-db").refused(6, "abort is not possible")


def test_one_can_go_back_from_an_open_rotation_only_to_where_it_came_from(folder: Folder) -> None:
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    folder.ok("retire", "app-db")
    folder.ok("rotate", "app-db")
    folder.run("rollback", "app-db", "--to", "v1", "--yes").refused(6, "can be taken back to v2-")
    folder.ok("rollback", "app-db", "--to", "v2", "--yes")


def test_going_back_to_the_version_before_a_failed_rotation_takes_that_rotation_back(folder: Folder) -> None:
    """Log and store call it current, and it does not work: the target may hold the candidate."""
    folder.configure("app-db", strategy="single")
    first = folder.settled("app-db")
    folder.configure("app-db", strategy="single", faults="fail_verification")
    folder.config.write_text(folder.config.read_text().replace("max_retries: 0", "automatic: false"))
    failed = folder.run("rotate", "app-db", "--json").document
    assert failed["state"] == "failed"
    back = folder.ok("rollback", "app-db", "--to", "v1", "--yes", "--json").document
    assert (back["rotation_id"], back["state"]) == (failed["rotation_id"], "rolled_back")
    assert "is current already" in folder.ok("rollback", "app-db", "--to", first["version"], "--yes").err


def test_a_version_is_current_already_only_where_the_store_says_so_too(folder: Folder) -> None:
    """Somebody moved the label by hand: the rollback brings store and target to what was asked for."""
    folder.configure("app-db", strategy="single")
    old, new = folder.settled("app-db"), folder.settled("app-db")
    store, key = folder.wiring().held_in("app-db"), "default/app-db"
    value = store.read(key, old["version"])
    assert value is not None
    store.promote(key, old["version"], value, expected=new["version"])
    assert "would go from" in folder.ok("rollback", "app-db", "--to", "v2", "--dry-run").out
    back = folder.ok("rollback", "app-db", "--to", "v2", "--yes", "--json").document
    assert (back["kind"], back["state"], back["version"]) == ("rollback", "completed", new["version"])
    assert store.versions(key).current == new["version"]


def test_a_dry_run_refuses_what_would_be_refused(folder: Folder) -> None:
    """Where the target makes its values no older one can be set back, and none is offered."""
    folder.configure("app-db", strategy="issue")
    folder.ok("rotate", "app-db")
    folder.ok("retire", "app-db")
    folder.ok("rotate", "app-db")
    assert len(folder.ok("status", "--json").document["services"][0]["restore_points"]) == 1
    folder.ok("retire", "app-db")
    for last in ("--dry-run", "--yes"):
        for to in ([], ["--to", "v1"]):
            done = folder.run("rollback", "app-db", *to, last)
            done.refused(6, "cannot be set back to a known value", "Restore points: none")
    assert folder.ok("status", "--json").document["services"][0]["restore_points"] == []
