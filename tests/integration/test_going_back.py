"""Going back to what was current at an event: the version of that time works again, and the log tells the story."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.events import CurrentChanged
from engine.machine import State
from engine.plan import Strategy
from tests.integration.installations import Driver, Installation, install
from tests.integration.sites import SERVICE, Site

pytestmark = pytest.mark.slow

ROTATIONS = 5
PLACES = 10
REFUSED = 6


def _current_at(installation: Installation, position: int) -> str | None:
    """Return the version that was current after an event, told by the promotions alone."""
    current = None
    for fact in installation.facts()[:position]:
        if isinstance(fact.body, CurrentChanged):
            current = fact.body.version
    return current


def _events(installation: Installation) -> list[dict[str, object]]:
    """Return what `history --json` tells."""
    events: list[dict[str, object]] = json.loads(installation.done("history", SERVICE, "--json").out)["events"]
    return events


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL])
def test_the_version_of_any_earlier_event_works_again(
    strategy: Strategy, tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """After five rotations, back to ten events in turn, newest and oldest by turns."""
    installation = install(tmp_path, make_site(strategy), drivers[0], settings=", keep_versions: 100")
    for _ in range(ROTATIONS):
        installation.done("rotate", SERVICE)
    head = installation.head()
    known = installation.values()
    reachable = [n for n in range(1, head + 1) if _current_at(installation, n)]
    evenly = [reachable[i * (len(reachable) - 1) // (PLACES - 1)] for i in range(PLACES)]
    order = [each for pair in zip(evenly, reversed(evenly), strict=True) for each in pair][:PLACES]
    for position in order:
        wanted = _current_at(installation, position)
        assert wanted is not None
        moved = installation.credential().current
        before = installation.head()
        installation.done("rollback", SERVICE, "--to", f"#{position}", "--yes", "--reason", f"back to {position}")
        installation.assert_sound()
        assert installation.current() == known[wanted], "another value than that of the time is current"
        if moved is not None and moved.id == wanted:
            assert installation.head() == before, "there was nothing to do"
            continue
        story = [event for event in _events(installation) if int(str(event["position"])) > before]
        assert story[0]["reason"] == f"back to {position}"
        assert story[0]["version"] == wanted
        assert story[0]["state"] == "staging"
        assert "completed" in [event["state"] for event in story]
    assert installation.done("audit", "verify", "--json").document["ok"]
    assert all(rotation.state is State.COMPLETED for rotation in installation.rotations())
    assert len(installation.rotations()) > ROTATIONS + PLACES // 2
    installation.done("rotate", SERVICE)
    installation.assert_sound()
    print(f"{strategy}: back to {PLACES} events of {head}; all worked")


def test_a_version_that_is_not_held_any_more_is_refused(
    tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> None:
    """Exit 6, the restore points by name, and nothing recorded or changed."""
    installation = install(tmp_path, make_site(Strategy.SINGLE), drivers[0], settings=", keep_versions: 3")
    for _ in range(6):
        installation.done("rotate", SERVICE)
    first = next(number for number, fact in enumerate(installation.facts(), 1) if isinstance(fact.body, CurrentChanged))
    gone = _current_at(installation, first)
    assert gone not in installation.values()
    head, kept = installation.head(), installation.site.in_force()
    refused = installation.run("rollback", SERVICE, "--to", f"#{first}", "--yes")
    assert refused.code == REFUSED, refused
    assert str(gone) in refused.err
    current = installation.credential().current
    points = [version for version in installation.values() if current is None or version != current.id]
    assert points
    assert all(point in refused.err for point in points), refused.err
    early = installation.run("rollback", SERVICE, "--to", "#1", "--yes")
    assert early.code == REFUSED
    assert "no version was current then" in early.err
    assert (installation.head(), installation.site.in_force()) == (head, kept)
