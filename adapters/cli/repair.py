"""Looking for drift and repairing it, one service at a time: what is seen, what is done, and what it means to a caller.

Rule: decides nothing (engine/drift.py) and changes nothing by itself (engine/repair.py); it shows, asks and drives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from adapters.cli.driving import Patience, driven
from adapters.cli.outcome import exit_code
from adapters.cli.ready import require_ready
from adapters.cli.refusals import NotConfirmed
from engine.drift import RESTING, Decision, Observed, Step, decide, standing
from engine.errors import ExitCode
from engine.machine import State
from engine.ports import Finding, Severity
from engine.repair import Repair, settle
from engine.sightings import Acceptance
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.composition import Installation
    from adapters.config.model import Service

_CODES: Final = {Step.WAIT: ExitCode.LOGIN_REFUSED}
"""What a decision stands for when nothing more is done; a person is needed for every other one."""

_VERBS: Final = {
    Acceptance.ACCEPTED: "accepts",
    Acceptance.REFUSED: "refuses",
    Acceptance.UNUSABLE: "knows, but does not let in,",
    Acceptance.UNKNOWN: "gave no clear answer to",
    Acceptance.NOT_TRIED: "was not asked about",
}

_STANDS: Final = {True: "has it", False: "does not have it", None: "cannot be read back"}


class Mode(Enum):
    """What a look is for."""

    LOOKING = auto()
    PLANNED = auto()
    """What a repair would do is told."""
    REPAIRING = auto()

    @classmethod
    def of(cls, *, repairing: bool, dry_run: bool) -> Mode:
        """Return the mode that the options of `doctor` ask for."""
        return cls.PLANNED if dry_run else cls.REPAIRING if repairing else cls.LOOKING


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of a service, what is decided, and what this call did already."""

    observed: Observed
    decision: Decision
    done: tuple[Step, ...] = ()


def look(installation: Installation, service: Service, looked: list[Looked]) -> Sequence[Finding]:
    """Look at a service, and add that to `looked`; raises what its store raises."""
    observed = _repair_of(installation, service, lightly=True).look()
    looked.append(Looked(observed, decide(observed)))
    return ()


def repair(
    session: Session, service: Service, looked: list[Looked], *, confirmed: bool, dry_run: bool, reason: str
) -> Sequence[Finding]:
    """Repair a service, or show what would be done; each look is added to `looked`, the last one as it ends.

    Raises `NotConfirmed`, what its store raises, and what beginning or driving a rotation raises.
    """
    session.where = f"service {service.name} ({service.environment})"
    installation = session.installation
    if dry_run:
        look(installation, service, looked)
        _show(session, service, looked[-1])
        return ()
    require_ready(installation, service.name, service.environment, installation.plan(service))
    goes_on = f"keyturn doctor --repair {service.name} goes on with what was begun."
    done: list[Step] = []

    def approve(observed: Observed, decision: Decision) -> None:
        looked.append(Looked(observed, decision, tuple(done)))
        _show(session, service, looked[-1])
        if not confirmed:
            _confirm(session, service, decision)
        session.on_interrupt = goes_on
        done.append(decision.step)

    def drive(rotation_id: UUID) -> None:
        driven(session, rotation_id, Patience(), interrupted=goes_on)

    observed, decision = settle(_repair_of(installation, service), approve=approve, drive=drive, reason=reason)
    session.on_interrupt = ""
    looked.append(Looked(observed, decision, tuple(done)))
    return ()


def _repair_of(installation: Installation, service: Service, *, lightly: bool = False) -> Repair:
    named = (service.name, service.environment, installation.plan(service))
    return Repair(installation.world, *named, logins=service.usernames, lightly=lightly)


def _confirm(session: Session, service: Service, decision: Decision) -> None:
    """Ask whether to go on; raises `NotConfirmed` where nobody can be asked, or the answer is no."""
    what = f"repair {service.name}: {decision.words}"
    if not session.console.is_interactive or not click.confirm(f"Really {what}?", err=True):
        raise NotConfirmed(what=what)


