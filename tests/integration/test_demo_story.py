"""The demo in this process: no secret in what it prints, and no success where clients failed."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from adapters.cli.console import Console
from adapters.cli.main import main
from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.demo import servers, story
from adapters.demo.interruption import ended_by_signals
from adapters.demo.load import Load, Refused, log_in_cache, log_in_database
from adapters.demo.narrator import Narrator
from adapters.demo.scene import open_scene
from engine.errors import ExitCode
from tests.conftest import Database, without_server


@pytest.fixture
def _servers() -> None:
    try:
        servers.find_postgres()
        servers.find_redis()
    except servers.ServerMissing as error:
        without_server(error)


class Harvest:
    """The program, and every secret that the store of the demo has held after any of its commands."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def __call__(self, arguments: Sequence[str]) -> int:
        """Run a command, and look into the store afterwards."""
        code = main(arguments)
        config = Path(arguments[arguments.index("--config") + 1])
        if "config" not in arguments and "init" not in arguments:
            self._look(config)
        return code

    def _look(self, config: Path) -> None:
        wiring = Wiring(load(config), config.parent / "state")
        store = wiring.store("local")
        for path in ("admin/app-db", "admin/cache", "demo/app-db", "demo/cache"):
            for version in store.versions(path).versions:
                value = store.read(path, version)
                assert value is not None
                self.secrets.add(value.revealed())
        self.secrets.add((config.parent / "master.key").read_text().split()[-1])


@pytest.mark.slow
@pytest.mark.usefixtures("_servers")
def test_no_secret_in_what_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither passwords of the servers, nor any version, nor the key: in the story and in the figures alike."""
    program = Harvest()
    output = Console()
    with open_scene(program) as scene:
        acts, _ = story.play(scene, Narrator(output), seconds=0.0)
        program.secrets |= {scene.database.password.reveal(), scene.cache.password.reveal()}
    assert acts.is_good
    printed = "".join(capfd.readouterr()) + json.dumps(acts.figures)
    assert "keyturn rotate app-db cache" in printed
    # The key, the superuser, two admin logins, four versions of app-db and two of cache.
    assert len(program.secrets) == 10
    assert not [each for each in program.secrets if each in printed]


@pytest.mark.slow
@pytest.mark.usefixtures("_servers")
def test_a_demo_whose_clients_fail_says_so_and_does_not_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody damages the published file: the clients count it, the act is crossed, and the code is not 0."""

    def careless(arguments: Sequence[str]) -> int:
        if arguments[0] == "status":
            file = Path(arguments[arguments.index("--config") + 1]).parent / "app.env"
            damaged = file.with_name("damaged.env")
            damaged.write_text(file.read_text().replace("shop_", "nobody_"))
            damaged.replace(file)  # all at once, as keyturn writes it: a client that reads half a file ends
        return main(arguments)

    output = Console()
    output.json = True
    assert story.run(output, careless, interrupted=lambda: False) == ExitCode.UNEXPECTED
    said, told = capsys.readouterr()
    figures = json.loads(said)
    assert figures["ok"] is False
    assert figures["failed"] > 0
    assert "✗ NOT so" in told
    assert "not everything went as it should" in told


@pytest.mark.slow
@pytest.mark.usefixtures("_servers")
def test_an_interruption_that_a_library_swallows_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """The exception is dropped on its way, and the demo ends all the same, before its next act."""

    def swallowing(arguments: Sequence[str]) -> int:
        if arguments[:2] == ["config", "check"]:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        return main(arguments)

    before = signal.getsignal(signal.SIGINT)
    with ended_by_signals() as interrupted, pytest.raises(KeyboardInterrupt):
        story.run(Console(), swallowing, interrupted=interrupted)
    assert "2  Clients" not in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_clients_count_what_the_server_answers(database: Database, tmp_path: Path) -> None:
    """A login that is refused twice failed; one that is refused and then let in with what is read anew did not."""
    login = database.login("client", "canary-right")
    database.run("CREATE TABLE orders AS SELECT 1 AS number")
    database.run("GRANT SELECT ON orders TO {}", login)
    server = database.server
    place = f"@{server.host}:{server.port}/{database.name}"
    assert log_in_database(f"postgresql://{login}:canary-right{place}") == login
    with pytest.raises(Refused) as caught:
        log_in_database(f"postgresql://{login}:canary-wrong{place}")
    assert caught.value.__suppress_context__
    env_file = tmp_path / "app.env"
    env_file.write_text(f"DATABASE_URL=postgresql://{login}:canary-wrong{place}\nCACHE_URL=redis://127.0.0.1:1/0\n")
    with Load(env_file) as load:
        load.wait_for(3)
        tally = load.tally()
    assert tally.logins == 0
    assert tally.failed >= 4 * 3
    assert tally.refused >= tally.failed


@pytest.mark.slow
def test_nobody_who_may_not_do_the_work_counts_as_logged_in(redis_server: servers.RedisServer) -> None:
    """A login is a login with the work after it; a server that is not there is a refusal as well."""
    url = f"redis://default:{redis_server.password.reveal()}@{redis_server.host}:{redis_server.port}/0"
    assert log_in_cache(url) == "default"
    with pytest.raises(Refused):
        log_in_cache(url.replace("default", "somebody"))
    with pytest.raises(Refused):
        log_in_cache("redis://127.0.0.1:1/0")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal of 80 columns would get."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stdout(_Terminal()) as screen:
        _narrated(Console())
    return screen.getvalue()


def _narrated(console: Console) -> None:
    narrator = Narrator(console)
    narrator.act("An act")
    narrator.command("rotate", "[app-db]")
    narrator.done("good")
    narrator.tell("a long sentence " * 8)
    narrator.table(("A", "B"), [("1", "[2]")])


def test_a_terminal_gets_colour_and_lines_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = _on_a_terminal(monkeypatch)
    assert "\x1b[" in shown
    wrapped = [line for line in shown.splitlines() if "sentence" in line]
    assert len(wrapped) == 2
    assert all(line.startswith("   ") and len(line) <= 80 for line in wrapped)


def test_no_color_takes_every_code_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = _on_a_terminal(monkeypatch)
    assert "\x1b" not in shown
    assert "1  An act" in shown


def test_elsewhere_lines_are_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A line stays one line, and brackets stay what they are."""
    _narrated(Console())
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["", "1  An act", "   $ keyturn rotate [app-db]", "   ✓ good"]
    assert lines[4].count("a long sentence") == 8
    assert lines[-1].split() == ["1", "[2]"]


def test_beside_a_json_document_the_story_is_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.json = True
    _narrated(console)
    Narrator(console).finish("keyturn.demo/1", {"ok": True})
    said, told = capsys.readouterr()
    assert json.loads(said) == {"schema": "keyturn.demo/1", "ok": True}
    assert "An act" in told
