"""`keyturn demo`: the rehearsal on a real server; the story itself is in adapters/demo/story.py."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from adapters.cli.shared import shared_options
from engine.errors import ExitCode

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.command()
@shared_options
@click.pass_obj
def demo(session: Session) -> ExitCode:
    """Rehearse on a real server: rotate under load, break one rotation, see it go back; leaves nothing behind."""
    story = import_module("adapters.demo.story")
    return ExitCode(story.run(session.console))
