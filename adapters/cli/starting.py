"""Beginning a rotation from the command line: what is looked at first, what is recorded, and what is refused.

Rule: what would be refused is refused before anything is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.cli.driving import Patience, drive
from adapters.cli.outcome import report
from adapters.cli.ready import require_ready
from adapters.cli.refusals import BadInput, NotReady
from engine.commands import step_of
from engine.errors import ExitCode, InGrace, KeyturnError, RotationOpen
from engine.plan import Plan
from engine.ports import Checkable, Probe, Severity
from engine.rotation import Rotation
from engine.sightings import require_room
from engine.values import SECOND, CredentialValue, Form, Secret
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service

CONFLICT: Final = "keyturn.conflict/1"


@dataclass(frozen=True, slots=True)
class Asked:
    """One rotation that is asked for: of which service, how, and how long the caller waits."""

    service: Service
    patience: Patience
    reason: str = ""
    given: Secret | None = None
    """The value that the user brought, in this process only."""
    detach: bool = False


def begin(session: Session, asked: Asked) -> ExitCode:
    """Start a rotation and drive it; raises `RotationOpen` and `InGrace`, and what `ready` and `drive` raise.

    With --json, what stands in the way is a document.
    """
    service, operations = asked.service, session.installation.operations
    try:
        operations.refuse_if_open(service.name, service.environment)
        rotation_id = start(session, asked)
    except (RotationOpen, InGrace) as refused:
        holder = operations.holder(service.name, service.environment)
        if holder is not None and session.console.json:
            session.console.document(CONFLICT, conflict(session, holder, refused))
        raise
    return finish(session, asked, rotation_id)


def start(session: Session, asked: Asked) -> UUID:
    """Look, then record that a rotation begins; return its id. Raises what `ready` and `Operations.start` raise."""
    service, installation = asked.service, session.installation
    plan = installation.plan(service)
    if asked.given is not None and plan.issues_value:
        raise BadInput(what="--new-value-file", why=f"the target of {service.name} makes the value itself")
    ready(session, service, plan)
    session.on_interrupt = f"keyturn resume {service.name} drives on what was begun."
    return installation.operations.start(
        service.name,
        service.environment,
        plan,
        logins=service.usernames,
        reason=asked.reason,
        imported=asked.given is not None,
    )


def finish(session: Session, asked: Asked, rotation_id: UUID) -> ExitCode:
    """Drive a rotation that has begun, or leave it to `keyturn resume` where that is asked for."""
    if not asked.detach:
        return drive(session, rotation_id, asked.patience, given=asked.given)
    session.on_interrupt = ""
    return report(session, session.installation.operations.rotation(rotation_id))


def ready(session: Session, service: Service, plan: Plan) -> None:
    """See that a rotation could begin now.

    Raises `NoRoom`, `NotReady` where the target is out of reach or refuses our own login, and what `require_ready`
    raises.
    """
    binding = require_ready(session.installation, service.name, service.environment, plan)
    most = binding.target.capabilities.values_max
    require_room(session.installation.world, service.name, service.environment, plan, values_max=most)
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


def conflict(session: Session, holder: Rotation, refused: KeyturnError) -> dict[str, object]:
    """Return the fields of `keyturn.conflict/1`: what stands in the way, since when, whose it is, and what to do."""
    now = session.installation.world.clock.now().wall
    step = step_of(holder)
    return {
        "service": holder.service,
        "environment": holder.environment,
        "rotation_id": str(holder.id),
        "state": holder.state.value,
        "step": step,
        "holder": holder.owner or None,
        "started_at": to_text(holder.started_at),
        "age_seconds": (now - holder.started_at) / SECOND,
        "error": {"step": step, "kind": refused.kind, "message": refused.message, "hint": refused.advice},
    }
