"""What the stories of things that break share: an installation behind a proxy, and how a story ends.

A story is told twice, on a real server and in the simulated world, and must end the same. No tests live here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Final, NamedTuple

from adapters.simulation.faults import Fault
from adapters.simulation.processes import patient
from adapters.simulation.world import ENVIRONMENT, Simulation
from adapters.simulation.world import SERVICE as SIMULATED
from engine import events as e
from engine.facts import Fact
from engine.machine import State
from engine.operations import Operations
from engine.plan import Strategy
from engine.ports import Holdings
from engine.rotation import Rotation
from engine.runner import Runner
from tests.integration.installations import Ended, Installation
from tests.integration.proxy import Fate, Happened, Proxy
from tests.integration.sites import KEY, SERVICE

QUICK: Final = ", retry: {attempts: 100, first: 100ms, longest: 200ms}"
"""Retries that a test can wait for, and no end of them while a network is away."""
OVERLAPPING: Final = (Strategy.ALTERNATING, Strategy.DUAL)
EVERY: Final = (Strategy.SINGLE, *OVERLAPPING)
DONE, ROLLED_BACK, PERSON_NEEDED, REFUSED, STILL_RUNNING = 0, 3, 5, 6, 8
Begin = Callable[..., "Story"]
"""The fixture `begin`."""
_NAMES: Final = ("old", "new", "next", "last")
"""The versions that a story speaks of, from the one that was current when it began."""


class Ending(NamedTuple):
    """How a story ends: what a person can find out about it, with versions called by their names in the story."""

    path: tuple[str, ...]
    """The changes of state, in order, and where it matters what showed them."""
    moves: tuple[str, ...]
    """What the log says became current, in order."""
    labels: tuple[str, str, str]
    """What the store calls current, previous and pending."""
    works: tuple[str, ...]
    """The versions that a fresh login at the target succeeds with."""
    refused: tuple[str, ...]
    """The versions that the store holds as well, and that are refused."""


def _ending(facts: Sequence[Fact], held: Holdings, old: str, works: Callable[[str], bool]) -> Ending:
    told = held.versions[held.versions.index(old) :]
    names = dict(zip(told, _NAMES, strict=False))
    accepted = [version for version in told if works(version)]
    return Ending(
        path=tuple(_step(fact.body) for fact in facts if isinstance(fact.body, e.StateChange)),
        moves=tuple(names[f.body.version or ""] for f in facts if isinstance(f.body, e.CurrentChanged)),
        labels=(names[held.current or ""], names.get(held.previous or "", "-"), names.get(held.pending or "", "-")),
        works=tuple(names[version] for version in accepted),
        refused=tuple(names[version] for version in told if version not in accepted),
    )


def _step(body: e.Event) -> str:
    match body:
        case e.RollbackVerified():
            return f"{type(body).__name__} ({body.observed})"
        case e.PreviousRetired():
            return f"PreviousRetired ({'refused' if body.refused else 'not provable'})"
        case _:
            return type(body).__name__


@dataclass
class Story:
    """An installation whose server is reached through a proxy; one rotation is done, and the story begins."""

    installation: Installation
    proxy: Proxy
    old: str
    """The version that is current when it begins."""
    head: int
    """The last position of the log then."""

    def run(self, *arguments: str, **options: object) -> Ended:
        """Run the command line, which must end as a command of keyturn ends, whatever breaks."""
        ended = self.installation.run(*arguments, **options)
        assert "Traceback" not in ended.err, ended
        return ended

    def rotate(self, **options: object) -> Ended:
        """Run `keyturn rotate`."""
        return self.run("rotate", SERVICE, **options)

    def happened(self, *expected: Happened) -> None:
        """See that what was planned happened, and nothing else."""
        assert self.proxy.happened == list(expected)

    @property
    def sign(self) -> Path:
        """The file that has a process killed (`kill_when`)."""
        return self.installation.folder / "sign"

    def killed_when(self, word: bytes, fate: Fate, *, seconds: float) -> None:
        """Have the network hold something back, and kill `keyturn rotate` while it does."""
        self.proxy.plan(word, fate, seconds=seconds, then=self.sign.touch)
        ended = self.rotate(kill_when=str(self.sign))
        assert ended.code == -SIGKILL, ended
        self.happened(Happened(word, fate))

    def rotation(self) -> Rotation:
        """Return the newest rotation."""
        return self.installation.rotations()[-1]

    def facts(self) -> list[Fact]:
        """Return the log since the story began."""
        return self.installation.facts()[self.head :]

    def held(self) -> Holdings:
        """Return what the store holds."""
        return self.installation.store.versions(KEY)

    def works(self, version: str) -> bool:
        """Log in past the proxy, as a consumer does."""
        return self.installation.site.logs_in(self.installation.values()[version])

    def ending(self) -> Ending:
        """Return how it ends on the real server."""
        return _ending(self.facts(), self.held(), self.old, self.works)


def begun(installation: Installation, proxy: Proxy) -> Story:
    """Rotate once, and begin."""
    _rotate_whole(installation)
    current = installation.store.versions(KEY).current
    assert current is not None
    return Story(installation, proxy, current, installation.head())


def _rotate_whole(installation: Installation) -> None:
    """Rotate, and end the grace period at once."""
    installation.done("rotate", SERVICE)
    if installation.rotations()[-1].state is State.GRACE:
        installation.done("retire", SERVICE)


def side_by_side(strategies: Iterable[Strategy], tell: Callable[[Strategy], None]) -> None:
    """Tell a story of several strategies at once: most of its time is waiting, up to 5 s for a lost attempt's end."""
    with ThreadPoolExecutor() as pool:
        told = {strategy: pool.submit(tell, strategy) for strategy in strategies}
    for strategy, telling in told.items():
        error = telling.exception()
        if error is not None:
            error.add_note(f"strategy {strategy}")
            raise error


