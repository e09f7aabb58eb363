"""The reference pages that are made from the code: `python -m tests.docs.generate` (or `make docs`) writes them.

A page is made by a function without arguments; tests/docs/test_generated.py holds every page equal to what
its function returns, so a page cannot fall behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from adapters.cli import reference as command_line
from adapters.config import reference
from engine import machine

ROOT: Final = Path(__file__).parents[2]

_NOTICE = "<!-- Made by `make docs` from {source}; change it there. -->\n"


def machine_page() -> str:
    """Return docs/reference/machine.md: the diagram, the table, and what rests until a person decides."""
    resting = "\n".join(
        f"| `{state}` | {', '.join(f'`keyturn {command}`' for command in commands)} |"
        for state, commands in machine.LEAVING.items()
    )
    ended = ", ".join(f"`{state}`" for state in machine.State if state in machine.ENDED)
    return f"""{_NOTICE.format(source="engine/machine.py")}
# The state machine of a rotation

A state names the work that is outstanding. An event that changes the state is a type of its own, so the table
is complete and has no conditions; what is not in it is refused with exit code 6. `keyturn machine` prints it.

## Diagram

```mermaid
{machine.mermaid()}```

## Table

An event that stays records something (a try, an answer, an attempt) without changing what is outstanding.

{machine.markdown()}
## Rest

In these states nothing happens until a person decides:

| state | left by |
|---|---|
{resting}

The rotation is over, and its credential free for another one, in {ended}.
"""


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    return f"{_NOTICE.format(source='adapters/cli')}\n{command_line.markdown()}"


def errors_page() -> str:
    """Return docs/reference/errors.md."""
    return f"{_NOTICE.format(source='the errors themselves')}\n{command_line.errors()}"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/reference/cli.md": cli_page,
    "docs/reference/configuration.md": reference.markdown,
    "docs/reference/errors.md": errors_page,
    "docs/reference/machine.md": machine_page,
}
"""Path of a page from the root, and what makes it."""


def main() -> None:
    """Write every page that differs, and name it."""
    for path, make in PAGES.items():
        page, text = ROOT / path, make()
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
