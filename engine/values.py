"""Values that everything else is made of: secrets, credential values, times.

Rule 1: a `Secret` leaves this type by `reveal()` only; nothing prints, formats, compares or pickles it.
Rule 2: times inside keyturn are integers of microseconds since 1970-01-01 UTC; only projections and adapters write them
for people.
Rule 3: a Struct that is made for every fact is frozen and holds only values, so that nothing in it leads back to it:
the garbage collector need not follow it (`gc=False`).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NewType, NoReturn, final

import msgspec

Instant = NewType("Instant", int)
"""A point in time: microseconds since 1970-01-01 00:00 UTC."""

Microseconds = NewType("Microseconds", int)
"""A length of time."""

SECOND = Microseconds(1_000_000)

CURRENT = "current"
PENDING = "pending"
PREVIOUS = "previous"
LABELS = (CURRENT, PENDING, PREVIOUS)
"""The labels of a store; no version may be called so."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What a clock shows: wall time, and time since boot to tell a jump of the wall clock.

    `boot` names the boot that `uptime` counts from; empty where the system does not tell.
    """

    wall: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)


class Deadline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A time to wait for that a jump of the wall clock cannot bring nearer.

    Within one boot the monotonic clock must have passed `uptime` as well.
    """

    wall: Instant
    boot: str = ""
    uptime: Microseconds = Microseconds(0)

    def remaining(self, now: Moment) -> Microseconds:
        """Return how long is still to wait, in microseconds; 0 when it is over."""
        left = self.wall - now.wall
        if self.boot and self.boot == now.boot:
            left = max(left, self.uptime - now.uptime)
        return Microseconds(max(left, 0))

    def left(self, now: Moment) -> Microseconds:
        """Return how long is still to wait, within one boot by the clock since boot alone; 0 when it is over.

        For what must not be held up either: a wall clock that is set back by a day makes nobody wait for a day.
        """
        if self.boot and self.boot == now.boot:
            return Microseconds(max(self.uptime - now.uptime, 0))
        return Microseconds(max(self.wall - now.wall, 0))

    def later(self, duration: Microseconds) -> Deadline:
        """Return the deadline that lies `duration` after this one."""
        return Deadline(Instant(self.wall + duration), self.boot, Microseconds(self.uptime + duration))


def deadline_after(now: Moment, duration: Microseconds) -> Deadline:
    """Return the deadline that lies `duration` after `now`."""
    return Deadline(Instant(now.wall + duration), now.boot, Microseconds(now.uptime + duration))


@final
class Secret:
    """A text that nobody sees by accident.

    `repr`, `str` and `format` give stars; comparing takes constant time; hashing and pickling are refused.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself. The caller answers for where it goes."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret in a dict or set invites a leak by timing or repr

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class Form(StrEnum):
    """How the secret part of a value is held."""

    PLAIN = "plain"
    """The secret itself: one can log in with it."""
    VERIFIER = "verifier"
    """What the target keeps of it (a SCRAM verifier): enough to set it back, not to log in."""


@dataclass(frozen=True, slots=True)
class CredentialValue:
    """The value of one version: who logs in, and with what.

    `secret` is None where the target is still to make it. `handle` is the target's own id of the value
    (an access key id), empty where it has none.
    """

    username: str
    secret: Secret | None
    form: Form = Form.PLAIN
    handle: str = ""

    def revealed(self) -> str:
        """Return the secret text; asking a value that has none is a mistake of ours."""
        assert self.secret is not None, "this value has no secret yet"
        return self.secret.reveal()


def fingerprint(value: CredentialValue, *, credential: str, key: bytes) -> str:
    """Return 128 bits, in hex, that name a value without telling it.

    HMAC-SHA256 under a key of this installation: a plain hash of an imported, weak password could be
    guessed, and equal values would show across credentials.
    """
    message = "\0".join(("fp1", credential, value.username, value.revealed()))
    return hmac.new(key, message.encode(), sha256).hexdigest()[:32]
