"""Where the state of an installation is: the log, the views, the locks.

Rule: light; `keyturn status` asks here before anything of weight is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from engine.errors import ExitCode, KeyturnError

VARIABLE = "KEYTURN_STATE"
"""The environment variable that names the state folder."""


class StateUnsupported(KeyturnError):
    """State cannot be kept at {state}: this version of keyturn keeps it in a folder of this machine."""

    exit_code = ExitCode.USAGE
    hint = "Give a path, or file:///PATH, with --state, KEYTURN_STATE or `state:` in the configuration."


def given_folder(option: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the state folder that the option --state or the environment names; None where neither does.

    Raises `StateUnsupported` where that is no folder of this machine.
    """
    text = option or environ.get(VARIABLE)
    return _path_of(text) if text else None


def default_folder() -> Path:
    """Return the folder for data of this user."""
    import platformdirs

    return platformdirs.user_data_path("keyturn", appauthor=False)


def _path_of(text: str) -> Path:
    if "://" not in text:
        return Path(text).expanduser().absolute()
    address = urlsplit(text)
    if address.scheme != "file" or address.netloc not in {"", "localhost"} or not address.path:
        # Shown without what may be a login in it.
        raise StateUnsupported(state=f"{address.scheme}://…")
    return Path(unquote(address.path))
