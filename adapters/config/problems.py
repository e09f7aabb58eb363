"""What is wrong with a configuration: one problem, all of them as an error, and the collector.

Rule: a problem names a place and says what is expected there; it never repeats a value of the file, which
may be a secret that was put in the wrong place. Key names are shown, cut short and without control characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters.registry import suggestion
from engine.errors import ExitCode, KeyturnError

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of mappings and, from 0, positions in lists."""

_KEY_LENGTH_MAX: Final = 64


class Position(msgspec.Struct, frozen=True):
    """A place in a text; both count from 1."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """One thing to put right, or to know. `key` is empty where the file as a whole is meant."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: {self.key}: " if self.key else f"{self.file}:{self.line}: "
        return where + self.message + (f" {self.hint}" if self.hint else "")


class ConfigInvalid(KeyturnError):
    """The configuration {file} has {counted}: {first}"""

    exit_code = ExitCode.USAGE
    hint = "keyturn config check lists all of them; docs/reference/configuration.md explains every key."

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(file=file, counted=counted, first=str(problems[0]))
        self.problems = tuple(problems)


class Report:
    """Collects the problems of one file, and knows where each key of it stands."""

    def __init__(self, file: str, positions: Mapping[KeyPath, Position]) -> None:
        self.file = file
        self.positions = positions
        self.errors: list[Problem] = []
        self.notes: list[Problem] = []
        """What is legal and still worth knowing."""

    def error(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Add something that must be put right."""
        self.errors.append(self._problem(path, message, hint))

    def note(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Add something that is legal and worth knowing."""
        self.notes.append(self._problem(path, message, hint))

    def raise_if_any(self) -> None:
        """Raise `ConfigInvalid` with all errors, in the order of the file, where there is one."""
        if self.errors:
            raise ConfigInvalid(self.file, sorted(self.errors, key=lambda problem: (problem.line, problem.column)))

    def _problem(self, path: KeyPath, message: str, hint: str) -> Problem:
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        position = self.positions.get(known, Position(1, 1))
        return Problem(self.file, position.line, position.column, dotted(path), message, hint)


def dotted(path: KeyPath) -> str:
    """Write a key path for people: `services.app-db.publish[0].key`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{printable(step)}" if text else printable(step)
    return text


def printable(key: str) -> str:
    """Return a key of the file, cut short, with everything that is not printable escaped."""
    short = key if len(key) <= _KEY_LENGTH_MAX else key[:_KEY_LENGTH_MAX] + "…"
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in short)


def did_you_mean(wrong: str, known: Sequence[str]) -> str:
    """Return `Did you mean 'x'?`, or the list of what is known where nothing is near."""
    near = suggestion(wrong, known)
    return f"Did you mean {near!r}?" if near else f"Known here: {', '.join(known)}." if known else ""
