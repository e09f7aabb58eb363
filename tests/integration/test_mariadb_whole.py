"""MariaDB through the command line: killed anywhere, under a client that logs in all the time, and what its logs see.

CI takes a sample. `KEYTURN_TEST_WHOLE=mariadb pytest -s tests/integration/test_mariadb_whole.py` does it all: a kill in
every gap of every story, and 200 rotations under a client.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

import pytest

from engine.plan import Strategy
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.leaks import Watch, files, hits
from tests.integration.mariadb_sites import hashed, mariadb_site
from tests.integration.sites import SERVICE
from tests.integration.test_gap import Consumer
from tests.integration.test_kill import FAILING, FORWARD, TAKEN_BACK, Lanes, Point, Story, _gaps, _prepared
from tests.integration.test_secrecy import HELD, PASSWORD, _everything, _secrets, _write_ahead_log_kept
from tests.mariadb_server import MariadbServer

pytestmark = pytest.mark.slow

WHOLE = os.environ.get("KEYTURN_TEST_WHOLE") == "mariadb"
ROTATIONS = 200 if WHOLE else 10
POINTS = 2
"""How many gaps of a story CI tries, beside the one behind the change of the target."""
STRATEGIES = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL)
STORIES = (FORWARD, FAILING, TAKEN_BACK) if WHOLE else (FORWARD,)


@pytest.fixture(scope="module")
def make_lanes(
    tmp_path_factory: pytest.TempPathFactory, drivers: list[Driver], mariadb_server: MariadbServer
) -> Callable[[Strategy, Story], Lanes]:
    """Make installations of a story that are alike, ready to be killed."""

    def make(strategy: Strategy, story: Story) -> Lanes:
        lanes = []
        for driver in drivers:
            folder = tmp_path_factory.mktemp("installation")
            lanes.append(_prepared(folder, mariadb_site(mariadb_server, strategy), driver, story))
        return Lanes(lanes, story)

    return make


@pytest.mark.parametrize("strategy", STRATEGIES if WHOLE else [Strategy.DUAL])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_killed_in_a_gap_it_is_resumed(
    strategy: Strategy, story: Story, make_lanes: Callable[[Strategy, Story], Lanes]
) -> None:
    """Before and after facts and calls of ports; nothing is lost, and a second resume does nothing."""
    lanes = make_lanes(strategy, story)
    boundaries = lanes.boundaries()
    points = _gaps(boundaries)
    assert len(points) >= 15
    if not WHOLE:
        points = _sample(points, random.Random(f"{strategy} {story.name}"))
    _report(story.name, strategy, points, lanes.tried(points))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.skipif(not WHOLE, reason="by hand: KEYTURN_TEST_WHOLE=mariadb")
def test_killed_by_the_clock_it_is_resumed(strategy: Strategy, make_lanes: Callable[[Strategy, Story], Lanes]) -> None:
    """In the middle of a call: a login, a statement on its way, an answer that nobody waits for any more."""
    source = random.Random(f"moments {strategy}")
    lanes = make_lanes(strategy, FORWARD)
    lanes.boundaries()
    drawn = [source.uniform(0.02, lanes.calm_seconds) for _ in range(100)]
    points = [Point(f"after {seconds * 1000:.1f} ms", kill_after=seconds) for seconds in drawn]
    _report("killed by the clock", strategy, points, lanes.tried(points))


def _sample(points: list[Point], source: random.Random) -> list[Point]:
    """Take the one where the answer of the target is lost, and some others."""
    lost = [each for each in points if each.name.startswith("after target.apply")]
    others = [each for each in points if each not in lost]
    return [*lost, *source.sample(others, POINTS)]


def _report(title: str, strategy: Strategy, points: list[Point], lost: list[str]) -> None:
    print(f"mariadb, {strategy}, {title}: points tried: {len(points)}, lost: {len(lost)}")
    assert not lost, "\n".join(lost)


@pytest.mark.parametrize("strategy", [Strategy.ALTERNATING, Strategy.DUAL])
def test_where_two_can_be_valid_no_login_fails(
    strategy: Strategy, tmp_path: Path, drivers: list[Driver], mariadb_server: MariadbServer
) -> None:
    """A client logs in without a pause through rotations and retirements, and is never refused."""
    site = mariadb_site(mariadb_server, strategy)
    installation = install(tmp_path, site, drivers[0], grace="200ms", template="{{ username }}:{{ password }}")
    installation.done("rotate", SERVICE, "--wait-grace")
    with Consumer(installation) as consumer:
        for _ in range(ROTATIONS):
            installation.done("rotate", SERVICE, "--wait-grace")
        sleep(0.05)
    print(f"mariadb, {strategy}: {ROTATIONS} rotations, {consumer.logins} logins, {len(consumer.failures)} failures")
    assert consumer.failures == []
    assert consumer.logins >= ROTATIONS * 5
    assert len(consumer.seen) == (2 if strategy is Strategy.ALTERNATING else 1)


def _something(installation: Installation) -> Iterator[tuple[str, Ended]]:
    """Rotate, rotate in vain, and go back."""
    yield "rotate", installation.done("rotate", SERVICE, "-vv")
    installation.site.spoil()
    yield "failing", installation.run("rotate", SERVICE, "-vv")
    installation.site.mend()
    yield "again", installation.done("rotate", SERVICE, "-vv")
    yield "back", installation.done("rollback", SERVICE, "--yes", "-vv")


@pytest.mark.parametrize("strategy", STRATEGIES if WHOLE else [Strategy.DUAL])
def test_no_secret_is_seen_anywhere(
    strategy: Strategy, tmp_path: Path, drivers: list[Driver], mariadb_server: MariadbServer
) -> None:
    """Not in general log, binary log and error log either: rotations, a failing one, broken and killed ones, back."""
    site = mariadb_site(mariadb_server, strategy)
    installation = install(tmp_path, site, drivers[0], settings=f", {PASSWORD}, keep_versions: 1000")
    watch = Watch()
    with _write_ahead_log_kept(installation):
        doing = _everything(installation, watch) if WHOLE else _something(installation)
        told = {f"streams of {name}": f"{ended.out}\n{ended.err}" for name, ended in doing}
        found = files(installation.folder, without=HELD)
    general, binary = mariadb_server.general_log, mariadb_server.binary_log
    haystacks = {
        **found,
        **{place: text.encode() for place, text in told.items()},
        "process lists": b"\n".join(watch.shown),
        "the general log": general,
        "the binary log": binary,
        "the error log": mariadb_server.log_path.read_bytes(),
    }
    secrets = _secrets(installation)
    made = [value for name, value in secrets.items() if name != "our own login"]
    assert len(made) >= 3
    assert hits(secrets, haystacks) == []
    # A search that finds nothing means something only where what was to be searched is there.
    assert b"SELECT 1 FROM gate" in general
    assert f"ALTER USER '{site.logins[0]}'@'%'".encode() in binary
    assert any(hashed(value).encode() in binary for value in made), "replicas are given hashes"
    assert not any(hashed(value).encode() in general for value in made), "and the general log is not"
