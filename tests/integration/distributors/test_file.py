"""Handing out by a file: how it is replaced, how its agent is told, and which report counts."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from adapters.distributors import file
from adapters.distributors.reports import expected_proof
from engine.errors import Rejected, Uncertain
from engine.instances import Distributor, Instance, Usage
from engine.values import CredentialValue, Secret
from tests.contract.distributors import NEW, OLD, VALUES, soon
from tests.integration.distributor_bench import Bench, bench

__all__ = ["bench"]

WEB = Instance("web-1")
REPORT = {"report_file": "{instance}.report"}


def made(bench: Bench, **options: Any) -> Distributor:
    """Return a distributor that writes `web-1.json`, but for what the options say."""
    return bench.distributor(file.ADAPTER, **{"path": "{instance}.json", **REPORT, **options})


def hand(distributor: Distributor, version: str = NEW) -> None:
    """Hand a version out."""
    distributor.hand(WEB, VALUES[version], version=version, deadline=soon())


def report(bench: Bench, version: str, **other: Any) -> None:
    """Report, as an agent would."""
    challenge = "0123456789abcdef"
    said = {"version": version, "challenge": challenge, "proof": expected_proof(VALUES[version], challenge), **other}
    (bench.folder / "web-1.report").write_text(json.dumps(said), encoding="utf-8")


def test_path_and_what_stands_in_it(bench: Bench) -> None:
    (bench.folder / "app-db").mkdir()
    hand(made(bench, path="{service}/{environment}-{instance}.json"))
    written = bench.folder / "app-db" / "production-web-1.json"
    assert json.loads(written.read_text(encoding="utf-8")) == {
        "instance": "web-1",
        "service": "app-db",
        "environment": "production",
        "version": NEW,
        "username": "app_b",
        "password": VALUES[NEW].revealed(),
    }
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_mode_and_owner_of_the_file_stay(bench: Bench) -> None:
    path = bench.folder / "web-1.json"
    path.write_text("")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    before = path.stat()
    hand(made(bench))
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_file_that_everybody_may_read_is_refused(bench: Bench) -> None:
    path = bench.folder / "web-1.json"
    path.write_text("old")
    path.chmod(0o644)
    with pytest.raises(Rejected, match="everybody"):
        hand(made(bench))
    assert path.read_text() == "old"


def test_a_link_is_not_followed(bench: Bench) -> None:
    (bench.folder / "elsewhere").write_text("old")
    (bench.folder / "web-1.json").symlink_to("elsewhere")
    with pytest.raises(Rejected):
        hand(made(bench))
    assert (bench.folder / "elsewhere").read_text() == "old"


def test_template(bench: Bench) -> None:
    hand(made(bench, template="{{ username }}:{{ password|urlencode }}@{{ instance }}/{{ version }}\n"))
    assert (bench.folder / "web-1.json").read_text().startswith("app_b:canary-new-")
    value = CredentialValue("app", Secret("canary-\ud800"))
    with pytest.raises(Rejected, match="not Unicode"):
        made(bench, template="{{ password }}").hand(WEB, value, version=NEW, deadline=soon())


def test_touch(bench: Bench) -> None:
    """Also where the file said this already: the agent may not have heard it."""
    distributor, touched = made(bench, touch="{instance}.changed"), bench.folder / "web-1.changed"
    hand(distributor)
    os.utime(touched, (0, 0))
    hand(distributor)
    assert touched.stat().st_mtime > time.time() - 60
    (bench.folder / "x").write_text("")
    touched.unlink()
    touched.symlink_to("x")
    with pytest.raises(Uncertain, match="could not be told"):
        hand(distributor)


_LISTENER = """
import signal, sys, pathlib
signal.signal(signal.SIGHUP, lambda *_: print("HUP", flush=True))
signal.signal(signal.SIGUSR1, lambda *_: print("USR1", flush=True))
print("ready", flush=True)
while True: signal.pause()
"""


@contextmanager
def listening() -> Iterator[subprocess.Popen[str]]:
    """Run a process that says which signals it gets."""
    with subprocess.Popen([sys.executable, "-ISc", _LISTENER], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_pid_file_and_signal(bench: Bench) -> None:
    with listening() as process:
        assert process.stdout is not None
        (bench.folder / "web-1.pid").write_text(f"{process.pid}\n")
        for name in ("HUP", "USR1"):
            hand(made(bench, pid_file="{instance}.pid", signal=name))
            assert process.stdout.readline() == f"{name}\n"


def test_a_process_that_has_a_number_by_chance_is_sent_nothing(bench: Bench) -> None:
    """Its file was left behind, and the signal would end whoever has the number now."""
    pid_file = bench.folder / "web-1.pid"
    distributor = made(bench, pid_file="{instance}.pid")
    with listening() as process:
        pid_file.write_text(str(process.pid))
        os.utime(pid_file, (time.time() - 3600,) * 2)
        with pytest.raises(Uncertain, match="began after"):
            hand(distributor)
        if os.geteuid() == 0:
            os.utime(pid_file)
            os.chown(pid_file, 65534, 65534)
            with pytest.raises(Uncertain, match="another user"):
                hand(distributor)
            os.chown(pid_file, 0, 0)
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        assert process.stdout.readline() == "USR1\n"
    for said in (str(process.pid), "1", "0", "-1", "many", ""):
        pid_file.write_text(said)
        with pytest.raises(Uncertain, match="the file is written"):
            hand(distributor)
    pid_file.unlink()
    with pytest.raises(Uncertain, match="no such file"):
        hand(distributor)
    assert json.loads((bench.folder / "web-1.json").read_text())["version"] == NEW


class TestReportFile:
    """What an agent left behind counts for the file that it read."""

    def test_report_file(self, bench: Bench) -> None:
        distributor = made(bench)
        hand(distributor)
        assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN
        report(bench, NEW)
        assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.USED
        assert distributor.look(WEB, VALUES[OLD], version=OLD).usage is Usage.OTHER

    def test_a_report_from_before_is_unknown(self, bench: Bench) -> None:
        """The agent may have moved on in between without a word."""
        distributor = made(bench)
        hand(distributor, OLD)
        report(bench, OLD)
        hand(distributor, NEW)
        hand(distributor, OLD)
        assert distributor.look(WEB, VALUES[OLD], version=OLD).usage is Usage.UNKNOWN

    def test_the_same_file_again_leaves_the_report_as_new(self, bench: Bench) -> None:
        distributor = made(bench)
        hand(distributor)
        report(bench, NEW)
        hand(distributor)
        assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.USED

    def test_proof(self, bench: Bench) -> None:
        report(bench, NEW, proof=None)
        seen = {}
        for wanted in ("fingerprint", "version"):
            seen[wanted] = made(bench, proof=wanted).look(WEB, VALUES[NEW], version=NEW).usage
        assert seen == {"fingerprint": Usage.UNKNOWN, "version": Usage.USED}

    def test_what_is_no_report_is_unknown(self, bench: Bench) -> None:
        (bench.folder / "web-1.report").write_bytes(b"\xff canary")
        proof = made(bench).look(WEB, VALUES[NEW], version=NEW)
        assert proof.usage is Usage.UNKNOWN
        assert "canary" not in proof.detail
        (bench.folder / "web-1.report").unlink()
        os.mkfifo(bench.folder / "web-1.report")
        assert made(bench).look(WEB, VALUES[NEW], version=NEW).usage is Usage.UNKNOWN


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"path": ""}, "`path` is empty"),
        ({"path": "all.json"}, "has no {instance}"),
        ({"path": "{instance}/{endpoint}"}, "{endpoint} is not known"),
        ({"report_file": ""}, "`report` or `report_file`"),
        ({"report": {}}, "one of them"),
        ({"report_file": "{instance}.json"}, "different files"),
        ({"touch": "changed"}, "has no {instance}"),
        ({"pid_file": "pid"}, "has no {instance}"),
        ({"signal": "KILL"}, "signal"),
        ({"template": "{{ passwort }}"}, "`template`"),
        ({"proof": "stored"}, "proof"),
        ({"mode": "0644"}, "unknown field"),
    ],
)
def test_what_cannot_be_meant_is_refused(bench: Bench, given: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        made(bench, **given)
