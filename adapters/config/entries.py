"""An entry of the file that names an adapter: the keys that every such entry has, beside the options of its kind.

Rule: judges keys and values by their types alone; which adapter an entry means is decided by who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.config import refused
from adapters.config.convert import BAD, fields, members, structure, unknown_keys
from adapters.config.problems import KeyPath, Report
from adapters.registry import AnyAdapter


def divided(
    entry: Mapping[str, Any],
    cls: type[msgspec.Struct],
    adapter: AnyAdapter | None,
    path: KeyPath,
    report: Report,
) -> tuple[dict[str, Any], msgspec.Struct | None]:
    """Divide an entry into the keys that every type has and the options of its adapter; report what is wrong.

    Return our keys, `BAD` in place of a wrong one, and the options, None where they are not right. Where the
    adapter is not known, nobody can say whether a key is one of its options, so only ours are judged.
    """
    common = structure(cls)
    ours: list[str] = [field.encode_name for field in common.fields]
    own = members(entry, common, path, report, refused.REFUSED)
    if adapter is None:
        return own, None
    theirs = structure(adapter.options)
    names: list[str] = [field.encode_name for field in theirs.fields]
    assert not set(names) & set(ours), f"the options of {adapter.name} take a name that every entry has"
    rest = {key: value for key, value in entry.items() if key not in ours}
    unknown = unknown_keys(rest, [*names, *ours], refused.REFUSED.get(cls, {}), path, report)
    options = fields({key: rest[key] for key in rest if key in names}, theirs, path, report, refused.REFUSED)
    return own, None if unknown or options is BAD else options
