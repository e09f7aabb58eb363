"""Services with channels that are files, for tests of what those are told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from adapters.event_store.sqlite import SqliteEventLog
from engine import channel_events as c
from engine.facts import Fact
from engine.values import Instant
from projections.shapes import UNHEARD_TABLE
from tests.cli.program import Folder

CHANNELS = "      notifications: {channels}\n"
"""The channels of a service, within its `rotation`."""


def tell(folder: Folder, channels: str = "{file: {path: told.jsonl}}", *names: str, **more: str) -> None:
    """Configure services with channels."""
    folder.configure(*(names or ("app-db",)), more=CHANNELS.format(channels=channels), **more)


def told(folder: Folder, name: str = "told.jsonl") -> list[dict[str, Any]]:
    """Return what a file was told."""
    path = folder.path / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def kinds(folder: Folder, name: str = "told.jsonl") -> list[str]:
    """Return the kinds of what a file was told."""
    return [line["kind"] for line in told(folder, name)]


def outbox(folder: Folder, *arguments: str) -> dict[str, Any]:
    """Return what `notify outbox` tells."""
    return folder.ok("notify", "outbox", "--json", *arguments).document


def age(folder: Folder) -> None:
    """Let an hour pass for the views: what was told a moment ago may still be on its way."""
    with closing(sqlite3.connect(folder.state / "views.db")) as views, views:
        views.execute(f"UPDATE {UNHEARD_TABLE} SET unheard_at = unheard_at - 3600000000")


def note(folder: Folder, channel: str, make: Callable[[str], c.ChannelEvent]) -> None:
    """Take down a fact of a channel, as another process would."""
    with SqliteEventLog(folder.state / "events.db") as log:
        channels = folder.wiring().configuration.services["app-db"].channels
        name = next(each.id for each in channels if each.name == channel)
        stream = log.stream(c.channel_id(name))
        at = Instant(stream[-1].at + 1)
        log.append([Fact(c.channel_id(name), len(stream) + 1, at, "eve", make(name))])
