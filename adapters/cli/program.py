"""The program for click: its commands, each imported when it is called, and click's outcomes as our own.

Rule: nothing that click raises leaves this file.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final

import click

from adapters.cli.commands import ABOUT, COMMANDS, COMPLETE, help_text
from adapters.cli.refusals import WrongUsage
from adapters.cli.session import Session
from adapters.cli.shared import shared_options
from engine.errors import ExitCode

NAME: Final = "keyturn"


class Program(click.Group):
    """The commands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"adapters.cli.{module}"), attribute)
        assert isinstance(command, click.Command), f"{cmd_name} is no command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; a wrong name is answered with the nearest one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            suggestion = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{suggestion}", ctx)
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help of the program, which is written without click."""
        return help_text()


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from keyturn import __version__

        click.echo(f"{NAME} {__version__}")
        ctx.exit()


@click.group(cls=Program, help=ABOUT, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
@shared_options
def program() -> None:
    """Take the options that stand before the name of a command."""


def invoke(arguments: list[str], session: Session) -> ExitCode:
    """Run a command; raises `WrongUsage` for what click refuses, and KeyboardInterrupt for an interrupted question."""
    if COMPLETE in os.environ:
        program.main(arguments, NAME, complete_var=COMPLETE)
    try:
        with program.make_context(NAME, arguments, obj=session) as ctx:
            code = program.invoke(ctx)
    except click.exceptions.Exit as done:
        return ExitCode(done.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        raise WrongUsage(
            what=error.format_message(), advice=f"{context.command_path if context else NAME} --help"
        ) from None
    except click.Abort:
        raise KeyboardInterrupt from None
    return ExitCode.DONE if code is None else ExitCode(code)
