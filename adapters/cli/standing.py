"""How every service stands: from the view at once, and the long way from the log, with the same words.

Rule: nothing of weight is imported unless the quick way (adapters/quick_status.py) cannot answer; no click.
"""

from __future__ import annotations

import os

from adapters import quick_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adapters.cli.session import Session

_CONFIG_CHARACTERS_MAX = 8 << 20
"""What is longer is read as YAML, which says what is wrong with it."""
_HIDING = ("state", "---", "{", "&", "*", "!", "%")
"""How a line may begin that names the state folder, or hides that it does; what is simple is answered quickly."""


def services(session: Session) -> list[dict[str, Any]]:
    """Return the services of `keyturn.status/1`."""
    state = _state(session)
    found = quick_status.answer(state, session.given_config_path) if state else None
    return _from_the_log(session) if found is None else found


def show(session: Session, names: tuple[str, ...]) -> None:
    """Print the services, or those of them that are named; raises `NoSuchService`."""
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
        if entry["waiting"]:
            console.say(f"{entry['service']}: rotation {entry['waiting']} waits for its turn")
        if entry["rollout"]:
            console.say(f"{entry['service']}: {entry['rollout']}")
        if entry["error"]:
            console.say(f"{entry['service']}: {entry['error']['step']}: {entry['error']['message']}")
        if entry["unheard"]:
            console.say(f"{entry['service']}: nobody was told of event #{entry['unheard']}: keyturn notify outbox")
        if entry["next"]:
            console.say(f"{entry['service']} is {entry['state']}: {'; '.join(entry['next'])}.")


def _minute(text: str | None) -> str | None:
    return None if text is None else f"{text[:16]}Z"


def _state(session: Session) -> str | None:
    """Return the state folder if that can be told without reading the configuration as YAML; else None."""
    given = session.given_state or os.environ.get("KEYTURN_STATE")
    if given:
        return None if "://" in given or given.startswith("~") else given
    try:
        with open(session.given_config_path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - no pathlib
            text = file.read(_CONFIG_CHARACTERS_MAX + 1)
    except OSError:
        return None
    if len(text) > _CONFIG_CHARACTERS_MAX:
        return None
    for line in text.splitlines():
        if line.lstrip("\t '\"?").startswith(_HIDING):
            return None
    from adapters.state import default_folder

    return None if "\\" in text or "<<" in text else str(default_folder())


def _from_the_log(session: Session) -> list[dict[str, Any]]:
    """Fold what the view has not seen, and answer from it."""
    from adapters.cli.views import configured, open_views
    from projections.feed import catch_up
    from projections.status import STATUS, documents

    log = session.log
    with open_views(session) as views:
        catch_up(STATUS, log, views)
        with views.reading(STATUS) as rows:
            entries = documents(rows)
        named = configured(session, entries)
        views.remember(session.config_path, named, mark=session.config_mark)
        unheard = views.unheard()
    services = session.configuration.services.values()
    told = {f"{each.environment}/{each.name}" for each in services if each.channels}
    return quick_status.assembled(entries, named, {name: unheard[name] for name in unheard if name in told})
