"""`keyturn resume`, `abort`, `retry` and `retire`: moving a rotation that is there already.

Rule: each records one decision at most (engine/operations.py) and drives what follows from it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from adapters.cli import conflicts, lookup
from adapters.cli.driving import Patience, carry_out, drive, worst
from adapters.cli.moving import moves_a_rotation, where
from adapters.cli.outcome import report
from adapters.cli.ready import require_drivable, require_ready
from adapters.cli.shared import shared_options, timeout_option
from engine.commands import end_grace, go_back
from engine.commands import retry as retried
from engine.errors import ExitCode
from engine.machine import State, rests
from engine.policies import is_stuck
from engine.process import Wait, next_effect
from engine.rotation import Rotation
from engine.values import Microseconds
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.command()
@click.argument("rotations", nargs=-1, metavar="[ROTATION|SERVICE]...")
@timeout_option
@click.option("--wait-grace", is_flag=True, help="Wait for the end of the grace period, and retire the old version.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@shared_options
@click.pass_obj
def resume(
    session: Session, *, rotations: tuple[str, ...], timeout: Microseconds | None, wait_grace: bool, dry_run: bool
) -> ExitCode:
    """Drive interrupted rotations on; without a name, every unfinished one.

    A rotation is named by its id, the beginning of it, or its service. One that waits is started if its turn has come.
    Nothing is decided by this, so where nothing is to be done, nothing is recorded.
    """
    if rotations:
        found = [lookup.rotation(session, name) for name in dict.fromkeys(rotations)]
    else:
        found = lookup.unfinished(session)
    if not dry_run:
        session.start_notifying()  # What an earlier command could not send is sent now, even if nothing is unfinished.
    patience = Patience(timeout, wait_grace)
    act = _preview if dry_run else partial(_resume, patience)
    codes = [session.reported(partial(act, session, rotation)) for rotation in found]
    if not rotations:
        # Behind what can be driven, which needs no view.
        codes.append(session.reported(partial(_tell_of_stranded, session)))
        if codes == [ExitCode.DONE]:
            session.console.say("nothing is unfinished")
    return worst(codes)


def _tell_of_stranded(session: Session) -> ExitCode:
    """Tell of every open rotation that nothing can be done about while its service is not configured."""
    stranded = lookup.stranded(session)
    for each in stranded:
        session.console.trouble(each.message, advice=each.advice)
    return ExitCode.USAGE if stranded else ExitCode.DONE


def _preview(session: Session, rotation: Rotation) -> ExitCode:
    session.console.out(f"{rotation.service}: {_next(session, rotation)}")
    return ExitCode.DONE


def _resume(patience: Patience, session: Session, rotation: Rotation) -> ExitCode:
    session.where = where(rotation)
    if rotation.state is State.WAITING:
        return conflicts.resume(session, rotation, patience)
    goes_back = rotation.state in (State.ROLLING_BACK, State.VERIFYING_ROLLBACK, State.ROLLED_BACK)
    back = goes_back and not rotation.automatic
    if rests(rotation.state):
        return report(session, rotation, back=back, spending=False)  # asking again must append nothing
    # Beside a process that drives it nothing is looked at, not even whether it could be driven from here.
    with session.installation.world.hold(rotation.id):
        require_drivable(session.installation, rotation, wait_grace=patience.grace)
    return drive(session, rotation.id, patience, back=back)


def _next(session: Session, rotation: Rotation) -> str:
    """Tell what driving a rotation would do first."""
    if rotation.state is State.WAITING:
        return conflicts.foreseen(session, rotation)
    due = next_effect(rotation, session.installation.world.clock.now())
    if due is None:
        return f"rests, {rotation.state}"
    return f"waits until {to_text(due.until)}: {due.why}" if isinstance(due, Wait) else f"next: {due}"


@click.command()
@moves_a_rotation
def abort(session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str) -> ExitCode:
    """Take an open rotation back, withdraw one that waits, or give up what cannot go back.

    The stores, the target and whoever has the new version return to the old one. Where that has failed, or the old
    version cannot be retired, the rotation ends as failed and everything stays as it is. Where one rotation is open and
    another one waits, the name of the service means the open one; the other is named by its id.
    """
    if found.state in (State.ROLLED_BACK, State.CANCELLED, State.FAILED):
        return report(session, found, back=True, spending=False)
    if found.state is State.WAITING:
        return _withdraw(session, found, dry_run=dry_run, reason=reason)
    if found.state is State.ROLLBACK_FAILED or is_stuck(found):
        return _give_up(session, found, dry_run=dry_run, reason=reason)
    return back(session, found, patience, command="abort", dry_run=dry_run, reason=reason)


def _withdraw(session: Session, rotation: Rotation, *, dry_run: bool, reason: str) -> ExitCode:
    if dry_run:
        session.console.out(f"{rotation.service}: would withdraw rotation {rotation.id}, which waits for its turn")
        return ExitCode.DONE
    session.installation.operations.withdraw(rotation.id, command="abort", reason=reason)
    return report(session, session.installation.operations.rotation(rotation.id), back=True)


def _give_up(session: Session, rotation: Rotation, *, dry_run: bool, reason: str) -> ExitCode:
    """End a rotation that can neither go on nor back; nothing is changed outside, and what is known is printed."""
    if dry_run:
        what = "retiring" if rotation.state is State.RETIRING else "going back"
        session.console.out(f"{rotation.service}: would give up {what}, and leave everything as it is")
        return ExitCode.DONE
    operations = session.installation.operations
    operations.abandon(rotation.id, reason=reason)
    return report(session, operations.rotation(rotation.id))


def back(
    session: Session, rotation: Rotation, patience: Patience, *, command: str, dry_run: bool, reason: str
) -> ExitCode:
    """Take a rotation back and drive it there.

    Raises `IllegalCommand` where there is no way back, and what `require_ready` raises; nothing is recorded then.
    """
    installation = session.installation
    world, operations = installation.world, installation.operations
    is_going = rotation.state in (State.ROLLING_BACK, State.VERIFYING_ROLLBACK)
    if not is_going:
        go_back(rotation, world.credential(rotation.service, rotation.environment), command=command, reason=reason)
    require_ready(installation, rotation.service, rotation.environment, rotation.plan)
    if dry_run:
        session.console.out(f"{rotation.service}: would go back to {rotation.previous or 'what was there before'}")
        return ExitCode.DONE
    session.on_interrupt = f"keyturn resume {rotation.id} drives on what was begun."
    if not is_going:
        operations.go_back(rotation.id, command=command, reason=reason)
    return carry_out(session, rotation, patience, what="go back", back=True)


@click.command()
@moves_a_rotation
def retry(session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str) -> ExitCode:
    """Try a rollback, or the wave of a rollout, that failed again."""
    retried(found, reason=reason)  # Refused before stores and secrets are asked for.
    require_ready(session.installation, found.service, found.environment, found.plan)
    back = found.state is State.ROLLBACK_FAILED
    if dry_run:
        known = found.previous or "what was there before"
        session.console.out(f"{found.service}: would try {f'to go back to {known}' if back else 'the wave'} again")
        return ExitCode.DONE
    session.on_interrupt = f"keyturn resume {found.id} drives on what was begun."
    session.installation.operations.retry(found.id, reason=reason)
    return carry_out(session, found, patience, what="try again to go back" if back else "try the wave again", back=back)


@click.command()
@moves_a_rotation
def retire(session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str) -> ExitCode:
    """End the grace period of a rotation now: the old version becomes unusable, and there is no way back."""
    if found.state is State.COMPLETED:
        return report(session, found)
    if found.state is not State.RETIRING:
        end_grace(found)  # Refused before stores and secrets are asked for.
    require_ready(session.installation, found.service, found.environment, found.plan)
    if dry_run:
        session.console.out(f"{found.service}: would make {found.previous or 'every older version'} unusable")
        return ExitCode.DONE
    session.on_interrupt = f"keyturn resume {found.id} drives on what was begun."
    if found.state is not State.RETIRING:
        session.installation.operations.end_grace(found.id, reason=reason)
    return carry_out(session, found, patience, what="retire the old version now")
