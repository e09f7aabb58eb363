"""`keyturn rotate`: look first, record the start, drive in the foreground.

Rule: what would be refused is refused before anything is recorded.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from adapters.cli import lookup, standing
from adapters.cli.driving import Patience, drive, worst
from adapters.cli.outcome import report
from adapters.cli.plan import show
from adapters.cli.ready import require_ready
from adapters.cli.refusals import BadInput, NotReady, NotSupportedYet, SameCredential
from adapters.cli.shared import LENGTH, changing, shared_options
from adapters.cli.values import given_value
from engine.commands import refuse_second
from engine.errors import ExitCode
from engine.machine import State
from engine.plan import Plan
from engine.ports import Checkable, Probe, Severity
from engine.sightings import require_room
from engine.values import CredentialValue, Form, Microseconds, Secret
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service

_RESTING = (State.PAUSED, State.ROLLBACK_FAILED)
"""What a service that is due is not rotated in until a person decides."""

_LATER = {
    "queue": "a rotation that is refused can be asked for again once the open one has ended",
    "replace": "keyturn abort takes the open rotation back; after that the new one can begin",
}


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--all", "every", is_flag=True, help="All services of the configuration.")
@click.option(
    "--due", is_flag=True, help="Only those that are due: never rotated, or last rotated longer ago than `ttl`."
)
@click.option(
    "--on-conflict",
    type=click.Choice(["reject", "queue", "replace", "concurrent"]),
    default="reject",
    show_default=True,
    help="What to do where a rotation of the credential is open; only reject is supported yet.",
)
@click.option("--detach", is_flag=True, help="Record the start and leave the rest to `keyturn resume`.")
@click.option("--timeout", type=LENGTH, metavar="DURATION", help="Stop waiting after this long, such as 10m.")
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
    detach: bool,
    timeout: Microseconds | None,
    wait_grace: bool,
    new_value_file: str | None,
    dry_run: bool,
    reason: str,
) -> ExitCode:
    """Rotate the credential of one or several services.

    Ends with 0 when the new version is current; a grace period that still runs is left to `keyturn resume`, unless
    --wait-grace is given. Several services are rotated one after the other.
    """
    _refuse_unsupported(on_conflict)
    if detach and new_value_file:
        raise BadInput(
            what="--detach", why="a value given by --new-value-file is only in this process, so it must be used now"
        )
    chosen = lookup.services(session.wiring, services, every=every or (due and not services))
    if new_value_file and len(chosen) != 1:
        raise BadInput(what="--new-value-file", why="it is for exactly one service")
    resting: list[int] = []
    if due:
        chosen, resting = _due(session, chosen)
    if dry_run:
        return worst([*resting, *(show(session, service) for service in chosen)])
    given = given_value("--new-value-file", new_value_file) if new_value_file else None
    patience = Patience(timeout, wait_grace)
    acts = [partial(_rotate, session, service, given, reason, patience, detach=detach) for service in chosen]
    if len(acts) == 1 and not resting:
        return acts[0]()
    return worst([*resting, *(session.reported(act) for act in acts)])


def _refuse_unsupported(on_conflict: str) -> None:
    """Raise what says why a conflict cannot be answered in this way, unless it is `reject`."""
    if on_conflict == "concurrent":
        raise SameCredential
    if on_conflict != "reject":
        raise NotSupportedYet(option=f"--on-conflict {on_conflict}", why=_LATER[on_conflict])


def _rotate(
    session: Session, service: Service, given: Secret | None, reason: str, patience: Patience, *, detach: bool
) -> ExitCode:
    session.where = f"service {service.name} ({service.environment})"
    installation = session.installation
    plan = _ready(session, service)
    if given is not None and plan.issues_value:
        raise BadInput(what="--new-value-file", why=f"the target of {service.name} makes the value itself")
    session.on_interrupt = f"keyturn resume {service.name} drives on what was begun."
    rotation_id = installation.operations.start(
        service.name,
        service.environment,
        plan,
        logins=service.usernames,
        reason=reason,
        imported=given is not None,
    )
    if not detach:
        return drive(session, rotation_id, patience, given=given)
    session.on_interrupt = ""
    return report(session, installation.operations.rotation(rotation_id))


def _ready(session: Session, service: Service) -> Plan:
    """Return the plan if the rotation could begin now, nothing recorded yet.

    Raises `RotationOpen` and `InGrace`, `NoRoom`, `StrategyImpossible`, `NotReady` where the target is out of reach or
    refuses our own login, and what `require_ready` raises.
    """
    installation = session.installation
    rotation = installation.operations.open_rotation(service.name, service.environment)
    if rotation is not None:
        refuse_second(rotation, until=to_text(rotation.grace.wall) if rotation.grace else "")
    plan = installation.plan(service)
    binding = require_ready(installation, service.name, service.environment, plan)
    require_room(
        installation.world,
        service.name,
        service.environment,
        plan,
        values_max=binding.target.capabilities.values_max,
    )
    held = binding.store.versions(plan.path)
    named = {"service": service.name, "environment": service.environment}
    if isinstance(binding.target, Checkable):
        for finding in binding.target.check():
            if finding.severity is Severity.FAIL:
                raise NotReady(**named, why=finding.message, advice=finding.hint)
    value = binding.store.read(plan.path, held.current) if held.current else None
    if value is None or value.form is Form.VERIFIER:
        value = CredentialValue(service.usernames[0], None)
    sighting = binding.target.probe(value)
    if value.secret is not None and sighting.probe is Probe.UNKNOWN:
        raise NotReady(**named, why=f"the target gives no clear answer ({sighting.detail or 'no detail'})")
    if value.secret is not None and sighting.probe is Probe.REFUSED:
        session.console.say(
            f"{service.name}: the target refuses {held.current}, which the store calls current; going on"
        )
    return plan


def _due(session: Session, chosen: list[Service]) -> tuple[list[Service], list[int]]:
    """Return the services that are due now, and the exit codes of those whose rotation rests, which are told of."""
    now = to_text(session.installation.world.clock.now().wall)
    entries = {(each["service"], each["environment"]): each for each in standing.services(session)}
    due = [
        service
        for service in chosen
        if service.rotation.ttl is not None and (entries[service.name, service.environment]["due_at"] or "") <= now
    ]
    free = [each for each in due if entries[each.name, each.environment]["state"] in ("ok", "never_rotated", "failed")]
    resting = [each for each in due if entries[each.name, each.environment]["state"] in _RESTING]
    if not free and not resting:
        session.console.say("nothing is due")
    return free, [session.reported(partial(_tell, session, each)) for each in resting]


def _tell(session: Session, service: Service) -> ExitCode:
    """Tell that a service is due and why it is not rotated."""
    rotation = session.installation.operations.open_rotation(service.name, service.environment)
    return ExitCode.DONE if rotation is None else report(session, rotation, spending=False)
