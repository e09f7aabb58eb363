"""Endings that need a person, on a real PostgreSQL; test_endings.py has all of them in a rehearsal."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.machine import LEAVING, State
from engine.plan import Strategy
from tests.integration.installations import Driver, Installation, install
from tests.integration.sites import SERVICE, PostgresSite, Site

pytestmark = pytest.mark.slow


@pytest.fixture
def stuck(
    tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> tuple[Installation, PostgresSite]:
    """A rotation on PostgreSQL that could not go back: the role had another name just then."""
    site = make_site(Strategy.SINGLE)
    assert isinstance(site, PostgresSite)
    settings = ", retry: {first: 1ms, longest: 2ms, attempts: 2}, rollback: {max_retries: 0}"
    installation = install(tmp_path / "installed", site, drivers[0], settings=settings)
    installation.done("rotate", SERVICE)
    assert installation.run("rotate", SERVICE, "--detach").code == 8
    assert installation.run("pause", SERVICE).code == 7
    rename(site, site.owner, f"{site.owner}_away")
    return installation, site


def rename(site: PostgresSite, name: str, other: str) -> None:
    """Give a role another name."""
    site.database.run("ALTER ROLE {} RENAME TO {}", name, other)


@pytest.mark.parametrize("command", LEAVING[State.ROLLBACK_FAILED])
def test_a_rollback_that_failed_on_a_server_is_left(stuck: tuple[Installation, PostgresSite], command: str) -> None:
    """The old password is not in force, the new one is; both are held, and every way out works."""
    installation, site = stuck
    failed = installation.run("abort", SERVICE, "--json")
    assert (failed.code, failed.document["state"]) == (5, "rollback_failed"), failed
    assert {each["stored_in"] for each in failed.document["known"]} == {"local, production/app"}
    rename(site, f"{site.owner}_away", site.owner)
    seen = installation.run("resume", SERVICE, "--json")
    assert [each["accepted"] for each in seen.document["known"]] == ["refused", "accepted"]
    left = installation.run(command, SERVICE, "--json")
    if command == "retry":
        assert (left.code, left.document["state"]) == (0, "rolled_back")
    else:
        assert (left.code, left.document["state"]) == (5, "failed")
        assert [each["accepted"] for each in left.document["known"]] == ["refused", "accepted"]
        installation.done("rotate", SERVICE)
    installation.assert_sound()


def test_a_server_that_does_not_answer_is_not_known_and_soon(stuck: tuple[Installation, PostgresSite]) -> None:
    """One login is waited for, the second is not tried any more."""
    installation, site = stuck
    assert installation.run("abort", SERVICE).code == 5
    with socket.create_server(("127.0.0.1", 0)) as silent:
        text = installation.config.read_text()
        port = f"port: {silent.getsockname()[1]}"
        installation.config.write_text(text.replace(f"port: {site.database.server.port}", port))
        began = time.monotonic()
        seen = installation.run("resume", SERVICE, "--json")
        spent = time.monotonic() - began
    assert [each["accepted"] for each in seen.document["known"]] == ["unknown", "unknown"]
    print(f"a look at a server that does not answer took {spent:.1f} s")
    assert spent < 12
