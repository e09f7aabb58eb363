"""How long a consumer is without a credential that works: not at all where two can be valid, else a moment (I3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Self

import pytest

from engine.plan import Strategy
from engine.values import CredentialValue, Secret
from tests.integration.installations import Driver, Installation, install
from tests.integration.sites import SERVICE, Site

pytestmark = pytest.mark.slow

ROTATIONS = 30
GAP_MILLISECONDS_MAX = 250.0


def _gap(trace: Path) -> float:
    """Return the milliseconds from asking the target until the last place has the new value."""
    stamps = [line.split(" ", 1) for line in trace.read_text().splitlines()]
    asked = next(int(at) for at, name in stamps if name == "before target.apply")
    published = max(int(at) for at, name in stamps if name == "after place.publish")
    return (published - asked) / 1_000_000


def test_in_place_the_gap_is_a_moment(
    tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """`single`: from the request to the target until store and places are done, each of 30 rotations."""
    installation = install(tmp_path, make_site(Strategy.SINGLE), drivers[0])
    gaps = []
    for number in range(ROTATIONS):
        trace = tmp_path / f"trace-{number}"
        ended = installation.run("rotate", SERVICE, trace=str(trace))
        assert ended.code == 0, ended
        gaps.append(_gap(trace))
    gaps.sort()
    # Of 30 samples the 99th percentile is the longest.
    print(f"single: gap of {ROTATIONS} rotations: median {gaps[ROTATIONS // 2]:.1f} ms, p99 {gaps[-1]:.1f} ms")
    assert gaps[-1] < GAP_MILLISECONDS_MAX


class Consumer:
    """A client that logs in all the time with what is published; it reads the place each time."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._stop = Event()
        self._thread = Thread(target=self._log_in)
        self.logins = 0
        self.failures: list[str] = []
        self.seen: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _log_in(self) -> None:
        place = self._installation.folder / "work" / "app.json"
        while not self._stop.is_set():
            published = json.loads(place.read_text())["PASSWORD"]
            username, _, password = published.partition(":")
            self.seen.add(username)
            if not self._installation.site.logs_in(CredentialValue(username, Secret(password))):
                self.failures.append(f"login {self.logins} as {username}")
            self.logins += 1


@pytest.mark.parametrize("strategy", [Strategy.ALTERNATING, Strategy.DUAL])
def test_where_two_can_be_valid_no_login_fails(
    strategy: Strategy, tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """A client logs in without a pause through 30 rotations and retirements, and is never refused."""
    installation = install(
        tmp_path, make_site(strategy), drivers[0], grace="200ms", template="{{ username }}:{{ password }}"
    )
    installation.done("rotate", SERVICE, "--wait-grace")
    with Consumer(installation) as consumer:
        for _ in range(ROTATIONS):
            installation.done("rotate", SERVICE, "--wait-grace")
        sleep(0.05)
    print(f"{strategy}: {ROTATIONS} rotations, {consumer.logins} logins, {len(consumer.failures)} failures")
    assert consumer.failures == []
    assert consumer.logins >= ROTATIONS * 5
    assert len(consumer.seen) == (2 if strategy is Strategy.ALTERNATING else 1)
