"""The front door: what is shown of an error, what is loaded, what a terminal is shown, and the seam for tests."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from adapters.cli.console import Console, printable
from adapters.cli.driving import worst
from adapters.cli.main import main
from adapters.cli.outcome import exit_code
from engine.attempts import Attempt
from engine.errors import ExitCode
from engine.events import Cause, RotationStarted
from engine.facts import Fact, Recorded
from engine.machine import UNDER_WAY, State
from engine.plan import Kind, Plan, Strategy
from engine.rotation import Rotation, start
from engine.values import Instant
from tests.architecture.source import ROOT
from tests.cli.program import Folder

DRIVER = """
import sys
from adapters.cli.main import main

class Breaking:
    def __init__(self, port):
        self._port = port
    def __getattr__(self, name):
        return getattr(self._port, name)
    def verify(self, value, *, control):
        raise LookupError("canary " + value.revealed())

def wrap(name, port):
    return Breaking(port) if name == sys.argv[1] else port

sys.exit(main(sys.argv[2:], wrap=wrap))
"""


@pytest.mark.slow
@pytest.mark.parametrize("verbose", ["-v", "-vv"])
def test_a_bug_is_reported_without_its_text(folder: Folder, verbose: str) -> None:
    """Exit 1; -vv shows files and lines, never a value; what was recorded can be resumed."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "target", "rotate", "app-db", verbose],
        cwd=folder.path,
        env=folder.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "LookupError" in done.stderr
    assert "keyturn resume" in done.stderr
    assert "canary" not in done.stderr
    assert ("forward.py:" in done.stderr) == (verbose == "-vv")
    assert not [value for value in folder.secrets() if value in done.stderr + done.stdout]
    assert folder.ok("resume", "app-db", "--json").document["state"] == "completed"


@pytest.mark.slow
def test_every_port_passes_the_seam(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test can stand around the target, the store, the places and the log."""
    seen: list[str] = []

    class Appending:
        def __init__(self, log: object) -> None:
            self._log = log

        def __getattr__(self, name: str) -> object:
            return getattr(self._log, name)

        def append(self, facts: Sequence[Fact]) -> Sequence[Recorded]:
            seen.extend("append" for _ in facts)
            recorded: Sequence[Recorded] = self._log.append(facts)  # type: ignore[attr-defined]
            return recorded

    def wrap(name: str, port: object) -> object:
        seen.append(name)
        return Appending(port) if name == "log" else port

    monkeypatch.chdir(folder.path)
    monkeypatch.setenv("KEYTURN_STATE", str(folder.state))
    assert main(["rotate", "app-db"], wrap=wrap) == 0
    assert {"target", "store", "place", "log"} <= set(seen)
    assert seen.count("append") == folder.head()


def on_a_terminal(folder: Folder, *arguments: str, answer: str = "", **environment: str) -> tuple[int, str]:
    """Run the program on a terminal of its own; return its exit code and what the terminal was shown."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        folder.command(*arguments),
        cwd=folder.path,
        env=folder.environment(**environment),
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    if answer:
        os.write(terminal, answer.encode())
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return process.wait(timeout=30), shown.decode()


@pytest.mark.slow
def test_a_terminal_is_shown_steps_with_marks_and_times(folder: Folder) -> None:
    code, shown = on_a_terminal(folder, "rotate", "app-db", TERM="xterm-256color")
    assert code == 0
    assert "\x1b[" in shown
    for step in ("stage", "apply", "verify", "promote"):
        assert step in shown
    assert "✓" in shown
    assert not [value for value in folder.secrets() if value in shown]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--no-color", "rotate", "app-db"], {}), (["rotate", "app-db"], {"NO_COLOR": "1"})],
    ids=["option", "variable"],
)
def test_colour_and_animation_can_be_refused(folder: Folder, arguments: list[str], environment: dict[str, str]) -> None:
    code, shown = on_a_terminal(folder, *arguments, TERM="xterm-256color", **environment)
    assert code == 0
    assert "\x1b" not in shown
    assert "candidate verified" in shown


@pytest.mark.slow
def test_a_terminal_is_asked_before_going_back(folder: Folder) -> None:
    """No is 6 and changes nothing; yes goes back."""
    folder.settled("app-db")
    folder.ok("rotate", "app-db")
    code, shown = on_a_terminal(folder, "rollback", "app-db", answer="n\n", NO_COLOR="1")
    assert (code, "Really take rotation" in shown) == (6, True)
    assert folder.ok("show", "app-db", "--json").document["state"] == "grace"
    code, _ = on_a_terminal(folder, "rollback", "app-db", answer="y\n", NO_COLOR="1")
    assert code == 0
    assert folder.ok("show", "app-db", "--json").document["state"] == "rolled_back"


