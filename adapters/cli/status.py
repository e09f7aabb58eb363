"""`keyturn status` with all its options; the plain form is answered before click is loaded (main.py)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from adapters.cli.shared import shared_options
from adapters.cli.standing import show
from engine.errors import ExitCode

if TYPE_CHECKING:
    from adapters.cli.session import Session

_WATCH_SECONDS = 2.0


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until interrupted.")
@shared_options
@click.pass_obj
def status(session: Session, *, services: tuple[str, ...], watch: bool) -> ExitCode:
    """Show each service: its state, its version, when it was rotated and when it is due."""
    show(session, services)
    while watch and not session.console.deaf:
        time.sleep(_WATCH_SECONDS)
        show(session, services)
    return ExitCode.DONE
