"""Replay: the log folded again, fact by fact, to see how a state came about.

Rule: pure; it shows what the facts say, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import msgspec

from engine import rotation as rotations
from engine.events import Event
from engine.facts import Recorded, tag_of
from engine.machine import State
from engine.rotation import Rotation
from projections.status import OF_CREDENTIAL


def replay(facts: Iterable[Recorded]) -> Iterator[dict[str, Any]]:
    """Yield `keyturn.replay/1` for each fact: position, event, the state before and after, and its fields.

    The facts are of one rotation or of several, from their first on, in the order of the log. A fact of a
    credential has no state: `before` and `after` are None.
    """
    states: dict[UUID, State] = {}
    for recorded in facts:
        fact = recorded.fact
        before = after = None
        if type(fact.body) not in OF_CREDENTIAL:
            before = states.get(fact.originator_id, State.WAITING)
            after = states[fact.originator_id] = fact.state or before
        yield {
            "position": recorded.position,
            "event": tag_of(fact.body),
            "before": before.value if before else None,
            "after": after.value if after else None,
            "data": fields_of(fact.body),
        }


def fields_of(event: Event) -> dict[str, Any]:
    """Return all fields of an event, defaults too, as values that JSON can hold; times are microseconds."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields))
    return plain


def state_at(facts: Iterable[Recorded], position: int) -> Rotation | None:
    """Return a rotation as it was after the event at `position`; None where it had not begun.

    `facts` are those of the rotation, in order; all behind `position` are left out.
    """
    return rotations.fold(recorded.fact for recorded in facts if recorded.position <= position)
