"""What happened in a run, in order, as data: for situations, for coverage, and for whoever tells the story.

Rule: a step is taken down when it happens and never changed; nothing here judges.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Happening(StrEnum):
    """What kind of thing happened."""

    FACT = "fact"
    """A fact was appended; `state` is the one that follows, `call` which append it was, `detail` what else is known."""
    FAULT = "fault"
    """A planned fault happened; `name` is its kind, `call` where, `detail` the effect that was performed."""
    LANDED = "landed"
    """A late effect landed."""
    LATE_REFUSED = "late refused"
    """A late effect was refused when it arrived."""
    COMMAND = "command"
    """An operator decided something."""
    COMMAND_REFUSED = "command refused"
    HAND = "hand"
    """Somebody did something past keyturn."""
    PERSON = "person"
    """A person put it right."""
    BORN = "born"
    """A process began."""
    DIED = "died"
    STOPPED = "stopped"
    """A process ended with an error; `name` is its kind."""
    FROZEN = "frozen"
    WOKE = "woke"
    TAKEN_OVER = "taken over"
    """A lease that had run out was taken by another process."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened: when by the time since boot, what, in which state of the open rotation, to whom."""

    at: int
    kind: Happening
    name: str
    state: str = ""
    owner: str = ""
    call: str = ""
    detail: str = ""
