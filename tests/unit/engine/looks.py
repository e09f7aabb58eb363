"""A health check that sees what it is told to, and remembers what it was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.health import CheckResult, Sample, Subject


class Look:
    """Sees `results` one after the other, and the last of them for ever; `during` happens while it looks."""

    def __init__(
        self, *results: CheckResult, name: str = "connection", during: Callable[[], object] = lambda: None
    ) -> None:
        self.name = name
        self.subjects: list[Subject] = []
        self._results = deque(results)
        self._during = during

    def look(self, subject: Subject) -> Sample:
        """Look once."""
        self.subjects.append(subject)
        self._during()
        result = self._results.popleft() if len(self._results) > 1 else self._results[0]
        return Sample(result, value=0.5, unit="s", text=f"look {len(self.subjects)}: {result}")
