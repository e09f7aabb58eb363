"""From what happened to the message that a sink accepted, and what sinks that hang cost a rotation.

Every event is appended to a real log and told by the real dispatcher, 50 a second. The rotations are commands of their
own, taking turns: without channels, with sinks that are well, and with sinks at which a write never ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from time import perf_counter, sleep
from typing import Any, Final

from adapters.composition import establish
from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.outbox.dispatcher import Dispatcher, open_channels
from adapters.outbox.outlets import Outlet, Subscription, outlets
from adapters.quick_status import LOG_FILE
from adapters.system import SystemClock
from benchmarks.startup import LAUNCH, environment
from benchmarks.table import Goal, Row
from engine.notices import Notice
from engine.notifier import Notifier, Outgoing, Pace
from engine.values import SECOND, Microseconds
from tests.unit.outbox.bench import failing

EVENTS: Final = 1_000
GAP_SECONDS: Final = 0.02
ROUNDS: Final = 12
SINKS: Final = 4
"""Channels of the service that is rotated."""

FLUSH_SECONDS_MAX: Final = 5.5
"""A command waits 5 s for what is on its way, and then has to end."""

_CONFIGURATION: Final = """version: 1
secretStores:
  local: {{type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
services:
  app:
    type: memory
    retry: probe_first
    faults: [{faults}]
    credential: {{username: app, store: local, key: default/app}}
    rotation:
      strategy: dual
      grace_period: 0s
      attempt_window: 1s
      notifications: {{{channels}}}
"""


def rows() -> Iterator[Row]:
    """Yield the figures; takes about four minutes."""
    for name, sink in (("a file", _file), ("an HTTP server here", _http)):
        with sink() as wrap:
            taken = _latencies(wrap)
        p95 = quantiles(taken, n=20)[-1]
        yield Row(f"to {name}, median of {EVENTS:,} events", "ms", median(taken))
        yield Row(f"to {name}, p95", "ms", p95, None, Goal(at_most=1_000))
    for name, faults in (("rotation of 1 s", "lose_apply_reply"), ("quick rotation", "")):
        none, well, hanging = _rotations(faults)
        goal = Goal(at_most=1.01, of_ratio=True) if faults else None
        yield Row(f"{name}, {SINKS} sinks hang (raw: no sinks)", "ms", hanging.steps, none.steps, goal)
        yield Row(f"{name}, {SINKS} sinks are well (raw: no sinks)", "ms", well.steps, none.steps)
        held = (hanging.command - none.command) / 1_000
        yield Row(f"{name}, its command ends later when sinks hang", "s", held, None, Goal(at_most=FLUSH_SECONDS_MAX))


# --- from the event to the sink ---------------------------------------------------------------------------


class Timed:
    """A notifier that notes when a message was accepted; the port `Notifier`."""

    pace = Pace(per_second=1_000.0, burst=1_000)

    def __init__(self, real: Notifier, send: Callable[[bytes], None] | None) -> None:
        self._real, self._send = real, send
        self._positions: dict[str, list[int]] = {}
        self.accepted: dict[int, float] = {}

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Ask the real one."""
        return self._real.supports(notice, selected=selected)

    def validate(self) -> Sequence[str]:
        """Ask the real one."""
        return self._real.validate()

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Render as the real one does."""
        assert not dropped, "more was waiting than a channel holds"
        self._positions[key] = [notice.position for notice in notices]
        return self._real.render(notices, key=key)

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Send, and note when it was accepted."""
        if self._send is None:
            self._real.send(outgoing, key=key, thread=thread)
        else:
            self._send(outgoing.content)
        self.accepted.update(dict.fromkeys(self._positions[key], perf_counter()))
        return ""


Wrap = Callable[[Notifier], Timed]


@contextmanager
def _file() -> Iterator[Wrap]:
    yield lambda real: Timed(real, None)


@contextmanager
def _http() -> Iterator[Wrap]:
    """Yield what sends to a server of our own, over a fresh connection each time, as channels do."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def send(content: bytes) -> None:
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        connection.request("POST", "/", content)
        assert connection.getresponse().status == 202
        connection.close()

    try:
        yield lambda real: Timed(real, send)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Accepting(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Read the message and accept it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _latencies(wrap: Wrap) -> list[float]:
    """Return how long each message took from the end of its append to the acceptance, in milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, wiring, outlet, timed = _channel(folder, wrap)
        dispatcher = Dispatcher(folder / "state", wiring, {outlet.id: outlet}, "ada", wiring.configuration.lease)
        dispatcher.start()
        appended: dict[int, float] = {}
        for number in range(1, EVENTS + 1):
            recorded = log.append(failing(number, SystemClock().now().wall))
            appended[recorded[-1].position] = perf_counter()
            dispatcher.observe(recorded)
            sleep(GAP_SECONDS)
        assert dispatcher.flush(Microseconds(30 * SECOND)), "not everything was delivered"
        assert set(timed.accepted) == set(appended)
        return [(timed.accepted[position] - at) * 1_000 for position, at in appended.items()]


def _channel(folder: Path, wrap: Wrap) -> tuple[SqliteEventLog, Wiring, Outlet, Timed]:
    _prepare(folder, "file: {path: told.jsonl, events: [failed]}")
    wiring = Wiring(load(folder / "keyturn.yaml"), folder / "state")
    (built,) = outlets(wiring).values()
    outlet, timed = Outlet(built.id, built.name, built.adapter), wrap(built.subscriptions["app"].notifier)
    subscribed = built.subscriptions["app"]
    outlet.subscriptions["app"] = Subscription(subscribed.service, subscribed.channel, timed)
    log = SqliteEventLog(folder / "state" / LOG_FILE, must_exist=True)
    open_channels(log, [outlet.id], "ada")
    return log, wiring, outlet, timed


def _prepare(folder: Path, channels: str, faults: str = "") -> None:
    subprocess.run(
        [sys.executable, "-c", LAUNCH, "init"], cwd=folder, env=environment(folder), capture_output=True, check=True
    )
    establish(folder / "state")
    (folder / "keyturn.yaml").write_text(_CONFIGURATION.format(channels=channels, faults=faults))


# --- what hanging sinks cost ------------------------------------------------------------------------------


class Taken:
    """How long a rotation's steps and its whole command took, in milliseconds: the medians."""

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._commands: list[float] = []

    def add(self, steps: float, command: float) -> None:
        """Take down one rotation."""
        self._steps.append(steps)
        self._commands.append(command)

    @property
    def steps(self) -> float:
        """From the first fact of the rotation to its last."""
        return median(self._steps)

    @property
    def command(self) -> float:
        """From the shell."""
        return median(self._commands)


def _rotations(faults: str) -> tuple[Taken, Taken, Taken]:
    """Return what rotations took without channels, with sinks that are well, and with sinks that hang."""
    found = Taken(), Taken(), Taken()
    with tempfile.TemporaryDirectory() as name, _hanging(Path(name)) as pipes:
        folders = [Path(name) / each for each in ("none", "well", "hanging")]
        sinks: tuple[list[str], ...] = ([], [f"told-{number}.jsonl" for number in range(SINKS)], pipes)
        for folder, paths in zip(folders, sinks, strict=True):
            folder.mkdir()
            entries = ", ".join(f"{{path: {path}, name: sink-{number}}}" for number, path in enumerate(paths))
            _prepare(folder, f"file: [{entries}]" if entries else "", faults)
        for number in range(ROUNDS + 1):
            for folder, taken in zip(folders, found, strict=True):
                steps, command = _rotation(folder)
                if number:  # the first one makes files and folders
                    taken.add(steps, command)
    return found


@contextmanager
def _hanging(folder: Path) -> Iterator[list[str]]:
    """Yield paths that can be opened, and at which a write never ends: pipes that are full and that nobody reads."""
    paths, held = [], []
    for number in range(SINKS):
        path = folder / f"pipe-{number}"
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        held.append(descriptor)
        paths.append(str(path))
        try:
            while True:
                os.write(descriptor, b"x" * 4_096)
        except BlockingIOError:
            pass
    try:
        yield paths
    finally:
        for descriptor in held:
            os.close(descriptor)


def _rotation(folder: Path) -> tuple[float, float]:
    began = perf_counter()
    command = [sys.executable, "-c", LAUNCH, "rotate", "app", "--json"]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, check=True)
    seconds: float = json.loads(done.stdout)["duration_seconds"]
    return seconds * 1_000, (perf_counter() - began) * 1_000
