"""`keyturn serve`: what is due begins, what is open is driven, what happened is told; killed, it goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE
from engine.events import HealthSampled
from engine.values import Instant
from tests.architecture.source import ROOT
from tests.cli.program import Folder

pytestmark = pytest.mark.slow

PATIENCE = 30.0
"""Seconds that a busy machine may take for what takes a tenth of one."""

FAST = """      grace_period: 1s
      health_checks: {monitoring_period: 1s, interval: 500ms}
      notifications: {file: {path: told.jsonl}}
"""


@dataclass
class Served:
    """A daemon at work."""

    process: subprocess.Popen[str]
    address: str
    said: Path

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of what is shown at a path."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self) -> str:
        """Ask it to end, as systemd does; return what it said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.said.read_text()
        return self.said.read_text()


@contextmanager
def serving(folder: Folder, *options: str, listen: str = "127.0.0.1:0") -> Iterator[Served]:
    """Run a daemon for the length of the block."""
    said = folder.path / "said.txt"
    arguments = [
        sys.executable,
        "-m",
        "adapters.cli.main",
        "serve",
        *(["--listen", listen] if listen else []),
        *options,
    ]
    environment = {**os.environ, "KEYTURN_STATE": str(folder.state), "PYTHONPATH": str(ROOT)}
    with said.open("w") as stream:
        process = subprocess.Popen(arguments, cwd=folder.path, env=environment, stderr=stream, text=True)
        try:
            found = until(lambda: re.search(r"http://([0-9.:]+)/", said.read_text()) or process.poll())
            assert isinstance(found, re.Match), said.read_text()
            yield Served(process, found[1], said)
        finally:
            process.kill()
            process.wait()


def until(seen: Callable[[], Any]) -> Any:
    """Wait until something is seen, and return it."""
    ends = time.monotonic() + PATIENCE
    while not (found := seen()):
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.05)
    return found


def rotations(folder: Folder) -> dict[str, str]:
    """Return the state that each rotation is in, by its id, oldest first."""
    events = folder.ok("history", "--json").document["events"]
    return {each["rotation_id"]: each["state"] for each in events if each["state"] is not None}


@pytest.fixture
def folder(folder: Folder) -> Folder:
    """A service that is due, and over within a few seconds."""
    folder.configure("app-db", strategy="dual", ttl="1h", more=FAST)
    return folder


def told(folder: Folder) -> list[str]:
    """Return what the channel was told, by kind."""
    path = folder.path / "told.jsonl"
    return [json.loads(line)["kind"] for line in path.read_text().splitlines()] if path.exists() else []


def test_what_is_due_is_rotated_to_its_end_and_told(folder: Folder) -> None:
    """Twice, since the first has no previous version: due at once, and again when its version was due."""
    folder.configure("app-db", strategy="dual", ttl="4s", more=FAST)
    with serving(folder) as served:
        until(lambda: list(rotations(folder).values()).count("completed") >= 2)
        assert until(lambda: told(folder).count("completed") >= 2)
        status, body = served.get("/metrics")
        assert status == 200
        assert re.search(r'keyturn_rotations_total\{.*outcome="completed".*\} [2-9]', body)
        assert 'keyturn_check_status{check="connection",' in body
        status, body = served.get("/healthz")
        assert (status, json.loads(body)["ok"]) == (200, True)
        assert 0 <= json.loads(body)["late_seconds"]["p50"] <= json.loads(body)["late_seconds"]["p99"] < PATIENCE
        assert served.get("/secrets")[0] == 404
        assert "stopped" in served.stop()


def test_killed_and_started_again_it_goes_on_with_the_same_rotation(folder: Folder) -> None:
    """Nothing was in memory that the log does not say: the rotation ends, and no other begins."""
    with serving(folder) as served:
        until(lambda: "monitoring" in rotations(folder).values())
        served.process.kill()
        served.process.wait()
    begun = rotations(folder)
    assert list(begun.values()) == ["monitoring"]
    with serving(folder) as served:
        until(lambda: list(rotations(folder).values()) == ["completed"])
        served.stop()
    assert list(rotations(folder)) == list(begun)
    assert told(folder) == ["started", "completed"]


FLEET = """      grace_period: 1s
      health_checks: {monitoring_period: 5s, interval: 500ms}
"""


def test_a_fleet_in_monitoring_goes_on_behind_a_kill(folder: Folder) -> None:
    """More services than workers: each is looked at on both sides of the kill, never too early, and to its end."""
    names = [f"app-{number}" for number in range(20)]
    folder.configure(*names, ttl="1h", more=FLEET)
    with serving(folder) as served:
        until(lambda: len(looks(folder)) == len(names))
        served.process.kill()
        served.process.wait()
    before, left = looks(folder), [each for each, state in rotations(folder).items() if state == "monitoring"]
    assert left
    with serving(folder) as served:
        until(lambda: set(rotations(folder).values()) == {"completed"})
        served.stop()
    after = looks(folder)
    assert set(after) == set(rotations(folder))
    assert len(after) == len(names)
    assert [each for each in left if len(after[each]) == len(before[each])] == []
    assert [at for each in after.values() for (_, due), (at, _) in pairwise(each) if at < due] == []


