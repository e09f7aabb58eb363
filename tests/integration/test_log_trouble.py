"""A log that cannot be used, through the command line: said clearly, nothing lost, and no target is asked.

An append that fails stops everything: what is not recorded is not done.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engine.plan import Strategy
from engine.values import CredentialValue
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.sites import SERVICE, InForce, Site

pytestmark = pytest.mark.slow

USAGE, PERSON_NEEDED = 2, 5
ORDINARY_USER = 65_534
WRITES = ("before target.apply", "before target.restore", "before target.retire")


@pytest.fixture
def rotated(folder: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]) -> Installation:
    """An installation on PostgreSQL that was rotated once."""
    made = install(folder, make_site(Strategy.ALTERNATING), drivers[0])
    made.done("rotate", SERVICE)
    made.keep()
    return made


class Untouched:
    """What server and store held; they must hold it still."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._server: InForce = installation.site.in_force()
        self._values: dict[str, CredentialValue] = installation.values()

    def check(self) -> None:
        """Compare."""
        assert self._installation.site.in_force() == self._server, "the server was changed"
        assert self._installation.values() == self._values, "the store was changed"


def _assert_told(ended: Ended, code: int, *words: str) -> None:
    """The exit code of the contract, three lines at most, and no traceback."""
    assert ended.code == code, ended
    assert all(word in ended.err for word in words), ended.err
    told = ended.err[ended.err.index("keyturn:") :].splitlines()
    assert len(told) <= 3
    assert "Traceback" not in ended.err


def _passed(trace: Path) -> list[str]:
    return [line.partition(" ")[2] for line in trace.read_text().splitlines()]


def test_a_full_disk_stops_a_rotation_at_any_append_and_loses_nothing(rotated: Installation) -> None:
    """Whichever append finds no room: no port is called after it, and `resume` ends it later.

    The disk is full once the start is recorded; how long its reason is decides which append needs the next page.
    """
    calm = rotated.folder / "calm"
    assert rotated.run("rotate", SERVICE, trace=str(calm)).code == 0
    started = _passed(calm).index("after log.append") + 1
    stopped: set[int] = set()
    for length in range(0, 4000, 200):
        rotated.put_back()
        trace = rotated.folder / f"trace-{length}"
        ended = rotated.run("rotate", SERVICE, "--reason", "x" * length, full_at=started, trace=str(trace))
        if ended.code == 0:
            continue  # What was left of the last page was enough.
        _assert_told(ended, PERSON_NEEDED, "There is no room", "keyturn resume")
        passed = _passed(trace)
        assert passed[-1] == "before log.append", "a port was called after an append that failed"
        stopped.add(passed.count("after log.append"))
        resumed = rotated.run("resume")
        assert resumed.code == 0, resumed
        rotated.assert_sound()
    rotated.done("rotate", SERVICE)
    rotated.assert_sound()
    print(f"a full disk at {len(stopped)} different appends: nothing lost")
    assert len(stopped) >= 5


def test_a_disk_that_is_full_from_the_start_leaves_everything_as_it_was(rotated: Installation) -> None:
    """The start itself cannot be recorded: the target is not asked to change, and the store gets no candidate."""
    untouched = Untouched(rotated)
    head = rotated.head()
    trace = rotated.folder / "trace"
    _fill_last_page(rotated.state / "events.db")
    # A reason of a page's length: whatever is left of the last page, the start does not fit into it.
    ended = rotated.run("rotate", SERVICE, "--reason", "x" * 4096, full_at=1, trace=str(trace))
    _assert_told(ended, PERSON_NEEDED, "There is no room")
    assert not {*WRITES, "before store.stage", "after log.append"} & set(_passed(trace))
    untouched.check()
    assert rotated.head() == head
    rotated.done("rotate", SERVICE)
    rotated.assert_sound()


def _fill_last_page(path: Path) -> None:
    """Leave no free page in the file; a start carries its whole plan, and needs a page of its own."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")


def test_a_log_that_is_read_only_is_told_of_before_anything_is_done(rotated: Installation) -> None:
    """Exit 2: the file is named, and nothing was changed."""
    for path in (rotated.folder, *rotated.folder.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, ORDINARY_USER, ORDINARY_USER)
    untouched = Untouched(rotated)
    head = rotated.head()
    log = rotated.state / "events.db"
    log.chmod(0o400)
    rotated.state.chmod(0o500)
    ended = rotated.run("rotate", SERVICE, user=ORDINARY_USER)
    rotated.state.chmod(0o700)
    log.chmod(0o600)
    _assert_told(ended, USAGE, str(rotated.state), "Nothing was changed")
    untouched.check()
    assert rotated.head() == head
    assert rotated.run("rotate", SERVICE, user=ORDINARY_USER).code == 0


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def _other(path: Path) -> None:
    for beside in ("-wal", "-shm"):  # A process that is killed leaves them.
        path.with_name(f"{path.name}{beside}").unlink(missing_ok=True)
    path.write_bytes(b"a text that somebody put here\n" * 300)


@pytest.mark.parametrize(
    ("spoil", "words"), [(_newer, "has schema 99"), (_other, "is not an event log")], ids=["newer schema", "no log"]
)
@pytest.mark.parametrize("arguments", [("rotate", SERVICE), ("resume",), ("rollback", SERVICE, "--yes")], ids=str)
def test_a_log_that_is_not_understood_is_left_alone(
    spoil: Callable[[Path], None], words: str, arguments: tuple[str, ...], rotated: Installation
) -> None:
    """Exit 2; not a byte of the file is changed, and with the right file everything goes on."""
    untouched = Untouched(rotated)
    log = rotated.state / "events.db"
    spoil(log)
    before = log.read_bytes()
    _assert_told(rotated.run(*arguments), USAGE, words, str(log))
    assert log.read_bytes() == before
    untouched.check()
    rotated.put_back()
    rotated.done("rotate", SERVICE)


def test_a_state_folder_that_is_missing_is_not_made(rotated: Installation) -> None:
    """Exit 2 and the way out: a rotation with an empty log would not know what is open."""
    untouched = Untouched(rotated)
    shutil.rmtree(rotated.state)
    _assert_told(rotated.run("rotate", SERVICE), USAGE, "There is no event log", "keyturn init")
    assert not rotated.state.exists()
    untouched.check()
