"""History: a row for every event, and the rotations that they make up.

Rule: what can change later (names, whether a version is still held, how a rotation stands) is read from the
credential and the rotation when it is asked for; a row of an event is written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, cast, get_args
from uuid import UUID

import msgspec

from engine import credential as credentials
from engine import events as e
from engine import rotation as rotations
from engine.credential import Credential
from engine.facts import Fact, Recorded
from engine.rotation import Rotation
from engine.values import Instant
from projections import shapes
from projections.feed import Condition, Folding, Kind, Relation, Row, Rows, Table, shape_of
from projections.rotations import rotation_document
from projections.status import ASIDE, OF_CREDENTIAL, identity, named
from projections.times import to_text

CREDENTIALS: Final = Table(
    "history_credentials",
    (("id", Kind.BLOB), ("service", Kind.TEXT), ("environment", Kind.TEXT), ("credential", Kind.BLOB)),
    indexes=(("service", "environment"),),
)
ROTATIONS: Final = Table(
    "history_rotations",
    (("id", Kind.TEXT), ("credential", Kind.BLOB), ("state", Kind.TEXT), ("rotation", Kind.BLOB)),
    indexes=(("credential",),),
)
EVENTS: Final = Table(
    "history_events",
    (
        ("position", Kind.INTEGER),
        ("at", Kind.INTEGER),
        ("number", Kind.INTEGER),
        ("credential", Kind.BLOB),
        ("rotation", Kind.TEXT),
        ("event", Kind.TEXT),
        ("state", Kind.TEXT),
        ("version", Kind.TEXT),
        ("current", Kind.TEXT),
        ("actor", Kind.TEXT),
        ("reason", Kind.TEXT),
        ("hash", Kind.BLOB),
    ),
    indexes=(("credential",),),  # The key, position, is part of every index.
)

_TAGS: Final[dict[type[msgspec.Struct], str]] = {event: str(event.__struct_config__.tag) for event in get_args(e.Event)}


def _with_field(field: str) -> frozenset[type[msgspec.Struct]]:
    """Return the events that have a field: asking an object for what it lacks takes as long as folding it."""
    return frozenset(event for event in _TAGS if field in event.__struct_fields__)


_OF_A_VERSION: Final = _with_field("version")
_WITH_REASON: Final = _with_field("reason")
_WITH_CAUSE: Final = _with_field("cause")
_ENCODE: Final = msgspec.msgpack.Encoder().encode
_CREDENTIAL: Final = msgspec.msgpack.Decoder(Credential).decode
_ROTATION: Final = msgspec.msgpack.Decoder(Rotation).decode


class HistoryProjection:
    """Folds the log into rows of events, rotations and credentials."""

    name = shapes.HISTORY
    schema = shapes.HISTORY_SCHEMA
    tables = (CREDENTIALS, ROTATIONS, EVENTS)

    @cached_property
    def shape(self) -> str:
        """Differs wherever the aggregates that are kept differ."""
        return shape_of(Credential, Rotation)

    def begin(self) -> Folding:
        """Return a fold that goes on from whatever the rows hold."""
        return _Chronicle()


HISTORY: Final = HistoryProjection()


class _Run(msgspec.Struct):
    """A rotation on its way, with what every row of its events repeats."""

    owner: int
    """The number of the credential's id, and its bytes."""
    credential: bytes
    hex: str
    rotation: Rotation


