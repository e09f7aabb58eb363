"""The command line starts fast: what `--help` and `status` do not need is not imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.source import ROOT

HEAVY = {
    "boto3",
    "eventsourcing",
    "http_sf",
    "httpx",
    "jinja2",
    "prometheus_client",
    "psycopg",
    "redis",
    "rich.console",
    "transitions",
}
"""Drivers and frameworks that cost tens of milliseconds each."""


def _modules(statement: str) -> set[str]:
    """Return what a fresh interpreter has imported after the statement."""
    script = f"import sys\n{statement}\nsys.stderr.write(__import__('json').dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "adapters/cli/main.py").exists(), reason="adapters/cli/main.py is still to come")
def test_the_command_line_loads_no_driver() -> None:
    """Importing the program costs what every command costs."""
    assert not HEAVY & _modules("import adapters.cli.main")


@pytest.mark.slow
def test_the_public_names_load_no_driver() -> None:
    """A plugin pays for the engine alone: its values, its ports and msgspec."""
    loaded = _modules("import keyturn")
    assert not (HEAVY - {"transitions"}) & loaded
    assert not {name for name in loaded if name.split(".")[0] in {"adapters", "projections"}}


@pytest.mark.slow
def test_the_measurement_sees_what_is_imported() -> None:
    """A driver that is imported is found: the tests above can fail."""
    assert "httpx" in _modules("import httpx")
