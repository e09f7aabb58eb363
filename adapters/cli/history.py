"""`keyturn history` and `keyturn show`: what has happened, and one rotation as it is or was.

Rule: reads the log and the views, never the configuration unless it names the state folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from adapters.cli.refusals import BadInput
from adapters.cli.shared import shared_options
from adapters.cli.views import history as open_history
from engine.errors import ExitCode, NoSuchPosition, NoSuchRotation
from engine.leaving import ways_out
from engine.machine import State
from engine.rotation import fold
from engine.values import Instant
from projections import history as histories
from projections.history import HISTORY, Query
from projections.replay import state_at
from projections.rotations import rotation_document
from projections.times import from_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from projections.feed import Rows


@click.command()
@click.argument("service", required=False)
@click.option("--since", metavar="TIME", help="From this time on (ISO 8601, UTC without an offset).")
@click.option("--until", metavar="TIME", help="Until this time.")
@click.option("--status", type=click.Choice([state.value for state in State]), help="Only what led to this state.")
@click.option("--limit", type=click.IntRange(min=1), help="The newest only.")
@shared_options
@click.pass_obj
def history(
    session: Session,
    *,
    service: str | None,
    since: str | None,
    until: str | None,
    status: str | None,
    limit: int | None,
) -> ExitCode:
    """List what has happened, oldest first.

    The number behind # is what `rollback --to` and `show --at` take.
    """
    query = Query(
        service=service, since=_time(since, "--since"), until=_time(until, "--until"), status=status, limit=limit
    )
    console = session.console
    with open_history(session) as views, views.reading(HISTORY) as rows:
        events = histories.events(rows, query)
    if service is not None and not events:
        session.wiring.service(service)  # Raises `NoSuchService` where nobody knows it.
    if console.json:
        console.document("keyturn.history/1", {"events": events})
        return ExitCode.DONE
    console.table(
        ("#", "AT", "SERVICE", "EVENT", "STATE", "VERSION", "CURRENT", "ACTOR", "REASON"),
        [
            (
                f"#{each['position']}",
                f"{each['at'][:19]}Z",
                each["service"],
                each["event"].rpartition(".")[0],
                each["state"],
                each["version"],
                each["current"],
                each["actor"],
                " ".join(each["reason"].split()),
            )
            for each in events
        ],
    )
    return ExitCode.DONE


def _time(text: str | None, option: str) -> Instant | None:
    if text is None:
        return None
    try:
        return Instant(from_text(text))
    except ValueError:
        raise BadInput(what=f"{option} {text}", why="a time such as 2026-03-01T12:00:00Z is expected") from None


@click.command()
@click.argument("rotation", metavar="ROTATION|SERVICE")
@click.option("--at", metavar="#EVENT", help="The state as it was after this event.")
@shared_options
@click.pass_obj
def show(session: Session, *, rotation: str, at: str | None) -> ExitCode:
    """Show one rotation, as it is or as it was after an event."""
    console = session.console
    with open_history(session) as views, views.reading(HISTORY) as rows:
        rotation_id = find(rows, rotation)
        document = histories.rotation(rows, rotation_id)
        assert document is not None, "the view has just named it"
    if at is not None:
        document = _as_it_was(session, rotation_id, at, rotation)
    if console.json:
        console.document("keyturn.rotation/1", document)
        return ExitCode.DONE
    for key, value in document.items():
        if isinstance(value, dict):
            for inner, text in value.items():
                console.out(f"{key + '.' + inner:<18} {text}")
        elif value not in (None, "", []):
            console.out(f"{key:<18} {value}")
    if at is None:
        now = fold(session.log.stream(rotation_id))
        for way in ways_out(now) if now else ():
            console.say(f"possible: {way}")
    return ExitCode.DONE


def position(text: str, option: str) -> int:
    """Return the position that `#41` or `41` names; raises `BadInput`."""
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        raise BadInput(what=f"{option} {text}", why="the position of an event is expected, such as #41")
    return int(digits)


def _as_it_was(session: Session, rotation_id: UUID, at: str, named: str) -> dict[str, Any]:
    from adapters.cli.lookup import recorded

    wanted = position(at, "--at")
    was = state_at(recorded(session.log, {rotation_id}), wanted)
    if was is None or wanted > session.log.head():
        raise NoSuchPosition(position=f"#{wanted}", service=named)
    return rotation_document(was)


def find(rows: Rows, name: str) -> UUID:
    """Return the id of the rotation that a name means: the open or newest of a service, or the one whose id begins so.

    Raises `NoSuchRotation`, and `BadInput` where several begin so.
    """
    meant = histories.meant(rows, name)
    if meant is not None:
        return meant
    found = histories.find(rows, name)
    if not found:
        raise NoSuchRotation(rotation=name)
    if len(found) > 1:
        listed = " or ".join(str(each) for each in found[:3])
        raise BadInput(what=f"rotation {name!r}", why="several begin so", advice=f"That may be {listed}.")
    return found[0]
