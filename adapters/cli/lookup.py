"""Finding what a command names: services, rotations, the facts of one credential.

Rule: what is going to be driven or decided on is found in the log itself, so that no broken view stands in the
way of a rollback. The views are asked for what the log cannot be asked for by name: services that are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from adapters.cli.refusals import BadInput, NothingNamed, ServiceGone
from adapters.cli.views import history
from engine import events as e
from engine.credential import credential_id
from engine.errors import NoSuchRotation
from engine.facts import Recorded
from engine.machine import ENDED, State
from engine.rotation import Rotation
from projections.history import HISTORY, find, rotations_of
from projections.history import rotation as document

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.build import Wiring
    from adapters.config.model import Service
    from engine.ports import EventLog


def services(wiring: Wiring, names: Sequence[str], *, every: bool) -> list[Service]:
    """Return the named services, each once, in the order given; with `every`, all of the configuration.

    Raises `NoSuchService`, and `NothingNamed` where nothing was asked for.
    """
    if every and names:
        raise BadInput(what="--all", why="it goes without names of services")
    if every:
        return list(wiring.configuration.services.values())
    if not names:
        raise NothingNamed
    return [wiring.service(name) for name in dict.fromkeys(names)]


def rotation_ids(log: EventLog, service: Service) -> list[UUID]:
    """Return the rotations of a service that ever began or waited, oldest first."""
    facts = log.stream(credential_id(service.name, service.environment))
    named = (fact.body.rotation_id for fact in facts if isinstance(fact.body, e.RotationOpened | e.RotationQueued))
    return list(dict.fromkeys(named))


def rotation(session: Session, name: str) -> Rotation:
    """Return the rotation that a name means: of a service, or the one whose id begins so.

    Of a service that is the open one; without it the one that waits for its turn; without that the newest. Raises
    `NoSuchRotation`, `BadInput` where several begin so, and `ServiceGone` where only rotations are called so whose
    service is not configured (any more, or in that environment).
    """
    installation = session.installation
    log = installation.world.log
    named = installation.configuration.services.get(name)
    if named is not None:
        credential = installation.world.credential(named.name, named.environment)
        meant = credential.open or credential.queued or credential.last
        ids = [meant] if meant else []
    else:
        wanted = name.replace("-", "").lower()
        every = installation.configuration.services.values()
        ids = [each for service in every for each in rotation_ids(log, service) if each.hex.startswith(wanted)]
    if not name:
        raise NoSuchRotation(rotation=name)
    if not ids:
        _refuse_if_gone(session, name)
        raise NoSuchRotation(rotation=name)
    if len(ids) > 1:
        listed = " or ".join(str(each) for each in ids[:3])
        raise BadInput(what=f"rotation {name!r}", why="several begin so", advice=f"That may be {listed}.")
    return installation.operations.rotation(ids[0])


def _refuse_if_gone(session: Session, name: str) -> None:
    """Raise `ServiceGone` where a name means a rotation of a service that is not configured, an open one first."""
    with history(session) as views, views.reading(HISTORY) as rows:
        found = [
            *rotations_of(rows, service=name),
            *(each for found in find(rows, name) if (each := document(rows, found))),
        ]
    gone = [each for each in found if not _is_configured(session, each)]
    if gone:
        raise _gone(max(gone, key=lambda each: each["ended_at"] is None))


def unfinished(session: Session) -> list[Rotation]:
    """Return the open rotations of all configured services, each with the one that waits behind it.

    In the order of the configuration.
    """
    installation = session.installation
    operations = installation.operations
    found: list[Rotation | None] = []
    for service in installation.configuration.services.values():
        found += [
            operations.open_rotation(service.name, service.environment),
            operations.waiting_rotation(service.name, service.environment),
        ]
    return [each for each in found if each is not None]


def stranded(session: Session) -> list[ServiceGone]:
    """Return what tells of each open rotation that its service is not configured; raises what a broken view raises."""
    unended = [state for state in State if state not in ENDED]
    with history(session) as views, views.reading(HISTORY) as rows:
        found = rotations_of(rows, states=unended)
    return [_gone(each) for each in found if not _is_configured(session, each)]


def _is_configured(session: Session, document: Mapping[str, Any]) -> bool:
    service = session.configuration.services.get(document["service"])
    return service is not None and service.environment == document["environment"]


def _gone(document: Mapping[str, Any]) -> ServiceGone:
    return ServiceGone(**{name: document[name] for name in ("rotation_id", "service", "environment", "state")})


def recorded(log: EventLog, streams: set[UUID]) -> Iterator[Recorded]:
    """Yield the facts of some aggregates with their positions, in the order of the log, which is read whole."""
    position = 0
    while batch := log.after(position):
        yield from (each for each in batch if each.fact.originator_id in streams)
        position = batch[-1].position
