"""`keyturn group`: rotate services together, take them back together, and see how they stand.

Rule: what follows from what is decided in engine/group.py; a run that was cut off is driven on by the same command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import lookup
from adapters.cli.crew import Crew
from adapters.cli.refusals import BadInput, NotConfirmed
from adapters.cli.shared import changing, shared_options, timeout_option
from engine.errors import ExitCode, NoRestorePoint
from engine.group import ENDED, Group, Standing, begin, go_back, retry
from engine.group_events import Destination, GroupState, Member
from engine.group_runner import GroupRunner
from engine.machine import State
from engine.values import SECOND, Instant, Microseconds
from projections.restore import AtPosition, ByVersion, parse, position_at, version_current_at
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Group as Configured

_GOES_ON = (GroupState.ROTATING, GroupState.CHECKING, GroupState.ROLLING_BACK)


@click.group()
def group() -> None:
    """Rotate groups of services together, take them back, and see how they stand."""


@group.command()
@click.argument("name")
@timeout_option
@changing
@shared_options
@click.pass_obj
def rotate(session: Session, *, name: str, timeout: Microseconds | None, dry_run: bool, reason: str) -> ExitCode:
    """Rotate the services of a group, step by step; a run that was cut off goes on.

    A service counts as rotated when its new version is current and monitoring has passed; grace periods run on. What
    follows when one cannot be rotated is the group's `failure_policy`.
    """
    configured = session.installation.wiring.group(name)
    runner = _runner(session, configured, timeout)
    found = runner.load(name)
    if dry_run:
        for number, step in enumerate(configured.steps, 1):
            session.console.out(f"step {number}: {', '.join(step)}")
        return ExitCode.DONE
    if found.state not in _GOES_ON:
        members = [_member(session, each) for step in configured.steps for each in step]
        run_id = session.installation.world.ids.new()
        runner.record(found, begin(found, configured.plan, members, run_id=run_id, reason=reason))
    return _drive(session, runner, name)


@group.command()
@click.argument("name")
@click.option("--to", metavar="#EVENT|TIME", help="Where to; what was current before the newest run without it.")
@click.option("--yes", "--force", "confirmed", is_flag=True, help="Do not ask.")
@timeout_option
@changing
@shared_options
@click.pass_obj
def rollback(
    session: Session,
    *,
    name: str,
    to: str | None,
    confirmed: bool,
    timeout: Microseconds | None,
    dry_run: bool,
    reason: str,
) -> ExitCode:
    """Take the services of a group back, the last step first; one that failed to go back is tried again.

    Without --to each goes to the version of before the newest run; with it, to the one that was current then.
    """
    configured = session.installation.wiring.group(name)
    runner = _runner(session, configured, timeout)
    found = runner.load(name)
    versions = _versions(session, configured, to) if to else []
    if found.run_id is None and not versions:
        raise NoRestorePoint(
            service=name, wanted="the versions of before", why="the group was never rotated", points=""
        )
    goes_to = found.wanted | {each.service: each.version for each in versions}
    _require_a_way_back(session, found, goes_to)
    if dry_run:
        for service, version in goes_to.items():
            session.console.out(f"{service}: would go to {version or 'what was there before'}")
        return ExitCode.DONE
    if not confirmed and not (session.console.is_interactive and click.confirm(f"Really take {name} back?", err=True)):
        raise NotConfirmed(what=f"take {name} back")
    if found.state is GroupState.ROLLBACK_FAILED:
        runner.record(found, retry(found, reason=reason))
    elif found.state is not GroupState.ROLLING_BACK:
        if found.state in ENDED and versions:
            members = [_member(session, each) for step in configured.steps for each in step]
            run_id = session.installation.world.ids.new()
            found = runner.record(found, begin(found, configured.plan, members, run_id=run_id, reason=reason))
        runner.record(found, go_back(found, reason=reason, versions=versions))
    return _drive(session, runner, name, back=True)


@group.command()
@click.argument("name")
@shared_options
@click.pass_obj
def status(session: Session, *, name: str) -> ExitCode:
    """Show how the services of a group stand in its newest run."""
    configured = session.installation.wiring.group(name)
    return _report(session, _runner(session, configured, None).load(name))


def _runner(session: Session, configured: Configured, timeout: Microseconds | None) -> GroupRunner:
    world = session.installation.world
    until = None if timeout is None else Instant(world.clock.now().wall + timeout)

    def patient(wait: Microseconds) -> bool:
        return until is None or world.clock.now().wall + wait < until

    return GroupRunner(world, Crew(session, until=until, say=session.console.say), patience=patient)


def _member(session: Session, name: str) -> Member:
    """Return a service and what its store calls current; raises what the store raises."""
    wiring = session.installation.wiring
    service = wiring.service(name)
    held = wiring.held_in(name).versions(service.credential.key)
    return Member(name, service.environment, held.current)


def _versions(session: Session, configured: Configured, to: str) -> list[Destination]:
    """Return the version of each service that was current at an event or a time; raises `NoRestorePoint`."""
    wanted = parse(f"#{to}" if to.isdecimal() else to)
    if isinstance(wanted, ByVersion):
        raise BadInput(what="--to", why="each service has versions of its own; name an event (#41) or a time")
    found = []
    for name in [name for step in configured.steps for name in step]:
        service = session.installation.service(name)
        credential = session.installation.world.credential(service.name, service.environment)
        facts = list(lookup.recorded(session.log, {credential.id}))
        at = wanted.position if isinstance(wanted, AtPosition) else position_at(facts, wanted.at)
        version = version_current_at(facts, credential.id, at)
        if version is None:
            raise NoRestorePoint(service=name, wanted=to, why="it had no version then", points="none")
        found.append(Destination(name, version.id))
    return found


def _require_a_way_back(session: Session, found: Group, goes_to: Mapping[str, str | None]) -> None:
    """Raise `NoRestorePoint` where a service had no version before, and its rotation cannot be taken back any more."""
    for each in found.members:
        rotation = session.installation.world.load(each.rotation_id) if each.rotation_id else None
        if goes_to[each.service] is None and rotation is not None and rotation.state is State.COMPLETED:
            why = "it had none before this run, and its rotation is over"
            raise NoRestorePoint(service=each.service, wanted="the version of before", why=why, points="none")


def _drive(session: Session, runner: GroupRunner, name: str, *, back: bool = False) -> ExitCode:
    session.on_interrupt = f"keyturn group {'rollback' if back else 'rotate'} {name} goes on with what was begun."
    found = runner.drive(name)
    session.on_interrupt = ""
    return _report(session, found, back=back)


_CODES = {
    GroupState.IDLE: ExitCode.DONE,
    GroupState.COMPLETED: ExitCode.DONE,
    GroupState.FAILED: ExitCode.ROLLED_BACK,
    GroupState.ROLLED_BACK: ExitCode.ROLLED_BACK,
    GroupState.ROLLBACK_FAILED: ExitCode.PERSON_NEEDED,
}


def _report(session: Session, found: Group, *, back: bool = False) -> ExitCode:
    """Print how a group stands, and return its exit code; `back` tells that going back is what was asked for."""
    code = _CODES.get(found.state, ExitCode.STILL_RUNNING)
    if back and found.state is GroupState.ROLLED_BACK:
        code = ExitCode.DONE
    if session.console.json:
        session.console.document("keyturn.group/1", _document(found))
    else:
        session.console.out(f"{found.name}: {found.state}")
        if found.members:
            session.console.table(
                ("SERVICE", "STEP", "OUTCOME", "BEFORE", "ROTATION"), list(map(_row(found), found.members))
            )
    if code is not ExitCode.DONE and found.cause is not None:
        session.console.trouble(found.cause.message, where=f"group {found.name}", advice=found.cause.hint)
    return code


def _step_of(found: Group, service: str) -> int:
    return next(number for number, step in enumerate(found.plan.steps, 1) if service in step)


def _row(found: Group) -> Any:
    def row(each: Standing) -> tuple[object, ...]:
        outcome = "back" if each.is_back else each.outcome.value if each.outcome else None
        rotation_id = each.returning or each.rotation_id
        return (each.service, _step_of(found, each.service), outcome, each.member.before, rotation_id)

    return row


def _document(found: Group) -> dict[str, Any]:
    ended = found.ended_at
    return {
        "group": found.name,
        "run_id": str(found.run_id) if found.run_id else None,
        "state": found.state.value,
        "step": found.step,
        "steps": [list(step) for step in found.plan.steps],
        "failure_policy": found.plan.failure_policy.value,
        "services": [
            {
                "service": each.service,
                "environment": each.member.environment,
                "step": _step_of(found, each.service),
                "outcome": each.outcome.value if each.outcome else None,
                "back": each.is_back,
                "before": each.member.before,
                "rotation_id": str(each.rotation_id) if each.rotation_id else None,
                "returning": str(each.returning) if each.returning else None,
            }
            for each in found.members
        ],
        "checks": [{"check": each.check, "result": each.result.value, "text": each.text} for each in found.looks],
        "actor": found.actor or None,
        "reason": found.reason,
        "automatic": found.automatic,
        "error": None
        if found.cause is None
        else {
            "step": found.cause.step,
            "kind": found.cause.kind,
            "message": found.cause.message,
            "hint": found.cause.hint,
        },
        "started_at": to_text(found.started_at) if found.run_id else None,
        "ended_at": to_text(ended) if ended is not None else None,
        "duration_seconds": None if ended is None else (ended - found.started_at) / SECOND,
    }