@pytest.mark.slow
def test_help_and_status_load_neither_click_nor_the_engine(folder: Folder) -> None:
    """What is asked for most starts fastest."""
    folder.ok("rotate", "app-db")
    script = (
        "import sys, json\nfrom adapters.cli.main import main\nmain(sys.argv[1:])\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules} | set(sys.modules))))"
    )
    for arguments in (["--help"], ["status"], ["status", "--json"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=folder.path,
            env=folder.environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        assert not loaded & {"click", "msgspec", "yaml", "rich", "eventsourcing", "cryptography", "engine.values"}


def test_text_from_outside_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\rc\nd\u202e") == "a\\x1b[2Jb\\x0dc\nd\\x202e"


def test_an_error_is_three_lines_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    Console().trouble("first\nsecond", where="here\nand there", advice="do\nthis")
    assert capsys.readouterr().err.splitlines() == [
        "keyturn: first second",
        "  where: here and there",
        "  next:  do this",
    ]


def test_of_several_exit_codes_the_one_that_asks_most_of_a_person_wins() -> None:
    assert worst([ExitCode.DONE, ExitCode.STILL_RUNNING, ExitCode.REFUSED]) is ExitCode.REFUSED
    assert worst([ExitCode.ROLLED_BACK, ExitCode.PERSON_NEEDED]) is ExitCode.PERSON_NEEDED
    assert worst([]) is ExitCode.DONE
    assert {worst([code]) for code in ExitCode} == set(ExitCode) - {ExitCode.INTERRUPTED}


@pytest.mark.slow
def test_the_program_starts_as_a_module_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "adapters.cli.main", "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.startswith("keyturn ")


def ended(
    state: State,
    *,
    automatic: bool = False,
    attempted: bool = False,
    promotable: bool = False,
    kind: str = "refused",
) -> Rotation:
    """Return a rotation in a state, with what its exit code depends on."""
    started = RotationStarted("app-db", "default", Kind.ROTATION, Plan(Strategy.DUAL, True), "v2", "app", "host")
    rotation = start(Fact(UUID(int=1), 1, Instant(1), "ada", started, State.STAGING))
    attempts = (Attempt(1, "v2", "app", Instant(1)),) if attempted else ()
    cause = Cause("apply", kind, "no")
    return replace(rotation, state=state, automatic=automatic, attempts=attempts, promotable=promotable, cause=cause)


@pytest.mark.parametrize(
    ("rotation", "code"),
    [
        (ended(State.COMPLETED), ExitCode.DONE),
        (ended(State.GRACE), ExitCode.DONE),
        (ended(State.ROLLED_BACK, automatic=True), ExitCode.ROLLED_BACK),
        (ended(State.ROLLED_BACK), ExitCode.ROLLED_BACK),
        (ended(State.FAILED), ExitCode.ROLLED_BACK),
        (ended(State.FAILED, attempted=True), ExitCode.PERSON_NEEDED),
        (ended(State.FAILED, kind="own_login_rejected"), ExitCode.LOGIN_REFUSED),
        (ended(State.FAILED, kind="own_login_rejected", attempted=True), ExitCode.PERSON_NEEDED),
        (ended(State.FAILED, kind="own_login_rejected", promotable=True), ExitCode.PERSON_NEEDED),
        (ended(State.ROLLBACK_FAILED, attempted=True), ExitCode.PERSON_NEEDED),
        (ended(State.PAUSED), ExitCode.RESTING),
        (ended(State.CANCELLED), ExitCode.REFUSED),
        *((ended(state), ExitCode.STILL_RUNNING) for state in UNDER_WAY if state not in (State.GRACE, State.PAUSED)),
    ],
    ids=lambda value: value.state.value if isinstance(value, Rotation) else value.name,
)
def test_the_outcome_of_a_rotation_is_its_exit_code(rotation: Rotation, code: ExitCode) -> None:
    assert exit_code(rotation) is code


def test_who_asked_to_go_back_is_told_that_it_worked() -> None:
    """A rollback that a person retried is no failure of the retry."""
    assert exit_code(ended(State.ROLLED_BACK, automatic=True), back=True) is ExitCode.DONE
