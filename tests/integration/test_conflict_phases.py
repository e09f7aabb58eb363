"""Every answer to a conflict, at every phase of the rotation that is in the way: abandoned there, or still driven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine import events as e
from engine.facts import Fact
from engine.machine import State
from tests.integration.installations import Driver, Ended
from tests.integration.rehearsals import SERVICE, Rehearsal, rehearse

pytestmark = pytest.mark.slow

FORWARD = ("staging", "applying", "verifying", "promoting", "monitoring", "grace")
"""Where a process can stop; `distributing` is passed through together with what was verified."""
BACK = ("rolling_back", "verifying_rollback")
STEPS = {"staging": "stage", "grace": "end_grace", "retiring": "retire", "rolling_back": "restore", "waiting": "start"}
DONE, WENT_BACK, PERSON_NEEDED, REFUSED, RESTING = 0, 3, 5, 6, 7


@dataclass(frozen=True)
class Phase:
    """A phase of the rotation that is in the way, how it comes to stand there, and what becomes of it."""

    name: str
    reach: Callable[[Rehearsal], None]
    driven: str
    """How it ends where it is driven on."""
    replaced: str
    """How it ends where another one replaces it."""


def _forward(name: str) -> Phase:
    return Phase(name, lambda at: at.killed("rotate", SERVICE, die_in=name), "completed", "rolled_back")


def _in_doubt(at: Rehearsal) -> None:
    at.killed("rotate", SERVICE, die_in="after target.apply")


def _retiring(at: Rehearsal) -> None:
    at.killed("rotate", SERVICE, "--wait-grace", die_in="retiring")


def _back(name: str) -> Phase:
    def reach(at: Rehearsal) -> None:
        at.killed("rotate", SERVICE, die_in="promoting")
        at.killed("abort", SERVICE, die_in=name)

    return Phase(name, reach, "rolled_back", "rolled_back")


def _paused(at: Rehearsal) -> None:
    at.killed("rotate", SERVICE, die_in="staging")
    open_one = at.rotations()[-1]
    at.append(Fact(open_one.id, open_one.version + 1, open_one.started_at, "ada", e.PauseRequested(), open_one.state))
    assert at.run("resume").code == RESTING


def _going_back_failed(at: Rehearsal) -> None:
    at.configure("fail_verification, reject_restore")
    assert at.run("rotate", SERVICE).code == PERSON_NEEDED
    at.configure()


def _failed(at: Rehearsal) -> None:
    at.configure("fail_verification", automatic=False)
    assert at.run("rotate", SERVICE).code == PERSON_NEEDED
    at.configure()


def _waiting_behind(at: Rehearsal) -> None:
    at.killed("rotate", SERVICE, die_in="grace")
    assert at.run("rotate", SERVICE, "--on-conflict", "queue", "--detach").code == 8


def _waiting(at: Rehearsal) -> None:
    _waiting_behind(at)
    at.done("retire", SERVICE)


OPEN = [
    *map(_forward, FORWARD),
    Phase("in doubt", _in_doubt, "completed", "rolled_back"),
    Phase("retiring", _retiring, "completed", "completed"),
    *map(_back, BACK),
]
LEFT_BY = {"paused": ("abort", RESTING), "rollback_failed": ("retry", PERSON_NEEDED)}
"""What rests until a person decides: the command that leaves it, and the exit code that says so."""
EVERY = [
    *OPEN,
    Phase("paused", _paused, "paused", "rolled_back"),
    Phase("rollback_failed", _going_back_failed, "rollback_failed", "rollback_failed"),
    Phase("waiting behind another", _waiting_behind, "completed", "rolled_back"),
    Phase("waiting", _waiting, "completed", "completed"),
]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, drivers: list[Driver]) -> Rehearsal:
    """An installation on the rehearsal target whose service was rotated once."""
    return rehearse(tmp_path_factory.mktemp("rehearsal"), drivers[0])


@pytest.fixture
def at(rehearsal: Rehearsal) -> Rehearsal:
    """The same, as it was at the start."""
    rehearsal.put_back()
    return rehearsal


def rotate(at: Rehearsal, policy: str, *options: str) -> Ended:
    return at.run("rotate", SERVICE, "--on-conflict", policy, "--timeout", "30s", "--json", *options)


def ends(at: Rehearsal) -> None:
    """End every grace period that is left; from there on everything is over, and sound."""
    at.done("resume", "--wait-grace")
    at.assert_sound()


# --- abandoned -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", EVERY, ids=lambda phase: phase.name)
@pytest.mark.parametrize("policy", ["reject", "concurrent"])
def test_what_is_refused_records_nothing(policy: str, phase: Phase, at: Rehearsal) -> None:
    """Exit 6 at once, and who and what stands in the way."""
    phase.reach(at)
    before = at.facts()
    refused = rotate(at, policy)
    assert refused.code == REFUSED, refused
    holder = at.credential().open or at.credential().queued
    told = refused.document
    assert told["rotation_id"] == str(holder)
    assert str(holder) in refused.err
    (now,) = [each for each in at.rotations() if each.id == holder]
    assert (told["state"], told["holder"]) == (now.state.value, now.owner)
    if now.state.value in STEPS:
        assert told["step"] == STEPS[now.state.value]
    assert at.facts() == before


@pytest.mark.parametrize("phase", EVERY, ids=lambda phase: phase.name)
def test_whoever_queues_is_served_behind_it(phase: Phase, at: Rehearsal) -> None:
    """The one in the way is driven to its end first; where a person is needed the request stays until then."""
    phase.reach(at)
    asked = rotate(at, "queue")
    _, holder, *_ = at.rotations()
    at.assert_one_at_a_time()
    assert holder.state.value == phase.driven
    if phase.name in LEFT_BY:
        command, code = LEFT_BY[phase.name]
        assert (asked.code, at.states()[-1]) == (code, "waiting")
        assert f"keyturn {command} {holder.id}" in asked.err
        at.done(command, SERVICE)
        resumed = at.done("resume", "--json")
        assert resumed.document["rotation_id"] == asked.document["rotation_id"]
    else:
        assert asked.code == DONE, asked
        assert (asked.document["state"], len(at.rotations())) == ("grace", 3)
    ends(at)
    assert at.states()[-1] == "completed"


@pytest.mark.parametrize("phase", EVERY, ids=lambda phase: phase.name)
def test_whoever_replaces_it_begins_when_it_is_over(phase: Phase, at: Rehearsal) -> None:
    """Taken back where there is a way, driven to its end where there is none; where that fails nothing begins."""
    phase.reach(at)
    asked = rotate(at, "replace")
    _, holder, *others = at.rotations()
    at.assert_one_at_a_time()
    assert holder.state.value == phase.replaced
    if phase.name == "rollback_failed":
        assert (asked.code, others) == (PERSON_NEEDED, [])
        at.done("retry", SERVICE)
    else:
        assert asked.code == DONE, asked
        assert (asked.document["state"], asked.document["rotation_id"]) == ("grace", str(others[-1].id))
        assert all(each.state is State.CANCELLED for each in others[:-1])
    ends(at)


@pytest.mark.parametrize("policy", ["reject", "queue", "replace", "concurrent"])
def test_what_has_failed_is_over_and_in_nobodys_way(policy: str, tmp_path: Path, drivers: list[Driver]) -> None:
    at = rehearse(tmp_path, drivers[0], strategy="single")
    _failed(at)
    asked = rotate(at, policy)
    assert (asked.code, at.states()) == (DONE, ["completed", "failed", "completed"]), asked
    at.assert_sound()


@pytest.mark.parametrize("state", ["monitoring", "retiring"])
def test_what_has_no_way_back_is_not_replaced_but_driven_on_where_it_can(
    state: str, tmp_path: Path, drivers: list[Driver]
) -> None:
    """The first rotation replaces nothing that a store holds: exit 6 and nothing recorded, or driven to its end."""
    at = rehearse(tmp_path, drivers[0])
    at.forget()
    at.killed("rotate", SERVICE, "--wait-grace", die_in=state)
    before = at.facts()
    asked = rotate(at, "replace")
    if state == "retiring":
        assert (asked.code, at.states()) == (DONE, ["completed", "grace"])
        ends(at)
        return
    assert (asked.code, at.facts()) == (REFUSED, before), asked
    assert "with no earlier version" in asked.err
    dry = rotate(at, "replace", "--dry-run")
    assert (dry.code, "with no earlier version" in dry.err) == (REFUSED, True), dry


def test_until_the_store_was_asked_a_first_rotation_is_replaced(tmp_path: Path, drivers: list[Driver]) -> None:
    """It calls nothing current yet, so that the value that was added is taken away again."""
    at = rehearse(tmp_path, drivers[0])
    at.forget()
    at.killed("rotate", SERVICE, "--wait-grace", die_in="promoting")
    asked = rotate(at, "replace")
    assert (asked.code, at.states()) == (DONE, ["rolled_back", "grace"]), asked
    ends(at)


# --- driven by a live process ----------------------------------------------------------------------------------------


STAYS = 1.2
"""How many seconds the process that drives stays in a phase; the other one comes as soon as it is there."""


def meet(at: Rehearsal, name: str, policy: str) -> tuple[Ended, Ended]:
    """Have a process stay in a phase, and another one ask meanwhile; return how both ended."""
    command = ["rotate", SERVICE, "--wait-grace"]
    if name in BACK:
        at.killed("rotate", SERVICE, die_in="promoting")
        command = ["abort", SERVICE]
    there = at.folder / "there"
    there.unlink(missing_ok=True)
    asks = at.call("rotate", SERVICE, "--on-conflict", policy, "--timeout", "30s", "--json", once=str(there))
    drives, asked = at.driver.run(at.call(*command, stay_in=name, stay_seconds=STAYS, there=str(there)), asks)
    assert there.exists(), "the process that drives never came to that phase"
    at.assert_one_at_a_time()
    return drives, asked


@pytest.mark.parametrize("name", [*FORWARD, "retiring", *BACK])
@pytest.mark.parametrize("policy", ["reject", "concurrent"])
def test_a_live_process_is_left_alone_by_who_is_refused(policy: str, name: str, at: Rehearsal) -> None:
    drives, asked = meet(at, name, policy)
    assert (drives.code, asked.code) == (DONE, REFUSED), (drives, asked)
    assert asked.document["state"] in (name, "grace")
    assert len(at.rotations()) == 2
    at.assert_sound()


@pytest.mark.parametrize("name", [*FORWARD, "retiring", *BACK])
def test_a_live_process_is_waited_for_by_who_queues(name: str, at: Rehearsal) -> None:
    """Nobody takes the rotation from it, and both get what they asked for."""
    drives, asked = meet(at, name, "queue")
    assert (drives.code, asked.code) == (DONE, DONE), (drives, asked)
    _, holder, waited = at.rotations()
    assert holder.state.value == ("rolled_back" if name in BACK else "completed")
    assert (str(waited.id), waited.epoch) == (asked.document["rotation_id"], 1)
    if name not in ("staging", *BACK):  # in `staging` it was recorded, and nobody had begun to drive it
        assert holder.epoch == 1, "it was taken from the process that drove it"
    ends(at)


@pytest.mark.parametrize("name", [*FORWARD, "retiring", *BACK])
def test_a_live_process_carries_out_that_it_is_replaced(name: str, at: Rehearsal) -> None:
    """Its own caller is told so (3), unless it was past the point of no return or went back already."""
    drives, asked = meet(at, name, "replace")
    expected = DONE if name in ("retiring", *BACK) else WENT_BACK
    assert (drives.code, asked.code) == (expected, DONE), (drives, asked)
    _, holder, new = at.rotations()
    assert holder.state.value == ("completed" if name == "retiring" else "rolled_back")
    assert str(new.id) == asked.document["rotation_id"]
    ends(at)
