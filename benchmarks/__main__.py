"""Run benchmarks: `python -m benchmarks [NAME…]`, all of them where none is named, but those that take many minutes.

Every module of this package but `table` is a benchmark: its docstring's first line is the title, and `rows()`
yields its figures. One that sets `BY_HAND` runs where it is named alone. Exits with 1 where a goal is missed.
"""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import benchmarks
from benchmarks.table import show


def main(names: list[str]) -> int:
    """Run the named benchmarks and return the exit code."""
    known = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "table"]
    known.remove("__main__")
    if unknown := set(names) - set(known):
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known)}.", file=sys.stderr)
        return 2
    good = True
    for name in names or known:
        module = import_module(f"benchmarks.{name}")
        if not names and getattr(module, "BY_HAND", False):
            continue
        title = (module.__doc__ or name).splitlines()[0]
        good &= show(title, module.rows())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
