"""`keyturn audit`: is the log as it was written, and the log as JSON Lines for others to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapters.cli.refusals import BadInput
from adapters.cli.shared import shared_options
from engine.chain import Anchor
from engine.errors import ExitCode

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.group()
@shared_options
def audit() -> None:
    """Check the hash chain of the log, or write the log as JSON Lines."""


@audit.command()
@click.option("--anchor", metavar="POSITION:HASH", help="A head that was written down earlier; the log must hold it.")
@shared_options
@click.pass_obj
def verify(session: Session, *, anchor: str | None) -> ExitCode:
    """Check that every event is as it was written; name the first that is not.

    The chain has no key: who can write the whole file can also write it anew. Keep the head that is printed
    somewhere else, and give it with --anchor later.
    """
    verdict = session.log.verify(anchor=_anchor(anchor) if anchor else None)
    console = session.console
    head = verdict.head_hash.hex()
    if console.json:
        fields = {
            "events": verdict.events,
            "ok": verdict.ok,
            "first_bad_position": verdict.first_bad_position,
            "head_hash": head,
        }
        console.document("keyturn.audit/1", fields)
    if verdict.ok:
        if not console.json:
            console.out(f"{verdict.events} events, all as they were written; head {verdict.events}:{head}")
        return ExitCode.DONE
    console.trouble(
        f"the log is not as it was written: event #{verdict.first_bad_position} is {verdict.reason}.",
        where=f"{verdict.events} events in {session.state}",
        advice="Stop, keep the file, and put the log back from a backup; keyturn doctor compares stores and targets.",
    )
    return ExitCode.PERSON_NEEDED


def _anchor(text: str) -> Anchor:
    position, separator, link = text.partition(":")
    if separator and position.isascii() and position.isdecimal() and len(link) == 64:
        try:
            return Anchor(int(position), bytes.fromhex(link))
        except ValueError:
            pass
    raise BadInput(what=f"--anchor {text}", why="POSITION:HASH is expected, as audit verify prints it")


@audit.command()
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="Only what stands behind it.")
@shared_options
@click.pass_obj
def export(session: Session, *, after: int) -> ExitCode:
    """Write the log as JSON Lines, each event with the bytes that its hash is over."""
    for each in session.log.export(after=after):
        session.console.document("keyturn.event/1", each)
        if session.console.deaf:
            break
    return ExitCode.DONE
