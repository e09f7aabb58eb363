"""Status: where every credential stands now, one row each.

Rule: states are shown, never judged; what is legal is known to engine/machine.py alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, cast, get_args
from uuid import UUID

import msgspec
from msgspec.structs import replace

from engine import credential as credentials
from engine import events as e
from engine import rotation as rotations
from engine.credential import Credential, credential_id
from engine.facts import Fact, Recorded
from engine.leaving import ways_out
from engine.machine import ENDED, LEAVING, State
from engine.policies import is_inconclusive, is_stuck
from engine.rotation import Rotation
from engine.values import Instant
from projections import shapes
from projections.feed import Folding, Kind, Row, Rows, Table, shape_of
from projections.rollouts import in_a_line
from projections.rotations import error_of

OK: Final = "ok"
"""No rotation is open, and the last one left nothing to decide."""

OF_CREDENTIAL: Final = frozenset(get_args(e.CredentialEvent))
"""The events of a credential."""

ASIDE: Final = frozenset(get_args(e.Event)) - OF_CREDENTIAL - frozenset(get_args(e.RotationEvent))
"""The events that are neither of a credential nor of a rotation, as those of channels; they change no standing."""

RESCHEDULING: Final = (e.Promoted, e.PreviousRestored)
"""The events that change when a credential was rotated last (`Standing.last_rotated_at`)."""

identity: Final = lru_cache(maxsize=10_000)(credential_id)
"""`credential_id`, remembered: computing it costs as much as folding two facts."""

CREDENTIALS: Final = Table(
    shapes.STATUS_TABLE,
    (
        ("id", Kind.BLOB),
        ("service", Kind.TEXT),
        ("environment", Kind.TEXT),
        ("document", Kind.TEXT),
        ("standing", Kind.BLOB),
    ),
)
ROTATIONS: Final = Table("status_rotations", (("id", Kind.BLOB), ("credential", Kind.BLOB)))


class Standing(msgspec.Struct, frozen=True):
    """A credential, the newest rotation that began, the one that waits, and what outlives the rotations."""

    credential: Credential
    rotation: Rotation | None = None
    waiting: Rotation | None = None
    """The rotation that waits for its turn."""
    last_rotated_at: Instant | None = None
    """When a version became current last, and was not taken back since."""
    rotated_before: Instant | None = None
    """The same, as it was when the newest rotation began."""
    last_outcome: State | None = None
    captured: tuple[str, ...] = ()
    """The versions of which only a verifier is held: enough to undo a rotation, not to go back to later."""


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(Standing).decode
_JSON: Final = msgspec.json.Encoder().encode


def document(standing: Standing) -> dict[str, Any]:
    """Return one entry of `keyturn.status/1`, but `due_at`; times are microseconds.

    `state` is that of the open rotation; without one it is `waiting` where the turn of one has come that nobody began,
    `failed` where the last one failed and may still be taken back, else `ok`, or `never_rotated` where no version is
    current. `rotation_id` names the rotation that the state is of, `waiting` the one that waits for its turn. `version`
    is the current one.
    `restore_points` are the versions that a rollback can go to, oldest first: they were current, are not now, and
    were not destroyed. A verifier is none; where the target cannot be set back, only what is still in its grace
    period is one. `next` are the commands that lead out, where nothing goes on without a person.
    """
    credential, rotation = standing.credential, standing.rotation
    current = credential.current
    in_grace = rotation is not None and rotation.state is State.GRACE
    outcome = standing.last_outcome
    meant = standing.waiting if _has_its_turn(standing) else rotation
    if rotation is not None and rotation.state is State.ROLLBACK_FAILED:
        outcome = rotation.state
    return {
        "service": credential.service,
        "environment": credential.environment,
        "state": _state(standing),
        "open": credential.open is not None or standing.waiting is not None,
        "version": current.id if current else None,
        "rotation_id": str(meant.id) if meant else None,
        "waiting": str(standing.waiting.id) if standing.waiting else None,
        "last_rotated_at": standing.last_rotated_at,
        "last_outcome": outcome,
        "restore_points": [
            version.id for version in credential.known if version != current and _can_be_gone_to(standing, version.id)
        ],
        "grace_until": rotation.grace.wall if rotation and rotation.grace and in_grace else None,
        "error": error_of(rotation) if rotation else None,
        "rollout": (in_a_line(rotation) or None) if rotation and rotation.state not in ENDED else None,
        "next": [str(way) for way in ways_out(rotation)] if rotation and _needs_a_person(rotation) else [],
    }


def _needs_a_person(rotation: Rotation) -> bool:
    return rotation.state in LEAVING or is_stuck(rotation) or is_inconclusive(rotation)


def _can_be_gone_to(standing: Standing, version: str) -> bool:
    rotation = standing.rotation
    if version in standing.captured:
        return False
    if rotation is None or rotation.plan.settable:
        return True
    return rotation.state is State.GRACE and rotation.previous == version


def _has_its_turn(standing: Standing) -> bool:
    return standing.waiting is not None and standing.credential.open is None


def _state(standing: Standing) -> str:
    rotation = standing.rotation
    if standing.waiting is not None and _has_its_turn(standing):
        return standing.waiting.state.value
    if rotation is None or (rotation.state in ENDED and rotation.state is not State.FAILED):
        return OK if standing.credential.current else shapes.NEVER_ROTATED
    return rotation.state.value


def entry(row: Row) -> dict[str, Any]:
    """Return the entry in a row of a credential."""
    found: dict[str, Any] = msgspec.json.decode(str(row[3]))
    return found


def documents(rows: Rows) -> list[dict[str, Any]]:
    """Return the entries of all credentials that the log names, by service and environment."""
    texts = [str(row[3]) for row in rows.select(CREDENTIALS) if row[1]]
    entries: list[dict[str, Any]] = [msgspec.json.decode(text) for text in texts]
    return sorted(entries, key=lambda entry: (entry["service"], entry["environment"]))


class StatusProjection:
    """Folds the log into one row a credential."""

    name = shapes.STATUS
    schema = shapes.STATUS_SCHEMA
    tables = (CREDENTIALS, ROTATIONS)

    @cached_property
    def shape(self) -> str:
        """Differs wherever the aggregates that are kept differ."""
        return shape_of(Standing)

    def begin(self) -> Folding:
        """Return a fold that goes on from whatever the rows hold."""
        return _Standings()


STATUS: Final = StatusProjection()


class _Standings:
    """The standings that a fold has touched, as of the last fact, by the number of their id."""

    def __init__(self) -> None:
        self._standings: dict[int, Standing] = {}
        self._owners: dict[int, int] = {}
        self._touched: set[int] = set()
        self._begun: list[Row] = []

    def fold(self, facts: Sequence[Recorded], rows: Rows) -> Mapping[Table, Sequence[Row]]:
        """Return the rows of the credentials that the facts touch."""
        self._touched = set()
        self._begun = []
        for recorded in facts:
            if type(recorded.fact.body) not in ASIDE:
                self._take(recorded.fact, rows)
        return {CREDENTIALS: [self._row(owner) for owner in self._touched], ROTATIONS: self._begun}

    def _take(self, fact: Fact, rows: Rows) -> None:
        body = fact.body
        if type(body) in OF_CREDENTIAL:
            owner = fact.originator_id.int
            standing = self._standing(owner, rows) or Standing(Credential(fact.originator_id, "", ""))
            standing = _noted(standing, fact)
        elif isinstance(body, e.RotationStarted | e.RotationRequested):
            credential = identity(body.service, body.environment)
            owner = credential.int
            standing = self._standing(owner, rows) or Standing(Credential(credential, body.service, body.environment))
            standing = _begun(standing, fact)
            self._owners[fact.originator_id.int] = owner
            self._begun.append((fact.originator_id.bytes, credential.bytes))
        else:
            owner = self._owner(fact.originator_id, rows)
            standing = _moved(self._standings[owner], fact)
        self._standings[owner] = standing
        self._touched.add(owner)

    def _standing(self, owner: int, rows: Rows) -> Standing | None:
        if owner not in self._standings:
            row = rows.get(CREDENTIALS, owner.to_bytes(16))
            if row is None:
                return None
            self._standings[owner] = _DECODE(cast("bytes", row[4]))
        return self._standings[owner]

    def _owner(self, rotation_id: UUID, rows: Rows) -> int:
        """Return the credential of a rotation, its standing at hand."""
        owner = self._owners.get(rotation_id.int)
        if owner is None:
            row = rows.get(ROTATIONS, rotation_id.bytes)
            if row is None:
                raise LookupError("it belongs to a rotation that never started")
            owner = self._owners[rotation_id.int] = int.from_bytes(cast("bytes", row[1]))
            self._standing(owner, rows)
        return owner

    def _row(self, owner: int) -> Row:
        standing = self._standings[owner]
        credential = standing.credential
        text = _JSON(document(standing)).decode()
        return (owner.to_bytes(16), credential.service, credential.environment, text, _ENCODE(standing))


def named(credential: Credential, fact: Fact) -> Credential:
    """Return the credential with the names that the fact carries, where it carries them."""
    if isinstance(fact.body, e.RotationOpened) and not credential.service:
        return replace(credential, service=fact.body.service, environment=fact.body.environment)
    return credential


def _noted(standing: Standing, fact: Fact) -> Standing:
    """Return the standing after a fact of its credential."""
    credential = credentials.evolve(named(standing.credential, fact), fact)
    if not isinstance(fact.body, e.RotationClosed):
        return replace(standing, credential=credential)
    if standing.waiting is not None and standing.waiting.id == fact.body.rotation_id:
        return replace(standing, credential=credential, waiting=None)  # it never began, so nothing came of it
    return replace(standing, credential=credential, last_outcome=fact.body.outcome)


def _begun(standing: Standing, fact: Fact) -> Standing:
    """Return the standing after the first fact of a rotation, or that one which waited begins."""
    waited = standing.waiting if standing.waiting and standing.waiting.id == fact.originator_id else None
    rotation = rotations.evolve(waited, fact) if waited else rotations.start(fact)
    if isinstance(fact.body, e.RotationRequested):
        return replace(standing, waiting=rotation)
    waiting = None if waited else standing.waiting
    return replace(standing, rotation=rotation, waiting=waiting, rotated_before=standing.last_rotated_at)


def _moved(standing: Standing, fact: Fact) -> Standing:
    """Return the standing after a fact of its newest rotation, or of the one that waits."""
    if standing.waiting is not None and standing.waiting.id == fact.originator_id:
        return replace(standing, waiting=rotations.evolve(standing.waiting, fact))
    if standing.rotation is None or standing.rotation.id != fact.originator_id:
        raise LookupError("it belongs to a rotation that is not the newest of its credential")
    after = rotations.evolve(standing.rotation, fact)
    if isinstance(fact.body, e.PreviousCaptured):
        return replace(standing, rotation=after, captured=(*standing.captured, fact.body.version))
    if isinstance(fact.body, RESCHEDULING):
        at = fact.at if isinstance(fact.body, e.Promoted) else standing.rotated_before
        return replace(standing, rotation=after, last_rotated_at=at)
    return replace(standing, rotation=after)
