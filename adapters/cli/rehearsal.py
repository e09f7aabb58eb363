"""What `keyturn simulate` shows: a table of what the runs came to, what was violated, and the story of a run.

Rule: only words and figures; what is right and wrong was judged by the simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING, Any

from adapters.simulation.campaign import FAULTS, TRANSITIONS, Tally, Violated, tally_of
from adapters.simulation.scenario import Played, play
from adapters.simulation.seeds import KINDS
from adapters.simulation.shrink import shortest
from adapters.simulation.story import INVARIANTS, Story, tell
from engine.adapter import Duration
from engine.machine import LEAVING, State
from engine.plan import Strategy
from engine.values import SECOND

if TYPE_CHECKING:
    from adapters.cli.console import Console
    from adapters.simulation.subject import Subject

SCHEMA = "keyturn.simulation/1"
REFRESH = Duration(3600 * SECOND)
"""How often consumers re-read the credential, unless somebody says otherwise."""
_STEPS_MAX = 24
"""Steps of a violation that are shown at once; --story shows all."""
OVERLAPPING = (Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
_ENDINGS = (State.COMPLETED, State.ROLLED_BACK, State.FAILED, State.ROLLBACK_FAILED)


class Findings:
    """What the runs of one subject have found so far."""

    def __init__(self, name: str, subject: Subject, seed: int, *, config: str | None = None) -> None:
        self.tally = Tally()
        self._name = name
        self._subject = subject
        self._seed = seed
        self._config = config
        """The configuration file, where one was given."""
        self._seconds = 0.0

    def add(self, batch: Tally, *, seconds: float) -> None:
        """Add what some runs found; `seconds` is how long all of them took so far."""
        self.tally.add(batch)
        self._seconds = seconds

    def so_far(self, *, of: int) -> str:
        """Return the progress: runs done, violations, runs a second."""
        done, rate = self.tally.runs, self.tally.runs / max(self._seconds, 0.001)
        return f"{self._name}: {done} of {of} runs, {len(self.tally.violated)} violations, {rate:.0f} a second"

    def show(self, console: Console) -> None:
        """Print what was found."""
        if console.json:
            console.document(SCHEMA, self.document())
            return
        console.table((self._name, f"strategy {self._subject.strategy}"), self._rows())
        for violated, told in self._stories():
            self._show_violation(console, violated, told)

    def _stories(self) -> list[tuple[Violated, Story]]:
        return [(violated, self._told(violated)) for violated in self._first_of_each()]

    def _first_of_each(self) -> list[Violated]:
        """Return the first run of each invariant that was violated."""
        first: dict[str, Violated] = {}
        for violated in self.tally.violated:
            first.setdefault(violated.invariant, violated)
        return list(first.values())

    def _told(self, violated: Violated) -> Story:
        return tell(shortest(play(self._subject.scenario(violated.seed))).scenario)

    def _count(self, violated: Violated) -> int:
        return sum(each.invariant == violated.invariant for each in self.tally.violated)

    def _rows(self) -> list[tuple[str, str]]:
        tally = self.tally
        last = self._seed + tally.runs - 1
        seeds = f"seeds {self._seed} to {last}" if tally.runs else "none"
        speed = f"{self._seconds:.1f} s, {tally.runs / max(self._seconds, 0.001):.0f} a second"
        endings = [f"{tally.endings[state]} {_ending(state)}" for state in _ENDINGS if tally.endings.get(state)]
        return [
            ("runs", f"{tally.runs} ({seeds}) in {speed}"),
            ("rotations", ", ".join(endings) or "none"),
            ("locked out", self._locked_out()),
            ("transitions covered", f"{len(tally.transitions)} of {TRANSITIONS}"),
            ("faults covered", f"{len(tally.faults)} of {FAULTS}"),
            ("violations", f"in {len(tally.violated)} runs" if tally.violated else "none"),
        ]

    def _locked_out(self) -> str:
        """Return the longest time in which consumers could not log in, and what that assumes of them."""
        refresh = Duration(self._subject.refresh)
        own = f"at most {_length(self.tally.locked_out)}" if self.tally.locked_out else "never"
        if self._subject.strategy in OVERLAPPING:
            return f"{own}; assumed: consumers re-read the credential every {refresh} (--refresh)"
        return f"{own}, and up to {refresh} until consumers re-read the credential (--refresh)"

    def _show_violation(self, console: Console, violated: Violated, told: Story) -> None:
        meaning = INVARIANTS.get(violated.invariant, "the program found a mistake of its own")
        console.out()
        console.out(f"violated in {self._count(violated)} runs: {violated.invariant}, {meaning}")
        steps = told.steps()
        left_out = len(steps) - _STEPS_MAX
        if left_out > 0:
            steps = [*steps[: _STEPS_MAX // 2], f"({left_out} steps)", *steps[-_STEPS_MAX // 2 :]]
        for step in steps:
            console.out(f"  {step}")
        console.out(f"  step by step: {self._next(violated)}")

    def _next(self, violated: Violated) -> str:
        """Return the command that tells the run: with another configuration, or other trouble, it would be another."""
        subject = self._subject
        words = ["keyturn simulate", self._name, f"--story {violated.seed}"]
        if subject.kinds != KINDS:
            words.append(f"--faults {','.join(subject.kinds)}")
        if subject.refresh != REFRESH.microseconds:
            words.append(f"--refresh {Duration(subject.refresh)}")
        if self._config:
            words.append(f"--config {quote(self._config)}")
        return " ".join(words)

    def document(self) -> dict[str, Any]:
        """Return the fields of `keyturn.simulation/1`."""
        tally = self.tally
        return {
            "service": None if self._subject.plan is None else self._name,
            "strategy": self._subject.strategy.value,
            "runs": tally.runs,
            "seed": self._seed,
            "violations": [
                {
                    "invariant": violated.invariant,
                    "message": told.played.message,
                    "seed": violated.seed,
                    "runs": self._count(violated),
                    "steps": told.steps(),
                    "next": self._next(violated),
                }
                for violated, told in self._stories()
            ],
            "endings": {state.value: tally.endings.get(state, 0) for state in _ENDINGS},
            "locked_out_seconds": tally.locked_out / SECOND,
            "refresh_seconds": self._subject.refresh / SECOND,
            "coverage": {
                "transitions": {"covered": len(tally.transitions), "total": TRANSITIONS},
                "faults": {"covered": len(tally.faults), "total": FAULTS},
            },
            "seconds": round(self._seconds, 3),
        }


def _length(microseconds: int) -> str:
    """Return a length of time in milliseconds, seconds, or minutes and seconds."""
    if microseconds < SECOND:
        return f"{microseconds // 1000}ms"
    minutes, seconds = divmod(round(microseconds / SECOND), 60)
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"


def _ending(state: State) -> str:
    """Return how a rotation ended in words, with the command that leaves a state in which it rests."""
    leaving = f" (until keyturn {LEAVING[state][0]})" if state in LEAVING else ""
    return f"{state.replace('_', ' ')}{leaving}"


def story(console: Console, name: str, subject: Subject, seed: int) -> bool:
    """Print the whole story of a seed, or of the shortest run that violates the same; tell whether it violates."""
    played = play(subject.scenario(seed))
    told = tell((shortest(played) if played.violation else played).scenario)
    if console.json:
        findings = Findings(name, subject, seed)
        findings.add(tally_of(played), seconds=0.0)
        console.document(SCHEMA, {**findings.document(), "steps": told.steps(full=True)})
        return played.violation is not None
    console.out(f"{name}, seed {seed}: {_trouble(told.played)}{_shortened(played, told)}")
    for step in told.steps(full=True):
        console.out(step)
    if played.violation is None:
        console.out("every invariant held")
    return played.violation is not None


def _trouble(played: Played) -> str:
    faults = [f"{fault.kind.replace('_', ' ')} at {fault.call} {fault.nth}" for fault in played.scenario.faults]
    deeds = [deed.hand.name.lower().replace("_", " ") for deed in played.scenario.deeds]
    return ", ".join([*faults, *deeds]) or "nothing goes wrong"


def _shortened(played: Played, told: Story) -> str:
    before = len(played.scenario.faults) + len(played.scenario.deeds)
    after = len(told.played.scenario.faults) + len(told.played.scenario.deeds)
    return f" (shortened from {before} to {after})" if after < before else ""


@contextmanager
def moving(console: Console) -> Iterator[Callable[[str], None]]:
    """Show how far it is, on a terminal; say nothing elsewhere."""
    if not console.is_animated:
        yield lambda text: None
        return
    from rich.console import Console as Terminal

    with Terminal(stderr=True, highlight=False).status("…") as status:
        yield status.update
