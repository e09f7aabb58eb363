"""What every benchmark reports: rows of our figure, the limit it is held against, their ratio, and the goal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that a figure has to keep: of the ratio, or of our own figure in its unit."""

    at_least: float | None = None
    at_most: float | None = None
    of_ratio: bool = False

    def is_met(self, row: Row) -> bool:
        """Tell whether the row keeps the bound."""
        figure = row.ratio if self.of_ratio else row.ours
        assert figure is not None, "a goal for the ratio needs a raw figure"
        above = self.at_least is None or figure >= self.at_least
        return above and (self.at_most is None or figure <= self.at_most)

    def __str__(self) -> str:
        bounds = [
            f"{sign} {_number(bound)}"
            for sign, bound in ((">=", self.at_least), ("<=", self.at_most))
            if bound is not None
        ]
        return " and ".join(bounds) + (" of raw" if self.of_ratio else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `raw` is the same work without us, in the same unit; None where there is no such thing."""

    name: str
    unit: str
    ours: float
    raw: float | None = None
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """Our figure as a share of the raw one."""
        return self.ours / self.raw if self.raw else None

    @property
    def is_good(self) -> bool:
        """Whether the goal, if there is one, is met."""
        return self.goal is None or self.goal.is_met(self)


def show(title: str, rows: Iterable[Row]) -> bool:
    """Print the rows as a Markdown table, each as soon as it is measured; return whether all goals are met."""
    print(f"\n### {title}\n")
    print(f"| {'what':52} | {'unit':8} | {'ours':>11} | {'raw':>11} | {'ratio':>6} | goal |")
    print(f"|{'-' * 54}|{'-' * 10}|{'-' * 12}:|{'-' * 12}:|{'-' * 7}:|------|")
    good = True
    for row in rows:
        goal = f"{row.goal}: {'met' if row.is_good else 'MISSED'}" if row.goal else ""
        figures = f"{_number(row.ours):>11} | {_number(row.raw):>11} | {_number(row.ratio):>6}"
        print(f"| {row.name:52} | {row.unit:8} | {figures} | {goal} |", flush=True)
        good &= row.is_good
    return good


def rates(count: int, *works: Callable[[], object], rounds: int = 5) -> list[float]:
    """Return how many of `count` things a second each work does: the median over rounds.

    The works take turns, so that a disk or a machine that is slow for a while is so for all of them.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for taken, work in zip(seconds, works, strict=True):
            start = perf_counter()
            work()
            taken.append(perf_counter() - start)
    return [count / median(taken) for taken in seconds]


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"
