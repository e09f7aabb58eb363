"""Progress on stderr while a rotation is driven: steps with marks and times on a terminal, else a line an event.

Rule: follows what was appended to the log, and knows nothing that does not stand there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from adapters.cli.steps import NAMES
from engine import events as e
from engine.facts import Recorded, tag_of
from engine.machine import State
from engine.process import EFFECTS
from engine.values import SECOND, Instant

if TYPE_CHECKING:
    from adapters.cli.console import Console
    from adapters.composition import Installation

_QUIET = (e.OwnerChanged, e.LoginTried, e.AttemptStarted, e.AttemptClosed, *e.CredentialEvent.__args__)
"""What is shown with -v only."""

_BAD = (e.RollbackStarted, e.RollbackFailed, e.RotationFailed, e.VerificationFailed, e.EffectPostponed)


@contextmanager
def progress(console: Console, installation: Installation) -> Iterator[None]:
    """Show what this process appends while the block runs."""
    observers = installation.observers
    if console.is_animated:
        with _steps(console) as observe:
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
    return f"#{recorded.position} {name}{state}{_why(fact.body)}"


def _why(body: e.Event) -> str:
    cause: e.Cause | None = getattr(body, "cause", None)
    reason: str = getattr(body, "reason", "")
    return f": {cause.message}" if cause else f": {reason}" if reason else ""


@contextmanager
def _steps(console: Console) -> Iterator[Callable[[Sequence[Recorded]], None]]:
    """Show the step that is being done as moving, and each that is done with its mark and time."""
    from rich.console import Console as Terminal

    terminal = Terminal(stderr=True, highlight=False)
    began: dict[UUID, Instant] = {}
    states: dict[UUID, State] = {}
    with terminal.status("starting") as moving:

        def observe(recorded: Sequence[Recorded]) -> None:
            for each in recorded:
                fact = each.fact
                if fact.state is None:
                    continue
                before = states.get(fact.originator_id)
                took = (fact.at - began.get(fact.originator_id, fact.at)) / SECOND
                if isinstance(fact.body, _BAD):
                    console.mark(f"{_step(before or fact.state)}{_why(fact.body)}", good=False)
                elif before is not None and before is not fact.state:
                    console.mark(f"{_step(before):<16}{took:6.2f} s", good=True)
                if before is not fact.state:
                    began[fact.originator_id] = fact.at
                states[fact.originator_id] = fact.state
                moving.update(f"{_step(fact.state)} …")

        yield observe


def _step(state: State) -> str:
    effect = EFFECTS.get(state)
    return NAMES[effect] if effect else state.value
