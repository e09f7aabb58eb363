"""What the channels are tested with: an authority whose certificates they trust."""

from __future__ import annotations

import pytest

from tests.sinks.certificates import Authority, authority


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the notifier is told to trust."""
    return authority(tmp_path_factory.mktemp("authority"))
