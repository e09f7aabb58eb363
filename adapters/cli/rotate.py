"""`keyturn rotate`: which services, and with which options.

Rule: nothing is recorded here; adapters/cli/starting.py begins a rotation, adapters/cli/conflicts.py waits for another.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from adapters.cli import conflicts, lookup, standing
from adapters.cli.driving import Patience, worst
from adapters.cli.outcome import report
from adapters.cli.plan import show
from adapters.cli.refusals import BadInput
from adapters.cli.shared import changing, shared_options, timeout_option
from adapters.cli.starting import Asked
from adapters.cli.values import given_value
from adapters.cli.windows import admitted, is_due, opens, require_reason
from adapters.schedule import is_open
from engine.errors import ExitCode
from engine.machine import State
from engine.values import Microseconds

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service

_RESTING = (State.PAUSED, State.ROLLBACK_FAILED)
"""What a service that is due is not rotated in until a person decides."""


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--all", "every", is_flag=True, help="All services of the configuration.")
@click.option(
    "--due", is_flag=True, help="Only those that are due by `ttl` or `schedule` and have a window that is open."
)
@click.option(
    "--on-conflict",
    type=click.Choice(conflicts.POLICIES),
    default="reject",
    show_default=True,
    help="Where a rotation of the credential is open: refuse, wait for its end, or take it back first. Rotations of "
    "other credentials always run beside it, and concurrent says so by name.",
)
@click.option("--outside-window", is_flag=True, help="Begin although no window is open; needs a --reason.")
@click.option("--detach", is_flag=True, help="Record the start and leave the rest to `keyturn resume`.")
@timeout_option
@click.option("--wait-grace", is_flag=True, help="Wait for the end of the grace period, and retire the old version.")
@click.option(
    "--new-value-file", metavar="FILE", help="Take the new value from a file, or `-` for stdin, instead of making one."
)
@changing
@shared_options
@click.pass_obj
def rotate(
    session: Session,
    *,
    services: tuple[str, ...],
    every: bool,
    due: bool,
    on_conflict: str,
    outside_window: bool,
    detach: bool,
    timeout: Microseconds | None,
    wait_grace: bool,
    new_value_file: str | None,
    dry_run: bool,
    reason: str,
) -> ExitCode:
    """Rotate the credential of one or several services.

    Ends with 0 when the new version is current; a grace period that still runs is left to `keyturn resume`, unless
    --wait-grace is given. Several services are rotated one after the other. What waits its turn is recorded.
    """
    require_reason(outside=outside_window, reason=reason)
    if detach:
        _refuse_leaving(on_conflict, new_value_file)
    chosen = lookup.services(session.wiring, services, every=every or (due and not services))
    if new_value_file and len(chosen) != 1:
        raise BadInput(what="--new-value-file", why="it is for exactly one service")
    chosen, resting = _due(session, chosen, outside=outside_window) if due else (chosen, [])
    given = given_value("--new-value-file", new_value_file) if new_value_file and not dry_run else None
    if not dry_run:
        session.start_notifying()  # What an earlier command could not send is sent now, even if nothing is due.
    wanted = [Asked(service, Patience(timeout, wait_grace), reason, given, detach) for service in chosen]
    act = partial(_preview if dry_run else _rotate, session, policy=on_conflict, outside=outside_window)
    acts = [partial(act, asked) for asked in wanted]
    if len(acts) == 1 and not resting:
        return acts[0]()
    return worst([*resting, *(session.reported(act) for act in acts)])


def _refuse_leaving(on_conflict: str, new_value_file: str | None) -> None:
    """Raise `BadInput` where `resume` could not do what is left to it."""
    if on_conflict == "replace":
        why = "the new rotation begins when the open one is over, and no process would be there to begin it"
        raise BadInput(what="--detach", why=why)
    if new_value_file:
        why = "a value given by --new-value-file is only in this process, so it must be used now"
        raise BadInput(what="--detach", why=why)


def _preview(session: Session, asked: Asked, *, policy: str, outside: bool) -> ExitCode:
    """Show the plan, and what would become of a rotation that is open; raises what would be refused."""
    admitted(session, asked, outside=outside)
    code = ExitCode.DONE if policy == "reject" else conflicts.foresee(session, asked.service, policy)
    return worst([code, show(session, asked.service)])


def _rotate(session: Session, asked: Asked, *, policy: str, outside: bool) -> ExitCode:
    session.where = f"service {asked.service.name} ({asked.service.environment})"
    return conflicts.rotate(session, admitted(session, asked, outside=outside), policy)


def _due(session: Session, chosen: list[Service], *, outside: bool) -> tuple[list[Service], list[int]]:
    """Return the services that are due now, and the exit codes of those whose rotation rests, which are told of.

    Those that no window is open for are told of and left out, unless they may be begun `outside` of it.
    """
    now = session.installation.world.clock.now().wall
    entries = {(each["service"], each["environment"]): each for each in standing.services(session)}
    due = [
        service
        for service in chosen
        if is_due(session, service, entries[service.name, service.environment]["last_rotated_at"], now)
    ]
    free = [each for each in due if entries[each.name, each.environment]["state"] in ("ok", "never_rotated", "failed")]
    resting = [each for each in due if entries[each.name, each.environment]["state"] in _RESTING]
    if not free and not resting:
        session.console.say("nothing is due")
    begun = []
    for service in free:
        if outside or is_open(service.timetable, now):
            begun.append(service)
        else:
            session.console.say(f"{service.name} is due, and may not begin now: a window opens {opens(service, now)}")
    return begun, [session.reported(partial(_tell, session, each)) for each in resting]


def _tell(session: Session, service: Service) -> ExitCode:
    """Tell that a service is due and why it is not rotated."""
    rotation = session.installation.operations.open_rotation(service.name, service.environment)
    return ExitCode.DONE if rotation is None else report(session, rotation, spending=False)
