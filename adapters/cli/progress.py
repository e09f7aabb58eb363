"""Progress on stderr while a rotation is driven: steps with marks and times on a terminal, else a line an event.

Rule: follows what was appended to the log, and knows nothing that does not stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adapters.cli.steps import NAMES
from engine import events as e
from engine import rotation as rotations
from engine.facts import Recorded, tag_of
from engine.machine import State
from engine.process import EFFECTS
from engine.rotation import Rotation
from engine.values import SECOND
from projections.rollouts import in_a_line

if TYPE_CHECKING:
    from adapters.cli.console import Console
    from adapters.composition import Installation

_NAMED_MAX = 5
_QUIET = (
    e.InstancesUnproved,
    e.OwnerChanged,
    e.LoginTried,
    e.AttemptStarted,
    e.AttemptClosed,
    *e.CredentialEvent.__args__,
)
"""What is shown with -v only."""

_BAD = (e.RollbackStarted, e.RollbackFailed, e.RotationFailed, e.VerificationFailed, e.EffectPostponed)


@contextmanager
def progress(console: Console, installation: Installation, rotation: Rotation) -> Iterator[None]:
    """Show what this process appends to a rotation while the block runs."""
    observers = installation.observers
    if console.is_animated:
        with _steps(console, rotation) as observe:
            observers.append(observe)
            try:
                yield
            finally:
                observers.remove(observe)
        return

    def lines(recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            if console.verbosity or not isinstance(each.fact.body, _QUIET):
                console.say(line(each))

    observers.append(lines)
    try:
        yield
    finally:
        observers.remove(lines)


def line(recorded: Recorded) -> str:
    """Return an event as one line: position, name, state, and why where something went wrong."""
    fact = recorded.fact
    name = tag_of(fact.body).rpartition(".")[0].replace("-", " ")
    state = f" -> {fact.state}" if fact.state else ""
    return f"#{recorded.position} {name}{_who(fact.body)}{state}{_why(fact.body)}"


def _who(body: e.Event) -> str:
    """Return the instances that an event is about: by name where they are few, else how many."""
    instances: tuple[str, ...] = () if isinstance(body, e.RolloutPlanned) else getattr(body, "instances", ())
    if not instances:
        wave = getattr(body, "wave", None)
        return "" if wave is None else f" {wave + 1}"
    return f" ({', '.join(instances)})" if len(instances) <= _NAMED_MAX else f" ({len(instances)} instances)"


def _why(body: e.Event) -> str:
    cause: e.Cause | None = getattr(body, "cause", None)
    reason: str = getattr(body, "reason", "")
    return f": {cause.message}" if cause else f": {reason}" if reason else ""


@contextmanager
def _steps(console: Console, rotation: Rotation) -> Iterator[Callable[[Sequence[Recorded]], None]]:
    """Show the step that is being done as moving, and each that is done with its mark and time."""
    from rich.console import Console as Terminal

    terminal = Terminal(stderr=True, highlight=False)
    state, began, told = rotation.state, rotation.entered_at, rotation
    with terminal.status(f"{_step(state)} …") as moving:

        def observe(recorded: Sequence[Recorded]) -> None:
            nonlocal state, began, told
            for fact in (each.fact for each in recorded):
                if fact.state is None or fact.originator_id != rotation.id:
                    continue
                if isinstance(fact.body, _BAD):
                    console.mark(f"{_step(state)}{_why(fact.body)}", good=False)
                elif fact.state is not state and fact.at > began:
                    # A step that ends in the moment it begins (a rollout of no waves) had nothing to do.
                    console.mark(f"{_step(state):<16}{(fact.at - began) / SECOND:6.2f} s", good=True)
                if fact.state is not state:
                    state, began = fact.state, fact.at
                told = rotations.evolve(told, fact)
                moving.update(f"{_step(state)} … {in_a_line(told)}".rstrip())

        yield observe


def _step(state: State) -> str:
    effect = EFFECTS.get(state)
    return NAMES[effect] if effect else state.value
