"""`keyturn rollback`: back to the previous version, or to the one that was current at an event or a time.

Rule: an open rotation is taken back itself; a finished one is left by a new rotation of kind `rollback`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from adapters.cli import lookup
from adapters.cli.driving import Patience, drive
from adapters.cli.outcome import show_document
from adapters.cli.ready import require_ready
from adapters.cli.refusals import NotConfirmed
from adapters.cli.resume import back
from adapters.cli.shared import changing, shared_options, timeout_option
from engine.commands import go_back
from engine.credential import Credential, Version
from engine.errors import ExitCode, NoRestorePoint
from engine.facts import Recorded
from engine.machine import State
from engine.operations import require_going_back
from engine.policies import unreachable
from engine.rotation import Rotation
from engine.values import Microseconds
from projections.restore import (
    AtPosition,
    ByVersion,
    Wanted,
    parse,
    position_at,
    resolve,
    restore_points,
    version_current_at,
)

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service


@click.command()
@click.argument("service", metavar="SERVICE")
@click.option("--to", metavar="VERSION|#EVENT|TIME", help="Where to; the previous version without it.")
@click.option("--yes", "--force", "confirmed", is_flag=True, help="Do not ask.")
@timeout_option
@changing
@shared_options
@click.pass_obj
def rollback(
    session: Session,
    *,
    service: str,
    to: str | None,
    confirmed: bool,
    timeout: Microseconds | None,
    dry_run: bool,
    reason: str,
) -> ExitCode:
    """Go back to the previous version, or to the one at an event (#41) or a time.

    Asks first on a terminal; elsewhere it is refused without --yes. An open rotation is taken back itself.
    """
    installation = session.installation
    found = installation.service(service)
    session.where = f"service {found.name} ({found.environment})"
    credential = installation.world.credential(found.name, found.environment)
    rotation = _to_take_back(session, credential)
    if rotation is not None and to is not None:
        wanted = _wanted(session, found, credential, to)
        if rotation.id == credential.open:
            require_going_back(rotation, wanted)
        elif wanted.id != rotation.previous:
            rotation = None  # It has failed, so that another one may lead anywhere.
    if rotation is not None:
        if not dry_run and not confirmed:
            # Decided for the look of it: what is refused anyway is not asked about.
            go_back(rotation, credential, command="rollback", reason=reason)
            _confirm(session, f"take rotation {rotation.id} of {found.name} back")
        return back(session, rotation, Patience(timeout), command="rollback", dry_run=dry_run, reason=reason)
    version = _wanted(session, found, credential, to)
    plan = installation.plan(found)
    store = require_ready(installation, found.name, found.environment, plan).store
    if version == credential.current and store.versions(plan.path).current == version.id:
        return _already(session, found, credential)
    points = _listed(_points(session, found, credential)[0])
    why = unreachable(store.read(plan.path, version.id), settable=plan.settable)
    if why:
        raise NoRestorePoint(service=found.name, wanted=version.id, why=why, points=points)
    if dry_run:
        session.console.out(
            f"{found.name}: would go from {credential.current and credential.current.id} to {version.id}"
        )
        return ExitCode.DONE
    if not confirmed:
        _confirm(session, f"take {found.name} back to {version.id}")
    session.on_interrupt = f"keyturn resume {found.name} drives on what was begun."
    rotation_id = installation.operations.roll_back_to(
        found.name, found.environment, plan, version, logins=found.usernames, reason=reason, points=points
    )
    return drive(session, rotation_id, Patience(timeout))


def _to_take_back(session: Session, credential: Credential) -> Rotation | None:
    """Return the rotation that is still to be taken back: the open one, or one that failed half way."""
    operations = session.installation.operations
    if credential.open is not None:
        return operations.rotation(credential.open)
    if credential.last is None:
        return None
    last = operations.rotation(credential.last)
    return last if last.state is State.FAILED and (last.attempted or last.promotable) else None


def _points(session: Session, service: Service, credential: Credential) -> tuple[list[Version], dict[str, str]]:
    """Return the restore points, and why of each other version that the store holds, by its id."""
    installation = session.installation
    plan, store = installation.plan(service), installation.binding(service).store
    held = restore_points(credential, store.versions(plan.path))
    whys = {each.id: unreachable(store.read(plan.path, each.id), settable=plan.settable) for each in held}
    return [each for each in held if not whys[each.id]], {version: why for version, why in whys.items() if why}


def _listed(points: Sequence[Version]) -> str:
    return ", ".join(point.id for point in reversed(points)) or "none"


def _wanted(session: Session, service: Service, credential: Credential, to: str | None) -> Version:
    """Return the version that is asked for, which may be the current one.

    Raises `NoRestorePoint` naming those there are, and `NoSuchPosition`.
    """
    points, refused = _points(session, service, credential)
    if to is None:
        if credential.previous is None:
            why = "there is no previous version"
            raise NoRestorePoint(service=service.name, wanted="the previous version", why=why, points=_listed(points))
        asked = ByVersion(credential.previous.id)
        return resolve(asked, facts=(), credential=credential, points=points, refused=refused)
    wanted = parse(f"#{to}" if to.isdecimal() else to)
    log = session.log
    streams = {credential.id, *lookup.rotation_ids(log, service)}
    facts = [] if isinstance(wanted, ByVersion) else list(lookup.recorded(log, streams))
    current = credential.current
    if current is not None and current == _meant(wanted, facts, credential):
        return current
    return resolve(wanted, facts=facts, credential=credential, points=points, refused=refused)


def _meant(wanted: Wanted, facts: list[Recorded], credential: Credential) -> Version | None:
    """Return the version that is asked for, whether it can be reached or not; None where that is not clear."""
    if isinstance(wanted, ByVersion):
        current = credential.current
        return current if current and wanted.text in (current.id, current.id.partition("-")[0]) else None
    if isinstance(wanted, AtPosition):
        known = any(recorded.position == wanted.position for recorded in facts)
        return version_current_at(facts, credential.id, wanted.position) if known else None
    return version_current_at(facts, credential.id, position_at(facts, wanted.at))


def _already(session: Session, service: Service, credential: Credential) -> ExitCode:
    """Say that there is nothing to do; with --json, show the rotation that made it so."""
    assert credential.current is not None, "the caller compared with it"
    session.console.say(f"{service.name}: {credential.current.id} is current already; nothing to do")
    if session.console.json and credential.last is not None:
        show_document(session, session.installation.operations.rotation(credential.last))
    return ExitCode.DONE


def _confirm(session: Session, what: str) -> None:
    """Ask whether to go on; raises `NotConfirmed` where nobody can be asked, or the answer is no."""
    if not session.console.is_interactive or not click.confirm(f"Really {what}?", err=True):
        raise NotConfirmed(what=what)
