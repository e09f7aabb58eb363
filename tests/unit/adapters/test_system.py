"""The machine as ports: time, ids, names, a key that is made once, hardening."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adapters.system import (
    RandomIds,
    StateFolderUnusable,
    SystemClock,
    SystemEntropy,
    at_once,
    installation_key,
    login_name,
    own_folder,
    process_name,
)
from engine.values import Microseconds
from tests.architecture.source import ROOT


def test_the_clock_names_its_boot_and_goes_on() -> None:
    clock = SystemClock()
    before = clock.now()
    clock.wait(Microseconds(2_000))
    after = clock.now()
    assert after.uptime - before.uptime >= 2_000
    assert after.boot == before.boot
    assert after.wall > 1_700_000_000_000_000


def test_ids_and_entropy_are_fresh_each_time() -> None:
    assert RandomIds().new() != RandomIds().new()
    assert len(SystemEntropy().draw(24)) == 24
    assert SystemEntropy().draw(24) != SystemEntropy().draw(24)


def test_the_process_is_named_by_host_pid_and_start() -> None:
    assert process_name().split(":")[1] == str(os.getpid())
    assert process_name() == process_name()


def test_the_login_name_is_that_of_the_user_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert login_name() != "somebody-else"


def test_the_key_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.key"
    key = installation_key(path)
    assert len(key) == 32
    assert installation_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_make_the_key_at_once_agree(tmp_path: Path) -> None:
    path, keys = tmp_path / "fingerprint.key", []
    threads = [threading.Thread(target=lambda: keys.append(installation_key(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fingerprint.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StateFolderUnusable, match="damaged"):
        installation_key(path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.key"
    installation_key(path)
    path.chmod(0o644)
    with pytest.raises(StateFolderUnusable) as caught:
        installation_key(path)
    assert "chmod 600" in caught.value.advice


def test_a_state_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    own_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_state_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StateFolderUnusable, match="0777"):
        own_folder(tmp_path)


def test_a_file_is_no_state_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderUnusable):
        own_folder(tmp_path / "file")
    with pytest.raises(StateFolderUnusable):
        own_folder(tmp_path / "file" / "below")


@pytest.mark.slow
def test_a_hardened_process_leaves_no_core_and_writes_files_for_its_user_alone(tmp_path: Path) -> None:
    script = (
        "import os, resource, sys\nfrom adapters.system import harden\nrelax = harden()\n"
        "open(sys.argv[1], 'w').close()\nprint(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "import ctypes\nprint(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
        "relax()\nprint(oct(os.umask(0)))\n"
    )
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        umask=0o027,
    )
    assert done.stdout.split() == ["0", "0", "0o27"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_is_done_with_several_at_once_and_answered_in_their_order() -> None:
    """Each waits until all are there, which one after the other would never be."""
    meeting = threading.Barrier(4, timeout=10)

    def meet(item: int) -> int:
        meeting.wait()
        return item * item

    assert list(at_once(meet, [3, 1, 4, 2])) == [9, 1, 16, 4]
    assert list(at_once(lambda item: item, [])) == []
