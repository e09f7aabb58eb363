"""Driving a rotation in the foreground: how long is waited, and what is shown meanwhile.

Rule: nothing here decides about a rotation; it is started, taken back or ended elsewhere, and driven here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.cli.outcome import report, show_document
from adapters.cli.progress import progress
from adapters.cli.refusals import CarriedOutElsewhere
from engine.errors import ExitCode, OwnedElsewhere
from engine.machine import State
from engine.policies import is_inconclusive, is_stuck
from engine.process import Wait
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds, Secret
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session

_WORST_FIRST: Final = (
    ExitCode.PERSON_NEEDED,
    ExitCode.UNEXPECTED,
    ExitCode.LOGIN_REFUSED,
    ExitCode.ROLLED_BACK,
    ExitCode.RESTING,
    ExitCode.REFUSED,
    ExitCode.USAGE,
    ExitCode.STILL_RUNNING,
)

_WORTH_TELLING: Final = Microseconds(SECOND // 2)
"""Waits shorter than this are over before anybody has read of them."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command waits: for retries and fences always, for a grace period when asked, `timeout` at most."""

    timeout: Microseconds | None = None
    grace: bool = False


def worst(codes: Sequence[int]) -> ExitCode:
    """Return the exit code of several rotations: the one that asks most of a person."""
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.DONE)


def drive(
    session: Session, rotation_id: UUID, patience: Patience, *, given: Secret | None = None, back: bool = False
) -> ExitCode:
    """Drive a rotation, show it, print how it came out, and return its exit code.

    `back` tells that going back is what the caller asked for. Raises what `Runner.drive` raises.
    """
    rotation = driven(session, rotation_id, patience, given=given)
    code = report(session, rotation, back=back)
    return ExitCode.STILL_RUNNING if patience.grace and rotation.state is State.GRACE else code


def driven(
    session: Session, rotation_id: UUID, patience: Patience, *, given: Secret | None = None, interrupted: str = ""
) -> Rotation:
    """Drive a rotation as far as patience goes, show its progress, and return it.

    `interrupted` is what to run where this is interrupted, if it is not the rotation itself that the caller is after.
    """
    installation = session.installation
    clock = installation.world.clock
    ends = None if patience.timeout is None else Instant(clock.now().wall + patience.timeout)

    begun = installation.operations.rotation(rotation_id)
    # Retiring never gives up, so a person should hear of it; going on with it is one more try at least.
    retiring = begun.failures + 1 if begun.state is State.RETIRING else 0
    told: set[tuple[int, str]] = set()

    def tell(rotation: Rotation, wait: Wait) -> None:
        """Say what is waited for, once: a wait is looked at again and again, and its end may be corrected a little."""
        key = (rotation.version, wait.why)
        if key not in told and wait.until - clock.now().wall > _WORTH_TELLING:
            session.console.say(f"waits until {to_text(wait.until)}: {wait.why}")
            told.add(key)

    def patient(rotation: Rotation, wait: Wait) -> bool:
        if rotation.state is State.GRACE and not patience.grace and not rotation.early:
            return False
        if ends is not None and clock.now().wall >= ends:
            return False
        tell(rotation, wait)
        return True

    def enough(rotation: Rotation) -> bool:
        # Not left to the waits: where one is over before it is looked at, there is none.
        if is_inconclusive(rotation):
            return rotation.version > begun.version  # it is looked once more, whatever was not seen before
        if rotation.state is State.GRACE and rotation.early and not patience.grace:
            return rotation.failures > 0  # the old version is still used, which a person should hear of
        return is_stuck(rotation) and rotation.failures >= retiring

    ways = f"keyturn resume {rotation_id} drives the rotation on; keyturn abort {rotation_id} takes it back."
    session.on_interrupt = interrupted or ways
    with progress(session.console, installation, begun):
        rotation = installation.runner.drive(rotation_id, patience=patient, enough=enough, given=given)
    session.on_interrupt = ""
    return rotation


def carry_out(session: Session, rotation: Rotation, patience: Patience, *, what: str, back: bool = False) -> ExitCode:
    """Drive what was decided; raises `CarriedOutElsewhere` where a live process drives the rotation already.

    That process reads the log before every step, and while it waits.
    """
    try:
        return drive(session, rotation.id, patience, back=back)
    except OwnedElsewhere as elsewhere:
        session.on_interrupt = ""
        if session.console.json:
            show_document(session, session.installation.operations.rotation(rotation.id))
        raise CarriedOutElsewhere(rotation_id=rotation.id, what=what, owner=elsewhere.fields["owner"]) from elsewhere
