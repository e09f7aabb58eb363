"""`keyturn pause` and `keyturn continue`: having a rotation rest before anybody is given the new version.

Rule: as in resume.py, each records one decision at most and drives what follows from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapters.cli.driving import Patience, carry_out
from adapters.cli.moving import moves_a_rotation
from adapters.cli.outcome import report
from adapters.cli.ready import require_ready
from engine import commands
from engine.errors import ExitCode
from engine.machine import State, following
from engine.rotation import Rotation

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.command()
@moves_a_rotation
def pause(session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str) -> ExitCode:
    """Have a rotation rest before anybody is given the new version.

    It rests when the new version is verified: made, seen to work, and current nowhere. `continue` lets it go on,
    `abort` takes it back. Later than that it cannot be paused.
    """
    installation = session.installation
    if found.state is State.PAUSED:
        session.console.say(f"{found.service}: rotation {found.id} is paused already")
        return report(session, found)
    decided = commands.pause(found, reason=reason)  # Refused before stores and secrets are asked for.
    at_once = following(found.state, "RolloutPaused") is not None
    if not at_once:
        require_ready(installation, found.service, found.environment, found.plan)
    if dry_run:
        when = "rest now" if at_once else f"rest when {found.candidate} is verified"
        session.console.out(f"{found.service}: would {when}")
        return ExitCode.DONE
    if decided:
        installation.operations.pause(found.id, reason=reason)
    else:
        session.console.say(f"{found.service}: a pause of rotation {found.id} is requested already")
    if at_once:
        return report(session, installation.operations.rotation(found.id))
    session.on_interrupt = f"keyturn resume {found.id} drives on what was begun."
    return carry_out(session, found, patience, what=f"rest when {found.candidate} is verified")


@click.command("continue")
@moves_a_rotation
def go_on(session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str) -> ExitCode:
    """Let a paused rotation go on."""
    installation = session.installation
    commands.let_go_on(found, reason=reason)  # Refused before stores and secrets are asked for.
    require_ready(installation, found.service, found.environment, found.plan)
    if dry_run:
        session.console.out(f"{found.service}: would go on, and make {found.candidate} current")
        return ExitCode.DONE
    session.on_interrupt = f"keyturn resume {found.id} drives on what was begun."
    installation.operations.let_go_on(found.id, reason=reason)
    return carry_out(session, found, patience, what="go on")
