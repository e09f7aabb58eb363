"""Every ending that needs a person says what is known and what to run, and what it says to run leads out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from engine.machine import LEAVING, State
from engine.values import Instant
from tests.cli.forking import Forking
from tests.cli.program import Done, Folder, make
from tests.integration.endings import ENDINGS, OF_STATE, SERVICE, Ending, configure, paused, rollback_failed

pytestmark = pytest.mark.slow

LEADS_TO: Final = {
    (State.PAUSED, "continue"): "completed",
    (State.PAUSED, "rollback"): "rolled_back",
    (State.PAUSED, "abort"): "rolled_back",
    (State.ROLLBACK_FAILED, "retry"): "rolled_back",
    (State.ROLLBACK_FAILED, "abort"): "failed",
    (State.FAILED, "rollback"): "rolled_back",
    (State.FAILED, "rotate"): "completed",
}
"""What each command that leaves a resting state leads to; a state or a command without an entry fails a test."""

OF_WAVES: Final = {(State.PAUSED, "promote"), (State.PAUSED, "accept-inconclusive"), (State.PAUSED, "retry")}
"""What leads out of a rollout that rests; tests/cli/test_rollouts.py runs each of them there."""

CODES: Final = {"paused": 7, "failed_without_changes": 3}
"""The exit codes of the endings; a person is needed now (5) in all others."""


@pytest.fixture(scope="module")
def forking() -> Iterator[Forking]:
    """A process that runs the program without loading it each time."""
    process = Forking()
    yield process
    process.close()


@pytest.fixture
def folder(tmp_path: Path, forking: Forking) -> Folder:
    """A folder with a service."""
    (tmp_path / "made").mkdir()
    return make(tmp_path / "made", forking)


@pytest.fixture(params=ENDINGS)
def ending(request: pytest.FixtureRequest, folder: Folder) -> Ending:
    """Every ending in turn, and the exit code that it has."""
    made = ENDINGS[request.param](folder)
    assert made.told.code == CODES.get(request.param, 5), made.told
    return made


def lines(done: Done) -> list[str]:
    """Return the error that a call printed."""
    return done.err[done.err.rindex("keyturn: ") :].splitlines()


# --- what leads out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "command"), sorted({(state, name) for state in LEAVING for name in LEAVING[state]} - OF_WAVES)
)
def test_every_command_that_leaves_a_resting_state_leads_out(folder: Folder, state: State, command: str) -> None:
    """Asked for by the name of the service; and the credential can be rotated afterwards."""
    ending = OF_STATE[state](folder)
    assert (ending.now()["state"], ending.state) == (state, state)
    ending.mend(folder)
    done = folder.run(command, SERVICE, *(["--yes"] if command == "rollback" else []), "--json")
    assert done.document["state"] == LEADS_TO[state, command], done
    assert done.code == (5 if done.document["state"] == "failed" else 0), done
    folder.ok("rotate", SERVICE)
    assert folder.ok("audit", "verify", "--json").document["ok"]


def test_every_command_that_is_named_leads_out(ending: Ending, tmp_path: Path) -> None:
    """Those of the error, of `show`, of `status` and of `doctor`, each run in the very state that was told of."""
    told = "\n".join(lines(ending.told))
    show, status = ending.folder.ok("show", ending.rotation_id).err, ending.folder.ok("status").err
    doctor = ending.folder.run("doctor").out
    named = ending.named("\n".join((told, show, status, doctor)))
    assert {tuple(each) for each in named} == {tuple(each) for each in ending.named(told)}, "they name different ways"
    assert named
    for number, command in enumerate(named):
        copy = ending.copied(tmp_path / f"copy-{number}")
        before = copy.now()
        done = copy.folder.run(*command)
        gives_up = command[0] == "abort" and ending.state in (State.ROLLBACK_FAILED, State.RETIRING)
        assert done.code == (5 if gives_up else 0), (command, done)
        now = copy.now()
        assert command[0] == "rotate" or now["state"] != before["state"], (command, done)
        assert now["ended_at"] or now["state"] == "grace"
        if gives_up and ending.document["strategy"] == "dual":
            copy.folder.ok("rollback", SERVICE, "--yes")
        copy.folder.run("retire", SERVICE)
        copy.folder.ok("rotate", SERVICE)


def test_an_ending_is_told_in_three_lines_and_everywhere(ending: Ending) -> None:
    """`show`, `status` and `doctor` know it as well, and asking again appends nothing."""
    told = lines(ending.told)
    assert [line.split(":")[0].strip() for line in told] == ["keyturn", "where", "next"]
    folder = ending.folder
    head = folder.head()
    again = folder.run("resume", ending.rotation_id, "--json") if ending.state is not State.RETIRING else ending.told
    assert (again.code, again.document["state"]) == (ending.told.code, ending.state)
    assert folder.head() == head
    entry = folder.ok("status", "--json").document["services"][0]
    assert (entry["state"], entry["rotation_id"], bool(entry["next"])) == (ending.state, ending.rotation_id, True)
    assert f"{SERVICE} is {ending.state}: keyturn" in folder.ok("status").err
    assert "possible: keyturn" in folder.ok("show", SERVICE).err
    findings = folder.run("doctor", "--json").document["findings"]
    open_one = [each for each in findings if ending.rotation_id in each["message"]]
    assert len(open_one) == (entry["last_outcome"] != "failed" or "rollback" in told[-1])


# --- what is known --------------------------------------------------------------------------------------------------

KNOWN: Final = {
    "paused": None,
    "rollback_failed": ("refused", "accepted"),
    "rollback_failed_under_lockout": ("refused", "accepted"),
    "failed_half_way": ("refused", "accepted"),
    "failed_half_way_with_two_values": ("accepted", "accepted"),
    "failed_without_changes": None,
    "no_way_back": ("refused", "accepted"),
    "in_doubt": ("unknown", "unknown"),
    "failed_in_doubt": ("unknown", "unknown"),
    "never_retired": ("accepted", "accepted"),
}
"""What is seen of the version before and of the new one; None where nobody needs to know."""


@pytest.mark.parametrize("name", ENDINGS)
def test_what_is_known_is_told_where_a_person_is_needed(folder: Folder, name: str) -> None:
    """Which version works and where it is stored: in the document, and in the words for people."""
    ending = ENDINGS[name](folder)
    document, expected = ending.document, KNOWN[name]
    if expected is None:
        assert document["known"] == []
        return
    versions = (document["previous_version"], document["version"])
    assert document["known"] == [
        {"version": version, "accepted": accepted, "stored_in": f"local, default/{SERVICE}"}
        for version, accepted in zip(versions, expected, strict=True)
    ]
    first = lines(ending.told)[0]
    assert f"are both in store local, default/{SERVICE}" in first
    for version, accepted in zip(versions, expected, strict=True):
        assert version in first
        assert {"refused": f"refuses {versions[0]}", "unknown": "gives no clear answer", "accepted": "accepts"}[
            accepted
        ] in first


def test_a_look_under_lockout_is_recorded_and_leaves_logins_to_go_back_with(folder: Folder) -> None:
    """Two logins stand in the log behind the failure; `retry` does not have to wait for them."""
    ending = ENDINGS["rollback_failed_under_lockout"](folder)
    events = folder.ok("history", "--json").document["events"]
    failed = next(n for n, each in enumerate(events) if each["event"].startswith("rollback-failed"))
    assert [each["event"] for each in events[failed + 1 :]] == ["login-tried.1", "login-tried.1"]
    again = folder.run("resume", SERVICE, "--json").document["known"]
    assert [each["accepted"] for each in again] == ["not tried", "not tried"]
    ending.mend(folder)
    began = time.monotonic()
    assert folder.ok("retry", SERVICE, "--json").document["state"] == "rolled_back"
    assert time.monotonic() - began < 10


def test_after_giving_up_a_look_is_recorded_on_the_credential(folder: Folder) -> None:
    """No rotation is open any more; the next one counts what was spent."""
    ENDINGS["rollback_failed_under_lockout"](folder)
    done = folder.run("abort", SERVICE, "--reason", "never mind", "--json")
    assert (done.document["state"], done.document["outcome"]) == ("failed", "failed")
    assert [each["accepted"] for each in done.document["known"]] == ["refused", "accepted"]
    events = folder.ok("history", "--json").document["events"]
    tail = [each["event"] for each in events[-4:]]
    assert tail == ["rollback-abandoned.1", "rotation-closed.1", "login-spent.1", "login-spent.1"]
    assert events[-4]["reason"] == "never mind"
    head = folder.head()
    folder.run("abort", SERVICE).refused(5, "keyturn rollback")
    assert folder.head() == head


def test_a_lost_version_is_told_as_lost(folder: Folder) -> None:
    """The store does not show it, so that it could not be tried."""
    ending = rollback_failed(folder)
    (folder.path / "secrets.kt").unlink()
    known = folder.run("resume", SERVICE, "--json").document["known"]
    assert [(each["accepted"], each["stored_in"]) for each in known] == [("not tried", None)] * 2
    assert "not seen in the store" in folder.run("resume", SERVICE).err
    assert ending.now()["state"] == "rollback_failed"


def test_what_stands_in_the_way_of_looking_is_said_and_hides_nothing(folder: Folder) -> None:
    """A configuration that does not fit the rotation any more: both are told, and it is still exit 5."""
    rollback_failed(folder)
    folder.config.write_text(folder.config.read_text().replace("publish: [{store: dotenv, key: APP_DB}]", ""))
    done = folder.run("resume", SERVICE)
    done.refused(5, "is not published to any more", "Which version works is not known", "keyturn retry")


# --- pausing --------------------------------------------------------------------------------------------------------


def test_a_paused_rotation_has_given_nobody_the_new_version(folder: Folder) -> None:
    """Made and verified, current nowhere; a second pause records nothing, and `resume` leaves it."""
    configure(folder)
    first = folder.settled(SERVICE)["version"]
    published = (folder.path / "app.env").read_text()
    folder.run("rotate", SERVICE, "--detach")
    would = folder.ok("pause", SERVICE, "--dry-run").out
    assert "would rest when v2-" in would
    done = folder.run("pause", SERVICE, "--json", "--actor", "ada", "--reason", "lunch")
    done.refused(7, "resting until you decide", "keyturn continue", "keyturn abort")
    assert (done.document["state"], done.document["outcome"]) == ("paused", None)
    assert (folder.path / "app.env").read_text() == published
    assert folder.ok("status", "--json").document["services"][0]["version"] == first
    requested = [each for each in folder.ok("history", "--json").document["events"] if "pause" in each["event"]]
    assert (requested[0]["actor"], requested[0]["reason"]) == ("ada", "lunch")
    head = folder.head()
    folder.run("pause", SERVICE).refused(7, "is paused already", "keyturn continue")
    folder.run("resume").refused(7, "keyturn continue")
    folder.ok("continue", SERVICE, "--dry-run")
    assert folder.head() == head


def test_a_pause_that_is_requested_twice_is_recorded_once(folder: Folder) -> None:
    """The second says so; while it is only requested, there is nothing to continue."""
    configure(folder)
    folder.config.write_text(folder.config.read_text().replace("first: 1ms, longest: 2ms", "first: 9s, longest: 9s"))
    folder.settled(SERVICE)
    folder.run("rotate", SERVICE, "--detach")
    configure(folder, faults="unavailable")
    paused_at = folder.run("pause", SERVICE, "--timeout", "1ms")
    assert paused_at.code == 8, paused_at
    assert "is requested already" in folder.run("pause", SERVICE, "--timeout", "1ms").err
    folder.run("continue", SERVICE).refused(6, "a pause is only requested", "keyturn resume")
    events = [each["event"] for each in folder.ok("history", "--json").document["events"]]
    assert events.count("pause-requested.1") == 1
    configure(folder)
    folder.run("resume").refused(7, "keyturn continue")


def test_it_is_too_late_to_pause_what_is_current(folder: Folder) -> None:
    """Exit 6, and nothing is recorded; nor can go on what is not paused."""
    configure(folder, strategy="dual")
    folder.settled(SERVICE)
    folder.ok("rotate", SERVICE)
    head = folder.head()
    for command in ("pause", "continue"):
        folder.run(command, SERVICE).refused(6, f"{command} is not possible while the rotation is grace")
    folder.run("continue", "no-such").refused(2, "no rotation 'no-such'")
    assert folder.head() == head


@pytest.mark.parametrize(("made", "code"), [(paused, 7), (rollback_failed, 5)])
def test_what_is_due_and_rests_is_told(folder: Folder, made: Callable[[Folder], Ending], code: int) -> None:
    """`rotate --due` says why it is not rotated, and ends with the code of what is asked of a person."""
    ending = made(folder)
    folder.config.write_text(folder.config.read_text().replace("ttl: 30d", "ttl: 1s"))
    time.sleep(1.1)
    head = folder.head()
    folder.run("rotate", "--due").refused(code, f"keyturn {LEAVING[ending.state][0]} {ending.rotation_id}")
    folder.run("rotate", SERVICE).refused(6, f"keyturn {LEAVING[ending.state][0]} {ending.rotation_id}")
    assert folder.head() == head


@pytest.mark.parametrize("name", ["paused", "rollback_failed", "never_retired"])
def test_what_waits_behind_a_rotation_that_needs_a_person_says_so(folder: Folder, tmp_path: Path, name: str) -> None:
    """With the code of that one, the commands that lead out of it, and the one that withdraws the request."""
    ending = ENDINGS[name](folder)
    done = folder.run("rotate", SERVICE, "--on-conflict", "queue", "--json")
    waits = done.document["rotation_id"]
    done.refused(ending.told.code, ending.rotation_id, f"keyturn abort {waits} withdraws it")
    assert (done.document["state"], done.document["known"]) == ("waiting", [])
    assert set(map(tuple, ending.named(ending.told.err))) <= set(map(tuple, ending.named(done.err)))
    assert [line.split()[2] for line in folder.ok("show", waits).err.splitlines()] == ["resume", "abort"]
    copy = ending.copied(tmp_path / "withdrawn")
    assert copy.folder.ok("abort", waits, "--json").document["state"] == "cancelled"
    copy.folder.ok("abort", waits)
    ending.mend(folder)
    folder.ok(*ending.named(ending.told.err)[0])
    assert folder.ok("resume", "--json").document["state"] in ("completed", "grace")
    assert folder.ok("show", waits, "--json").document["version"] is not None


# --- by hand --------------------------------------------------------------------------------------------------------


def test_without_room_the_next_rotation_says_what_to_take_away(folder: Folder) -> None:
    """Exit 6, both versions by name, nothing recorded; what it names makes room."""
    ending = ENDINGS["failed_half_way_with_two_values"](folder)
    ending.mend(folder)
    head = folder.head()
    versions = (ending.document["previous_version"], ending.document["version"])
    folder.run("rotate", SERVICE).refused(6, "has no room", *versions, f"keyturn rollback {SERVICE}")
    assert folder.head() == head
    folder.ok("rollback", SERVICE, "--yes")
    folder.ok("rotate", SERVICE)


@pytest.mark.parametrize("gone", ["revoked", "label moved"])
def test_retiring_that_cannot_go_on_stops_and_names_what_leads_out(folder: Folder, gone: str) -> None:
    """Exit 5 after its tries, again and again; given up, it can be taken back."""
    configure(folder, strategy="dual")
    first = folder.settled(SERVICE)["version"]
    second = folder.ok("rotate", SERVICE, "--json").document["version"]
    by_hand(folder, gone, first, second)
    done = folder.run("retire", SERVICE, "--json")
    done.refused(5, f"{first} is not retired", "keyturn abort")
    assert done.document["known"][0]["accepted"] == "accepted"
    folder.run("resume").refused(5, "keyturn abort")
    assert folder.run("abort", SERVICE, "--json").document["state"] == "failed"
    assert folder.ok("rollback", SERVICE, "--yes", "--json").document["state"] == "rolled_back"
    folder.ok("rotate", SERVICE)


def by_hand(folder: Folder, what: str, first: str, second: str) -> None:
    """Revoke the current version at the target, or have the store call the one before current."""
    wiring, key = folder.wiring(), f"default/{SERVICE}"
    store = wiring.held_in(SERVICE)
    old, current = store.read(key, first), store.read(key, second)
    assert old is not None
    if what == "revoked":
        soon = Instant(time.time_ns() // 1_000 + 10_000_000)
        wiring.target(SERVICE).retire(current, keep=None, tag="by hand", deadline=soon)
    else:
        store.promote(key, first, old, expected=second)
