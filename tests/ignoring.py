"""What shows that tests of configuration keys notice: each is run while its key is ignored.

No test lives here; who uses it says which keys there are and how one is ignored.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

VARIABLE: Final = "KEYTURN_TEST_IGNORED"
"""The environment variable that names the key to ignore."""

_NOTICED: Final = re.compile(r"^\d+ (failed|error)|, \d+ (failed|error)", re.MULTILINE)
"""How pytest ends where a test fails, or where what its file builds is refused before any test is found."""


def without(options: Any, path: Sequence[str], other: Any) -> Any:
    """Return the options as if a key said what it says by default, or `other` where it must be there."""
    if options is None:
        return None
    name, *below = path
    fields = {field.encode_name: field for field in msgspec.structs.fields(type(options))}
    field = fields[name]
    changed = copy.copy(options)
    value: Any = other
    if below:
        value = without(getattr(options, field.name), below, other)
    elif field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    force_setattr(changed, field.name, value)  # without the checks: what is ignored is not looked at
    return changed


def prove(table: Mapping[str, str], plugin: str, keys: Sequence[str] = ()) -> int:
    """Run the test of each key, or of some, with the key ignored; print which do not notice, and return how many.

    `plugin` is the module that, as a plugin of pytest, makes the key of `VARIABLE` ignored.
    """
    unnoticed = 0
    for key in keys or table:
        plugged = ("-p", plugin, "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", "-q", "-x", *plugged, table[key]]
        done = subprocess.run(command, env={**os.environ, VARIABLE: key}, capture_output=True, text=True, check=False)
        is_noticed = done.returncode != 0 and bool(_NOTICED.search(done.stdout))
        print(f"{key:<45} {'noticed' if is_noticed else f'NOT NOTICED ({done.returncode})'}", flush=True)
        unnoticed += not is_noticed
    print(f"{len(keys or table)} keys, {unnoticed} not noticed")
    return unnoticed
