"""Rotations of a service with instances, as a person drives them: what rests, what goes on, and what is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.program import Folder

pytestmark = pytest.mark.slow

LATER = datetime.now(UTC).date() + timedelta(days=10)


def configured(folder: Folder, rollout: str = "", *, behaviour: str = "", count: int = 8) -> None:
    """Write a service with instances that soak for a moment, and rotate it once, so that there is a version to keep."""
    instances = f"      discovery: {{type: memory, count: {count}, zones: 2}}\n"
    plain = "      distribution: {type: memory, timeout: 2s}\n      grace_period: 0s\n"
    canary = "      canary: {health_monitoring_period: 1ms}\n"
    folder.configure("app-db", more=instances + plain + canary)
    folder.ok("rotate", "app-db", "--wait-grace")
    handed = f"      distribution: {{type: memory, timeout: 2s{behaviour}}}\n      grace_period: 1h\n"
    folder.configure("app-db", more=instances + handed + canary + rollout)


def status(folder: Folder) -> dict[str, Any]:
    """Return the entry of the service."""
    (entry,) = folder.ok("status", "--json").document["services"]
    return dict(entry)


APPROVED = "      rollout: {require_approval: true, waves: [{percentage: 50}, {percentage: 100}]}\n"


def test_each_wave_begins_when_a_person_lets_it(folder: Folder) -> None:
    """Exit code 7 each time; status, show and the error say how far it is, and with what it goes on."""
    configured(folder, APPROVED)
    resting = folder.run("rotate", "app-db")
    resting.refused(7, "until you let the next wave begin", "Wave 2 of 3, 1 of 8 instances moved", "keyturn continue")
    assert "instances moved (instance-" in resting.err
    entry = status(folder)
    assert entry["state"] == "paused"
    assert entry["rollout"] == "wave 2 of 3, 1 of 8 instances moved, 0 unverified"
    assert "wave 2 of 3" in folder.ok("status").err
    folder.run("continue", "app-db").refused(7, "Wave 3 of 3, 4 of 8 instances moved")
    shown = folder.ok("show", "app-db", "--json").document["rollout"]
    assert [(each["instances"], each["moved"], each["state"]) for each in shown["waves"]] == [
        (1, 1, "passed"),
        (3, 3, "passed"),
        (4, 0, "paused"),
    ]
    assert (shown["paused"], shown["wave"], shown["moved"]) == ("approval", 2, 4)
    folder.ok("promote", "app-db", "--full", "--reason", "it is late")
    assert status(folder)["rollout"] == "all waves passed, 8 of 8 instances moved, 0 unverified"
    events = folder.ok("history", "app-db", "--json").document["events"]
    assert [each["reason"] for each in events if each["event"] == "rollout-resumed.1"] == ["", "it is late"]


def test_an_abort_takes_every_instance_back(folder: Folder) -> None:
    configured(folder, APPROVED)
    previous = status(folder)["version"]
    folder.run("rotate", "app-db")
    folder.run("continue", "app-db")
    done = folder.ok("abort", "app-db", "--reason", "not today")
    assert f"back on {previous}" in done.out
    shown = folder.ok("show", "app-db", "--json").document["rollout"]
    assert (shown["returned"], shown["outstanding"]) == (4, [])


def test_an_instance_that_fails_takes_the_rotation_back(folder: Folder) -> None:
    """By itself, and the exit code says that all is as before."""
    configured(folder, behaviour=", instances: [instance-0003], faults: [reject]")
    folder.run("rotate", "app-db").refused(3, "instance-0003", "refuses")


def test_a_failed_wave_rests_where_that_is_wanted_and_is_tried_again(folder: Folder) -> None:
    """What is not asked is refused by name; once the cause is gone, `retry` goes on."""
    pausing = "      rollout: {pause_on_failure: true, waves: [{percentage: 100}]}\n"
    configured(folder, pausing, behaviour=", instances: [instance-0003], faults: [reject]")
    resting = folder.run("rotate", "app-db")
    resting.refused(7, "resting because the wave failed", "instance-0003", "keyturn retry")
    folder.run("accept-inconclusive", "app-db").refused(6, "not because something was not seen")
    assert "try the wave again" in folder.ok("retry", "app-db", "--dry-run").out
    configured_well = folder.config.read_text().replace(", instances: [instance-0003], faults: [reject]", "")
    folder.config.write_text(configured_well)
    folder.ok("retry", "app-db")
    assert status(folder)["state"] == "grace"


def test_a_version_that_is_still_used_is_not_retired(folder: Folder) -> None:
    """`retire` asks the instances first; the message names the one that does not answer, and nothing is lost."""
    configured(folder)
    folder.ok("rotate", "app-db")
    text = folder.config.read_text()
    folder.config.write_text(text.replace("timeout: 2s", "timeout: 2s, instances: [instance-0002], faults: [unknown]"))
    folder.run("retire", "app-db").refused(8, "still grace", "instance-0002 did not prove", "keyturn abort")
    assert status(folder)["state"] == "grace"
    folder.config.write_text(text)
    folder.ok("retire", "app-db")
    assert status(folder)["state"] == "ok"


def test_nobody_listed_rests_until_a_person_says_that_nobody_is_there(folder: Folder) -> None:
    configured(folder)
    folder.config.write_text(folder.config.read_text().replace("count: 8", "count: 0"))
    resting = folder.run("rotate", "app-db")
    resting.refused(7, "not seen whether all is well", "discovery lists no instance", "keyturn accept-inconclusive")
    assert "would go on without what was not seen" in folder.ok("accept-inconclusive", "app-db", "--dry-run").out
    folder.ok("accept-inconclusive", "app-db", "--reason", "it is scaled down")
    assert status(folder)["state"] == "grace"


def test_a_wave_waits_for_the_windows_of_the_service(folder: Folder) -> None:
    """As the beginning of a rotation does; a person may let it pass."""
    configured(folder)
    text = folder.config.read_text()
    folder.config.write_text(text + f"      windows: {{allowed: [{{days_of_month: [{LATER.day}]}}]}}\n")
    begun = folder.run("rotate", "app-db", "--outside-window", "--reason", "now", "--timeout", "1s")
    begun.refused(8, "waits until", "the window opens")
    folder.ok("promote", "app-db", "--full", "--reason", "all of it")
    assert status(folder)["state"] == "grace"


def test_nothing_to_promote_is_refused(folder: Folder) -> None:
    folder.configure("app-db")
    folder.ok("rotate", "app-db")
    folder.run("promote", "app-db").refused(6, "promote is not possible", "no instances")
