"""A process that stands still at any moment of a rotation, and another one that takes it over.

A calm run tells the boundaries: before and after every call of a port and every append to the log. At each of them,
once the rotation is held, a process is stopped (SIGSTOP) for longer than its lease; another one ends what it began;
then it wakes up (SIGCONT) with the call, or the append, that it was about to make. The cases are copies of one
installation, worked at the same time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT
from typing import Any

import pytest

from engine import events as e
from engine.machine import ENDED, State
from engine.plan import Strategy
from tests.integration.installations import Driver, Ended
from tests.integration.leased import LEASE_SECONDS, SERVICE, Leased, leased

pytestmark = pytest.mark.slow

REFUSED = 6
TAKEN_OVER = "was taken over by another process; this one stops"
DRIVEN = "is being driven by another process"

BATCH = 32
"""Cases at the same time: most of each is waiting."""


@dataclass(frozen=True)
class Story:
    """A rotation that is stopped, and what another process does about it."""

    name: str
    strategy: Strategy
    ends: State
    taker: str = "resume"
    faults: str = ""
    grace: str = "0s"


FORWARD = Story("resumed", Strategy.DUAL, State.COMPLETED)
FAILING = Story("resumed on its way back", Strategy.SINGLE, State.ROLLED_BACK, faults="fail_verification")
TAKEN_BACK = Story("aborted", Strategy.DUAL, State.ROLLED_BACK, taker="abort", grace="1h")


@dataclass
class Case:
    """One copy of the installation, stopped at one boundary."""

    number: int
    boundary: str
    made: Leased

    @property
    def mark(self) -> Path:
        """The file in which the process that is held up says who it is."""
        return self.made.folder / "mark"

    @property
    def done(self) -> Path:
        """The file that tells that the other process is done."""
        return self.made.folder / "done"

    def __str__(self) -> str:
        return f"{self.boundary} ({self.number})"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drivers: list[Driver]) -> Callable[[Strategy], Leased]:
    """Make the installation of a strategy, once."""
    found: dict[Strategy, Leased] = {}

    def make(strategy: Strategy) -> Leased:
        if strategy not in found:
            found[strategy] = leased(tmp_path_factory.mktemp("made") / strategy, drivers[0], strategy)
        return found[strategy]

    return make


def cases(original: Leased, story: Story, folder: Path) -> list[Case]:
    """Return a case for each boundary that is passed while the rotation is held and not over."""

    def copied(name: str) -> Leased:
        copy = original.copy(folder / name)
        copy.configure(faults=story.faults, grace=story.grace)
        return copy

    calm = copied("calm")
    calm.driver.run(calm.call("rotate", SERVICE, trace=str(folder / "trace")))
    names = [line.partition(" ")[2] for line in (folder / "trace").read_text().splitlines()]
    begun = names.index("after log.append") + 1  # That it started; what follows is done by who holds it.
    last = len(names) - 1  # Behind the last append nothing is left to be taken over.
    return [Case(number + 1, names[number], copied(f"case-{number + 1}")) for number in range(begun, last)]


def batches(found: list[Case]) -> Iterator[list[Case]]:
    """Yield them some at a time."""
    for first in range(0, len(found), BATCH):
        yield found[first : first + BATCH]


def beside(case: Case, command: str, **options: object) -> dict[str, Any]:
    """Return the call of the other process, which comes when the lease would have run out."""
    options |= {"once": str(case.mark), "delay": LEASE_SECONDS + 0.3, "done": str(case.done)}
    return case.made.call(command, SERVICE, **options)


def worked(calls: list[dict[str, Any]], driver: Driver, meanwhile: Callable[[], None]) -> list[tuple[Ended, Ended]]:
    """Run calls, two a case; do something again and again until they have ended."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(driver.run, *calls)
        while not future.done():
            meanwhile()
            time.sleep(0.02)
        ended = future.result()
    return list(zip(ended[::2], ended[1::2], strict=True))


