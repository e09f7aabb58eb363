"""Health: what each check of each service saw last, and how it went before that.

Rule: samples are kept as they were; whether a rotation goes back is decided by the engine, and told by its facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, cast

import msgspec
from msgspec.structs import replace

from engine import events as e
from engine.facts import Recorded
from engine.health import CheckResult
from engine.values import Instant, Microseconds
from projections import shapes
from projections.feed import Condition, Folding, Kind, Relation, Row, Rows, Table, shape_of

KEPT: Final = 60
"""Samples that are kept of each check: half an hour at the usual interval."""

CHECKS: Final = Table("health_checks", (("id", Kind.TEXT), ("service", Kind.TEXT), ("record", Kind.BLOB)))
RUNS: Final = Table("health_rotations", (("id", Kind.BLOB), ("service", Kind.TEXT), ("environment", Kind.TEXT)))

_BARS: Final = {
    CheckResult.PASS: "▁",
    CheckResult.WARN: "▃",
    CheckResult.UNKNOWN: "▅",
    CheckResult.FAIL: "█",
}


class Seen(msgspec.Struct, frozen=True):
    """One sample, as short as it can be kept."""

    at: Instant
    result: CheckResult
    value: float | None = None


class Record(msgspec.Struct, frozen=True):
    """What a check of a service saw."""

    service: str
    environment: str
    check: str
    rotation_id: str
    """The rotation that it looked on behalf of last."""
    last: Seen
    unit: str = ""
    duration: Microseconds = Microseconds(0)
    text: str = ""
    streak: int = 1
    """How often in a row it saw the same."""
    before: tuple[Seen, ...] = ()
    """The samples before the last, oldest first."""

    @property
    def sparkline(self) -> str:
        """Return a bar for each sample, oldest first: the higher the worse."""
        return "".join(_BARS[seen.result] for seen in (*self.before, self.last))


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_RECORD: Final = msgspec.msgpack.Decoder(Record).decode


class HealthProjection:
    """Folds the log into one row for each check of each service."""

    name = shapes.HEALTH
    schema = shapes.HEALTH_SCHEMA
    tables = (CHECKS, RUNS)

    @cached_property
    def shape(self) -> str:
        """Differs wherever what is kept differs."""
        return shape_of(Record)

    def begin(self) -> Folding:
        """Return a fold that goes on from whatever the rows hold."""
        return _Fold()


HEALTH: Final = HealthProjection()


class _Fold:
    """The records that a fold has touched, as of the last fact."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._runs: dict[bytes, tuple[str, str]] = {}

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return the rows of the checks that the facts are about."""
        runs: list[Row] = []
        touched: set[str] = set()
        for fact in (recorded.fact for recorded in facts):
            body, key = fact.body, fact.originator_id.bytes
            if isinstance(body, e.RotationStarted | e.RotationRequested):
                self._runs[key] = (body.service, body.environment)
                runs.append((key, body.service, body.environment))
            elif isinstance(body, e.HealthSampled):
                name = self._run(key, rows)
                touched.add(self._take(body, fact.at, name, str(fact.originator_id), rows))
        records = [(each, self._records[each]) for each in touched]
        return {RUNS: runs, CHECKS: [(key, record.service, _ENCODE(record)) for key, record in records]}

    def _take(self, body: e.HealthSampled, at: Instant, name: tuple[str, str], rotation_id: str, rows: Rows) -> str:
        service, environment = name
        key = f"{environment}/{service}/{body.check}"
        before = self._records.get(key) or _record(rows, key)
        seen = Seen(at, body.result, body.value)
        after = Record(service, environment, body.check, rotation_id, seen, body.unit, body.duration, body.text)
        if before is not None:
            streak = before.streak + 1 if before.last.result is body.result else 1
            after = replace(after, streak=streak, before=(*before.before, before.last)[1 - KEPT :])
        self._records[key] = after
        return key

    def _run(self, key: bytes, rows: Rows) -> tuple[str, str]:
        if key not in self._runs:
            row = rows.get(RUNS, key)
            if row is None:
                raise LookupError("it belongs to a rotation that never started")
            self._runs[key] = (str(row[1]), str(row[2]))
        return self._runs[key]


def _record(rows: Rows, key: str) -> Record | None:
    row = rows.get(CHECKS, key)
    return None if row is None else _RECORD(cast("bytes", row[2]))


def records(rows: Rows, *, service: str | None = None) -> list[Record]:
    """Return what the checks saw, of one service or of all, by environment, service and check."""
    conditions = [] if service is None else [Condition("service", Relation.AMONG, (service,))]
    return [_RECORD(cast("bytes", row[2])) for row in rows.select(CHECKS, conditions)]
