"""Channels that hang, break or lack their driver: the rotation does its work, and nothing is lost or shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.source import ROOT
from tests.cli.program import Done, Folder

pytestmark = pytest.mark.slow

PLUGIN = '''
"""A channel that does what its option says."""

from typing import Literal

import msgspec

from engine.adapter import NotifierAdapter
from engine.notifier import Outgoing, Pace


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What it does."""

    how: Literal["lacks", "breaks", "renders_nothing"]


class Horn:
    pace = Pace(attempts=1)

    def __init__(self, how):
        self.how = how

    def supports(self, notice, *, selected):
        return selected

    def validate(self):
        return []

    def render(self, notices, *, key, dropped=0):
        if self.how == "renders_nothing":
            raise KeyError("canary-in-the-rendering")
        return Outgoing(b"toot", "text/plain")

    def send(self, outgoing, *, key, thread=""):
        raise ValueError("canary-in-the-sending")


def build(options, context):
    if options.how == "lacks":
        import a_driver_that_nobody_has
    return Horn(options.how)


ADAPTER = NotifierAdapter("horn", "a horn", Options, build, lambda options: "horn", "horns")
'''


def install(folder: Folder) -> str:
    """Lay out the plugin as an installed package; return the path that Python finds it on."""
    site = folder.path / "site"
    information = site / "keyturn_horn-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "keyturn_horn.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: keyturn-horn\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[keyturn.notifiers]\nhorn = keyturn_horn:ADAPTER\n")
    return f"{ROOT}{os.pathsep}{site}"


@pytest.fixture
def blown(folder: Folder) -> Iterator[Blown]:
    """A folder whose service has a horn, and a file beside it."""
    yield Blown(folder, install(folder))
    folder.configure("app-db")  # the plugin is not there when the folder is looked through


class Blown:
    """Runs the program where the plugin is installed."""

    def __init__(self, folder: Folder, path: str) -> None:
        self.folder, self._path = folder, path

    def configure(self, how: str) -> None:
        """Have the horn do so."""
        channels = f"{{horn: {{how: {how}}}, file: {{path: told.jsonl}}}}"
        self.folder.configure("app-db", more=f"      notifications: {channels}\n")

    def run(self, *arguments: str) -> Done:
        """Run the program; no text of the plugin may be shown."""
        done = self.folder.run(*arguments, PYTHONPATH=self._path)
        assert "canary" not in done.out + done.err
        return done

    def kinds(self) -> list[str]:
        """What the file was told."""
        path = self.folder.path / "told.jsonl"
        return [json.loads(line)["kind"] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_channel_that_breaks_while_it_sends_is_tried_again_later(blown: Blown) -> None:
    blown.configure("breaks")
    assert blown.run("rotate", "app-db").code == 0
    assert blown.kinds() == ["started", "completed"]
    horn = next(each for each in _outbox(blown) if each["channel"].startswith("horn"))
    assert (horn["state"], horn["waiting"]) == ("resting", 2)
    assert "it broke with ValueError" in horn["error"]["message"]


def test_what_a_channel_cannot_render_is_given_up_and_the_other_is_told(blown: Blown) -> None:
    blown.configure("renders_nothing")
    assert blown.run("rotate", "app-db").code == 0
    assert sorted(blown.kinds()) == ["completed", "started", "undelivered", "undelivered"]
    horn = next(each for each in _outbox(blown) if each["channel"].startswith("horn"))
    assert (horn["given_up"], horn["waiting"]) == (2, 0)


def _outbox(blown: Blown) -> list[dict[str, Any]]:
    channels: list[dict[str, Any]] = blown.run("notify", "outbox", "--json").document["channels"]
    return channels


def test_a_channel_without_its_driver_keeps_no_rotation_from_its_work(blown: Blown) -> None:
    """It is said; the other channel is told, and the log keeps what this one should have been."""
    blown.configure("lacks")
    done = blown.run("rotate", "app-db")
    assert done.code == 0, done
    assert "notifications are not sent now" in done.err
    assert blown.kinds() == ["started", "completed"], "the other channel"
    assert 'pip install "keyturn[horns]"' in blown.run("config", "check").err
    assert 'pip install "keyturn[horns]"' in blown.run("doctor").out
    blown.configure("breaks")
    blown.run("notify", "outbox", "--replay")
    horn = next(each for each in _outbox(blown) if each["channel"].startswith("horn"))
    assert (horn["state"], horn["waiting"]) == ("resting", 2)
    assert blown.kinds() == ["started", "completed"]


@contextmanager
def full_pipe(path: Path) -> Iterator[None]:
    """Make a pipe at which a write never ends, for the length of the block."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        with suppress(BlockingIOError):
            while True:
                os.write(descriptor, b"x" * 4_096)
        yield
    finally:
        os.close(descriptor)
        path.unlink()


def test_a_sink_that_hangs_holds_no_rotation_up(folder: Folder) -> None:
    """The command ends all the same, and says what is left; the next one sends it, once."""
    channels = "{file: [{path: pipe}, {path: told.jsonl, name: well}]}"
    folder.configure("app-db", more=f"      notifications: {channels}\n")
    with full_pipe(folder.path / "pipe"):
        done = folder.ok("rotate", "app-db", "--json")
        assert done.document["state"] == "completed"
        assert "still on their way" in done.err
        told = [json.loads(line)["kind"] for line in (folder.path / "told.jsonl").read_text().splitlines()]
        assert told == ["started", "completed"]
    folder.ok("notify", "outbox", "--replay")
    told = [json.loads(line)["kind"] for line in (folder.path / "pipe").read_text().splitlines()]
    assert told == ["started", "completed"]
