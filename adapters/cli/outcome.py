"""How a rotation stands, for the caller: the exit code, a line or three for people, and one document with --json.

Rule: nothing here decides or drives; where a person is needed, what is known is looked for, and that alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from engine.errors import ExitCode
from engine.leaving import in_words, rests_for, ways_out
from engine.machine import State
from engine.policies import is_inconclusive, is_stuck
from engine.rollout_events import PauseKind
from engine.rotation import Rotation
from engine.sightings import Acceptance, Seen, look_around, versions_of
from projections.rollouts import in_a_line
from projections.rotations import rotation_document
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session

ROTATION: Final = "keyturn.rotation/1"

WHY: Final = {
    PauseKind.OPERATOR: "resting because a person wanted it",
    PauseKind.FAILURE: "resting because the wave failed",
    PauseKind.INCONCLUSIVE: "resting because it was not seen whether all is well",
    PauseKind.APPROVAL: "resting until you let the next wave begin",
    PauseKind.STALLED: "resting because nothing moves on",
}
"""Why a rollout rests, for people."""

_SAYS: Final = {
    Acceptance.ACCEPTED: "accepts {}",
    Acceptance.REFUSED: "refuses {}",
    Acceptance.UNUSABLE: "takes the secret of {} and not the login",
    Acceptance.UNKNOWN: "gives no clear answer about {}",
    Acceptance.NOT_TRIED: "was not asked about {}",
}


def report(session: Session, rotation: Rotation, *, back: bool = False, spending: bool = True) -> ExitCode:
    """Print how a rotation stands: one document, or a line; an error in three lines. Return its exit code.

    `back` tells that going back is what the caller asked for. Where a person is needed, the target is asked which
    version works; without `spending` only where that needs no record.
    """
    code = exit_code(rotation, back=back)
    seen = look(session, rotation, spending=spending) if code is ExitCode.PERSON_NEEDED else ()
    if session.console.json:
        show_document(session, rotation, seen)
    if code is ExitCode.DONE:
        if not session.console.json:
            session.console.out(_success(rotation))
        return code
    message, advice = trouble(rotation, code, seen)
    where = f"{rotation.service} ({rotation.environment}), rotation {rotation.id}"
    session.console.trouble(message, where=where, advice=advice)
    return code


def show_document(session: Session, rotation: Rotation, seen: Sequence[Seen] = ()) -> None:
    """Print the document of a rotation, with what was seen of its versions."""
    known = [{"version": e.version, "accepted": e.accepted.value, "stored_in": e.stored_in} for e in seen]
    session.console.document(ROTATION, rotation_document(rotation, known=known))


def look(session: Session, rotation: Rotation, *, spending: bool = True) -> tuple[Seen, ...]:
    """Return what is seen of the versions of a rotation; what stands in the way of looking is said."""
    world = session.installation.world
    seen: list[Seen] = []

    def look_now() -> ExitCode:
        named = (rotation.service, rotation.environment, rotation.plan)
        seen.extend(look_around(world, *named, versions_of(rotation), spending=spending))
        return ExitCode.DONE

    session.reported(look_now)
    return tuple(seen)


def exit_code(rotation: Rotation, *, back: bool = False) -> ExitCode:
    """Return what the outcome of a rotation is for the caller; with `back`, that it is taken back is success."""
    match rotation.state:
        case State.GRACE if rotation.failures:
            return ExitCode.STILL_RUNNING
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
        case State.RETIRING if is_stuck(rotation):
            return ExitCode.PERSON_NEEDED
        case State.PAUSED:
            return ExitCode.RESTING
        case State.MONITORING if is_inconclusive(rotation):
            return ExitCode.RESTING
        case State.CANCELLED:
            return ExitCode.DONE if back else ExitCode.REFUSED
        case _:
            return ExitCode.STILL_RUNNING


def _success(rotation: Rotation) -> str:
    name = f"{rotation.service} ({rotation.environment})"
    if rotation.state is State.ROLLED_BACK:
        return f"{name}: back on {rotation.previous or 'what was there before'}; rotation {rotation.id}"
    if rotation.state is State.CANCELLED:
        return f"{name}: rotation {rotation.id} is withdrawn; nothing had been done"
    text = f"{name}: {rotation.candidate} is current; rotation {rotation.id}"
    if rotation.state is State.GRACE and rotation.grace is not None:
        old = rotation.previous or "the old version"
        text += f"\n{old} stays valid until {to_text(rotation.grace.wall)}; after that, `keyturn resume` retires it"
    return text


def trouble(rotation: Rotation, code: ExitCode, seen: Sequence[Seen] = ()) -> tuple[str, str]:
    """Return what is wrong with a rotation and what to do next."""
    hint = rotation.cause.hint if rotation.cause else ""
    cause = f": {rotation.cause.step}: {rotation.cause.message.rstrip('.')}." if rotation.cause else "."
    ways = in_words(ways_out(rotation))
    if hint and str(rotation.id) not in hint:  # else it names what the ways name
        ways = f"{ways} {hint}".lstrip()
    known = rotation.previous or "what was there before"
    match rotation.state:
        case State.ROLLED_BACK:
            return f"failed, and safely back on {known}{cause}", hint
        case State.FAILED if code is ExitCode.PERSON_NEEDED:
            return f"failed{cause} {in_short(seen)}", ways
        case State.FAILED:
            return f"failed{cause} Nothing was changed; {known} is still current.", hint or ways
        case State.ROLLBACK_FAILED:
            return f"going back failed{cause} {in_short(seen)}", ways
        case State.RETIRING if code is ExitCode.PERSON_NEEDED:
            return f"{rotation.candidate} is current, and {known} is not retired{cause} {in_short(seen)}", ways
        case State.PAUSED if rotation.plan.rollout is not None:
            far = in_a_line(rotation)
            why = WHY[rests_for(rotation)]
            return f"{why}{cause} {far[:1].upper() + far[1:]}{'.' if far else ''}".rstrip(), ways
        case State.PAUSED:
            alone = "" if rotation.plan.overlap or not rotation.previous else ", and is all that the target accepts"
            return f"resting until you decide; {known} is current, {rotation.candidate} is verified{alone}.", ways
        case State.MONITORING if code is ExitCode.RESTING:
            blind = _and([f"{each.check} ({each.text})" for each in rotation.health if each.unknowns])
            return f"{rotation.candidate} is current, and whether it is well is not seen: {blind}.", ways
        case State.CANCELLED:
            return "cancelled before anything was done.", ""
        case State.WAITING:
            return "still waiting for its turn.", ways
        case _:
            waits = f", not before {to_text(rotation.not_before)}" if rotation.not_before else ""
            doubt = " Whether the target took the change is not known yet." if rotation.in_doubt else ""
            return f"still {rotation.state}{waits}{cause}{doubt}", ways


def in_short(seen: Sequence[Seen]) -> str:
    """Return in a sentence or two which version works, and where each is stored."""
    if not seen:
        return "Which version works is not known."
    says = [
        _SAYS[accepted].format(_and([each.version for each in seen if each.accepted is accepted]))
        for accepted in Acceptance
        if any(each.accepted is accepted for each in seen)
    ]
    stored = [
        _stored(place, [each.version for each in group])
        for place, group in groupby(
            sorted(seen, key=lambda each: each.stored_in or ""), key=lambda each: each.stored_in
        )
    ]
    return f"The target {_and(says)}; {_and(stored)}."


def _stored(place: str | None, versions: Sequence[str]) -> str:
    verb = "are both" if len(versions) == 2 else "is" if len(versions) == 1 else "are"
    return f"{_and(versions)} {verb} {f'in store {place}' if place else 'not seen in the store'}"


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
