"""The program: the table of commands, and the one place where an error becomes words and an exit code.

Rule 1: importing this loads click and nothing else of weight; a command is imported when it is called.
Rule 2: no other file catches `KeyturnError`, and none at all catches everything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from adapters.cli.session import Session
from adapters.cli.shared import shared_options
from engine.errors import ExitCode, KeyturnError

if TYPE_CHECKING:
    from adapters.composition import Wrap

NAME: Final = "keyturn"
_COMPLETE: Final = "_KEYTURN_COMPLETE"
"""The variable by which a shell asks click for completions."""

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("init:init", "Write a commented starter configuration, its key file and the state folder."),
    "demo": ("demo:demo", "Rehearse on a real server: rotate under load, break one rotation, see it go back."),
    "config": ("config:config", "Check, show or describe the configuration."),
    "plan": ("plan:plan", "Show what a rotation would do, step by step, and what a crash at each step leads to."),
    "rotate": ("rotate:rotate", "Rotate the credential of one or several services."),
    "rollback": ("rollback:rollback", "Go back to the previous version, or to one that was current earlier."),
    "resume": ("resume:resume", "Drive interrupted rotations on; without a name, every unfinished one."),
    "abort": ("resume:abort", "Take an open rotation back."),
    "retry": ("resume:retry", "Try a rollback that failed again."),
    "retire": ("resume:retire", "End the grace period of a rotation now: the old version becomes unusable."),
    "status": ("status:status", "Show each service: its state, its version, when it is due."),
    "history": ("history:history", "List what has happened, oldest first."),
    "show": ("history:show", "Show one rotation, as it is or as it was."),
    "replay": ("replay:replay", "Fold the log again, fact by fact, with the state before and after each."),
    "secret": ("secret:secret", "Read a credential, or put a secret of your own into a store."),
    "exec": ("exec:execute", "Run a command with a credential in its environment, and nowhere else."),
    "audit": ("audit:audit", "Check the hash chain of the log, or write the log as JSON Lines."),
    "machine": ("machine:machine", "Print the state machine of a rotation."),
    "doctor": ("doctor:doctor", "Check stores, targets, log and state, and look for drift; changes nothing."),
    "adapters": ("machine:adapters", "List the kinds of targets and stores that are installed."),
    "completion": ("completion:completion", "Print the script that completes commands in your shell."),
}
"""Name of a command, where it lives under adapters/cli, and its line in the list; the order is that of the list."""


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
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            suggestion = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{suggestion}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from keyturn import __version__

        click.echo(f"{NAME} {__version__}")
        ctx.exit()


@click.group(cls=Program, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
@shared_options
def program() -> None:
    """Rotate live credentials without an outage, and never lose the last one that works.

    The exit code tells how it ended: 0 done, 2 wrong usage or configuration, 3 failed and safely back, 4 our own
    login was refused, 5 a person is needed, 6 refused, 7 resting, 8 still running, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None, *, wrap: Wrap | None = None) -> int:
    """Run the command line and return its exit code; `wrap` stands around the ports (adapters/composition.py)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(lambda act: _reported(session, act), wrap=wrap)
    try:
        code = _reported(session, lambda: _invoke(given, session))
    except (KeyboardInterrupt, click.Abort):
        session.console.say()
        session.console.trouble("interrupted.", advice=session.on_interrupt or "nothing was left half done.")
        code = ExitCode.INTERRUPTED
    # A view that cannot follow the log changes no outcome: it is folded again when it is read.
    if _reported(session, lambda: _follow(session)) is not ExitCode.DONE:
        session.console.say("keyturn: the views are behind the log; what was done is done, and recorded.")
    session.console.close()
    return code


def _reported(session: Session, act: Callable[[], ExitCode]) -> ExitCode:
    """Do something; turn an error into words on stderr and its exit code."""
    console = session.console
    try:
        return act()
    except click.exceptions.Exit as done:
        return ExitCode(done.exit_code)
    except click.ClickException as error:
        command = getattr(error, "ctx", None)
        console.trouble(error.format_message(), advice=f"{command.command_path if command else NAME} --help")
        return ExitCode.USAGE
    except click.Abort:
        raise  # An interrupted question: `main` answers, and whatever else was to be done is left.
    except KeyturnError as error:
        console.trouble(error.message, where=session.where, advice=error.advice)
        console.trace(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort
        # The text of an unforeseen error could hold anything, a secret among it: only its kind and place are shown.
        console.bug(error, advice=session.on_interrupt)
        return ExitCode.UNEXPECTED


def _invoke(arguments: list[str], session: Session) -> ExitCode:
    if _COMPLETE in os.environ:
        program.main(arguments, NAME, complete_var=_COMPLETE)
    with program.make_context(NAME, arguments, obj=session) as ctx:
        code = program.invoke(ctx)
    return ExitCode.DONE if code is None else ExitCode(code)


def _follow(session: Session) -> ExitCode:
    session.follow()
    return ExitCode.DONE


def run() -> None:
    """Run the program; the entry point of the distribution."""
    sys.exit(main())


if __name__ == "__main__":
    run()
