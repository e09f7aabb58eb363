"""Stories of a network that breaks between keyturn and a real server, each told in the simulation as well.

Both must end the same: the same changes of state, the same label moves, the same versions that work. A login that
tells which do goes to the server itself, past the proxy that breaks things.
"""

from __future__ import annotations

from typing import Final

import pytest

from adapters.simulation.faults import Fault
from engine.events import CandidateApplied
from engine.machine import State
from engine.plan import Strategy
from tests.integration.proxy import Fate, Happened
from tests.integration.sites import SERVICE
from tests.integration.stories import (
    DONE,
    EVERY,
    OVERLAPPING,
    PERSON_NEEDED,
    QUICK,
    ROLLED_BACK,
    STILL_RUNNING,
    Begin,
    Story,
    assert_same_end,
    side_by_side,
    simulated,
)

pytestmark = pytest.mark.slow

CHANGE: Final = {Strategy.SINGLE: b"COMMIT", Strategy.ALTERNATING: b"COMMIT", Strategy.DUAL: b"SETUSER"}
"""What stands in the request that has a change take effect: the first is that of the candidate."""
QUERY: Final = {Strategy.SINGLE: b"FROM gate", Strategy.ALTERNATING: b"FROM gate", Strategy.DUAL: b"HLEN"}
"""What stands in the request that verifies the candidate, after its login."""
PATIENCE: Final = {
    Strategy.SINGLE: "connect_timeout: 1s\nstatement_timeout: 300ms\n",
    Strategy.ALTERNATING: "connect_timeout: 1s\nstatement_timeout: 300ms\n",
    Strategy.DUAL: "connect_timeout: 500ms\ncommand_timeout: 500ms\n",
}
"""Options for a network that says nothing."""
UNVERIFIED: Final = tuple(Fault("target.verify", nth, "unknown") for nth in (1, 2, 3))
"""In the simulation: no verification has a clear answer, so that the rotation goes back by itself."""


def _observed(story: Story) -> list[str]:
    """Return what showed that the candidate is in force: the answer, or a look."""
    return [fact.body.observed for fact in story.facts() if isinstance(fact.body, CandidateApplied)]


def test_the_answer_to_the_change_is_lost(begin: Begin) -> None:
    """The server has the new password, and nobody was told: a login with it tells, and nothing is sent again."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy)
        story.proxy.plan(CHANGE[strategy], Fate.LOSE_ANSWER)
        ended = story.rotate()
        story.happened(Happened(CHANGE[strategy], Fate.LOSE_ANSWER))
        assert ended.code == DONE, ended
        assert _observed(story) == ["probe"]
        assert_same_end(story, simulated(strategy, Fault("target.apply", 1, "error_after")))

    side_by_side(EVERY, tell)


def test_the_request_for_the_change_is_lost(begin: Begin) -> None:
    """For keyturn it is the same as a lost answer; the login tells the difference, and the change is sent again."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy)
        story.proxy.plan(CHANGE[strategy], Fate.LOSE_REQUEST)
        ended = story.rotate()
        story.happened(Happened(CHANGE[strategy], Fate.LOSE_REQUEST))
        assert ended.code == DONE, ended
        assert _observed(story) == ["answer"]
        assert_same_end(story, simulated(strategy, Fault("target.apply", 1, "lost")))

    side_by_side(EVERY, tell)


def test_the_change_lands_late_and_another_process_has_gone_on(begin: Begin) -> None:
    """Who asked is dead, and the next process looks and asks again, while the first request arrives: it says the same.

    Where the machine is slow, it has arrived before the look, and is not asked again.
    """

    def tell(strategy: Strategy) -> None:
        story = begin(strategy)
        story.killed_when(CHANGE[strategy], Fate.HOLD_REQUEST, seconds=0.8)
        ended = story.run("resume")
        story.proxy.wait()
        assert ended.code == DONE, ended
        died = Fault("log.append", 4, "crash_before")
        assert_same_end(story, simulated(strategy, Fault("target.apply", 1, "late"), died))

    side_by_side(EVERY, tell)


