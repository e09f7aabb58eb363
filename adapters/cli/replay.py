"""`keyturn replay`: the log folded again, fact by fact.

Rule: reads the log itself, not what a view made of it; that is what it is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from adapters.cli.history import find, position
from adapters.cli.lookup import recorded
from adapters.cli.shared import shared_options
from adapters.cli.views import history as open_history
from engine import events as e
from engine.credential import credential_id
from engine.errors import ExitCode
from projections import history as histories
from projections.history import HISTORY
from projections.replay import replay as folded

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.command()
@click.argument("name", metavar="SERVICE|ROTATION")
@click.option("--until", metavar="#EVENT", help="Stop after this event.")
@click.option("--step", is_flag=True, help="Wait for Enter after each fact, on a terminal.")
@shared_options
@click.pass_obj
def replay(session: Session, *, name: str, until: str | None, step: bool) -> ExitCode:
    """Fold the log again, fact by fact, and print each with the state before and after it."""
    last = None if until is None else position(until, "--until")
    console = session.console
    for each in folded(recorded(session.log, _streams(session, name))):
        if console.deaf or (last is not None and each["position"] > last):
            break
        if console.json:
            console.document("keyturn.replay/1", each)
        else:
            console.out(_line(each))
        if step and console.is_interactive:
            click.prompt("", default="", show_default=False, prompt_suffix="", err=True)
    return ExitCode.DONE


def _line(each: dict[str, Any]) -> str:
    moved = "" if each["before"] is None else f"  {each['before']} -> {each['after']}"
    shown = {key: value for key, value in each["data"].items() if value not in (None, "", [], False) and key != "plan"}
    return f"#{each['position']} {each['event']}{moved}  " + " ".join(f"{key}={value}" for key, value in shown.items())


def _streams(session: Session, name: str) -> set[UUID]:
    """Return the aggregates that a name means: one rotation, or a credential with all its rotations."""
    with open_history(session) as views, views.reading(HISTORY) as rows:
        of_service = histories.rotations_of(rows, service=name)
        if not of_service:
            return {find(rows, name)}
    owners = {credential_id(each["service"], each["environment"]) for each in of_service}
    facts = (fact for owner in owners for fact in session.log.stream(owner))
    begun = (e.RotationOpened, e.RotationQueued)
    return owners | {fact.body.rotation_id for fact in facts if isinstance(fact.body, begun)}
