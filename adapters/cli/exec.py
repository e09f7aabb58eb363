"""`keyturn exec`: a command with credentials in its environment, and nowhere else.

Rule: this process becomes the command; nothing is written to disk or shown in an argument list.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NoReturn

import click

from adapters.cli import lookup
from adapters.cli.refusals import BadInput, NothingHeld
from adapters.cli.secret import FIELDS, text_of
from adapters.cli.shared import shared_options
from adapters.system import harden
from engine.values import CURRENT

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.build import Wiring
    from adapters.config.model import Service

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


_COMMAND = "keyturn.command"
"""Where what stands behind `--` is kept while the rest is read."""


class Executing(click.Command):
    """A command that takes another one behind `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before `--`; what stands behind it is left as it is."""
        before, separator, command = args, "", []
        if "--" in args:
            place = args.index("--")
            before, separator, command = args[:place], "--", args[place + 1 :]
        rest = super().parse_args(ctx, before)
        if not (separator and command) and not ctx.resilient_parsing:
            raise click.UsageError("A command is expected behind `--`.", ctx)
        ctx.meta[_COMMAND] = command
        return rest


@click.command("exec", cls=Executing, options_metavar="[OPTIONS]", epilog="SERVICE... is followed by: -- COMMAND...")
@click.argument("services", nargs=-1, required=True, metavar="SERVICE...")
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="VARIABLE=[SERVICE:]FIELD",
    help="A variable and what it is set to: username, password or url. Without it: NAME_USERNAME and NAME_PASSWORD.",
)
@shared_options
@click.pass_context
def execute(ctx: click.Context, *, services: tuple[str, ...], mapped: tuple[str, ...]) -> NoReturn:
    """Run a command with the current credential in its environment, and nowhere else.

    The exit code is that of the command.
    """
    session: Session = ctx.obj
    command: list[str] = ctx.meta[_COMMAND]
    relax = harden()
    wiring = session.wiring
    environment = dict(os.environ)
    for variable, service, field in _mapping(lookup.services(wiring, services, every=False), mapped):
        environment[variable] = _text(wiring, service, field)
    session.console.close()
    relax()
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - what the command is for
    except OSError as error:
        raise BadInput(what=f"command {command[0]!r}", why=error.strerror) from None


def _mapping(services: list[Service], mapped: tuple[str, ...]) -> list[tuple[str, Service, str]]:
    """Return which variable is set to which field of which service."""
    if not mapped:
        names = {service.name: re.sub(r"[^A-Z0-9]", "_", service.name.upper()) for service in services}
        return [(f"{names[s.name]}_{field.upper()}", s, field) for s in services for field in ("username", "password")]
    by_name = {service.name: service for service in services}
    return [_one(text, by_name) for text in mapped]


def _one(text: str, by_name: dict[str, Service]) -> tuple[str, Service, str]:
    variable, _, source = text.partition("=")
    name, colon, field = source.rpartition(":")
    if not colon and len(by_name) > 1:
        raise BadInput(what=f"--map {text}", why="with several services, VARIABLE=SERVICE:FIELD is expected")
    service = by_name.get(name) if colon else next(iter(by_name.values()))
    if _VARIABLE.fullmatch(variable) is None or field not in FIELDS or service is None:
        why = (
            f"VARIABLE=[SERVICE:]FIELD is expected, the field one of {', '.join(FIELDS)}, the service one that is named"
        )
        raise BadInput(what=f"--map {text}", why=why)
    return variable, service, field


def _text(wiring: Wiring, service: Service, field: str) -> str:
    value = wiring.held_in(service.name).read(service.credential.key, CURRENT)
    if value is None:
        raise NothingHeld(wanted=CURRENT, service=service.name, environment=service.environment)
    text = text_of(wiring, service, value, field)
    if "\0" in text:
        raise BadInput(what=f"{service.name}: {field}", why="it holds a NUL, which no environment variable can")
    return text
