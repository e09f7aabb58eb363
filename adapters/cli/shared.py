"""The options that every command has, before its name or behind it, and those that several have.

Rule: nothing here is of weight; every start of the program imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adapters.cli.commands import SHARED

if TYPE_CHECKING:
    from adapters.cli.session import Session

Function = TypeVar("Function", bound=Callable[..., Any])


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Take an option down in the session; what stands behind the name of a command goes first."""
    session: Session | None = ctx.find_root().obj
    if session is None or not value:
        return  # A shell asks for completions, or the option is not given.
    if param.name == "verbosity":
        session.console.verbosity += int(str(value))
    elif param.name == "json":
        session.console.json = True
    elif param.name == "no_color":
        session.console.color = False
    else:
        setattr(session, f"given_{param.name}", value)


def _shared(*names: str, **attributes: Any) -> Callable[[Function], Function]:
    return click.option(*names, expose_value=False, callback=_keep, **attributes)


def _attributes(name: str, metavar: str) -> dict[str, Any]:
    return {"count": True} if name == "verbosity" else {"metavar": metavar} if metavar else {"is_flag": True}


_SHARED = [
    _shared(*names.split(", "), name, help=line, **_attributes(name, metavar))
    for name, (names, metavar, line) in SHARED.items()
]


def shared_options(function: Function) -> Function:
    """Give a command the options that all have, behind its own."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


def changing(function: Function) -> Function:
    """Give a command what every one has that changes something: why, and what would happen."""
    function = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")(function)
    return click.option("--reason", default="", metavar="TEXT", help="Why; it is recorded.")(function)


class Length(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases only
    """A length of time with its unit; gives microseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the microseconds; a wrong text is a usage error that says what is expected."""
        from engine.adapter import Duration

        try:
            return Duration.parse(value).microseconds
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


LENGTH = Length()


def timeout_option(function: Function) -> Function:
    """Give a command that drives a rotation how long it may wait."""
    about = "Stop waiting after this long, such as 10m."
    return click.option("--timeout", type=LENGTH, metavar="DURATION", help=about)(function)