class _Chronicle:
    """The credentials and open rotations that a fold has touched, as of the last fact, by the number of their id."""

    def __init__(self) -> None:
        self._credentials: dict[int, Credential] = {}
        self._runs: dict[int, _Run] = {}
        self._touched: tuple[set[int], dict[int, _Run]] = (set(), {})

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return a row for every fact of a rotation or credential, and those of what the facts touch."""
        owners, runs = self._touched = (set(), {})
        written = [self._take(each, rows) for each in facts if type(each.fact.body) not in ASIDE]
        for key, run in runs.items():
            if run.rotation.ended_at is not None:
                del self._runs[key]
        return {
            EVENTS: written,
            ROTATIONS: [
                (run.hex, run.credential, run.rotation.state.value, _ENCODE(run.rotation)) for run in runs.values()
            ],
            CREDENTIALS: [
                (owner.to_bytes(16), each.service, each.environment, _ENCODE(each))
                for owner, each in ((owner, self._credentials[owner]) for owner in owners)
            ],
        }

    def _take(self, recorded: Recorded, rows: Rows) -> Row:
        """Fold a fact; return the row of its event."""
        fact = recorded.fact
        body = fact.body
        of_credential = type(body) in OF_CREDENTIAL
        run: _Run | None
        if of_credential:
            owner, credential = fact.originator_id.int, fact.originator_id.bytes
            run = self._note(fact, rows)
        else:
            run = self._move(fact, rows)
            owner, credential = run.owner, run.credential
        current = self._credentials[owner].current
        return (
            recorded.position,
            fact.at,
            fact.originator_version,
            credential,
            run.hex if run else None,
            _TAGS[type(body)],
            None if of_credential or run is None else run.rotation.state.value,
            _version(body, run),
            current.id if current else None,
            fact.actor,
            _reason(body),
            recorded.hash,
        )

    def _note(self, fact: Fact, rows: Rows) -> _Run | None:
        """Fold a fact of a credential; return the rotation that it names as waiting or closed, else the open one."""
        owner = fact.originator_id.int
        before = self._credential(owner, rows) or Credential(fact.originator_id, "", "")
        after = credentials.evolve(named(before, fact), fact)
        self._credentials[owner] = after
        self._touched[0].add(owner)
        named_there = fact.body.rotation_id if isinstance(fact.body, e.RotationQueued | e.RotationClosed) else None
        meant = named_there or after.open or before.open
        return self._run(meant, rows) if meant else None

    def _move(self, fact: Fact, rows: Rows) -> _Run:
        """Fold a fact of a rotation; return it."""
        body = fact.body
        begins = fact.originator_version == 1
        if begins and isinstance(body, e.RotationStarted | e.RotationRequested):
            credential = identity(body.service, body.environment)
            run = _Run(credential.int, credential.bytes, fact.originator_id.hex, rotations.start(fact))
            if self._credential(run.owner, rows) is None:
                self._credentials[run.owner] = Credential(credential, body.service, body.environment)
                self._touched[0].add(run.owner)
            self._runs[fact.originator_id.int] = run
        else:
            run = self._run(fact.originator_id, rows)
            run.rotation = rotations.evolve(run.rotation, fact)
        self._touched[1][fact.originator_id.int] = run
        return run

    def _credential(self, owner: int, rows: Rows) -> Credential | None:
        if owner not in self._credentials:
            row = rows.get(CREDENTIALS, owner.to_bytes(16))
            if row is None:
                return None
            self._credentials[owner] = _CREDENTIAL(cast("bytes", row[3]))
        return self._credentials[owner]

    def _run(self, rotation_id: UUID, rows: Rows) -> _Run:
        """Return a rotation that was begun, its credential at hand."""
        run = self._runs.get(rotation_id.int)
        if run is None:
            row = rows.get(ROTATIONS, rotation_id.hex)
            if row is None:
                raise LookupError("it belongs to a rotation that never started")
            key = cast("bytes", row[1])
            run = _Run(int.from_bytes(key), key, rotation_id.hex, _ROTATION(cast("bytes", row[3])))
            self._runs[rotation_id.int] = run
            self._credential(run.owner, rows)
        return run


def _version(body: e.Event, run: _Run | None) -> str | None:
    """Return the version that an event is about: the one it names, else the candidate of its rotation."""
    if type(body) not in _OF_A_VERSION:
        return (run.rotation.candidate or None) if run else None
    version: str | None = getattr(body, "version", None)
    # Of an attempt, a leading dash says that the version is to be refused from there on.
    return version.removeprefix("-") or None if version else None


def _reason(body: e.Event) -> str:
    """Return why: in the words of the person who decided, else the message of what went wrong."""
    reason = getattr(body, "reason", "") if type(body) in _WITH_REASON else ""
    cause: e.Cause | None = getattr(body, "cause", None) if type(body) in _WITH_CAUSE else None
    return reason or (cause.message if cause else "")


# --- what is asked of it ------------------------------------------------------------------------------------


class Query(msgspec.Struct, frozen=True):
    """Which events: of a service, of a rotation (its whole id), from and until a time, that led to a state.

    None of them given is all. `limit` takes the newest.
    """

    service: str | None = None
    rotation: UUID | None = None
    since: Instant | None = None
    until: Instant | None = None
    status: str | None = None
    limit: int | None = None


def events(rows: Rows, query: Query) -> list[dict[str, Any]]:
    """Return the events of `keyturn.history/1`, oldest first.

    `version` is the one that the event is about, `current` the one that the stores called current after it, and
    `restorable` tells whether that is still held, so that `rollback --to #POSITION` can reach it.
    """
    known = {row[0]: _CREDENTIAL(cast("bytes", row[3])) for row in _credentials(rows, query.service)}
    conditions = _conditions(query)
    if query.service is not None:
        conditions.append(Condition("credential", Relation.AMONG, tuple(known)))
    elif query.rotation is not None and (row := rows.get(ROTATIONS, query.rotation.hex)):
        # The events of a rotation are found among those of its credential, by their index.
        conditions.append(Condition("credential", Relation.AMONG, (row[1],)))
    found = rows.select(EVENTS, conditions, last_first=True, limit=query.limit)
    held = {key: {v.id for v in credential.known} for key, credential in known.items()}
    return [_document(row, known[row[3]], held[row[3]]) for row in reversed(found)]


def _credentials(rows: Rows, service: str | None) -> list[Row]:
    wanted = [] if service is None else [Condition("service", Relation.AMONG, (service,))]
    return rows.select(CREDENTIALS, wanted)


def _conditions(query: Query) -> list[Condition]:
    conditions: list[Condition] = []
    if query.rotation is not None:
        conditions.append(Condition("rotation", Relation.AMONG, (query.rotation.hex,)))
    if query.since is not None:
        conditions.append(Condition("at", Relation.AT_LEAST, (query.since,)))
    if query.until is not None:
        conditions.append(Condition("at", Relation.AT_MOST, (query.until,)))
    if query.status is not None:
        conditions.append(Condition("state", Relation.AMONG, (query.status,)))
    return conditions


def _document(row: Row, credential: Credential, held: set[str]) -> dict[str, Any]:
    position, at, number, _, run, event, state, version, current, actor, reason, link = row
    rotation_id = None if run is None else UUID(hex=cast("str", run))
    # Only the facts of a rotation lead to a state.
    originator = credential.id if state is None else rotation_id
    return {
        "position": position,
        "id": f"{originator}/{cast('int', number)}",
        "at": to_text(cast("int", at)),
        "service": credential.service,
        "environment": credential.environment,
        "rotation_id": None if rotation_id is None else str(rotation_id),
        "event": event,
        "state": state,
        "version": version,
        "current": current,
        "actor": actor,
        "reason": reason,
        "restorable": current in held,
        "hash": cast("bytes", link).hex(),
    }


def find(rows: Rows, prefix: str) -> list[UUID]:
    """Return the ids of the rotations that begin with `prefix`, with dashes or without; none for an empty one."""
    wanted = prefix.replace("-", "").lower()
    if not wanted:
        return []
    # No hexadecimal digit sorts behind "f", so "g" closes the range.
    within = [Condition("id", Relation.AT_LEAST, (wanted,)), Condition("id", Relation.AT_MOST, (f"{wanted}g",))]
    return [UUID(hex=cast("str", row[0])) for row in rows.select(ROTATIONS, within)]


def rotation(rows: Rows, rotation_id: UUID) -> dict[str, Any] | None:
    """Return the rotation as `keyturn.rotation/1`; None where the log has none with this id."""
    row = rows.get(ROTATIONS, rotation_id.hex)
    return None if row is None else rotation_document(_ROTATION(cast("bytes", row[3])))


def meant(rows: Rows, service: str) -> UUID | None:
    """Return the rotation that the name of a service means; None where it has none.

    The open one; without it the one that waits for its turn; without that the newest. In several environments: the
    newest of them.
    """
    credentials_there = [_CREDENTIAL(cast("bytes", row[3])) for row in _credentials(rows, service)]
    ids = [each.open or each.queued or each.last for each in credentials_there]
    found = [rows.get(ROTATIONS, each.hex) for each in ids if each is not None]
    those = [_ROTATION(cast("bytes", row[3])) for row in found if row is not None]
    return max(those, key=lambda each: (each.started_at, each.id)).id if those else None


def rotations_of(
    rows: Rows, *, service: str | None = None, states: Iterable[str] = (), limit: int | None = None
) -> list[dict[str, Any]]:
    """Return rotations as `keyturn.rotation/1`, oldest first: of one service, in some states; `limit` the newest."""
    conditions: list[Condition] = []
    if service is not None:
        owners = tuple(row[0] for row in _credentials(rows, service))
        conditions.append(Condition("credential", Relation.AMONG, owners))
    if wanted := tuple(states):
        conditions.append(Condition("state", Relation.AMONG, wanted))
    found = [_ROTATION(cast("bytes", row[3])) for row in rows.select(ROTATIONS, conditions)]
    found.sort(key=lambda each: (each.started_at, each.id))
    return [rotation_document(each) for each in (found if limit is None else found[max(len(found) - limit, 0) :])]
