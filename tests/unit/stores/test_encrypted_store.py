"""The encrypted file survives kills, full disks and other processes, and tells what is wrong with it."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from adapters import files
from adapters.stores import envelope
from adapters.stores.encrypted_store import EncryptedFileStore
from adapters.stores.keys import KeyFile, create_key_file
from adapters.stores.refusals import NewerFormat, TamperedFile, TornFile
from engine.errors import Rejected, Unavailable, Uncertain
from engine.ports import Checkable, Holdings, Severity
from engine.values import CURRENT, CredentialValue, Secret
from tests.unit.stores.processes import all_ended_well, file_size_limit, forked

PATH = "production/app-db"
DURABLE_CALLS = ("fchmod", "write", "fsync", "rename")


def value(number: int, *, length: int = 0) -> CredentialValue:
    """Return the value of a generation."""
    return CredentialValue("app", Secret(f"canary-{number}".ljust(length, ".")))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the store is, beside its key."""
    create_key_file(tmp_path / "master.key")
    return tmp_path / "store" / "secrets.kt"


def open_store(file: Path) -> EncryptedFileStore:
    """Open the store as another process would."""
    return EncryptedFileStore(file, KeyFile(file.parent.parent / "master.key"))


def test_file_lock_and_folder_are_private(file: Path) -> None:
    """0600 and 0700, whatever the umask, and no secret can be read in the file."""
    before = os.umask(0)
    try:
        open_store(file).stage(PATH, "v1", value(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in file.parent.iterdir()} == {0o600}
    assert all(text not in file.read_bytes() for text in (b"canary", b"app", PATH.encode()))


def test_nothing_is_written_where_nothing_changes(file: Path) -> None:
    """A repeat leaves the very same file, and looking makes none."""
    store = open_store(file)
    store.discard(PATH, "v1", destroy=True)
    assert store.versions(PATH) == Holdings()
    assert not file.parent.exists()
    store.stage(PATH, "v1", value(1))
    before = (file.stat().st_ino, file.read_bytes())
    store.stage(PATH, "v1", value(1))
    store.discard(PATH, "v0", destroy=True)
    assert (file.stat().st_ino, file.read_bytes()) == before


def test_a_linked_file_is_refused(file: Path, tmp_path: Path) -> None:
    """Replacing a link would leave what it names behind, with the old secrets."""
    open_store(file).stage(PATH, "v1", value(1))
    link = file.with_name("link.kt")
    link.symlink_to(file)
    with pytest.raises(Rejected) as reading:
        open_store(link).read(PATH, "v1")
    with pytest.raises(Rejected) as writing:
        open_store(link).stage(PATH, "v2", value(2))
    assert "symbolic link" in reading.value.advice
    assert "symbolic link" in writing.value.advice
    assert link.is_symlink()


def test_a_damaged_file_is_left_as_it_is(file: Path) -> None:
    """A write onto a file that cannot be opened would lose what a backup could complete."""
    store = open_store(file)
    store.stage(PATH, "v1", value(1))
    torn = file.read_bytes()[:-1]
    file.write_bytes(torn)
    with pytest.raises(TornFile):
        store.stage(PATH, "v2", value(2))
    assert file.read_bytes() == torn


def test_content_that_is_not_understood_comes_from_a_newer_keyturn(file: Path) -> None:
    """What opens with the key was written by keyturn, so it is not called tampered with."""
    store = open_store(file)
    store.stage(PATH, "v1", value(1))
    key = KeyFile(file.parent.parent / "master.key")
    recipe = key.fresh()
    file.write_bytes(envelope.seal(b"\xc0", key=recipe, master=key.master(recipe)))
    with pytest.raises(NewerFormat):
        store.read(PATH, "v1")


# --- other processes -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(file: Path) -> None:
    """Four processes stage sixty versions, at one path and at their own; all are held."""

    def write(process: int) -> None:
        store = open_store(file)
        for number in range(15):
            store.stage(PATH, f"p{process}-{number}", value(number))
            store.stage(f"own/{process}", f"v{number}", value(number))

    children = [forked(partial(write, process)) for process in range(4)]
    assert all_ended_well(children)
    store = open_store(file)
    assert sorted(store.versions(PATH).versions) == sorted(f"p{p}-{n}" for p in range(4) for n in range(15))
    for process in range(4):
        assert store.versions(f"own/{process}").versions == tuple(f"v{number}" for number in range(15))


@pytest.mark.slow
def test_threads_that_write_at_once_lose_nothing(file: Path) -> None:
    """One instance may be shared."""
    store = open_store(file)

    def write(thread: int) -> None:
        for number in range(10):
            store.stage(PATH, f"t{thread}-{number}", value(number))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.versions(PATH).versions) == 40