def test_the_change_lands_late_and_a_person_has_taken_it_back(begin: Begin) -> None:
    """Going back waits until the lost request can do nothing more; it does land, and what it did is undone."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy)
        story.killed_when(CHANGE[strategy], Fate.HOLD_REQUEST, seconds=0.5)
        aborted = story.run("abort", SERVICE, "--timeout", "1s")
        story.proxy.wait()
        assert aborted.code == STILL_RUNNING, aborted
        assert "an earlier attempt may still take effect" in aborted.err
        assert story.works(story.rotation().candidate), "the late request did not land"
        ended = story.run("resume")
        assert ended.code == DONE, ended
        late = Fault("target.apply", 1, "late", late=2.0)
        died, taken_back = Fault("log.append", 4, "crash_before"), Fault("log.append", 5, "abort")
        assert_same_end(story, simulated(strategy, late, died, taken_back))

    side_by_side(EVERY, tell)


def test_the_change_is_delivered_twice(begin: Begin) -> None:
    """What is set twice is set once, and what is taken away twice is gone."""

    def tell(strategy: Strategy) -> None:
        word = b"SETUSER" if strategy is Strategy.DUAL else b" PASSWORD "
        story = begin(strategy)
        twice = 1 if strategy is Strategy.SINGLE else 2
        for nth in range(1, twice + 1):
            story.proxy.plan(word, Fate.TWICE, nth=nth)
        ended = story.rotate()
        story.happened(*[Happened(word, Fate.TWICE)] * twice)
        assert ended.code == DONE, ended
        calls = ("target.apply", "target.retire")[:twice]
        assert_same_end(story, simulated(strategy, *(Fault(call, 1, "twice") for call in calls)))

    side_by_side(EVERY, tell)


def test_the_answer_to_the_retirement_is_lost(begin: Begin) -> None:
    """The old password may be gone or not: it is taken away again, and seen refused."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy)
        story.proxy.plan(CHANGE[strategy], Fate.LOSE_ANSWER, nth=2)
        ended = story.rotate()
        story.happened(Happened(CHANGE[strategy], Fate.LOSE_ANSWER))
        assert ended.code == DONE, ended
        assert_same_end(story, simulated(strategy, Fault("target.retire", 1, "error_after")))

    side_by_side(OVERLAPPING, tell)


def test_the_network_is_a_black_hole_while_the_candidate_is_verified(begin: Begin) -> None:
    """No clear answer is no proof: the rotation goes back by itself, as soon as the network is there again."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy, options=PATIENCE[strategy], settings=f"{QUICK}, rollback: {{max_retries: 20}}")
        story.proxy.plan(QUERY[strategy], Fate.SILENCE, seconds=6.0)
        ended = story.rotate()
        story.happened(Happened(QUERY[strategy], Fate.SILENCE))
        assert ended.code == ROLLED_BACK, ended
        assert "effect postponed -> rolling_back" in ended.err, "it went back through a black hole"
        assert "safely back on" in ended.err
        assert "gave no clear answer" in story.run("history", SERVICE).out, "why it went back is told"
        assert story.rotation().automatic
        assert_same_end(story, simulated(strategy, *UNVERIFIED, Fault("target.restore", 1, "error_before")))

    side_by_side(EVERY, tell)


def test_killed_between_the_change_and_its_record_and_no_network_afterwards(begin: Begin) -> None:
    """The next process cannot look; it says so, and the one after that finds the new password in force."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy)
        story.killed_when(CHANGE[strategy], Fate.HOLD_ANSWER, seconds=0.5)
        story.proxy.refuse()
        cut_off = story.run("resume", "--timeout", "1s")
        assert cut_off.code == STILL_RUNNING, cut_off
        assert "drives it on" in cut_off.err
        story.proxy.clear()
        ended = story.run("resume")
        assert ended.code == DONE, ended
        died, blind = Fault("target.apply", 1, "crash_after"), Fault("target.probe", 1, "unknown")
        assert_same_end(story, simulated(strategy, died, blind))

    side_by_side(EVERY, tell)


def test_the_network_is_down_while_going_back(begin: Begin) -> None:
    """A person is called (exit 5); once the network is back, `keyturn retry` goes back."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy, settings=f"{QUICK}, rollback: {{max_retries: 1}}")
        story.proxy.plan(QUERY[strategy], Fate.REFUSE)
        ended = story.rotate()
        story.happened(Happened(QUERY[strategy], Fate.REFUSE))
        assert ended.code == PERSON_NEEDED, ended
        rotation = story.rotation()
        assert rotation.state is State.ROLLBACK_FAILED
        assert f"keyturn retry {rotation.id}" in ended.err
        assert story.works(rotation.candidate if strategy is Strategy.SINGLE else story.old)
        story.proxy.clear()
        retried = story.run("retry", SERVICE)
        assert retried.code == DONE, retried
        blocked = (Fault("target.restore", nth, "error_before") for nth in (1, 2, 3))
        assert_same_end(story, simulated(strategy, *UNVERIFIED, *blocked))

    side_by_side(EVERY, tell)
