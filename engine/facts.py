"""The envelope of an event, its bytes, and how old bytes are read.

Rule 1: the bytes carry no Python name: an event is named by its tag alone.
Rule 2: what was once written can be read for ever: a retired tag keeps its class here, with an upcaster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec

from engine import events as current
from engine.errors import UnsupportedEvent
from engine.events import Event, Fence, LoginUse
from engine.machine import State
from engine.plan import Kind, Plan
from engine.values import Instant


class Fact(msgspec.Struct, frozen=True, gc=False):
    """An event in its place: of which aggregate, the how-manieth, when, and on whose account.

    `state` is the state that the rotation is in after it; None for the facts of a credential.
    """

    originator_id: UUID
    originator_version: int
    at: Instant
    actor: str
    body: Event
    state: State | None = None


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A fact with its position in the whole log (from 1, without gaps) and the chained hash."""

    position: int
    fact: Fact
    hash: bytes = b""


# --- retired tags -----------------------------------------------------------------------------------------


class RotationStarted1(msgspec.Struct, frozen=True, omit_defaults=True, tag="rotation-started.1"):
    """As written before 0.1: the owner was not named, and a rollback was told by a flag."""

    service: str
    environment: str
    rollback: bool
    plan: Plan
    version: str
    login: str
    previous: str | None = None
    previous_login: str | None = None
    reason: str = ""
    imported: bool = False
    fences: tuple[Fence, ...] = ()
    tries: tuple[LoginUse, ...] = ()


def _started(old: RotationStarted1) -> current.RotationStarted:
    fields = msgspec.structs.asdict(old)
    kind = Kind.ROLLBACK if fields.pop("rollback") else Kind.ROTATION
    return current.RotationStarted(kind=kind, owner="", **fields)


UPCASTERS: Final[dict[type, Callable[[Any], Event]]] = {RotationStarted1: _started}
"""A class of a retired tag, and how it becomes the class of today."""


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the state column of the log holds, as msgpack."""

    at: Instant
    actor: str
    body: Event | RotationStarted1
    state: State | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Stored)


def tag_of(event: Event) -> str:
    """Return the tag of an event: its name in the log and on the command line."""
    return str(type(event).__struct_config__.tag)


def encode(fact: Fact) -> bytes:
    """Return the bytes of a fact but its place: time, actor and event."""
    return _ENCODER.encode(_Stored(fact.at, fact.actor, fact.body, fact.state))


def decode(tag: str, state: bytes, *, originator_id: UUID, originator_version: int) -> Fact:
    """Return the fact that `encode` wrote, brought to the classes of today.

    Raises `UnsupportedEvent` where the tag, or the shape under it, is not known.
    """
    try:
        stored = _DECODER.decode(state)
    except msgspec.DecodeError as error:
        raise UnsupportedEvent(tag=tag) from error
    body = stored.body
    upcast = UPCASTERS.get(type(body))
    event: Event = upcast(body) if upcast else body  # type: ignore[assignment]  # only retired classes have one
    return Fact(originator_id, originator_version, stored.at, stored.actor, event, stored.state)