def test_only_one_process_wins_a_promotion(file: Path) -> None:
    """Compare-and-set holds between processes: of six that replace v0, one succeeds."""
    open_store(file).promote(PATH, "v0", value(0), expected=None)

    def promote(number: int) -> None:
        open_store(file).promote(PATH, f"v{number}", value(number), expected="v0")

    children = [forked(partial(promote, number)) for number in range(1, 7)]
    outcomes = [os.waitpid(child, 0)[1] for child in children]
    assert outcomes.count(0) == 1
    assert open_store(file).versions(PATH).current == f"v{outcomes.index(0) + 1}"


def test_a_frozen_holder_of_the_lock_does_not_freeze_us(file: Path) -> None:
    """After some seconds the write says that it did not happen, and who is to be looked for."""
    open_store(file).stage(PATH, "v1", value(1))
    with (
        files.locked(file, what="writing"),
        pytest.raises(Unavailable, match="lock"),
        files.locked(file, what="writing", seconds_max=0.02),
    ):
        pytest.fail("two hold one lock")
    open_store(file).stage(PATH, "v2", value(2))


# --- kills and full disks --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_or_the_new_file(file: Path) -> None:
    """Forty times a writer is killed at a random moment: the file opens, and all that was acknowledged is in it."""
    seeded = random.Random(20261123)
    done = 0
    for _ in range(40):
        receive, send = os.pipe()

        def write(send: int = send, first: int = done + 1) -> None:
            store = open_store(file)
            for number in range(first, first + 10_000):
                store.promote(PATH, f"v{number}", value(number, length=20_000), expected=store.versions(PATH).current)
                store.discard(PATH, f"v{number - 2}", destroy=True)
                os.write(send, number.to_bytes(4, "big"))

        child = forked(write)
        os.close(send)
        acknowledged = os.read(receive, 4)
        threading.Event().wait(seeded.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(receive, "rb") as pipe:
            acknowledged += pipe.read()
        done = int.from_bytes(acknowledged[-4:], "big")
        holdings = open_store(file).versions(PATH)
        assert holdings.current in (f"v{done}", f"v{done + 1}")
        done = int((holdings.current or "v0")[1:])
        assert open_store(file).read(PATH, CURRENT) == value(done, length=20_000)
    assert done > 40


@pytest.mark.parametrize("call", [*DURABLE_CALLS, "fsync of the folder"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_each_step_leaves_the_old_or_the_new_file(file: Path, call: str, moment: str) -> None:
    """Before the rename it is the old file, behind it the new one; the next write goes through and tidies up."""
    open_store(file).promote(PATH, "v1", value(1), expected=None)

    def write() -> None:
        _kill_at(call, moment)
        open_store(file).promote(PATH, "v2", value(2), expected="v1")

    _, status = os.waitpid(forked(write), 0)
    assert os.WIFSIGNALED(status)
    renamed = (call, moment) == ("rename", "after") or call == "fsync of the folder"
    assert open_store(file).read(PATH, CURRENT) == value(2 if renamed else 1)
    open_store(file).promote(PATH, "v2", value(2), expected="v1")
    open_store(file).stage(PATH, "v3", value(3))
    assert open_store(file).versions(PATH) == Holdings(("v1", "v2", "v3"), "v2", "v3", "v1")
    assert {each.name for each in file.parent.iterdir()} == {file.name, f".{file.name}.lock"}


def _kill_at(call: str, moment: str) -> None:
    """Have this process kill itself before or after the named call of the operating system."""
    name, _, folder = call.partition(" of the ")
    owner = Path if name == "rename" else os
    original = getattr(owner, name)

    def dying(*arguments: object) -> object:
        if folder and not stat.S_ISDIR(os.fstat(int(str(arguments[0]))).st_mode):
            return original(*arguments)
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def test_a_full_disk_leaves_the_old_file(file: Path) -> None:
    """It did not happen and may later; no half of a file stays behind."""
    store = open_store(file)
    store.stage(PATH, "v1", value(1))
    before = file.read_bytes()
    with file_size_limit(4096), pytest.raises(Unavailable):
        store.stage(PATH, "v2", value(2, length=100_000))
    assert file.read_bytes() == before
    assert {each.name for each in file.parent.iterdir()} == {file.name, f".{file.name}.lock"}
    store.stage(PATH, "v2", value(2, length=100_000))
    assert open_store(file).read(PATH, "v2") == value(2, length=100_000)


def test_a_folder_that_cannot_be_synced_is_uncertain(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is in place, but a power cut could bring the old one back; a repeat makes it safe."""
    store = open_store(file)
    store.stage(PATH, "v1", value(1))
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "canary")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(Uncertain):
            store.stage(PATH, "v2", value(2))
        with pytest.raises(Unavailable):
            store.stage(PATH, "v2", value(2))
    store.stage(PATH, "v2", value(2))
    assert store.versions(PATH).pending == "v2"


# --- what it tells, and what it loads ----------------------------------------------------------------------------


def test_the_check_changes_nothing_and_finds_a_new_store_fit(file: Path) -> None:
    """Before the first write there is a key, and a place to write to."""
    store = open_store(file)
    assert isinstance(store, Checkable)
    assert {finding.severity for finding in store.check()} == {Severity.OK}
    assert not file.parent.exists()


def test_the_check_names_what_is_wrong(file: Path) -> None:
    """Key, folder and file each have their finding, and what to do about it."""
    store = open_store(file)
    store.stage(PATH, "v1", value(1))
    file.chmod(0o644)
    file.parent.chmod(0o777)
    (file.parent.parent / "master.key").chmod(0o644)
    found = {(finding.subject, finding.severity) for finding in open_store(file).check()}
    assert found == {("key", Severity.FAIL), ("folder", Severity.WARN), ("file", Severity.FAIL)}
    (file.parent.parent / "master.key").chmod(0o600)
    hints = {(finding.subject, finding.severity): finding.hint for finding in open_store(file).check()}
    assert hints["file", Severity.WARN] == f"Run: chmod 600 {file}"
    assert hints["key", Severity.OK] == ""


def test_declaring_the_stores_loads_no_cryptography() -> None:
    """The command line reads the declarations at each start, and stays fast."""
    program = (
        "import sys, adapters.stores.encrypted_file, adapters.stores.env_file, adapters.stores.memory;"
        "print([m for m in ('cryptography', 'keyring', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


def test_what_was_opened_before_never_stands_for_a_file_that_changed(file: Path) -> None:
    """The same store, kept open: what others wrote is seen, what was damaged is refused, what is gone is gone."""
    kept, other = open_store(file), open_store(file)
    kept.stage(PATH, "v1", value(1))
    assert kept.read(PATH, "v1") == value(1)
    other.promote(PATH, "v2", value(2), expected=None)
    assert kept.versions(PATH) == Holdings(("v1", "v2"), "v2", "v1", None)
    good, status = file.read_bytes(), file.stat()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(TamperedFile):
        kept.read(PATH, "v1")
    file.unlink()
    assert kept.versions(PATH) == Holdings((), None, None, None)


def test_other_paths_stay_as_they_are_when_one_is_changed(file: Path) -> None:
    """Also the last version of one, which leaves nothing there."""
    store = open_store(file)
    for number in range(5):
        store.promote(f"{PATH}-{number}", "v1", value(number), expected=None)
    store.stage(PATH, "v1", value(9))
    store.discard(PATH, "v1", destroy=True)
    assert [open_store(file).read(f"{PATH}-{number}", CURRENT) for number in range(5)] == list(map(value, range(5)))
    (finding,) = [each for each in store.check() if each.subject == "file"]
    assert finding.message.endswith("paths in it: 5")
