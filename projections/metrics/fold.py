"""The fold behind the metrics: totals, the rotations that are not over, and how credentials stand.

Rule 1: totals are whole numbers (times in microseconds), so that every way of cutting the log gives the same.
Rule 2: an event that says something new is one more case in `_move`, `_note` or `_tell`, and one more metric.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, cast, get_args

import msgspec
from msgspec.structs import replace

from engine import channel_events as c
from engine import events as e
from engine.facts import Fact, Recorded, tag_of
from engine.machine import ENDED, LEAVING, State
from engine.plan import Kind
from engine.values import SECOND, Instant, Microseconds
from projections import shapes
from projections.feed import Folding, Row, Rows, Table, shape_of
from projections.feed import Kind as Column
from projections.metrics import catalogue as m
from projections.status import OF_CREDENTIAL, identity

TOTALS: Final = Table("metrics_totals", (("series", Column.TEXT), ("value", Column.INTEGER)))
"""The key is a JSON list: the name of the metric, then what tells its series apart."""

RUNS: Final = Table(
    "metrics_rotations",
    (("id", Column.BLOB), ("state", Column.TEXT), ("run", Column.BLOB)),
    indexes=(("state",),),
)
STANDINGS: Final = Table("metrics_credentials", (("id", Column.BLOB), ("standing", Column.BLOB)))

SUM: Final = "sum"
"""Stands in the place of a bucket where it is the sum of what was observed, in microseconds."""

INFINITE: Final = "+Inf"
"""The bucket of what is longer than every bound."""

_NONE: Final = Microseconds(0)
_OF_ROTATION: Final = frozenset(get_args(e.RotationEvent))
_OF_CHANNEL: Final = frozenset(get_args(c.ChannelEvent))


class Run(msgspec.Struct, frozen=True):
    """A rotation on its way."""

    service: str
    environment: str
    strategy: str
    overlap: bool
    """The target can accept two versions at once."""
    has_previous: bool
    """There is another version than the candidate to accept."""
    state: State
    entered_at: Instant
    started_at: Instant
    paused: Microseconds = _NONE
    """How long it waited for a person, in states that it has left."""
    grace: Microseconds = _NONE
    """How long its grace period was."""
    rotated_before: Instant | None = None
    """When a version had become current, before it began."""


class Standing(msgspec.Struct, frozen=True):
    """A credential, as far as gauges tell of it; without a name before the first event that carries it."""

    service: str = ""
    environment: str = ""
    has_current: bool = False
    rotated_at: Instant | None = None
    overlap_since: Instant | None = None
    grace_end: Instant | None = None


class MetricsProjection:
    """Folds the log into totals, runs and standings."""

    name = shapes.METRICS
    schema = shapes.METRICS_SCHEMA
    tables = (TOTALS, RUNS, STANDINGS)

    @cached_property
    def shape(self) -> str:
        """Differs wherever what is kept differs."""
        return shape_of(Run, Standing)

    def begin(self) -> Folding:
        """Return a fold that goes on from whatever the rows hold."""
        return _Fold()


METRICS: Final = MetricsProjection()

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_RUN: Final = msgspec.msgpack.Decoder(Run).decode
_STANDING: Final = msgspec.msgpack.Decoder(Standing).decode
_KEY: Final = msgspec.json.Encoder().encode
_SERIES: Final = msgspec.json.Decoder(list[str]).decode


def run_of(row: Row) -> Run:
    """Return the run in a row of a rotation that is not over."""
    return _RUN(cast("bytes", row[2]))


def standing_of(row: Row) -> Standing:
    """Return the standing in a row of a credential."""
    return _STANDING(cast("bytes", row[1]))


def total_of(row: Row) -> tuple[str, tuple[str, ...], int]:
    """Return the name of a metric, what tells the series apart, and the total."""
    name, *parts = _SERIES(str(row[0]))
    return name, tuple(parts), cast("int", row[1])


class _Fold:
    """What a fold has touched, as of the last fact; and which of it the batch has changed."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._runs: dict[bytes, Run] = {}
        self._standings: dict[bytes, Standing] = {}
        self._changes: tuple[set[str], dict[bytes, Run], set[bytes]] = (set(), {}, set())

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return the totals, runs and standings that the facts change."""
        totals, runs, standings = self._changes = (set(), {}, set())
        for recorded in facts:
            fact = recorded.fact
            body = fact.body
            self._add(1, rows, m.EVENTS.name, tag_of(body).rpartition(".")[0])
            if type(body) in _OF_ROTATION:
                self._move(fact, rows)
            elif type(body) in OF_CREDENTIAL:
                self._note(fact, rows)
            elif type(body) in _OF_CHANNEL:
                self._tell(cast("c.ChannelEvent", body), rows)
        put: dict[Table, Sequence[Row]] = {
            TOTALS: [(series, self._totals[series]) for series in totals],
            RUNS: [(key, run.state.value, None if _is_over(run) else _ENCODE(run)) for key, run in runs.items()],
            STANDINGS: [(key, _ENCODE(self._standings[key])) for key in standings],
        }
        for key, run in runs.items():
            if _is_over(run):
                del self._runs[key]
        return put

    # --- rotations ------------------------------------------------------------------------------------

    def _move(self, fact: Fact, rows: Rows) -> None:
        """Fold a fact of a rotation."""
        body, key = fact.body, fact.originator_id.bytes
        if isinstance(body, e.RotationStarted | e.RotationRequested):
            self._begin(fact, body, rows)
            return
        before = self._run(key, rows)
        credential = identity(before.service, before.environment).bytes
        match body:
            case e.CandidateVerified():
                self._observe(fact.at - before.entered_at, rows, m.VERIFICATION, before, "verified")
            case e.CandidateApplied() if before.overlap and before.has_previous:
                self._stand(credential, rows, overlap_since=fact.at)
            case e.PreviousCaptured():
                self._keep(key, replace(before, has_previous=True))
            case e.Promoted():
                self._stand(credential, rows, rotated_at=fact.at)
            case e.MonitoringPassed():
                self._stand(credential, rows, grace_end=body.grace.wall)
            case e.RollbackStarted():
                kind = m.ROLLBACK_TYPES[0] if body.automatic else m.ROLLBACK_TYPES[1]
                self._add(1, rows, m.ROLLBACKS.name, before.service, before.environment, kind)
            case e.PreviousRestored():
                self._stand(credential, rows, rotated_at=before.rotated_before, overlap_since=None)
            case e.PreviousRetired():
                self._stand(credential, rows, overlap_since=None)
            case _:
                pass  # It may still change the state, which is all that is measured of it.
        if fact.state is not None and fact.state is not before.state:
            self._enter(fact, before, fact.state, rows)

    def _begin(self, fact: Fact, body: e.RotationStarted | e.RotationRequested, rows: Rows) -> None:
        """Fold that a rotation began, or waits for its turn."""
        credential = identity(body.service, body.environment).bytes
        standing = self._stand(credential, rows, service=body.service, environment=body.environment)
        if isinstance(body, e.RotationRequested):
            first, has_previous = State.WAITING, False
        else:
            first, has_previous = State.STAGING, body.previous not in (None, body.version)
        strategy = body.plan.strategy.value
        run = Run(
            service=body.service,
            environment=body.environment,
            strategy=strategy,
            overlap=body.plan.overlap,
            has_previous=has_previous,
            state=fact.state or first,
            entered_at=fact.at,
            started_at=fact.at,
            rotated_before=standing.rotated_at,
        )
        self._keep(fact.originator_id.bytes, run)
        if isinstance(body, e.RotationStarted):
            self._add(1, rows, m.STARTED.name, body.service, body.environment, strategy)
            if body.kind is Kind.ROLLBACK:
                self._add(1, rows, m.ROLLBACKS.name, body.service, body.environment, m.ROLLBACK_TYPES[1])

    def _enter(self, fact: Fact, before: Run, state: State, rows: Rows) -> None:
        """Fold that a rotation came into another state: how long it was in the one before, and what it came to."""
        spent = Microseconds(max(fact.at - before.entered_at, 0))
        paused, grace = before.paused, before.grace
        if before.state in LEAVING:
            paused = Microseconds(paused + spent)
        elif before.state is State.GRACE:
            grace = Microseconds(grace + spent)
            self._stand(identity(before.service, before.environment).bytes, rows, grace_end=None)
        elif before.state is State.VERIFYING and not isinstance(fact.body, e.CandidateVerified):
            self._observe(spent, rows, m.VERIFICATION, before, "failed")
        run = replace(before, state=state, entered_at=fact.at, paused=paused, grace=grace)
        self._keep(fact.originator_id.bytes, run)
        if state in m.OUTCOMES:
            self._add(1, rows, m.ROTATIONS.name, run.service, run.environment, run.strategy, state.value)
        if state in ENDED and before.state is not State.WAITING:
            lasted = max(fact.at - run.started_at, 0)
            for metric, length in (
                (m.DURATION, lasted),
                (m.ACTIVE, max(lasted - paused - grace, 0)),
                (m.PAUSED, paused),
            ):
                self._observe(length, rows, metric, run, run.strategy, state.value)

    # --- credentials and channels ---------------------------------------------------------------------

    def _note(self, fact: Fact, rows: Rows) -> None:
        """Fold a fact of a credential."""
        credential = fact.originator_id.bytes
        match fact.body:
            case e.RotationOpened() | e.RotationQueued() as body:
                self._stand(credential, rows, service=body.service, environment=body.environment)
            case e.VersionAdopted():
                self._stand(credential, rows, has_current=True)
            case e.CurrentChanged() as body:
                self._stand(credential, rows, has_current=body.version is not None)
            case _:
                pass  # Which versions are held, and which logins were spent, is not measured.

    def _tell(self, body: c.ChannelEvent, rows: Rows) -> None:
        """Fold a fact of a channel."""
        match body:
            case c.NotificationDelivered():
                result = "delivered"
            case c.NotificationPostponed():
                result = "postponed"
            case c.NotificationGivenUp():
                result = "given_up"
            case c.NotificationBlocked():
                result = "blocked"
            case c.NotificationsDropped():
                result = "dropped"
                self._add(len(body.positions), rows, m.DROPPED.name, body.channel)
            case _:
                return  # How a channel stands is told by the outbox.
        self._add(len(body.positions), rows, m.NOTIFICATIONS.name, body.channel, result)

    # --- what is kept ---------------------------------------------------------------------------------

    def _add(self, count: int, rows: Rows, *series: str) -> None:
        key = _KEY(series).decode()
        if key not in self._totals:
            row = rows.get(TOTALS, key)
            self._totals[key] = cast("int", row[1]) if row else 0
        self._totals[key] += count
        self._changes[0].add(key)

    def _observe(self, length: int, rows: Rows, metric: m.Metric, run: Run, *labels: str) -> None:
        """Take down a length of time of a rotation: in the one bucket that it falls into, and in the sum."""
        length = max(length, 0)
        place = bisect_left(metric.bounds, length / SECOND)
        bucket = str(metric.bounds[place]) if place < len(metric.bounds) else INFINITE
        series = (metric.name, run.service, run.environment, *labels)
        self._add(1, rows, *series, bucket)
        self._add(length, rows, *series, SUM)

    def _run(self, key: bytes, rows: Rows) -> Run:
        if key not in self._runs:
            row = rows.get(RUNS, key)
            if row is None or row[2] is None:
                raise LookupError("it belongs to a rotation that never started, or is over")
            self._runs[key] = run_of(row)
        return self._runs[key]

    def _keep(self, key: bytes, run: Run) -> None:
        self._runs[key] = self._changes[1][key] = run

    def _stand(self, key: bytes, rows: Rows, **fields: object) -> Standing:
        """Change some fields of a credential's standing; return it."""
        if key not in self._standings:
            row = rows.get(STANDINGS, key)
            self._standings[key] = standing_of(row) if row else Standing()
        self._standings[key] = replace(self._standings[key], **fields)
        self._changes[2].add(key)
        return self._standings[key]


def _is_over(run: Run) -> bool:
    """Tell whether no fact of the rotation follows; one that failed may still be taken back."""
    return run.state in ENDED and run.state is not State.FAILED
