"""`keyturn pause`, `continue`, `promote` and `accept-inconclusive`: having a rotation rest, and letting it go on.

Rule: as in resume.py, each records one decision at most and drives what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    """Have a rotation rest before anybody, or anybody more, is given the new version.

    It rests when the new version is verified: made, seen to work, and current nowhere. While instances are given it, it
    rests at once: those that have it keep it. `continue` lets it go on, `abort` takes it back. Once the new version is
    current everywhere it cannot be paused.
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
    """Let a paused rotation go on, or the next wave begin."""
    commands.let_go_on(found, reason=reason)  # Refused before stores and secrets are asked for.
    decide = partial(session.installation.operations.let_go_on, found.id, reason=reason)
    what = "go on" if found.plan.rollout else f"go on, and make {found.candidate} current"
    return _go(session, found, patience, decide, what=what, dry_run=dry_run)


@click.command()
@click.option("--full", is_flag=True, help="All that it would wait for later as well; instances are still asked.")
@moves_a_rotation
def promote(
    session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str, full: bool
) -> ExitCode:
    """Pass what a rollout waits for now: the soak of a wave, its wait, its window, or an approval.

    Every instance still has to prove that it uses the new version. Who decided it, and why, is recorded.
    """
    commands.promote(found, reason=reason, full=full)  # Refused before stores and secrets are asked for.
    decide = partial(session.installation.operations.promote, found.id, reason=reason, full=full)
    what = "pass all waits, soaks and approvals" if full else "pass what the rollout waits for"
    return _go(session, found, patience, decide, what=what, dry_run=dry_run)


@click.command("accept-inconclusive")
@moves_a_rotation
def accept(session: Session, found: Rotation, patience: Patience, *, dry_run: bool, reason: str) -> ExitCode:
    """Let a rollout go on although its checks saw nothing; in this wave that is not asked again."""
    commands.accept_inconclusive(found, reason=reason)  # Refused before stores and secrets are asked for.
    decide = partial(session.installation.operations.accept_inconclusive, found.id, reason=reason)
    return _go(session, found, patience, decide, what="go on without what was not seen", dry_run=dry_run)


def _go(
    session: Session,
    found: Rotation,
    patience: Patience,
    decide: Callable[[], object],
    *,
    what: str,
    dry_run: bool,
) -> ExitCode:
    """Record a decision and drive what follows; raises what `require_ready` raises, and nothing is recorded then."""
    require_ready(session.installation, found.service, found.environment, found.plan)
    if dry_run:
        session.console.out(f"{found.service}: would {what}")
        return ExitCode.DONE
    session.on_interrupt = f"keyturn resume {found.id} drives on what was begun."
    decide()
    return carry_out(session, found, patience, what=what)