def looks(folder: Folder) -> dict[str, list[tuple[Instant, Instant]]]:
    """Return of each rotation that was looked at: when that was, and when the next look is due, oldest first."""
    found: dict[str, list[tuple[Instant, Instant]]] = {}
    with SqliteEventLog(folder.state / LOG_FILE, must_exist=True) as log:
        position = 0
        while facts := log.after(position):
            position = facts[-1].position
            for fact in (recorded.fact for recorded in facts if isinstance(recorded.fact.body, HealthSampled)):
                assert isinstance(fact.body, HealthSampled)
                found.setdefault(str(fact.originator_id), []).append((fact.at, fact.body.due.wall))
    return found


def test_what_a_command_begins_beside_it_is_driven_by_it(folder: Folder) -> None:
    """A rotation that was only recorded, and a rollback that a person asked for."""
    folder.configure("app-db", strategy="dual", ttl="30d", more=FAST)
    folder.ok("rotate", "app-db")
    with serving(folder) as served:
        folder.run("rotate", "app-db", "--detach")
        until(lambda: list(rotations(folder).values()).count("completed") == 2)
        served.stop()


def test_a_window_holds_up_what_is_due_and_no_rollback(folder: Folder) -> None:
    folder.ok("rotate", "app-db")
    next_month = time.gmtime().tm_mon % 12 + 1
    window = f"      windows: {{allowed: [{{months: [{next_month}]}}]}}\n"
    folder.configure("app-db", strategy="dual", ttl="1s", more=FAST + window)
    begun = rotations(folder)
    with serving(folder) as served:
        time.sleep(2)
        assert rotations(folder) == begun
        refused = folder.run("rotate", "app-db")
        assert (refused.code, "a window opens at" in refused.err) == (6, True)
        assert folder.run("rotate", "app-db", "--outside-window").code == 2
        folder.ok("rotate", "app-db", "--outside-window", "--reason", "leaked")
        folder.ok("rollback", "app-db", "--yes")
        served.stop()
    assert "is due, and may not begin now" in folder.run("rotate", "--due").err


def test_a_service_with_a_schedule_alone_is_begun_although_it_was_never_rotated(folder: Folder) -> None:
    """At the first time after the configuration was written; looking again does not move it on."""
    folder.configure("app-db", strategy="dual", more=FAST + '      schedule: "* * * * *"\n')
    config = folder.path / "keyturn.yaml"
    config.write_text(config.read_text().replace("      ttl: 30d\n", ""))
    os.utime(config, (time.time() - 61, time.time() - 61))
    with serving(folder) as served:
        until(lambda: "completed" in rotations(folder).values())
        served.stop()


@pytest.mark.parametrize(
    ("keys", "path", "status"),
    [("enabled: false", "/metrics", 404), ("path: /figures", "/figures", 200), ("path: /figures", "/metrics", 404)],
)
def test_how_metrics_are_shown_is_configured(folder: Folder, keys: str, path: str, status: int) -> None:
    config = folder.path / "keyturn.yaml"
    config.write_text(config.read_text() + f"\nmetrics: {{prometheus: {{{keys}}}}}\n")
    with serving(folder) as served:
        assert served.get(path)[0] == status
        assert served.get("/healthz")[0] == 200


def test_the_port_is_configured(folder: Folder) -> None:
    """A second daemon at the same port says so; 0 is any free one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    config = folder.path / "keyturn.yaml"
    config.write_text(config.read_text() + f"\nmetrics: {{prometheus: {{port: {free}}}}}\n")
    with serving(folder, listen="") as served:
        assert served.address == f"127.0.0.1:{free}"
        done = folder.run("serve", "--listen", served.address)
        assert (done.code, "cannot be listened at" in done.err) == (2, True)
        assert folder.run("serve", "--listen", "nowhere").code == 2
        config.write_text(config.read_text().replace(f"port: {free}", "port: 0"))
        with serving(folder, listen="") as other:
            assert other.address not in (served.address, "127.0.0.1:0")


def test_two_daemons_on_one_state_do_everything_once(folder: Folder) -> None:
    with serving(folder) as one, serving(folder) as other:
        until(lambda: list(rotations(folder).values()) == ["completed"])
        until(lambda: "completed" in told(folder))
        one.stop()
        other.stop()
    assert told(folder) == ["started", "completed"]
    assert list(rotations(folder).values()) == ["completed"]


def test_a_rotation_that_failed_is_not_begun_again_at_once(folder: Folder) -> None:
    """What failed a moment ago fails again, and each time costs logins and calls people."""
    (folder.path / "master.key").write_bytes(b"not a key")
    with serving(folder) as served:
        until(lambda: "failed" in rotations(folder).values())
        time.sleep(2)
        assert list(rotations(folder).values()) == ["failed"]
        assert served.get("/healthz")[0] == 200
        served.stop()
