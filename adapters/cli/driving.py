"""Driving a rotation in the foreground: how long is waited, what is shown, and what the outcome means for the caller.

Rule: nothing here decides about a rotation; it is started, taken back or ended elsewhere, and driven here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.cli.progress import progress
from engine.errors import ExitCode
from engine.machine import State
from engine.policies import can_go_back
from engine.process import Wait
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds, Secret
from projections.rotations import rotation_document
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session

ROTATION: Final = "keyturn.rotation/1"

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


def driven(session: Session, rotation_id: UUID, patience: Patience, *, given: Secret | None = None) -> Rotation:
    """Drive a rotation and show it; return it as it is then. Raises what `Runner.drive` raises."""
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
        if rotation.state is State.GRACE and not patience.grace:
            return False
        if rotation.state is State.RETIRING and rotation.failures >= max(retiring, rotation.plan.effect_attempts):
            return False
        if ends is not None and clock.now().wall >= ends:
            return False
        tell(rotation, wait)
        return True

    session.on_interrupt = (
        f"keyturn resume {rotation_id} drives the rotation on; keyturn abort {rotation_id} takes it back."
    )
    with progress(session.console, installation, begun):
        rotation = installation.runner.drive(rotation_id, patience=patient, given=given)
    session.on_interrupt = ""
    return rotation


def report(session: Session, rotation: Rotation, *, back: bool = False) -> ExitCode:
    """Print how a rotation stands: one document, or a line; an error in three lines. Return its exit code."""
    code = exit_code(rotation, back=back)
    if session.console.json:
        session.console.document(ROTATION, rotation_document(rotation))
    if code is ExitCode.DONE:
        if not session.console.json:
            session.console.out(_success(rotation))
        return code
    message, advice = _trouble(rotation, code)
    where = f"{rotation.service} ({rotation.environment}), rotation {rotation.id}"
    session.console.trouble(message, where=where, advice=advice)
    return code


def exit_code(rotation: Rotation, *, back: bool = False) -> ExitCode:
    """Return what the outcome of a rotation is for the caller; with `back`, going back is success."""
    match rotation.state:
        case State.COMPLETED | State.GRACE:
            return ExitCode.DONE
        case State.ROLLED_BACK:
            return ExitCode.DONE if back else ExitCode.ROLLED_BACK
        case State.FAILED:
            if rotation.attempted or rotation.promotable:
                return ExitCode.PERSON_NEEDED  # whatever the cause, the target may hold the candidate
            is_refused = rotation.cause is not None and rotation.cause.kind == "own_login_rejected"
            return ExitCode.LOGIN_REFUSED if is_refused else ExitCode.ROLLED_BACK
        case State.ROLLBACK_FAILED:
            return ExitCode.PERSON_NEEDED
        case State.PAUSED:
            return ExitCode.RESTING
        case State.CANCELLED:
            return ExitCode.REFUSED
        case _:
            return ExitCode.STILL_RUNNING


def _success(rotation: Rotation) -> str:
    name = f"{rotation.service} ({rotation.environment})"
    if rotation.state is State.ROLLED_BACK:
        return f"{name}: back on {rotation.previous or 'what was there before'}; rotation {rotation.id}"
    text = f"{name}: {rotation.candidate} is current; rotation {rotation.id}"
    if rotation.state is State.GRACE and rotation.grace is not None:
        old = rotation.previous or "the old version"
        text += f"\n{old} stays valid until {to_text(rotation.grace.wall)}; after that, `keyturn resume` retires it"
    return text


def _held(rotation: Rotation) -> str:
    """Tell which versions of a rotation are in the store: a candidate is from when it has a fingerprint."""
    held = [each for each in (rotation.previous, rotation.candidate if rotation.fingerprint else None) if each]
    verb = "are both" if len(held) > 1 else "is"
    return f"{' and '.join(held) or 'no version'} {verb} in store {rotation.plan.store}, {rotation.plan.path}"


def _trouble(rotation: Rotation, code: ExitCode) -> tuple[str, str]:
    """Return what is wrong with a rotation and what to do next."""
    hint = rotation.cause.hint if rotation.cause else ""
    cause = f": {rotation.cause.step}: {rotation.cause.message.rstrip('.')}." if rotation.cause else "."
    known = rotation.previous or "what was there before"
    match rotation.state:
        case State.ROLLED_BACK:
            return f"failed, and safely back on {known}{cause}", hint
        case State.FAILED if code is ExitCode.PERSON_NEEDED:
            may_hold = " or ".join(filter(None, (rotation.candidate, rotation.previous)))
            way = "rollback {} goes back" if can_go_back(rotation) else "rotate {} leads forward; there is no way back"
            return (
                f"failed{cause} The target may hold {may_hold}; {_held(rotation)}.",
                f"keyturn {way.format(rotation.service)}; keyturn doctor tells what works.",
            )
        case State.FAILED:
            return f"failed{cause} Nothing was changed; {known} is still current.", hint
        case State.ROLLBACK_FAILED:
            return (
                f"going back failed{cause} {_held(rotation)}; keyturn doctor tells what works.",
                f"keyturn retry {rotation.id} tries again, once the cause is gone. {hint}",
            )
        case State.PAUSED:
            return "resting until you decide.", f"keyturn abort {rotation.id} takes it back."
        case State.CANCELLED:
            return "cancelled before anything was done.", ""
        case _:
            waits = f", not before {to_text(rotation.not_before)}" if rotation.not_before else ""
            return (
                f"still {rotation.state}{waits}{cause}",
                f"keyturn resume {rotation.id} drives it on.",
            )
