"""`keyturn group`: services that are rotated together, as a user sees it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.program import Done, Folder

NAMES = ("primary", "replica-1", "replica-2")

GROUP = """
service_groups:
  - name: cluster
    services: [primary, replica-1, replica-2]
    rotation:
      dependency_order: [primary, [replica-1, replica-2]]
      failure_policy: {policy}
{more}"""


def configure(folder: Folder, *, policy: str = "rollback_all", more: str = "", broken: str = "") -> None:
    """Configure three services and their group; what is `broken` verifies nothing."""
    folder.configure(*NAMES, window="5s")
    text = folder.config.read_text()
    if broken:
        head, name, tail = text.partition(f"  {broken}:\n    type: memory\n    faults: [")
        assert name
        text = f"{head}{name}fail_verification{tail}"
    folder.config.write_text(text + GROUP.format(policy=policy, more=more))


def versions(folder: Folder) -> dict[str, str | None]:
    """Return the version of each service that is current."""
    return {each["service"]: each["version"] for each in folder.ok("status", "--json").document["services"]}


def outcomes(done: Done) -> dict[str, Any]:
    """Return how it ended for each service."""
    return {each["service"]: each["outcome"] for each in done.document["services"]}


def test_a_group_is_rotated_step_by_step(folder: Folder) -> None:
    configure(folder)
    assert folder.ok("group", "status", "cluster", "--json").document["state"] == "idle"
    done = folder.ok("group", "rotate", "cluster", "--json", "--reason", "quarterly")
    document = done.document
    assert document["schema"] == "keyturn.group/1"
    assert (document["state"], document["error"], document["reason"]) == ("completed", None, "quarterly")
    assert document["steps"] == [["primary"], ["replica-1", "replica-2"]]
    assert outcomes(done) == dict.fromkeys(NAMES, "rotated")
    begun = [
        event["service"]
        for event in folder.ok("history", "--json").document["events"]
        if event["event"].startswith("rotation-started")
    ]
    assert begun[0] == "primary"
    assert {*begun} == {*NAMES}
    assert all(versions(folder).values())
    shown = folder.ok("group", "status", "cluster").out
    assert "cluster: completed" in shown
    assert "replica-2" in shown
    assert folder.ok("audit", "verify", "--json").document["ok"]


def test_a_failure_takes_the_whole_group_back(folder: Folder) -> None:
    configure(folder)
    folder.ok("group", "rotate", "cluster")
    for name in NAMES:
        folder.ok("retire", name)
    before = versions(folder)
    configure(folder, broken="replica-2")
    done = folder.run("group", "rotate", "cluster", "--json")
    assert done.code == 3
    assert done.document["state"] == "rolled_back"
    assert done.document["automatic"] is True
    assert "the query failed" in done.document["error"]["message"]
    assert versions(folder) == before


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("rollback_failed_only", {"primary": "failed", "replica-1": None, "replica-2": None}),
        ("continue", {"primary": "failed", "replica-1": "rotated", "replica-2": "rotated"}),
    ],
)
def test_the_policy_says_what_becomes_of_the_others(folder: Folder, policy: str, expected: dict[str, Any]) -> None:
    configure(folder, policy=policy, broken="primary")
    done = folder.run("group", "rotate", "cluster", "--json")
    assert done.code == 3
    assert done.document["state"] == "failed"
    assert outcomes(done) == expected


def test_a_group_is_taken_back_to_before_and_to_an_event(folder: Folder) -> None:
    """Within the grace period by its rotations, behind it by new ones; and to any event that a store can serve."""
    configure(folder)
    folder.ok("group", "rotate", "cluster")
    for name in NAMES:
        folder.ok("retire", name)
    first, event = versions(folder), folder.ok("history", "--json").document["events"][-1]["position"]
    folder.ok("group", "rotate", "cluster")
    assert not {*first.values()} & {*versions(folder).values()}
    folder.run("group", "rollback", "cluster").refused(6, "--yes")
    done = folder.ok("group", "rollback", "cluster", "--yes", "--json")
    assert done.document["state"] == "rolled_back"
    assert versions(folder) == first
    folder.ok("group", "rotate", "cluster")
    for name in NAMES:
        folder.ok("retire", name)
    dry = folder.ok("group", "rollback", "cluster", "--to", f"#{event}", "--dry-run").out
    assert all(f"{name}: would go to {first[name]}" in dry for name in NAMES)
    folder.ok("group", "rollback", "cluster", "--to", f"#{event}", "--yes")
    assert versions(folder) == first
    folder.run("group", "rollback", "cluster", "--to", "v1", "--yes").refused(2, "versions of its own")


def test_what_was_cut_off_goes_on(folder: Folder) -> None:
    """`--timeout` ends the waiting, here for checks that do not pass yet; the same command goes on."""
    looks = folder.path / "look.sh"
    looks.write_text(f"#!/bin/sh\n[ -e {folder.path}/fine ] || exit 2\n")
    looks.chmod(0o700)
    crossed = """
      cross_service_verification:
        timeout: 1h
        interval: 50ms
        checks: [{type: custom_script, script: ./look.sh}]
"""
    configure(folder, more=crossed.lstrip("\n"))
    done = folder.run("group", "rotate", "cluster", "--timeout", "1s", "--json")
    assert done.code == 8
    assert done.document["state"] == "checking"
    assert [(each["check"], each["result"]) for each in done.document["checks"]] == [("script/primary", "fail")]
    (folder.path / "fine").touch()
    assert folder.ok("group", "rotate", "cluster", "--json").document["state"] == "completed"


def test_a_group_that_is_not_there_is_refused_by_name(folder: Folder) -> None:
    configure(folder)
    folder.run("group", "rotate", "clutser").refused(2, "'clutser'", "Did you mean 'cluster'?")


def test_a_group_that_was_never_rotated_has_nothing_to_go_back_to(folder: Folder) -> None:
    configure(folder)
    folder.run("group", "rollback", "cluster", "--yes").refused(6, "never rotated")


def test_services_that_had_no_version_before_cannot_go_back_to_it(folder: Folder) -> None:
    """It is refused, and nothing is recorded: a group that waits for a person would be no help."""
    configure(folder)
    folder.ok("group", "rotate", "cluster")
    folder.run("group", "rollback", "cluster", "--yes").refused(6, "it had none before this run")
    assert folder.ok("group", "status", "cluster", "--json").document["state"] == "completed"


def test_the_order_is_shown_and_nothing_done(folder: Folder) -> None:
    configure(folder)
    out = folder.ok("group", "rotate", "cluster", "--dry-run").out
    assert out.splitlines() == ["step 1: primary", "step 2: replica-1, replica-2"]
    assert not any(versions(folder).values())
