"""The port of channels: how a notice looks at a sink, and how it gets there.

Rule: the rules of engine/ports.py hold here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from engine.notices import Notice
from engine.values import SECOND, Microseconds


class Outgoing(msgspec.Struct, frozen=True):
    """A message as its sink will get it, before anything is sent.

    `content` are the bytes of the message, `further` those of others that go with it (the edited first message of a
    thread, a change event). `readable` are the texts in them as people read them, where the bytes are encoded:
    all of it is searched for secrets.
    """

    content: bytes
    content_type: str
    further: tuple[bytes, ...] = ()
    readable: tuple[str, ...] = ()


class Pace(msgspec.Struct, frozen=True):
    """How fast a sink may be given messages, and how often one is tried in a row before the channel rests."""

    per_second: float = 1.0
    burst: int = 1
    attempts: int = 3
    first: Microseconds = SECOND
    """The delay before the second try."""
    longest: Microseconds = Microseconds(300 * SECOND)
    """The longest delay, and the longest `Retry-After` that is kept to."""
    is_exponential: bool = True
    """The delay doubles with each try; else it stays."""
    batch: Microseconds = Microseconds(0)
    """Messages are gathered for so long and sent as one digest; 0: each is sent at once."""


@runtime_checkable
class Notifier(Protocol):
    """One channel of one service."""

    @property
    def pace(self) -> Pace:
        """What the sink can bear, as its vendor documents it."""
        ...

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Tell whether the notice goes there; `selected`: the configured `events` select it."""
        ...

    def validate(self) -> Sequence[str]:
        """Return what is wrong with the options that their types cannot tell, a sentence each; uses no network."""
        ...

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return the message of one notice, or the digest of several, within the limits of the sink.

        The same notices and key make the same bytes. `dropped` is how many more a digest stands for. Pure; raises
        `Rejected` where it cannot be rendered (a template).
        """
        ...

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Hand a rendered message to the sink; return its receipt, empty where the sink has none.

        `key` is the same for every try of a message. `thread` is the first receipt of the same rotation, empty for
        the first. Raises `Throttled` or `Unavailable` (not taken, may be later), `Uncertain` (may have been taken),
        `SinkGone` (takes nothing any more), `Rejected` (never takes this one).
        """
        ...