def simulated_grace(strategy: Strategy) -> Simulation:
    """Return the simulated world with a rotation in its grace period, for somebody to do something by hand."""
    simulation = Simulation(strategy)
    operations = Operations(simulation.world())
    rotation_id = operations.start(SIMULATED, ENVIRONMENT, simulation.plan(), logins=simulation.logins)
    assert Runner(simulation.world()).drive(rotation_id).state is State.GRACE
    simulation.touched = True
    return simulation


def simulated_rollback(simulation: Simulation) -> None:
    """Be the person who takes the open rotation back."""
    rotation = simulation.open
    assert rotation is not None
    Operations(simulation.world()).go_back(rotation.id, command="rollback", reason="simulated operator")
    Runner(simulation.world()).drive(rotation.id, patience=patient)


def simulated(strategy: Strategy, *faults: Fault) -> Simulation:
    """Return the simulated world after one rotation under faults, all of which happened."""
    simulation = Simulation(strategy, faults)
    simulation.rotate()
    assert set(simulation.used) == set(faults), "a planned fault did not happen in the simulation"
    return simulation


def _simulated_ending(simulation: Simulation) -> Ending:
    facts = [recorded.fact for recorded in simulation.log.after(0, limit=10_000)]
    held = simulation.store.versions(simulation.path)

    def works(version: str) -> bool:
        value = simulation.value(version)
        return value is not None and simulation.accepts(value)

    return _ending(facts, held, "v0-initial", works)


def assert_same_end(story: Story, simulation: Simulation, *, by_hand: bool = False) -> None:
    """Both end alike, nothing is lost, the log is whole; and no dead end: one more rotation completes, alike again.

    `by_hand`: the server accepts what somebody else set there, until the next rotation takes it away.
    """
    assert story.ending() == _simulated_ending(simulation)
    if not by_hand:
        story.installation.assert_safe()
    story.proxy.clear()
    _rotate_whole(story.installation)
    simulation.settle()
    simulation.lead_on()
    assert story.ending() == _simulated_ending(simulation)
    story.installation.assert_sound()
    assert story.installation.done("audit", "verify", "--json").document["ok"]
