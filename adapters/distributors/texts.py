"""Texts of the options with names in braces, which are filled for each instance; and texts from outside, for people.

Rule: a text is filled once, so what stands in a name or an endpoint is never filled in turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adapters.spellings import without
from engine.adapter import DistributorContext
from engine.errors import Rejected
from engine.instances import Instance

PLACE: Final = frozenset({"instance", "service", "environment"})
"""The names that a key or a path may have in braces."""

_NAME: Final = re.compile(r"\{([A-Za-z_]+)\}")
_TOLD_MAX: Final = 200


def check(text: str, known: frozenset[str], *, needed: str = "") -> None:
    """Raise ValueError where a text names what is not known, or lacks what is needed."""
    for name in _NAME.findall(text):
        if name not in known:
            raise ValueError(f"{{{name}}} is not known here; {', '.join(f'{{{each}}}' for each in sorted(known))} are")
    if needed and f"{{{needed}}}" not in text:
        raise ValueError(f"{text!r} has no {{{needed}}}: all instances would have the same")


def fill(text: str, fields: Mapping[str, str]) -> str:
    """Return a text that was checked, with its names replaced."""
    return _NAME.sub(lambda match: fields[match[1]], text)


def fields(instance: Instance, context: DistributorContext) -> dict[str, str]:
    """Return what stands for each of `PLACE`."""
    return {"instance": instance.id, "service": context.service, "environment": context.environment}


def key(text: str, instance: Instance, context: DistributorContext, *, what: str) -> str:
    """Return a key that was filled; raises `Rejected` where the id of the instance would lead elsewhere in it."""
    if any(part in ("", ".", "..") for part in instance.id.split("/")):
        raise Rejected(what=what, why="the id of the instance has an empty part, or dots alone between slashes")
    return fill(text, fields(instance, context))


def one_line(text: str, secret: str, *, is_cut: bool = False) -> str:
    """Return the beginning of what a program said on one line, without the secret; `is_cut`: more stood behind."""
    clean = without(text.encode("utf-8", "replace"), [secret] if secret else [], is_cut=is_cut).decode(errors="replace")
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in clean).split())
    return line if len(line) <= _TOLD_MAX else f"{line[: _TOLD_MAX - 1]}…"
