"""What the commands that move one rotation share: how it is named, and their options.

Rule: what a command decides, and what follows from it, stands with the command.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import lookup
from adapters.cli.driving import Patience
from adapters.cli.shared import changing, shared_options, timeout_option
from engine.errors import ExitCode
from engine.rotation import Rotation

if TYPE_CHECKING:
    from adapters.cli.session import Session


def moves_a_rotation(function: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    """Give a function the options of a command that moves a rotation, and the rotation that was named.

    It is called with the session, the rotation, the patience that was asked for, and by name `dry_run`, `reason` and
    what options it has of its own.
    Raises what `lookup.rotation` raises; an error that the function raises is told with where it was.
    """

    @changing
    @shared_options
    @click.pass_obj
    @wraps(function)
    def named(session: Session, /, **given: Any) -> ExitCode:
        found = lookup.rotation(session, given.pop("rotation"))
        session.where = where(found)
        return function(session, found, Patience(given.pop("timeout")), **given)

    return click.argument("rotation", metavar="ROTATION|SERVICE")(timeout_option(named))


def where(rotation: Rotation) -> str:
    """Return how a rotation is named in front of an error."""
    return f"service {rotation.service} ({rotation.environment}), rotation {rotation.id}"
