"""An independent fold of the log for the metrics, and the histories that it is tried on.

Rule: whole streams are looked at at once, and nothing is kept, so that it shares no mistake with the view.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from random import Random
from typing import Any, Final
from uuid import UUID

from msgspec.structs import replace

from engine import channel_events as c
from engine import events as e
from engine.channel_events import channel_id
from engine.facts import Fact, Recorded, tag_of
from engine.machine import ENDED, State
from engine.plan import Kind, Plan, Strategy
from engine.values import SECOND, Instant
from projections.metrics import catalogue
from projections.metrics.reading import Distribution
from tests.histories import BEGAN, CAUSE, recorded, walk

OVERLAPPING: Final = Plan(Strategy.ALTERNATING, overlap=True)


def varied(random: Random) -> list[Recorded]:
    """Return a history in which some rotations overlap, long pauses happen, and channels are told of things."""
    facts = [each.fact for each in walk(random, steps=random.randrange(60), services=random.randrange(1, 4))]
    later, told, made = 0, Counter[str](), []
    for fact in facts:
        later += random.choice((0, 0, 0, 400, 40_000)) * SECOND
        made.append(replace(fact, at=Instant(fact.at + later), body=_overlapping(fact)))
        if random.random() < 0.3:
            name = random.choice(("ops", "pager"))
            told[name] += 1
            made.append(Fact(channel_id(name), told[name], made[-1].at, "ada", _told(random, name)))
    return recorded(made)


def _overlapping(fact: Fact) -> e.Event:
    body = fact.body
    if isinstance(body, e.RotationStarted | e.RotationRequested) and fact.originator_id.int % 2:
        return replace(body, plan=OVERLAPPING)
    return body


def _told(random: Random, name: str) -> c.ChannelEvent:
    positions = tuple(range(1, random.randrange(2, 5)))
    return random.choice(
        (
            c.ChannelOpened(name, 0),
            c.ChannelDisabled(name, CAUSE),
            c.ChannelEnabled(name),
            c.NotificationDelivered(name, positions),
            c.NotificationPostponed(name, positions, 1, CAUSE, BEGAN),
            c.NotificationGivenUp(name, positions, 9, CAUSE),
            c.NotificationBlocked(name, positions, CAUSE),
            c.NotificationsDropped(name, positions),
            c.NotificationsRequeued(name, positions),
        )
    )


def expected(facts: list[Recorded]) -> dict[str, Any]:
    """Return what the metrics of a log must say, computed from each rotation's facts as a whole."""
    streams: dict[UUID, list[Fact]] = defaultdict(list)
    for each in facts:
        streams[each.fact.originator_id].append(each.fact)
    counts: dict[str, Counter[Any]] = defaultdict(Counter)
    lengths: dict[str, dict[Any, list[int]]] = defaultdict(lambda: defaultdict(list))
    for each in facts:
        counts[catalogue.EVENTS.name][tag_of(each.fact.body).split(".")[0],] += 1
        body: Any = each.fact.body
        if type(body).__name__ in RESULT_OF:
            result = RESULT_OF[type(body).__name__]
            counts[catalogue.NOTIFICATIONS.name][body.channel, result] += len(body.positions)
            if result == "dropped":
                counts[catalogue.DROPPED.name][body.channel,] += len(body.positions)
    open_states: Counter[Any] = Counter()
    for stream in streams.values():
        if isinstance(stream[0].body, e.RotationStarted | e.RotationRequested):
            _measure(stream, counts, lengths)
            last = stream[-1].state
            if last is not None and last not in ENDED:
                open_states[last.value,] += 1
    return {"counts": counts, "lengths": lengths, "open": open_states}


RESULT_OF: Final = {
    "NotificationDelivered": "delivered",
    "NotificationPostponed": "postponed",
    "NotificationGivenUp": "given_up",
    "NotificationBlocked": "blocked",
    "NotificationsDropped": "dropped",
}


def _measure(stream: list[Fact], counts: Any, lengths: Any) -> None:
    """Count and measure one rotation, from all of its facts."""
    first: Any = stream[0].body
    who = (first.service, first.environment)
    strategy = first.plan.strategy.value
    began = next((at for at, fact in enumerate(stream) if isinstance(fact.body, e.RotationStarted)), None)
    if began is not None:
        start: Any = stream[began].body
        counts[catalogue.STARTED.name][(*who, strategy)] += 1
        counts[catalogue.ROLLBACKS.name][(*who, "manual")] += start.kind is Kind.ROLLBACK
    for before, after in pairwise(stream):
        if isinstance(after.body, e.RollbackStarted):
            counts[catalogue.ROLLBACKS.name][(*who, "automatic" if after.body.automatic else "manual")] += 1
        if after.state is before.state:
            continue
        if before.state is State.VERIFYING:
            entered = _entered(stream, after)
            result = "verified" if isinstance(after.body, e.CandidateVerified) else "failed"
            lengths[catalogue.VERIFICATION.name][result,].append(after.at - entered)
        if after.state in ENDED or after.state is State.ROLLBACK_FAILED:
            counts[catalogue.ROTATIONS.name][(*who, strategy, after.state.value)] += 1
        if after.state in ENDED and began is not None:
            told = stream[began : stream.index(after) + 1]
            spent = Counter[State | None]()
            for one, next_one in pairwise(told):
                spent[one.state] += next_one.at - one.at
            paused = spent[State.PAUSED] + spent[State.ROLLBACK_FAILED] + spent[State.FAILED]
            how = (strategy, after.state.value)
            lengths[catalogue.DURATION.name][how].append(spent.total())
            lengths[catalogue.PAUSED.name][how].append(paused)
            lengths[catalogue.ACTIVE.name][how].append(spent.total() - paused - spent[State.GRACE])


def _entered(stream: list[Fact], after: Fact) -> int:
    """Return when the state was entered that `after` left."""
    earlier = stream[: stream.index(after)]
    state = earlier[-1].state
    return next(
        fact.at
        for number, fact in reversed(list(enumerate(earlier)))
        if fact.state is state and (number == 0 or earlier[number - 1].state is not state)
    )


def distribution(metric: catalogue.Metric, lengths: list[int]) -> Distribution:
    """Return a histogram of lengths, bucket by bucket."""
    buckets = [(f"{bound}.0", sum(length <= bound * SECOND for length in lengths)) for bound in metric.bounds]
    return Distribution((*buckets, ("+Inf", len(lengths))), sum(lengths) / SECOND)