@dataclass
class Before:
    """How everything was when the stopped process was woken up."""

    outside: dict[str, str]
    facts: int


def stop(batch: list[Case], story: Story) -> list[tuple[Case, Before, Ended, Ended]]:
    """Stop each at its boundary, have another process end the rotation, and wake it up."""
    before: dict[int, Before] = {}

    def wake() -> None:
        for case in batch:
            if case.number not in before and case.done.exists():
                before[case.number] = Before(case.made.outside(), len(case.made.facts()))
                os.kill(int(case.mark.read_text()), SIGCONT)

    calls = [
        call
        for case in batch
        for call in (
            case.made.call("rotate", SERVICE, stop_at=case.number, mark=str(case.mark)),
            beside(case, story.taker),
        )
    ]
    ended = worked(calls, batch[0].made.driver, wake)
    return [(case, before[case.number], *pair) for case, pair in zip(batch, ended, strict=True)]


def judge_stopped(case: Case, story: Story, before: Before, woken: Ended, taker: Ended) -> None:
    """See that the rotation was ended by the taker, and that the one that woke up did nothing any more."""
    assert taker.code == (3 if story.faults else 0), taker
    assert woken.code == REFUSED, woken
    assert TAKEN_OVER in woken.err, woken
    assert "Traceback" not in woken.err
    assert len(case.made.facts()) == before.facts, "it appended to the log"
    assert case.made.outside() == before.outside, "it wrote to the target, the store or a place"
    assert case.made.last().state is story.ends
    case.made.assert_sound()


@pytest.mark.parametrize("story", [FORWARD, FAILING, TAKEN_BACK], ids=lambda story: story.name)
def test_a_stopped_process_is_taken_over_and_does_nothing_when_it_wakes_up(
    story: Story, made: Callable[[Strategy], Leased], tmp_path: Path
) -> None:
    """At every boundary: the other one ends the rotation; the first is refused its append, and exits 6."""
    found = cases(made(story.strategy), story, tmp_path)
    assert len(found) >= 35
    wrong = []
    for batch in batches(found):
        for case, before, woken, taker in stop(batch, story):
            try:
                judge_stopped(case, story, before, woken, taker)
            except AssertionError as error:
                wrong.append(f"{case}: {error}")
    print(f"{story.name}: stopped at {len(found)} boundaries, wrong at {len(wrong)}")
    assert not wrong, "\n".join(wrong)


def judge_live(case: Case, driving: Ended, refused: Ended, trace: Path) -> None:
    """See that the second process was told who drives the rotation, and asked and recorded nothing."""
    assert refused.code == REFUSED, refused
    assert DRIVEN in refused.err, refused
    assert "can be taken over in" in refused.err, refused
    assert not trace.exists(), trace.read_text()
    assert driving.code == 0, driving
    assert case.made.last().state in ENDED
    assert not [fact for fact in case.made.facts() if isinstance(fact.body, e.OwnerChanged)], "it was taken over"
    case.made.assert_sound()


def test_a_resume_beside_a_live_rotation_never_acts(made: Callable[[Strategy], Leased], tmp_path: Path) -> None:
    """At every boundary, of a call that takes longer than the lease: 0 facts appended, 0 calls of a port."""
    found = cases(made(Strategy.DUAL), FORWARD, tmp_path)
    wrong = []
    for batch in batches(found):
        calls = []
        for case in batch:
            held_up = {"pause_at": case.number, "mark": str(case.mark), "until": str(case.done)}
            calls.append(case.made.call("rotate", SERVICE, **held_up))
            calls.append(beside(case, "resume", trace=str(case.made.folder / "beside")))
        for case, pair in zip(batch, worked(calls, batch[0].made.driver, lambda: None), strict=True):
            try:
                judge_live(case, *pair, case.made.folder / "beside")
            except AssertionError as error:
                wrong.append(f"{case}: {error}")
    print(f"a resume beside a live rotation at {len(found)} boundaries, wrong at {len(wrong)}")
    assert not wrong, "\n".join(wrong)
