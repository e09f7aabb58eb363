"""What the program prints: data to stdout, everything else to stderr.

Rule 1: nothing here decides or knows the domain. A reader that goes away stops no rotation: what cannot be
written is dropped, and `deaf` tells a command that only reads that it may stop.
Rule 2: text from outside (a server's message, a name) cannot steer the terminal: control characters are escaped.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TextIO

_TABLE_GAP = "  "
_FRAMES_MAX = 30
"""The innermost frames that -vv shows of an error: an endless recursion has thousands."""


class Console:
    """The streams of this process, and how they may be used."""

    def __init__(self) -> None:
        self.json = False
        self.color: bool | None = False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None
        self.verbosity = 0
        self.deaf = False
        """Nobody reads stdout any more."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # A test may have put something simpler in their place.
                stream.reconfigure(errors="backslashreplace")

    @property
    def is_interactive(self) -> bool:
        """Tell whether a person can be asked: both the question and the answer go through a terminal."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def is_animated(self) -> bool:
        """Tell whether progress may move: on a terminal, unless colour and animation are refused."""
        return self.color is not False and sys.stderr.isatty()

    # --- data -------------------------------------------------------------------------------------------

    def out(self, text: str = "") -> None:
        """Print a line of data."""
        if not self._write(sys.stdout, printable(text) + "\n"):
            self.deaf = True

    def raw(self, text: str) -> None:
        """Print a line of data exactly as it is: a secret that was asked for."""
        if not self._write(sys.stdout, text + "\n"):
            self.deaf = True

    def document(self, schema: str, fields: Mapping[str, Any]) -> None:
        """Print one JSON document on one line, `schema` first."""
        import json

        # ASCII, so that a control character in a name cannot reach a terminal.
        if not self._write(sys.stdout, json.dumps({"schema": schema, **fields}) + "\n"):
            self.deaf = True

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows below their heads, each column as wide as its widest cell."""
        texts = [[printable("-" if cell is None else str(cell)) for cell in row] for row in rows]
        widths = [max(len(line[i]) for line in (heads, *texts)) for i in range(len(heads))]
        for index, line in enumerate((heads, *texts)):
            cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
            text = _TABLE_GAP.join(cells).rstrip()
            self.out(text if index else self.style(text, sys.stdout, bold=True))

    # --- everything else --------------------------------------------------------------------------------

    def say(self, text: str = "") -> None:
        """Print a line for people."""
        self._write(sys.stderr, printable(text) + "\n")

    def mark(self, text: str, *, good: bool) -> None:
        """Print a line for people with a mark that tells whether it is good."""
        sign = self.style("✓", sys.stderr, fg="green") if good else self.style("✗", sys.stderr, fg="red")
        self._write(sys.stderr, f"{sign} {printable(text)}\n")

    def trouble(self, message: str, *, where: str = "", advice: str = "") -> None:
        """Print an error in three lines at most: what, where, what to do next."""
        head = self.style("keyturn:", sys.stderr, fg="red", bold=True)
        self._write(sys.stderr, f"{head} {_one_line(message)}\n")
        if where:
            self._write(sys.stderr, f"  where: {_one_line(where)}\n")
        if advice:
            self._write(sys.stderr, f"  next:  {_one_line(advice)}\n")

    def trace(self, error: BaseException) -> None:
        """With -vv, print where an error comes from: files, lines and kinds, never a text or a value."""
        if self.verbosity < 2:
            return
        import traceback

        at: BaseException | None = error
        while at is not None:
            frames = traceback.extract_tb(at.__traceback__)
            self.say(f"{type(at).__name__}, raised at:")
            for frame in frames[-_FRAMES_MAX:]:
                self.say(f"  {frame.filename}:{frame.lineno} in {frame.name}")
            at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)

    def bug(self, error: Exception, *, advice: str) -> None:
        """Tell of an error that nobody foresaw, without its text."""
        self.trouble(
            f"unexpected error ({type(error).__name__}). This is a bug; please report it with the output of -vv.",
            advice=advice or "keyturn status shows how things stand; the log says only what really happened.",
        )
        self.trace(error)

    def style(self, text: str, stream: TextIO, **styles: Any) -> str:
        """Return a text in colour where the stream shows it."""
        if self.color is False or not stream.isatty():
            return text
        import click

        return click.style(text, **styles)

    def close(self) -> None:
        """Write out what is left; from here nothing is printed."""
        for stream in (sys.stdout, sys.stderr):
            self._flush(stream)

    def _write(self, stream: TextIO, text: str) -> bool:
        try:
            stream.write(text)
        except BrokenPipeError:
            _abandon(stream)
            return False
        return self._flush(stream)

    def _flush(self, stream: TextIO) -> bool:
        try:
            stream.flush()
        except BrokenPipeError:
            _abandon(stream)
            return False
        return True


def printable(text: str) -> str:
    """Return the text with control characters but the end of a line escaped."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _abandon(stream: TextIO) -> None:
    """Let whatever is still written to a stream that nobody reads vanish, also when the interpreter ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
