"""The channel `file`: a line of JSON for every notice, appended to a file, for programs on this machine.

Rule: a line is complete or absent; one that a crash cut short is ended before the next is written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from engine.adapter import NotifierAdapter, NotifierContext
from engine.errors import Unavailable
from engine.notices import Notice
from engine.notifier import Outgoing, Pace
from projections.notifications.documents import document

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_PACE: Final = Pace(per_second=1_000.0, burst=1_000)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that gets a line of JSON for every notice."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file; it is made, readable by you alone, where there is none."""


@dataclass(frozen=True, slots=True)
class FileNotifier:
    """Appends to a file; the port `Notifier`."""

    path: Path

    @property
    def pace(self) -> Pace:
        """As fast as there is anything to tell."""
        return _PACE

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Take what is selected."""
        return selected

    def validate(self) -> Sequence[str]:
        """A folder that is not there is told here rather than by every message."""
        return [] if self.path.parent.is_dir() else [f"the folder {self.path.parent} does not exist"]

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return a line for every notice, and one more for those that were dropped."""
        documents = [document(notice) | {"key": key} for notice in notices]
        if dropped:
            documents.append({"kind": "dropped", "count": dropped, "key": key})
        lines = b"".join(msgspec.json.encode(each) + b"\n" for each in documents)
        return Outgoing(lines, "application/jsonl")

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Append the lines durably; raises `Unavailable`. A try that is repeated writes them again, with their key."""
        what = f"writing to {self.path}"
        try:
            descriptor = os.open(self.path, _FLAGS, 0o600)
            try:
                is_cut = os.fstat(descriptor).st_size > 0 and _last_byte(descriptor) != b"\n"
                content = b"\n" * is_cut + outgoing.content
                written = os.write(descriptor, content)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Unavailable(what=what, why=error.strerror or "the file cannot be written") from error
        if written < len(content):
            raise Unavailable(what=what, why="the disk took a part of the line only")
        return ""


def _last_byte(descriptor: int) -> bytes:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1)


def _build(options: Options, context: NotifierContext) -> FileNotifier:
    return FileNotifier(context.base / options.path)


def _sink(options: Options) -> str:
    return options.path


ADAPTER: Final = NotifierAdapter(
    name="file",
    summary="appends a line of JSON for every notice to a file",
    options=Options,
    build=_build,
    sink=_sink,
)
