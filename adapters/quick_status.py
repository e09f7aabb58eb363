"""The answer to `keyturn status` from the view alone, for as long as it is at the head of the log.

Rule 1: this file imports sqlite3, json and modules that import nothing else, because it runs before anything is
loaded. Whatever it does not understand it leaves to the way that can explain it, by returning None.
Rule 2: it never writes; rows and configured services are kept by adapters/views.py.
"""

# ruff: noqa: PTH100, PTH116, PTH118  # pathlib costs a tenth of the time that the answer may take

from __future__ import annotations

import json
import os
import sqlite3
import time

from projections.shapes import (
    CHANNELS_TABLE,
    NEVER_ROTATED,
    STATUS,
    STATUS_SCHEMA,
    STATUS_TABLE,
    UNHEARD_AFTER,
    UNHEARD_TABLE,
)
from projections.times import to_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

LOG_FILE = "events.db"
VIEWS_FILE = "views.db"
"""The files of a state folder: the log, and the views, which can be deleted and are made again from it."""

CREATE_TABLE = """
    CREATE TABLE configured (
        config TEXT NOT NULL,
        number INTEGER NOT NULL,
        mtime INTEGER NOT NULL,
        size INTEGER NOT NULL,
        service TEXT NOT NULL,
        environment TEXT NOT NULL,
        rotated INTEGER,
        due INTEGER,
        PRIMARY KEY (config, number)
    ) WITHOUT ROWID
"""
"""The services of a configuration file, in its order, as they were when it had this time and size.

`due` is when the next rotation of a service is due that was last rotated at `rotated` (microseconds, or none).
"""

_HEAD = "SELECT position, hash FROM events ORDER BY position DESC LIMIT 1"
_REACHED = "SELECT position, hash FROM tracking WHERE view = ? AND schema = ?"
_CONFIGURED = """
    SELECT service, environment, rotated, due FROM configured
    WHERE config = ? AND mtime = ? AND size = ? ORDER BY number
"""
_UNHEARD = f"""
    SELECT credential, unheard FROM {UNHEARD_TABLE}
    WHERE unheard_at < ? AND EXISTS (SELECT 1 FROM {CHANNELS_TABLE})
"""  # noqa: S608 - the names are constants
_TABLES = f"SELECT COUNT(*) FROM sqlite_master WHERE name IN ('{UNHEARD_TABLE}', '{CHANNELS_TABLE}')"  # noqa: S608

_BUSY_SECONDS_MAX = 0.2
"""Waiting longer than this, the slow way is no slower."""


def stamp(config: str) -> tuple[str, int, int]:
    """Return what tells a configuration file as it is now: its path, time (ns) and size. Raises OSError."""
    status = os.stat(config)
    return os.path.abspath(config), status.st_mtime_ns, status.st_size


def answer(state: str, config: str) -> list[dict[str, Any]] | None:
    """Return the services of `keyturn.status/1`; None where the log must be read, or the configuration.

    That is so where the view is behind the log, is of another log or schema, where the configuration file was
    touched since it was read last, where a service was rotated since it was told when it is due, where a critical
    notice reached nobody (the configuration tells whether somebody should have heard), and where anything is not as it
    should be.
    """
    try:
        mark = stamp(config)
        reached, configured, entries, missed = _view(os.path.join(state, VIEWS_FILE), mark)
        head = _head(os.path.join(state, LOG_FILE))
        if missed or not configured or reached != head or _is_late(entries, configured):
            return None
    except (OSError, sqlite3.Error, ValueError):
        return None
    return assembled(entries, configured, {})


def _is_late(
    entries: Iterable[Mapping[str, Any]], configured: Iterable[tuple[str, str, int | None, int | None]]
) -> bool:
    """Tell whether a service was rotated since it was told when it is due."""
    rotated = {(entry["service"], entry["environment"]): entry["last_rotated_at"] for entry in entries}
    return any(rotated.get((service, environment)) != known for service, environment, known, _ in configured)


def _view(path: str, mark: tuple[str, int, int]) -> tuple[object, list[Any], list[dict[str, Any]], dict[str, int]]:
    """Return position and hash that the view has reached, the configured services, the entries, and what is unheard."""
    connection = _open(path)
    try:
        connection.execute("BEGIN")
        reached = connection.execute(_REACHED, (STATUS, STATUS_SCHEMA)).fetchone()
        configured = connection.execute(_CONFIGURED, mark).fetchall()
        rows = connection.execute(f"SELECT document FROM {STATUS_TABLE} WHERE service <> ''").fetchall()  # noqa: S608
        entries = [json.loads(row[0]) for row in rows]
        return reached, configured, entries, unheard(connection)
    finally:
        connection.close()


def unheard(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the credentials (`ENVIRONMENT/SERVICE`) of which a critical notice reached nobody: its position."""
    if connection.execute(_TABLES).fetchone()[0] < 2:
        return {}  # No channel was ever used.
    before = time.time_ns() // 1_000 - UNHEARD_AFTER
    return dict(connection.execute(_UNHEARD, (before,)).fetchall())


def _head(path: str) -> object:
    """Return position and hash of the last event of the log."""
    connection = _open(path)
    try:
        return connection.execute(_HEAD).fetchone() or (0, b"")
    finally:
        connection.close()


def _open(path: str) -> sqlite3.Connection:
    # The characters that end a path in a URI; urllib would cost a millisecond.
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(f"file:{quoted}?mode=ro", uri=True, timeout=_BUSY_SECONDS_MAX, isolation_level=None)


def assembled(
    entries: Iterable[Mapping[str, Any]],
    configured: Iterable[tuple[str, str, int | None, int | None]],
    unheard: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return the services of `keyturn.status/1`: the configured ones in their order, times as text.

    `entries` are those of projections/status.py; `configured` names service, environment, when it was last rotated and
    when it is due (microseconds, or None), `unheard` the critical notices that reached nobody. Behind them come those
    that are configured no more and have a rotation that is not over.
    """
    known = {(entry["service"], entry["environment"]): entry for entry in entries}
    services = []
    for service, environment, _, due in configured:
        name = (service, environment)
        services.append(_service(known.pop(name) if name in known else _unknown(service, environment), due, unheard))
    return services + [_service(known[name], None, unheard) for name in sorted(known) if known[name]["open"]]


def _unknown(service: str, environment: str) -> dict[str, Any]:
    empty = dict.fromkeys(
        ("version", "rotation_id", "waiting", "last_rotated_at", "last_outcome", "grace_until", "error", "rollout")
    )
    named = {"service": service, "environment": environment, "state": NEVER_ROTATED}
    return {**named, "restore_points": [], "next": [], **empty}


def _service(entry: Mapping[str, Any], due: int | None, unheard: Mapping[str, int]) -> dict[str, Any]:
    rotated = entry["last_rotated_at"]
    return {
        "service": entry["service"],
        "environment": entry["environment"],
        "state": entry["state"],
        "version": entry["version"],
        "rotation_id": entry["rotation_id"],
        "waiting": entry["waiting"],
        "last_rotated_at": None if rotated is None else to_text(rotated),
        "last_outcome": entry["last_outcome"],
        "due_at": None if due is None else to_text(due),
        "restore_points": entry["restore_points"],
        "grace_until": None if entry["grace_until"] is None else to_text(entry["grace_until"]),
        "error": entry["error"],
        "rollout": entry["rollout"],
        "next": entry["next"],
        "unheard": unheard.get(f"{entry['environment']}/{entry['service']}"),
    }
