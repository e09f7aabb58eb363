"""What the tests of ownership are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.ownership import FileOwnership
from tests.unit.adapters.ownership_bench import LEASE, Clock


@pytest.fixture
def clock() -> Clock:
    """The time of all processes of a test."""
    return Clock()


@pytest.fixture
def process(tmp_path: Path, clock: Clock) -> Callable[[], FileOwnership]:
    """Make the ownership of one more process: what is locked is an open file, so that one process can be several."""
    return lambda: FileOwnership(tmp_path / "locks", lease=LEASE, clock=clock)
