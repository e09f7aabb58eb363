"""Prometheus' own tool, to have expositions, rules and queries judged by it. No tests live here.

It comes with Debian's package `prometheus`. Without it a test is skipped, and fails where CI=true.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

NAME: Final = "promtool"


def promtool(*arguments: str, stdin: str = "", cwd: Path | None = None) -> str:
    """Return what it says; fail the test where it finds something wrong."""
    found = shutil.which(NAME)
    if found is None:
        reason = "promtool is missing; it comes with the Debian package prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [found, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
