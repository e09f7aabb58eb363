"""What a command does while something beside it changes: another process decides, a file is edited, a fault stays."""

from __future__ import annotations

import subprocess

import pytest

from adapters.cli import standing
from adapters.cli.session import Session
from tests.cli.program import Folder

pytestmark = pytest.mark.slow


def begun(folder: Folder, *arguments: str, until: str) -> subprocess.Popen[str]:
    """Start the program beside the test, and return it once it has said `until` on stderr."""
    process = subprocess.Popen(
        folder.command(*arguments),
        cwd=folder.path,
        env=folder.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if until in line:
            return process
    raise AssertionError(f"it ended with {process.wait()} before it said {until!r}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the program, and return its exit code and what it wrote to stderr since."""
    _, err = process.communicate(timeout=30)
    return process.returncode, err


# --- another process takes the rotation back ---------------------------------------------------------


def test_a_rotation_that_another_process_took_back_has_failed_for_who_rotated(folder: Folder) -> None:
    """Exit 3 where it was not asked for; the one who decided is told who carries it out."""
    folder.settled("app-db")
    process = begun(folder, "rotate", "app-db", "--wait-grace", until="monitoring passed")
    told = folder.run("rollback", "app-db", "--yes", "--json")
    told.refused(8, "is to go back", f":{process.pid}:", "carries it out", "keyturn show")
    assert told.document["state"] in ("rolling_back", "verifying_rollback", "rolled_back")
    code, err = ended(process)
    assert (code, "safely back on v1-" in err) == (3, True), err
    assert folder.ok("show", "app-db", "--json").document["state"] == "rolled_back"


def test_a_grace_period_that_another_process_waits_for_is_ended_by_that_process(folder: Folder) -> None:
    folder.settled("app-db")
    process = begun(folder, "rotate", "app-db", "--wait-grace", until="grace period")
    folder.run("retire", "app-db").refused(8, "retire the old version now", f":{process.pid}:")
    assert ended(process)[0] == 0
    assert folder.ok("show", "app-db", "--json").document["state"] == "completed"


def test_resuming_what_a_person_took_back_is_done_when_it_is_back(folder: Folder) -> None:
    """Exit 0, and 0 again; what went back by itself stays a failure (3)."""
    folder.settled("app-db")
    text = folder.config.read_text().replace("max_retries: 0", "max_retries: 9")
    folder.config.write_text(text.replace("first: 1ms, longest: 2ms", "first: 1s, longest: 1s"))
    folder.ok("rotate", "app-db")
    patient = folder.config.read_text()
    folder.config.write_text(patient.replace("faults: []", "faults: [unavailable]"))
    folder.run("abort", "app-db", "--timeout", "1ms").refused(8, "still rolling_back")
    folder.config.write_text(patient)
    for _ in range(2):
        assert folder.ok("resume", "app-db", "--json").document["state"] == "rolled_back"
    folder.configure("app-db", faults="fail_verification")
    assert folder.run("rotate", "app-db").code == 3
    folder.run("resume", "app-db").refused(3, "safely back")


# --- an old version that does not go -----------------------------------------------------------------


def test_an_old_version_that_stays_valid_is_not_waited_for_without_end(folder: Folder) -> None:
    """Exit 5 after the tries of the plan, and after more of `resume`; with the fault gone `resume` ends it."""
    # Long enough that `resume` finds the next try still ahead, and has to wait for it.
    folder.config.write_text(folder.config.read_text().replace("first: 1ms, longest: 2ms", "first: 1s, longest: 1s"))
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    folder.configure("app-db", faults="keep_retired")
    done = folder.run("retire", "app-db", "--json")
    done.refused(5, "is not retired: retire: ", "keyturn resume", "keyturn abort")
    assert done.document["error"]["step"] == "retire"
    tried = postponed(folder)
    assert tried >= 2
    folder.run("resume", "app-db").refused(5, "is not retired")
    assert postponed(folder) > tried
    folder.configure("app-db")
    assert folder.ok("resume", "app-db", "--json").document["state"] == "completed"
    assert len(folder.ok("status", "--json").document["services"][0]["restore_points"]) == 1


def test_a_rotation_that_waits_for_the_grace_period_ends_where_retiring_does_not_work(folder: Folder) -> None:
    """The new version is current; exit 5 tells that the old one is still valid."""
    folder.settled("app-db")
    folder.configure("app-db", faults="keep_retired", more="      grace_period: 10ms\n")
    done = folder.run("rotate", "app-db", "--wait-grace", "--json")
    done.refused(5, "is not retired", "the old version")
    assert [each["accepted"] for each in done.document["known"]] == ["accepted", "accepted"]
    assert done.document["version"] in folder.ok("status").out


def postponed(folder: Folder) -> int:
    """Return how many tries had no success so far."""
    events = folder.ok("history", "app-db", "--json").document["events"]
    return sum(event["event"].startswith("effect-postponed") for event in events)


# --- the configuration is edited ---------------------------------------------------------------------


def test_a_configuration_edited_during_a_rotation_is_what_status_shows(folder: Folder) -> None:
    """What the rotation read at its beginning is not remembered as what the file says now."""
    folder.configure("app-db", more="      grace_period: 500ms\n")
    folder.settled("app-db")
    process = begun(folder, "rotate", "app-db", "--wait-grace", until="monitoring passed")
    folder.configure("app-db", "later")
    assert ended(process)[0] == 0
    shown = folder.ok("status", "--json").document["services"]
    assert [entry["service"] for entry in shown] == ["app-db", "later"]


def test_a_configuration_edited_while_status_reads_it_is_shown_by_the_next(folder: Folder) -> None:
    def session() -> Session:
        made = Session(lambda act: act())
        made.given_config, made.given_state = str(folder.config), str(folder.state)
        return made

    first = session()
    assert list(first.configuration.services) == ["app-db"]
    folder.configure("app-db", "later")
    assert [entry["service"] for entry in standing.services(first)] == ["app-db"]
    assert [entry["service"] for entry in standing.services(session())] == ["app-db", "later"]


@pytest.mark.parametrize("strategy", ["dual", "single"])
def test_a_template_edited_between_rotations_stops_no_way_back(folder: Folder, strategy: str) -> None:
    """The old version is published again as the template says now; in grace, and by a rotation of its own."""

    def publishing(template: str) -> None:
        folder.configure("app-db", strategy=strategy)
        text = folder.config.read_text().replace(
            "  dotenv:", "  other: {type: encrypted-file, path: ./other.kt, key_file: ./master.key}\n  dotenv:"
        )
        place = f"{{store: other, key: published/app, template: '{template}'}}"
        folder.config.write_text(text.replace("publish: [", f"publish: [{place}, "))

    publishing("{{ password }}")
    first = folder.settled("app-db")
    publishing("pw={{ password }}")
    folder.ok("rotate", "app-db")
    assert folder.ok("rollback", "app-db", "--yes", "--json").document["state"] in ("rolled_back", "completed")
    value = folder.wiring().held_in("app-db").read("default/app-db", first["version"])
    published = folder.wiring().store("other").read("published/app", "current")
    assert value is not None
    assert published is not None
    assert published.revealed() == f"pw={value.revealed()}"
