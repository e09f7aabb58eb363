"""A plugin for the tests of the configuration, found the way every plugin is found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.config.reading import install_plugin


@pytest.fixture
def plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a package that announces the target `widget` and the store `drawer`; return its folder."""
    folder = tmp_path_factory.mktemp("site-packages")
    install_plugin(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("keyturn_widget", None)
