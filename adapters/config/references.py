"""Reading a secret that the configuration refers to, at the moment it is needed.

Rule 1: errors name the key path and the reference, never what was read.
Rule 2: a file that others may read, or change, is refused.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.adapter import Reference
from engine.errors import ExitCode, Rejected, Unavailable
from engine.ports import SecretStore
from engine.values import CURRENT, Form, Secret

BYTES_MAX: Final = 64 * 1024
_SHARED: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class MissingSecret(Rejected):
    """{what}: {why}.

    The reference leads to nothing: what is wrong is the configuration, or where keyturn is run.
    """

    exit_code = ExitCode.USAGE
    hint = "Put the secret there, or correct the reference, and repeat the command."


@dataclass(frozen=True, slots=True)
class ReferenceReader:
    """Reads the references of one service or store; call it with the reference.

    Raises `MissingSecret` where the reference leads nowhere, `Rejected` where what is there cannot be used,
    `Unavailable` where it may be later. A file loses one newline
    at its end; relative paths of files start at `base`. `keys` tells where each reference stands, for messages.
    """

    base: Path
    store: Callable[[str], SecretStore]
    keys: Mapping[Reference, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def __call__(self, reference: Reference) -> Secret:
        """Return the secret that `reference` names now."""
        key = self.keys.get(reference)
        what = f"reading {reference}" + (f" ({key})" if key else "")
        match reference.scheme:
            case "env":
                return self._variable(reference.location, what)
            case "file":
                return _file(self.base / reference.location, what)
            case _:
                return self._stored(reference, what)

    def _variable(self, name: str, what: str) -> Secret:
        value = self.variables.get(name)
        if not value:
            raise MissingSecret(what=what, why="the environment variable is not set, or empty")
        return Secret(value)

    def _stored(self, reference: Reference, what: str) -> Secret:
        value = self.store(reference.store).read(reference.location, CURRENT)
        if value is None:
            raise MissingSecret(what=what, why="the store holds nothing there")
        if reference.field == "username":
            return Secret(value.username)
        if value.secret is None or value.form is not Form.PLAIN:
            raise Rejected(what=what, why="the store holds no secret there that could be used to log in")
        return value.secret if reference.field == "password" else _member(value.secret, reference.field, what)


def _member(secret: Secret, name: str, what: str) -> Secret:
    """Return one text of a secret that is a JSON object."""
    try:
        content = json.loads(secret.reveal())
    except (ValueError, RecursionError):
        # `from None`: the original carries the text.
        raise Rejected(what=what, why="the secret is not a JSON object, so it has no such field") from None
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, str):
        raise Rejected(what=what, why="the secret is not a JSON object with a text of that name")
    return Secret(found)


def _file(path: Path, what: str) -> Secret:
    try:
        # Non-blocking, so that a pipe without a writer is refused below rather than waited for.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            _refuse_shared(os.fstat(file.fileno()), what)
            raw = file.read(BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        raise MissingSecret(what=what, why="there is no such file") from None
    except PermissionError:
        raise Rejected(what=what, why="the file may not be read by this user") from None
    except OSError as error:
        raise Unavailable(what=what, why=f"the file cannot be read ({error.strerror})") from None
    if len(raw) > BYTES_MAX:
        raise Rejected(what=what, why=f"the file is larger than {BYTES_MAX // 1024} KiB")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Rejected(what=what, why="the file is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Rejected(what=what, why="the file is empty")
    return Secret(text)


def _refuse_shared(status: os.stat_result, what: str) -> None:
    """Refuse what is no plain file, and one that others can read or write.

    Like ssh: our own file must be ours alone. A file of another owner is how containers are handed secrets (mode
    0444 or 0644, by root), so it may be readable, but nobody besides its owner may write it.
    """
    if not stat.S_ISREG(status.st_mode):
        raise Rejected(what=what, why="this is not a plain file")
    refused = _SHARED if status.st_uid == os.geteuid() else _WRITABLE_BY_OTHERS
    if status.st_mode & refused:
        raise Rejected(
            what=what,
            why=f"other users may read or write the file (mode {stat.S_IMODE(status.st_mode):04o})",
            advice="chmod 600 the file; in a container, mount it with mode 0400.",
        )
