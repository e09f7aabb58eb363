"""A credential that works at first and then breaks: monitoring sees it, and the rotation goes back by itself.

The server is a real PostgreSQL; what breaks the new login is done to it behind keyturn's back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
import pytest

from engine import events as e
from engine.health import CheckResult
from engine.machine import State
from engine.plan import Strategy
from engine.values import SECOND
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.sites import SERVICE, PostgresSite, Site
from tests.integration.stories import DONE, ROLLED_BACK

pytestmark = pytest.mark.slow

THRESHOLD: Final = 3
CHECKS: Final = "[{type: connection}, {type: query_latency}, {type: connection_pool}]"
SECONDS_MAX: Final = 10.0
"""From what breaks to rolled back: three looks a second apart, and the way back."""


def _limited(site: PostgresSite, login: str) -> None:
    site.database.run("ALTER ROLE {} CONNECTION LIMIT 0", login)


def _locked(site: PostgresSite, login: str) -> None:
    site.database.run("ALTER ROLE {} NOLOGIN", login)


def _not_granted(site: PostgresSite, login: str) -> None:
    site.database.run("REVOKE CONNECT ON DATABASE {} FROM {}", site.database.name, login)


BREAKS: Final = {"limited": _limited, "locked": _locked, "not granted": _not_granted}


class Watched:
    """An installation whose new version is looked at once a second, and `keyturn rotate` at work on it."""

    def __init__(self, installation: Installation, *, period: str) -> None:
        site = installation.site
        assert isinstance(site, PostgresSite)
        self.installation, self.site = installation, site
        self.ended: list[Ended] = []
        installation.done("rotate", SERVICE)
        installation.done("retire", SERVICE)
        self.old = installation.current()
        # Who may connect is said for each login alone, so that it can be taken from one of them.
        site.database.run("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", site.database.name)
        for login in site.logins:
            site.database.run("DO $$ BEGIN CREATE ROLE {} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$", login)
            site.database.run("GRANT CONNECT ON DATABASE {} TO {}", site.database.name, login)
        text = installation.config.read_text()
        checks = (
            f", health_checks: {{monitoring_period: {period}, interval: 1s, failure_threshold: {THRESHOLD}, "
            f"checks: {CHECKS}}}}}\n"
        )
        installation.config.write_text(text.rstrip().removesuffix("}") + checks)
        self._head = installation.head()
        self._thread = threading.Thread(target=lambda: self.ended.append(installation.run("rotate", SERVICE)))
        self._thread.start()

    def samples(self) -> list[e.HealthSampled]:
        """Return what was seen so far."""
        facts = self.installation.facts()[self._head :]
        return [fact.body for fact in facts if isinstance(fact.body, e.HealthSampled)]

    def await_rounds(self, count: int) -> None:
        """Return when every check has looked so often, and all was well."""
        until = time.monotonic() + 20
        while len(self.samples()) < 3 * count:
            assert not self.ended, self.ended
            assert time.monotonic() < until, "nobody looks"
            time.sleep(0.05)
        assert {sample.result for sample in self.samples()} == {CheckResult.PASS}, self.samples()

    def outcome(self) -> Ended:
        """Return how it ended."""
        self._thread.join(timeout=60)
        assert self.ended, "it does not end"
        return self.ended[0]


Watch = Callable[..., Watched]


@pytest.fixture
def watch(tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]) -> Watch:
    def make(*, period: str = "60s") -> Watched:
        site = make_site(Strategy.ALTERNATING)
        return Watched(install(tmp_path / "keyturn", site, drivers[0]), period=period)

    return make


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS)
def test_a_new_login_that_breaks_is_left_again(
    watch: Watch, break_it: Callable[[PostgresSite, str], None], record_property: Callable[[str, object], None]
) -> None:
    """After as many failures in a row as it takes, within 10 s; a fresh login with the old version works."""
    watched = watch()
    watched.await_rounds(2)
    new = watched.installation.current()
    assert new.username != watched.old.username
    broken = time.time()
    break_it(watched.site, new.username)
    ended = watched.outcome()
    took = time.time() - broken
    record_property("seconds_to_rolled_back", round(took, 3))

    assert ended.code == ROLLED_BACK, ended
    assert took < SECONDS_MAX
    rotation = watched.installation.rotations()[-1]
    assert rotation.state is State.ROLLED_BACK
    for check in ("connection", "query_latency", "connection_pool"):
        results = [sample.result for sample in watched.samples() if sample.check == check]
        assert results[-THRESHOLD:] == [CheckResult.FAIL] * THRESHOLD
        assert set(results[:-THRESHOLD]) == {CheckResult.PASS}
    assert f"failed {THRESHOLD} times in a row" in ended.err + ended.out
    assert watched.installation.current() == watched.old
    assert watched.site.logs_in(watched.old)
    assert not watched.site.logs_in(new)
    for sample in watched.samples():
        assert new.revealed() not in sample.text
        assert watched.old.revealed() not in sample.text


def test_sessions_that_are_held_do_not_hide_that_new_logins_fail(watch: Watch) -> None:
    """The trap of a pool: the application is well for as long as it needs no new connection."""
    watched = watch()
    watched.await_rounds(1)
    new = watched.installation.current()
    with watched.site.database.connect(new.username, new.revealed()) as held:
        _locked(watched.site, new.username)
        while not watched.ended:
            assert held.execute("SELECT 1").fetchone() == (1,), "the session that is held never fails"
            time.sleep(0.05)
        assert watched.outcome().code == ROLLED_BACK
        assert held.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        watched.site.database.connect(new.username, new.revealed())
    assert watched.installation.current() == watched.old
    assert watched.site.logs_in(watched.old)


def test_a_new_login_that_goes_on_working_passes(watch: Watch) -> None:
    """The same checks, where nothing breaks."""
    watched = watch(period="2s")
    ended = watched.outcome()
    assert ended.code == DONE, ended
    passed = [fact for fact in watched.installation.facts() if isinstance(fact.body, e.MonitoringPassed)]
    assert passed
    assert {sample.result for sample in watched.samples()} == {CheckResult.PASS}
    started, *_ = watched.samples()
    assert watched.samples()[-1].due.wall - started.due.wall >= 2 * SECOND
    assert watched.installation.current() != watched.old
    assert watched.site.logs_in(watched.installation.current())
