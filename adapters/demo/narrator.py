"""How the demo is told: with rich on a terminal, in plain lines elsewhere, and on stderr beside a JSON document.

Rule: it prints what it is given and measures nothing.
"""

from __future__ import annotations

import sys
from typing import Final, Protocol

from rich.console import Console as Terminal
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_WIDTH_MAX: Final = 100
_PLAIN_WIDTH: Final = 200


class Output(Protocol):
    """What the demo needs of the console of the command line."""

    json: bool
    color: bool | None
    deaf: bool

    def raw(self, text: str) -> None:
        """Print a line on stdout."""

    def say(self, text: str = "") -> None:
        """Print a line on stderr."""

    def document(self, schema: str, fields: dict[str, object]) -> None:
        """Print one JSON document on stdout."""


class Narrator:
    """Prints the acts of the demo; raises `KeyboardInterrupt` where nobody reads it any more."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._is_plain = output.json or not sys.stdout.isatty()
        self._acts = 0
        self._terminal = Terminal(
            color_system=None if self._is_plain or output.color is False else "auto",
            force_terminal=not self._is_plain,
            highlight=False,
        )
        self._terminal.width = _PLAIN_WIDTH if self._is_plain else min(self._terminal.width, _WIDTH_MAX)

    def title(self, text: str) -> None:
        """Open the story."""
        self._show(f"[bold]{escape(text)}[/]", indent=0)

    def act(self, title: str) -> None:
        """Open the next act."""
        self._acts += 1
        self._print("")
        self._show(f"[bold cyan]{self._acts}  {escape(title)}[/]", indent=0)

    def tell(self, text: str) -> None:
        """Tell what is going on, in a sentence."""
        self._show(escape(text))

    def command(self, *arguments: str) -> None:
        """Show the command that is run."""
        self._show(f"[dim]$[/] [bold]keyturn {escape(' '.join(arguments))}[/]")

    def done(self, text: str, *, good: bool = True) -> None:
        """Tell what was seen, and whether that is as it should be."""
        self._show(f"[{'green]✓' if good else 'red]✗'}[/] {escape(text)}")

    def quote(self, text: str) -> None:
        """Show a text as it stands in a file or was printed."""
        for line in text.splitlines():
            self._show(f"[dim]{escape(line)}[/]", indent=5)

    def table(self, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Show rows below their heads."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for head in heads:
            table.add_column(head, no_wrap=True)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        with self._terminal.capture() as captured:
            self._terminal.print(table)
        self._print(*(f"   {line.rstrip()}" for line in captured.get().splitlines()))

    def finish(self, schema: str, fields: dict[str, object]) -> None:
        """Print the measured figures, where they are asked for as JSON."""
        if self._output.json:
            self._output.document(schema, fields)

    def _show(self, markup: str, *, indent: int = 3) -> None:
        text = Text.from_markup(markup)
        if self._is_plain:
            # A line stays whole, for those who search in it.
            self._print(" " * indent + text.plain)
            return
        with self._terminal.capture() as captured:
            self._terminal.print(Padding.indent(text, indent))
        self._print(*(line.rstrip() for line in captured.get().splitlines()))

    def _print(self, *lines: str) -> None:
        for line in lines:
            if self._output.json:
                self._output.say(line)
            else:
                self._output.raw(line)
        if self._output.deaf:
            raise KeyboardInterrupt
