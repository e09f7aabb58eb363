"""Reading a secret that a person hands over: from a file, from stdin, or typed unseen; never from a flag."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from adapters.cli.refusals import BadInput
from engine.values import Secret

BYTES_MAX: Final = 64 * 1024


def given_value(option: str, file: str) -> Secret:
    """Return the value in a file, or on stdin for `-`, less one newline at its end.

    Raises `BadInput`, naming the option and never what was read.
    """
    what = f"{option} {file}"
    try:
        raw = sys.stdin.buffer.read(BYTES_MAX + 1) if file == "-" else _bytes(Path(file))
        text = raw.decode()
    except OSError as error:
        raise BadInput(what=what, why=error.strerror) from None
    except UnicodeDecodeError:
        raise BadInput(what=what, why="it is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\0" in text or len(raw) > BYTES_MAX:
        raise BadInput(what=what, why="one line with the value is expected")
    return Secret(text)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BYTES_MAX + 1)
