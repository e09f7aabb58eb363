"""The `notifications` of a service: which channels it has, each with the options of its kind.

Rule: nothing is built; what only the built channel can tell (a mention that nobody has) is told by `config check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from adapters.config.convert import BAD
from adapters.config.entries import divided
from adapters.config.model import Channel
from adapters.config.problems import KeyPath, Report
from adapters.config.schema import ChannelKeys
from adapters.registry import BrokenAdapter, UnknownAdapter, notifier_adapter
from engine.adapter import NotifierAdapter

PLURALS: Final = {"webhooks": "webhook"}
"""The keys under which lists of a kind stand in the example of the documentation."""

_DIGITS: Final = 6
"""Of a digest of the sink, in hexadecimal: few enough to type, and enough to tell the sinks of one file apart."""


def channels(given: object, path: KeyPath, report: Report) -> tuple[Channel, ...]:
    """Return the channels that are right; report the others. `given` is the mapping as it was read."""
    made: dict[str, Channel] = {}
    for kind, entry, here in _entries(given, path, report):
        found = _channel(kind, entry, here, report)
        if found is None:
            continue
        if found.name in made:
            report.error(here, f"another channel of this service is called {found.name!r}.", "Give each a `name`.")
        else:
            made[found.name] = found
    return tuple(made.values())


def _entries(given: object, path: KeyPath, report: Report) -> Iterator[tuple[str, Mapping[str, Any], KeyPath]]:
    """Yield kind, mapping and key path of every channel; report what is no mapping."""
    mapping: Mapping[str, Any] = given if isinstance(given, dict) else {}
    for key, value in mapping.items():
        is_list = isinstance(value, list)
        for index, entry in enumerate(value if is_list else [value]):
            here = (*path, key, index) if is_list else (*path, key)
            if isinstance(entry, dict):
                yield PLURALS.get(key, key), entry, here
            else:
                report.error(here, "a mapping of the options of this channel is expected here.")


def _channel(kind: str, entry: Mapping[str, Any], path: KeyPath, report: Report) -> Channel | None:
    adapter = _adapter(kind, path, report)
    own, options = divided(entry, ChannelKeys, adapter, path, report)
    if adapter is None or options is None or BAD in own.values():
        return None
    keys = ChannelKeys(**own)
    name = keys.name or kind
    digest = sha256(f"{kind}\0{name}\0{adapter.sink(options)}".encode()).hexdigest()[:_DIGITS]
    return Channel(kind, name, f"{name}-{digest}", keys.events, options, path)


def _adapter(kind: str, path: KeyPath, report: Report) -> NotifierAdapter | None:
    try:
        return notifier_adapter(kind)
    except UnknownAdapter as error:
        near = error.fields.get("near")
        report.error(path, "there is no such channel.", f"Did you mean {near!r}?" if near else error.advice)
    except BrokenAdapter as error:
        report.error(path, error.message, error.advice)
    return None
