"""`keyturn demo`: the rehearsal on a real server; the story itself is in adapters/demo/story.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapters.cli.shared import shared_options

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from engine.errors import ExitCode


@click.command()
@shared_options
@click.pass_obj
def demo(session: Session) -> ExitCode:
    """Rehearse on a real server: rotate under load, break one rotation, see it go back; leaves nothing behind."""
    from adapters.cli.main import main
    from adapters.demo.interruption import ended_by_signals

    with ended_by_signals() as interrupted:
        from adapters.demo import story

        return story.run(session.console, main, interrupted=interrupted)
