"""When a rotation is due and may begin, as a user meets it: `rotate`, `rotate --due`, and what no window holds up."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.cli.program import Folder

pytestmark = pytest.mark.slow

TODAY = datetime.now(UTC).date()
LATER = TODAY + timedelta(days=10)


def window(*days: date) -> str:
    """Return the one window of some days of the month."""
    return f"      windows: {{allowed: [{{days_of_month: {[day.day for day in days]}}}]}}\n"


OPEN = window(TODAY, TODAY + timedelta(days=1))  # Near midnight, today may end during a test.
CLOSED = window(LATER)


@pytest.fixture
def closed(folder: Folder) -> Folder:
    """A service that was rotated twice and is in its grace period, with a window that opens in ten days."""
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    folder.configure("app-db", ttl="1s", more=CLOSED)
    return folder


def written(folder: Folder, *, ago: float) -> None:
    """Have the configuration last changed so many seconds ago."""
    then = time.time() - ago
    os.utime(folder.config, (then, then))


# --- windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--on-conflict", "queue"], ["--on-conflict", "replace"]])
def test_outside_of_a_window_no_rotation_is_begun(folder: Folder, more: list[str]) -> None:
    """Exit 6 with the time at which one may, and nothing is recorded."""
    folder.settled("app-db")
    folder.configure("app-db", more=CLOSED)
    head = folder.head()
    done = folder.run("rotate", "app-db", *more)
    done.refused(6, f"may not begin now: a window opens at {LATER}T00:00:00.000000Z", "--outside-window")
    assert folder.head() == head


def test_outside_of_a_window_a_person_may_with_a_reason(folder: Folder) -> None:
    """Which is recorded with what it was that was passed over; without one it is refused."""
    folder.configure("app-db", more=CLOSED)
    folder.run("rotate", "app-db", "--outside-window").refused(2, "--outside-window", "--reason")
    done = folder.ok("rotate", "app-db", "--outside-window", "--reason", "leaked", "--json")
    assert done.document["reason"] == "outside of its windows: leaked"


def test_within_a_window_there_is_nothing_to_pass_over(folder: Folder) -> None:
    folder.configure("app-db", more=OPEN)
    done = folder.ok("rotate", "app-db", "--outside-window", "--reason", "monday", "--json")
    assert done.document["reason"] == "monday"


def test_a_window_that_is_closed_for_one_service_does_not_stop_the_others(folder: Folder) -> None:
    """Told in one, like every refusal, and the worst code wins."""
    folder.configure("one", "two")
    text = folder.config.read_text()
    at = text.index("      strategy")
    folder.config.write_text(text[:at] + CLOSED + text[at:])
    done = folder.run("rotate", "--all", "--json")
    assert done.code == 6
    assert [document["service"] for document in done.documents] == ["two"]
    assert "one (default) may not begin now" in done.err


@pytest.mark.parametrize("command", ["rollback", "abort", "retire"])
def test_no_window_holds_up_going_back_or_ending_a_grace_period(closed: Folder, command: str) -> None:
    yes = ["--yes"] if command == "rollback" else []
    ends = "completed" if command == "retire" else "rolled_back"
    assert closed.ok(command, "app-db", *yes, "--json").document["state"] == ends


def test_no_window_holds_up_going_on(folder: Folder) -> None:
    """What has begun is driven on, and so is what waited for its turn when the window closed."""
    folder.settled("app-db")
    folder.run("rotate", "app-db", "--detach")
    folder.run("rotate", "app-db", "--on-conflict", "queue", "--detach")
    folder.configure("app-db", more=CLOSED)
    folder.ok("resume", "app-db")
    folder.ok("retire", "app-db")
    assert folder.ok("resume", "app-db", "--json").document["state"] == "grace"


def test_no_window_holds_up_trying_to_go_back_again(folder: Folder) -> None:
    folder.settled("app-db")
    folder.configure("app-db", faults="fail_verification, reject_restore")
    folder.run("rotate", "app-db").refused(5, "going back failed")
    folder.configure("app-db", more=CLOSED)
    assert folder.ok("retry", "app-db", "--json").document["state"] == "rolled_back"


def test_no_window_holds_up_a_repair(folder: Folder) -> None:
    folder.settled("app-db")
    folder.configure("app-db", more=CLOSED)
    (folder.path / "app.env").write_text("APP_DB=canary-by-hand\n")
    folder.ok("doctor", "--repair", "--yes")
    assert folder.ok("doctor").code == 0


# --- what is due ----------------------------------------------------------------------------------------------


def test_what_is_due_outside_of_a_window_is_left_out_and_told(folder: Folder) -> None:
    """That is no failure: the timer comes again."""
    folder.configure("app-db", more=CLOSED)
    head = folder.head()
    done = folder.ok("rotate", "--due")
    assert "app-db is due, and may not begin now: a window opens at" in done.err
    assert folder.head() == head
    assert folder.ok("rotate", "--due", "--outside-window", "--reason", "leaked", "--json").documents


def test_what_needs_a_person_is_told_whatever_the_window(folder: Folder) -> None:
    """A rotation that rests is not begun, so no window keeps its exit code back."""
    folder.settled("app-db")
    folder.configure("app-db", ttl="1ms", faults="fail_verification, reject_restore")
    folder.run("rotate", "app-db").refused(5, "going back failed")
    folder.configure("app-db", ttl="1ms", more=CLOSED)
    folder.run("rotate", "--due").refused(5, "keyturn retry")


def scheduled(folder: Folder, expression: str) -> None:
    """Give the service a schedule and no ttl."""
    folder.configure("app-db", more=f'      schedule: "{expression}"\n')
    folder.config.write_text(folder.config.read_text().replace("      ttl: 30d\n", ""))


def test_a_service_with_a_schedule_is_not_due_before_its_first_time_after_the_last_rotation(folder: Folder) -> None:
    folder.settled("app-db")
    scheduled(folder, f"0 0 1 {LATER.month % 12 + 1} *")
    assert "nothing is due" in folder.ok("rotate", "--due").err


def test_a_service_that_was_never_rotated_has_its_schedule_since_the_configuration_was_written(folder: Folder) -> None:
    """Asked a minute later it is due still, however often it was asked before."""
    scheduled(folder, "* * * * *")
    written(folder, ago=-3600)
    assert "nothing is due" in folder.ok("rotate", "--due").err
    written(folder, ago=61)
    assert folder.ok("rotate", "--due", "--json").document["state"] == "completed"


@pytest.mark.parametrize("is_rotated", [False, True])
def test_the_status_tells_when_a_service_with_a_schedule_is_due(folder: Folder, *, is_rotated: bool) -> None:
    """The same from the view and from the log, before the first rotation and after it."""
    scheduled(folder, f"30 3 1 {LATER.month % 12 + 1} *")
    if is_rotated:
        folder.settled("app-db")
    quick = folder.ok("status", "--json").document["services"][0]
    assert quick["due_at"] == f"{LATER.year + LATER.month // 12}-{LATER.month % 12 + 1:02}-01T03:30:00.000000Z"
    for path in folder.state.glob("views.db*"):
        path.unlink()
    assert folder.ok("status", "--json").document["services"] == [quick]


def test_the_status_tells_the_earlier_of_ttl_and_schedule(folder: Folder) -> None:
    folder.configure("app-db", ttl="2d", more=f'      schedule: "30 3 1 {LATER.month % 12 + 1} *"\n')
    assert folder.ok("status", "--json").document["services"][0]["due_at"] is None
    folder.settled("app-db")
    entry = folder.ok("status", "--json").document["services"][0]
    due, last = (datetime.fromisoformat(entry[key]) for key in ("due_at", "last_rotated_at"))
    assert due - last == timedelta(days=2)
