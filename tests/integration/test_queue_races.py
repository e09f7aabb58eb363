"""Several processes that queue for one credential at once, and a queue whose processes are killed at every append."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine import events as e
from tests.integration.installations import Driver
from tests.integration.rehearsals import SERVICE, Rehearsal, rehearse

pytestmark = pytest.mark.slow

PROCESSES = 8
ROUNDS = 6
QUEUE = ("rotate", SERVICE, "--on-conflict", "queue", "--timeout", "60s", "--json")
REPLACE = ("rotate", SERVICE, "--on-conflict", "replace", "--timeout", "60s", "--json")


def requests(at: Rehearsal) -> list[str]:
    """Return the ids of the rotations that ever waited."""
    return [str(fact.originator_id) for fact in at.facts() if isinstance(fact.body, e.RotationRequested)]


@pytest.mark.parametrize("strategy", ["single", "dual"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "as they come"])
def test_all_that_queue_are_served(strategy: str, tmp_path: Path, drivers: list[Driver], *, at_once: bool) -> None:
    """Each is told of a rotation that came after it asked; each request ends once; never two are open.

    As they come, the next one asks long before a rotation of some thirty synced appends can be over.
    """
    at = rehearse(tmp_path, drivers[0], strategy=strategy, grace="150ms")
    options = {"meet_at": "before log.append"} if at_once else {}
    served: Counter[int] = Counter()
    for _ in range(ROUNDS):
        before = {str(each.id) for each in at.rotations()}
        calls = [at.call(*QUEUE, **options, **({} if at_once else {"delay": 0.01 * nth})) for nth in range(PROCESSES)]
        ended = at.driver.run(*calls)
        assert [each.code for each in ended] == [0] * PROCESSES, ended
        new = {str(each.id) for each in at.rotations()} - before
        assert {each.document["rotation_id"] for each in ended} == new, "a rotation that nobody was told of"
        served[len(new)] += 1
        at.done("resume", "--wait-grace")
        at.assert_sound()
    assert set(at.states()) == {"completed"}
    print(f"{strategy}: {ROUNDS} times {PROCESSES} processes; rotations that served them: {dict(served)}")
    assert requests(at), "nobody ever had to wait"
    assert at.done("audit", "verify", "--json").document["ok"]


def test_several_that_replace_one_another_leave_one(tmp_path: Path, drivers: list[Driver]) -> None:
    """The last one stays; the others end as rolled back (3), or were over before they could be replaced."""
    at = rehearse(tmp_path, drivers[0], grace="1h")
    for _ in range(ROUNDS):
        ended = at.driver.run(*(at.call(*REPLACE, meet_at="before log.append") for _ in range(4)))
        assert {each.code for each in ended} <= {0, 3}, ended
        assert 0 in [each.code for each in ended]
        at.assert_one_at_a_time()
        assert at.states()[-1] == "grace"
        assert at.states().count("grace") == 1
    at.done("retire", SERVICE)
    at.assert_sound()


def test_a_queue_beside_resumes_and_withdrawals(tmp_path: Path, drivers: list[Driver]) -> None:
    """Whoever starts what waits, it begins once; what is withdrawn never begins."""
    at = rehearse(tmp_path, drivers[0], grace="150ms")
    for nth in range(ROUNDS):
        at.driver.run(
            at.call(*QUEUE),
            at.call(*QUEUE, delay=0.02),
            at.call("resume", "--wait-grace", delay=0.1 + 0.02 * nth),
            at.call("abort", SERVICE, delay=0.2 + 0.03 * nth),
            at.call("resume", "--wait-grace", delay=0.3),
        )
        at.done("resume", "--wait-grace")
        at.assert_sound()
    assert set(at.states()) <= {"completed", "rolled_back", "cancelled"}, at.states()


# --- killed ----------------------------------------------------------------------------------------------------------


def boundaries(at: Rehearsal, command: tuple[str, ...], *, behind: str) -> list[int]:
    """Return the numbers of the boundaries that a calm run passes right before and right after an append.

    It runs behind a rotation that was abandoned in a phase.
    """
    trace = at.folder / "trace"
    trace.unlink(missing_ok=True)
    at.killed("rotate", SERVICE, die_in=behind)
    ended = at.run(*command, trace=str(trace))
    assert ended.code == 0, ended
    names = [line.partition(" ")[2] for line in trace.read_text().splitlines()]
    return [number for number, name in enumerate(names, start=1) if name.endswith("log.append")]


def kill_and_recover(at: Rehearsal, command: tuple[str, ...], number: int, *, behind: str) -> None:
    """Kill a process at a boundary, and let `resume` end what it left."""
    at.put_back()
    at.killed("rotate", SERVICE, die_in=behind)
    at.killed(*command, die_at=number)
    asked = requests(at)
    at.done("resume", "--wait-grace")
    at.assert_sound()
    assert requests(at) == asked
    head = len(at.facts())
    at.done("resume")
    assert len(at.facts()) == head, "a second resume appended to the log"


def test_whoever_queues_is_killed_at_every_append_and_loses_nothing(tmp_path: Path, drivers: list[Driver]) -> None:
    """Before the request is recorded nobody has asked; from there on `resume` serves it."""
    at = rehearse(tmp_path, drivers[0], grace="50ms")
    points = boundaries(at, QUEUE, behind="staging")
    assert len(points) >= 40
    for number in points:
        kill_and_recover(at, QUEUE, number, behind="staging")
        asked = requests(at)
        assert at.states() == ["completed"] * (2 + len(asked)), (number, at.states())
        assert len(asked) == (0 if number == points[0] else 1), number
    print(f"killed at {len(points)} boundaries of {len(points) // 2} appends, nothing lost")


def test_whoever_replaces_is_killed_at_every_append_and_leaves_one_rotation(
    tmp_path: Path, drivers: list[Driver]
) -> None:
    """What was decided is carried out by `resume`; the new rotation has begun, and is driven on, or never was."""
    at = rehearse(tmp_path, drivers[0], grace="50ms")
    points = boundaries(at, REPLACE, behind="promoting")
    assert len(points) >= 30
    ends: Counter[tuple[str, ...]] = Counter()
    for number in points:
        kill_and_recover(at, REPLACE, number, behind="promoting")
        ends[tuple(at.states()[1:])] += 1
    assert set(ends) == {("completed",), ("rolled_back",), ("rolled_back", "completed")}, ends
    assert ends["completed",] == 1, "before anything was decided the open rotation is nobody's business"
    print(f"killed at {len(points)} boundaries of {len(points) // 2} appends: {dict(ends)}")
