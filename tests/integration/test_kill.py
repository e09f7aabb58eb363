"""`kill -9` anywhere, on real servers: nothing is lost, and `keyturn resume` ends what was begun.

A calm run tells the boundaries: before and after every call of a port and every append to the log. Then the same
run is killed in every gap between two calls, each time from the same start, server included. Dying after a call and
dying before the next one is the same death: between the two the process touches nothing outside of itself.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from signal import SIGKILL

import pytest

from engine.machine import State
from engine.plan import Strategy
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.sites import SERVICE, Site

pytestmark = pytest.mark.slow

FOLLOWED_EVERY = 3
"""After so many points, another rotation follows: it takes as long as all that went before."""

STRATEGIES = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL)


@dataclass(frozen=True)
class Story:
    """A command that is killed."""

    name: str
    arguments: tuple[str, ...]
    grace: str = "0s"
    spoiled: bool = False
    """The query that verifies a new version fails, so that the rotation goes back by itself."""
    rotations: int = 1
    """How many stand before it."""


FORWARD = Story("rotate", ("rotate", SERVICE))
FIRST = Story("the first rotate", ("rotate", SERVICE), rotations=0)
FAILING = Story("rotate, which fails", ("rotate", SERVICE), spoiled=True)
TAKEN_BACK = Story("rollback", ("rollback", SERVICE, "--yes"), grace="1h", rotations=2)


@dataclass(frozen=True)
class Point:
    """Where a run is killed: at a boundary (from 1), or so many seconds after its start, and where its resume is."""

    name: str
    die_at: int | None = None
    kill_after: float | None = None
    resume_dies_at: int | None = None


class Lanes:
    """Installations that are alike, each on a site of its own, killed side by side.

    Some wait for up to 5 s until a lost attempt can do nothing more.
    """

    def __init__(self, installations: list[Installation], story: Story) -> None:
        self.story = story
        self.calm_seconds = 0.0
        self._count = len(installations)
        self._free: SimpleQueue[Installation] = SimpleQueue()
        for each in installations:
            self._free.put(each)

    @contextmanager
    def one(self) -> Iterator[Installation]:
        """Have one for the length of the block, as it was at the start."""
        installation = self._free.get()
        try:
            installation.put_back()
            if self.story.spoiled:
                installation.site.spoil()
            else:
                installation.site.mend()
            yield installation
        finally:
            self._free.put(installation)

    def boundaries(self) -> list[str]:
        """Return what a calm run passes."""
        with self.one() as calm:
            trace = calm.folder / "trace"
            trace.unlink(missing_ok=True)
            began = time.monotonic()
            ended = calm.run(*self.story.arguments, trace=str(trace))
            self.calm_seconds = time.monotonic() - began
            assert ended.code == (3 if self.story.spoiled else 0), ended
            return [line.partition(" ")[2] for line in trace.read_text().splitlines()]

    def tried(self, points: list[Point]) -> list[str]:
        """Kill at each point and recover; return what was wrong, a line each."""
        with ThreadPoolExecutor(self._count) as pool:
            return [wrong for wrong in pool.map(self._try, points, count()) if wrong]

    def _try(self, point: Point, number: int) -> str:
        with self.one() as installation:
            try:
                _kill_and_recover(installation, self.story, point)
                if number % FOLLOWED_EVERY == 0:
                    _rotate_once_more(installation)
            except AssertionError as error:
                return f"{self.story.name}, killed {point.name}: {error}"
        return ""


@pytest.fixture(scope="module")
def make_lanes(
    tmp_path_factory: pytest.TempPathFactory, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> Callable[[Strategy, Story], Lanes]:
    """Make the installations of a story, ready to be killed; stories with the same past share them."""
    made: dict[tuple[Strategy, str, int], list[Installation]] = {}

    def make(strategy: Strategy, story: Story) -> Lanes:
        past = (strategy, story.grace, story.rotations)
        if past not in made:
            folders = [tmp_path_factory.mktemp("installation") for _ in drivers]
            sites = [make_site(strategy) for _ in drivers]
            made[past] = [_prepared(*each, story) for each in zip(folders, sites, drivers, strict=True)]
        return Lanes(made[past], story)

    return make


def _prepared(folder: Path, site: Site, driver: Driver, story: Story) -> Installation:
    installation = install(folder, site, driver, grace=story.grace)
    for _ in range(story.rotations):
        _end_grace(installation)
        installation.done("rotate", SERVICE)
    installation.keep()
    return installation


def _kill_and_recover(installation: Installation, story: Story, point: Point) -> None:
    """Kill a run, resume it, and see that nothing was lost."""
    options = {"die_at": point.die_at} if point.die_at else {"kill_after": point.kill_after}
    killed = installation.run(*story.arguments, **options)
    assert killed.code == -SIGKILL or point.kill_after, killed
    if point.resume_dies_at:
        installation.run("resume", die_at=point.resume_dies_at)
    resumed = installation.run("resume", "-vv")
    # A death is no reason to go back: only what fails does.
    assert resumed.code in ({0, 3} if story.spoiled else {0}), resumed
    assert "Traceback" not in resumed.err
    if story.rotations or installation.rotations():
        _assert_ended(installation)
    _assert_idle(installation)


def _rotate_once_more(installation: Installation) -> None:
    """See that what was recovered is rotated as if nothing had been."""
    installation.site.mend()
    _end_grace(installation)
    installation.done("rotate", SERVICE)
    _end_grace(installation)
    installation.assert_sound()
    assert installation.rotations()[-1].state is State.COMPLETED
    assert installation.done("audit", "verify", "--json").document["ok"]


def _assert_ended(installation: Installation) -> None:
    if installation.rotations()[-1].state is State.GRACE:
        installation.assert_safe()
    else:
        installation.assert_sound()


def _assert_idle(installation: Installation) -> None:
    """A second resume appends nothing and touches nothing."""
    head, kept = installation.head(), installation.site.in_force()
    again: Ended = installation.run("resume")
    assert again.code == 0, again
    assert installation.head() == head, "a second resume appended to the log"
    assert installation.site.in_force() == kept, "a second resume changed the server"


def _end_grace(installation: Installation) -> None:
    rotations = installation.rotations()
    if rotations and rotations[-1].state is State.GRACE:
        installation.done("retire", SERVICE)


def _report(title: str, strategy: Strategy, points: list[Point], lost: list[str]) -> None:
    print(f"{strategy}, {title}: points tried: {len(points)}, lost: {len(lost)}")
    assert not lost, "\n".join(lost)


def _gaps(boundaries: list[str]) -> list[Point]:
    """Return a point for each gap: before the first call, between any two, after the last."""
    before = range(1, len(boundaries) + 1, 2)
    assert all(boundaries[number - 1].startswith("before") for number in before), "a call within a call"
    inner = [Point(f"{boundaries[number - 2]}, {boundaries[number - 1]} ({number})", number) for number in before[1:]]
    first, last = Point(boundaries[0], 1), Point(boundaries[-1], len(boundaries))
    return [first, *inner, last]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rotation_killed_in_any_gap_is_resumed(
    strategy: Strategy, make_lanes: Callable[[Strategy, Story], Lanes]
) -> None:
    """Before and after every fact and every call of a port."""
    lanes = make_lanes(strategy, FORWARD)
    boundaries = lanes.boundaries()
    assert {"before target.apply", "after target.retire", "after place.publish"} <= set(boundaries)
    points = _gaps(boundaries)
    assert len(points) >= 30
    _report("rotate", strategy, points, lanes.tried(points))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("story", [FAILING, TAKEN_BACK], ids=lambda story: story.name)
def test_going_back_killed_anywhere_is_resumed(
    strategy: Strategy, story: Story, make_lanes: Callable[[Strategy, Story], Lanes]
) -> None:
    """A rotation that fails its verification, and one that a person takes back."""
    lanes = make_lanes(strategy, story)
    boundaries = lanes.boundaries()
    assert {"before target.restore", "before target.apply"} & set(boundaries)
    points = _gaps(boundaries)
    assert len(points) >= 15
    _report(story.name, strategy, points, lanes.tried(points))


def test_the_first_rotation_killed_anywhere_is_resumed(make_lanes: Callable[[Strategy, Story], Lanes]) -> None:
    """Where nothing is held yet, and the only way is forward."""
    lanes = make_lanes(Strategy.SINGLE, FIRST)
    points = _gaps(lanes.boundaries())
    assert len(points) >= 25
    _report(FIRST.name, Strategy.SINGLE, points, lanes.tried(points))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resume_that_is_killed_as_well_is_resumed(
    strategy: Strategy, make_lanes: Callable[[Strategy, Story], Lanes]
) -> None:
    """Killed in the rotation, then again in the resume, at boundaries drawn from a seed."""
    source = random.Random(f"twice {strategy}")
    lanes = make_lanes(strategy, FAILING)
    last = len(lanes.boundaries())
    drawn = [(source.randint(14, last), source.randint(1, 25)) for _ in range(8)]
    points = [Point(f"at {first}, its resume at {second}", first, resume_dies_at=second) for first, second in drawn]
    _report("killed twice", strategy, points, lanes.tried(points))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rotation_killed_at_any_moment_is_resumed(
    strategy: Strategy, make_lanes: Callable[[Strategy, Story], Lanes]
) -> None:
    """Not at a boundary but by the clock: in the middle of a write, a login, a statement on its way."""
    source = random.Random(f"moments {strategy}")
    lanes = make_lanes(strategy, FORWARD)
    lanes.boundaries()
    drawn = [source.uniform(0.02, lanes.calm_seconds) for _ in range(12)]
    points = [Point(f"after {seconds * 1000:.1f} ms", kill_after=seconds) for seconds in drawn]
    _report("killed by the clock", strategy, points, lanes.tried(points))
