"""A target that shows a change late: what is seen until then is no failure."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.errors import PortError, Rejected, Unavailable
from engine.machine import State
from engine.policies import after_failure, judge
from engine.ports import Probe, Verification
from engine.process import Effect
from engine.values import SECOND, Microseconds
from tests.unit.engine.rotations import attempt, moment, plan, rotation, seconds

APPLIED = (attempt(closed=True, done=True),)


@pytest.mark.parametrize(
    ("after", "early"),
    [(0.0, True), (9.9, True), (10.0, False), (-0.1, False)],
    ids=["at once", "in time", "late", "set back"],
)
def test_a_refusal_counts_when_the_change_must_have_spread(after: float, *, early: bool) -> None:
    """Until then the target may answer as before it. A clock that was set back gives no more time."""
    late = plan(propagation=Microseconds(10 * SECOND))
    verifying = rotation(State.VERIFYING, late, attempts=APPLIED, entered_at=seconds(0), failures=1, refusals=1)
    seen = Verification(Probe.REFUSED, Probe.UNKNOWN, query=False)
    events = judge(verifying, seen, now=moment(after), jitter=1.0)
    assert isinstance(events[0], e.VerificationFailed)
    assert (events[0].early, len(events)) == ((True, 1) if early else (False, 2))
    waits = judge(verifying, Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False), now=moment(after), jitter=1.0)
    assert isinstance(waits[0], e.VerificationFailed)
    assert not waits[0].early  # that there is no answer has nothing to do with the change


@pytest.mark.parametrize("effect", list(Effect))
def test_what_does_not_show_yet_is_no_failure_of_looking_back(effect: Effect) -> None:
    """After going back, and after retiring: the change that is looked for may not show yet."""
    states = {Effect.RETIRE: State.RETIRING, Effect.VERIFY_ROLLBACK: State.VERIFYING_ROLLBACK}
    late = plan(propagation=Microseconds(10 * SECOND), rollback_retries=0)
    going = rotation(states.get(effect, State.ROLLING_BACK), late, attempts=APPLIED, entered_at=seconds(0), failures=4)

    def follows(error: PortError, after: float) -> e.RotationEvent:
        return after_failure(going, effect, error, now=moment(after), jitter=1.0)[0]

    unseen = Unavailable(what="seeing it", why="the target says accepted")
    for error, after in ((unseen, 9.9), (unseen, 10.0), (Rejected(what="it", why="no"), 9.9)):
        event = follows(error, after)
        early = isinstance(event, e.EffectPostponed) and event.early
        assert early == (effect in states and error is unseen and after < 10)
