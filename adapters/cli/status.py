"""`keyturn status`: how every service stands, from the view; without it, from the log.

Rule: the quick way (adapters/quick_status.py) loads no engine and no configuration; what it cannot answer is
answered here the long way, with the same words.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters import quick_status
from adapters.cli.shared import shared_options

if TYPE_CHECKING:
    from adapters.cli.session import Session

_WATCH_SECONDS = 2.0
_STATE_KEY = re.compile(r"""^[\s{"',?]*state\b""", re.MULTILINE)
"""Wherever `state` may stand as a key; a match that is none costs time only."""
_CONFIG_BYTES_MAX = 1 << 20


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until interrupted.")
@shared_options
@click.pass_obj
def status(session: Session, *, services: tuple[str, ...], watch: bool) -> int:
    """Show each service: its state, its version, when it was rotated and when it is due."""
    while True:
        _print(session, services)
        if not watch or session.console.deaf:
            return 0
        time.sleep(_WATCH_SECONDS)


def services(session: Session) -> list[dict[str, Any]]:
    """Return the services of `keyturn.status/1`."""
    state = _state(session)
    found = quick_status.answer(str(state), str(session.config_path)) if state else None
    return _from_the_log(session) if found is None else found


def _print(session: Session, names: tuple[str, ...]) -> None:
    console = session.console
    entries = services(session)
    if names:
        known = {entry["service"] for entry in entries}
        for name in names:
            if name not in known:
                session.wiring.service(name)  # Raises `NoSuchService` with what was probably meant.
        entries = [entry for entry in entries if entry["service"] in names]
    if console.json:
        console.document("keyturn.status/1", {"services": entries})
        return
    heads = ("SERVICE", "ENVIRONMENT", "STATE", "VERSION", "ROTATED", "DUE", "RESTORE POINTS")
    rows = [
        (
            entry["service"],
            entry["environment"],
            entry["state"],
            entry["version"],
            _minute(entry["last_rotated_at"]),
            _minute(entry["due_at"]),
            len(entry["restore_points"]),
        )
        for entry in entries
    ]
    console.table(heads, rows)
    for entry in entries:
        if entry["error"]:
            console.say(f"{entry['service']}: {entry['error']['step']}: {entry['error']['message']}")


def _minute(text: str | None) -> str | None:
    return None if text is None else f"{text[:16]}Z"


def _state(session: Session) -> Path | None:
    """Return the state folder if that can be told without reading the configuration as such; else None."""
    from adapters.state import default_folder, given_folder

    given = given_folder(session.given_state)
    if given is not None:
        return given
    try:
        with session.config_path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_CONFIG_BYTES_MAX)
    except OSError:
        return None
    # An anchor, an alias or an escape could hide the key; what is simple is answered, the rest takes the long way.
    return None if _STATE_KEY.search(text) or "\\" in text or "<<" in text else default_folder()


def _from_the_log(session: Session) -> list[dict[str, Any]]:
    """Fold what the view has not seen, and answer from it."""
    from adapters.cli.views import configured, open_views
    from projections.feed import catch_up
    from projections.status import STATUS, documents

    log = session.log
    with open_views(session) as views:
        catch_up(STATUS, log, views)
        views.remember(session.config_path, configured(session.configuration))
        with views.reading(STATUS) as rows:
            entries = documents(rows)
    return quick_status.assembled(entries, configured(session.configuration))