# --- in words -----------------------------------------------------------------------------------------------------


def finding(service: Service, looked: Looked, *, mode: Mode) -> tuple[Finding, ExitCode]:
    """Return what is to be said of a service, and the exit code that it stands for when it fails."""
    observed, decision = looked.observed, looked.decision
    rotation = observed.rotation
    message, hint = decision.why, decision.advice
    if rotation is not None and rotation.state is State.GRACE and rotation.grace is not None:
        message += f" (until {to_text(rotation.grace.wall)})"
    unseen = [each.place for each in observed.places if each.current is None]
    if unseen:
        message += f"; what stands at {' and '.join(unseen)} cannot be seen"
    repairable = decision.step not in RESTING
    if repairable and mode is Mode.PLANNED:
        message, hint = f"{message}; would {decision.words}", f"keyturn doctor --repair {service.name} does it."
    elif repairable:
        hint = hint or f"keyturn doctor --repair {service.name} settles it."
    code = _CODES.get(decision.step, ExitCode.PERSON_NEEDED)
    return Finding(f"service {service.name}", _severity(looked, mode), message, hint), code


def _severity(looked: Looked, mode: Mode) -> Severity:
    step, rotation = looked.decision.step, looked.observed.rotation
    if step is Step.NOTHING:
        return Severity.OK
    if mode is Mode.PLANNED and step not in RESTING:
        return Severity.WARN
    rests_well = rotation is not None and exit_code(rotation) is not ExitCode.PERSON_NEEDED
    if mode is Mode.LOOKING and step in (Step.RESUME, Step.ASK) and rests_well:
        return Severity.WARN  # it waits for somebody to go on, and nothing is wrong
    return Severity.FAIL


def document(looked: Looked) -> dict[str, Any]:
    """Return what `keyturn.doctor/1` tells of drift besides the finding."""
    observed, decision = looked.observed, looked.decision
    rotation = observed.rotation
    return {
        "seen": {
            "rotation": {"id": str(rotation.id), "state": rotation.state} if rotation else None,
            "log": observed.logged.id if observed.logged else None,
            "store": {"current": observed.label, "held": [version.id for version in observed.held]},
            "target": [
                {"version": each.version, "accepted": each.accepted, "detail": each.detail} for each in observed.looks
            ],
            "places": [{"place": each.place, "current": each.current} for each in observed.places],
        },
        "repair": {
            "step": decision.step,
            "version": decision.version.id if decision.version else None,
            "does": decision.words,
            "why": decision.why,
            "done": list(looked.done),
        },
    }


def _show(session: Session, service: Service, looked: Looked) -> None:
    """Print what was seen, and what is going to be done."""
    if session.console.json:
        return
    observed, decision = looked.observed, looked.decision
    if not looked.done:
        session.console.out(f"service {service.name}")
    for head, text in _seen(observed):
        session.console.out(f"  {head:<8}{text}")
    session.console.out(f"  {'why':<8}{decision.why}")
    session.console.out(f"  {'repair':<8}{decision.words}")
    if decision.step is Step.ROTATE and decision.advice:
        session.console.out(f"  {'or':<8}{decision.advice}")


def _seen(observed: Observed) -> list[tuple[str, str]]:
    rotation = observed.rotation
    others = [version.id for version in observed.held if version.id != observed.label]
    looks = [
        f"{_VERBS[each.accepted]} {each.version}{f' ({each.detail})' if each.detail else ''}" for each in observed.looks
    ]
    lines = [("log", f"calls {observed.logged.id if observed.logged else 'nothing'} current")]
    if rotation is not None:
        lines[0] = ("log", f"{lines[0][1]}; rotation {rotation.id} is {standing(rotation)}")
    lines.append(("store", f"calls {observed.label or 'nothing'} current, {_holds(others)}"))
    lines.append(("target", ", ".join(looks) or "was not asked"))
    lines += [("place", f"{each.place} {_STANDS[each.current]}") for each in observed.places]
    return lines


def _holds(others: Sequence[str]) -> str:
    return f"and holds {', '.join(others)}" if others else "and holds nothing else"
