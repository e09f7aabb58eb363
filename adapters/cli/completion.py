"""`keyturn completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from adapters.cli.commands import COMPLETE
from adapters.cli.shared import shared_options
from engine.errors import ExitCode

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@shared_options
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> ExitCode:
    """Print the script that completes commands in your shell.

    For bash, put this into ~/.bashrc: source <(keyturn completion bash)
    """
    session: Session = ctx.obj
    found = get_completion_class(shell)
    assert found is not None, "click completes in all the shells that are named above"
    program = ctx.find_root().command
    session.console.out(found(program, {}, "keyturn", COMPLETE).source())
    return ExitCode.DONE
