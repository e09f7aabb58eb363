"""The reference pages that are made from the code: `python -m tests.docs.generate` (or `make docs`) writes them.

A page is made by a function without arguments; tests/docs/test_generated.py holds every page equal to what
its function returns, so a page cannot fall behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from adapters.cli import reference as command_line
from adapters.config import reference
from engine import machine
from engine.plan import Strategy
from projections.metrics import catalogue

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


def metrics_page() -> str:
    """Return docs/reference/metrics.md: every metric with its labels, and what each label may be."""
    bounds = ", ".join(map(str, catalogue.LONG))
    return f"""{_NOTICE.format(source="projections/metrics/catalogue.py")}
# Metrics

What `keyturn metrics` exposes; [the how-to](../how-to/monitor-with-prometheus.md) tells how Prometheus gets it. Labels
of the configuration (`metrics.prometheus.labels`) stand beside these.

{_metrics_table(catalogue.METRICS)}
| label | takes |
|---|---|
| `service`, `env` | a service and its environment, as in the configuration |
| `strategy` | as planned: {_codes(Strategy)} |
| `outcome` | {_codes(catalogue.OUTCOMES)} |
| `state` | {_codes(catalogue.OPEN)} |
| `type` | {_codes(catalogue.ROLLBACK_TYPES)} |
| `channel` | a channel by its name in the log, which `keyturn notify outbox` lists |
| `result` | of notices {_codes(catalogue.RESULTS)}; of verifications `verified`, `failed` |
| `event` | the name of an event, without its number |

Buckets of histograms, in seconds: {bounds}.

## The names of dsops

Exposed as well with `metrics.compat: dsops`. `status` is `success` or `failure`. The buckets are
{", ".join(map(str, catalogue.DSOPS_BOUNDS))}.

{_metrics_table(catalogue.ALIASES)}"""


def _metrics_table(metrics: Iterable[catalogue.Metric]) -> str:
    rows = [f"| `{each.name}` | {each.form.value} | {_codes(each.labels)} | {each.help} |" for each in metrics]
    return "\n".join(["| metric | type | labels | |", "|---|---|---|---|", *rows, ""])


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


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
    "docs/reference/metrics.md": metrics_page,
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
