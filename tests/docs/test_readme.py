"""What the README says is true: its commands run, its picture is the machine's, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.cli.commands import COMMANDS as PROGRAM
from engine.machine import State, following

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.removeprefix("$ ").partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]


def test_two_commands_do_all_the_set_up() -> None:
    """The first two are the ones that CI and a newcomer run as they stand."""
    assert COMMANDS[:2] == [
        'pip install ".[demo]" && keyturn demo',
        'pip install -e ".[dev]" -c constraints.txt && pytest',
    ]


def test_ci_installs_and_tests_as_the_readme_says() -> None:
    """CI runs the README's test command: the same install, the same runner."""
    script = (ROOT / ".ci" / "run").read_text()
    assert 'install --quiet --editable ".[dev]" --constraint constraints.txt' in script
    assert re.search(r"pytest\b", script)


@pytest.mark.slow
def test_the_first_rotation_runs_as_written(tmp_path: Path) -> None:
    """Every command of the first rotation ends with 0, in an empty folder."""
    block = next(block for block in BLOCKS if "keyturn init\n$ keyturn plan" in block)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "KEYTURN_STATE": str(tmp_path / "state"),
        "HOME": str(tmp_path),
    }
    for line in block.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        assert words[0] == "keyturn"
        ended = subprocess.run(
            [sys.executable, "-m", "adapters.cli.main", *words[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, f"{line}: {ended.stdout}{ended.stderr}"


def test_every_keyturn_command_of_the_readme_exists() -> None:
    """A command that the README names is a command of the program."""
    named = {words[1] for command in COMMANDS for words in [command.split("&&")[-1].split()] if words[0] == "keyturn"}
    named |= set(re.findall(r"`keyturn ([a-z]+)", README))
    assert named <= set(PROGRAM), named - set(PROGRAM)


def test_the_picture_is_the_machines() -> None:
    """Every arrow of the diagram is a row of the table."""
    arrows = re.findall(r"^ +([a-z_]+) --> ([a-z_]+): ([A-Za-z]+)$", README, re.MULTILINE)
    assert len(arrows) > 12
    for source, to, event in arrows:
        assert following(State(source), event) is State(to), (source, event)


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link of a page names a file that is there."""
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link
