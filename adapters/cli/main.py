"""The front door: what is asked for most is answered at once, and every error becomes words and an exit code here.

Rule 1: importing this loads nothing of weight; what needs click is in program.py.
Rule 2: no other file catches `KeyturnError`, and none at all catches everything.
"""

from __future__ import annotations

import os
import sys

from adapters.cli.commands import COMPLETE, help_text
from adapters.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adapters.composition import Wrap
    from engine.errors import ExitCode

_INTERRUPTED = 130
_UNEXPECTED = 1


def main(arguments: Sequence[str] | None = None, *, wrap: Wrap | None = None) -> int:
    """Run the command line and return its exit code; `wrap` stands around the ports (adapters/composition.py)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(lambda act: _reported(session, act), wrap=wrap)
    try:
        code = _reported(session, lambda: _run(given, session))
    except KeyboardInterrupt:
        session.console.say()
        session.console.trouble("interrupted.", advice=session.on_interrupt or "nothing was left half done.")
        code = _INTERRUPTED
    # A view that cannot follow the log changes no outcome: it is folded again when it is read.
    try:
        is_behind = _reported(session, session.follow) != 0
    except KeyboardInterrupt:
        is_behind = True
    if is_behind:
        session.console.say("keyturn: the views are behind the log; what was done is done, and recorded.")
    session.console.close()
    return code


def _run(given: list[str], session: Session) -> int:
    if COMPLETE not in os.environ:
        if given in ([], ["--help"], ["-h"]):
            session.console.out(help_text())
            return 0
        if given[0] == "status" and set(given[1:]) <= {"--json"}:
            from adapters.cli.standing import show

            session.console.json = "--json" in given
            show(session, ())
            return 0
    from adapters.cli.program import invoke

    return invoke(given, session)


def _reported(session: Session, act: Callable[[], ExitCode | int]) -> int:
    """Do something; turn an error into words on stderr and its exit code."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - the last resort
        # Imported here: the exit code of what goes well needs no catalogue of errors.
        from engine.errors import KeyturnError

        console = session.console
        if not isinstance(error, KeyturnError):
            # The text of an unforeseen error could hold anything, a secret among it: its kind and place are shown.
            console.bug(error, advice=session.on_interrupt)
            return _UNEXPECTED
        console.trouble(error.message, where=session.where, advice=error.advice)
        console.trace(error)
        return error.exit_code


def run() -> None:
    """Run the program; the entry point of the distribution."""
    sys.exit(main())


if __name__ == "__main__":
    run()
