"""What the tests of the command line share: a folder to run the program in, searched for secrets in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.forking import Forking
from tests.cli.program import Folder, make


@pytest.fixture(scope="session")
def forking() -> Iterator[Forking]:
    """A process that runs the program without loading it each time."""
    process = Forking()
    yield process
    process.close()


@pytest.fixture
def folder(tmp_path: Path, forking: Forking) -> Iterator[Folder]:
    """A folder with a service; after the test, nothing that the program printed holds a value of the store."""
    made = make(tmp_path, forking)
    yield made
    if made.config.exists() and "memory" in made.config.read_text():
        secrets = made.secrets()
        assert not [text for text in made.printed for value in secrets if value in text]
