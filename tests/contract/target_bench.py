"""What the conformance suite of targets works on: a fresh target, its logins, awkward texts.

No test lives here; those are in tests/contract/targets.py.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from engine.errors import PortError
from engine.ports import Probe, Target
from engine.values import SECOND, CredentialValue, Instant, Secret

AWKWARD_SECRETS = [
    "canary-'single'",
    'canary-"double"',
    "canary with spaces",
    "canary-\\back\\slash\\",
    "canary-$HOME-${X}-`id`",
    "canary-%s-%d-%%-%(x)s",
    "canary-{0}-{{x}}",
    "canary-:/?#[]@!&*+,;=",
    "canary-größe-パスワード-🔑",
    "canary-" + "x" * 500,
    "canary-; DROP ROLE app; --",
]
AWKWARD_USERNAMES = [
    "app-o'brien",
    'app"quoted"',
    "app name",
    "app$1",
    "app%s",
    "app@host:1/x?y#z",
    "appé",
    "App-Upper",
    "app\\n",
]


def far() -> Instant:
    """Return a deadline that a test does not reach: five seconds from now."""
    return Instant(time.time_ns() // 1_000 + 5 * SECOND)


def canary() -> Secret:
    """Return a fresh secret that must not turn up anywhere."""
    return Secret(f"canary-{secrets.token_hex(16)}")


@dataclass
class Bench:
    """A fresh target, and what a test must know about it.

    `usernames` are the logins in the order that rotations use them (one, or two that take turns); none has a value
    yet. `again` gives another object on the same system, as a second process would have. `unreachable` is a target
    of the same kind that nobody answers for. `shows_restorable`: a probe without a secret shows a verifier.
    """

    target: Target
    usernames: tuple[str, ...]
    again: Callable[[], Target]
    unreachable: Target
    shows_restorable: bool = False
    deadline: Callable[[], Instant] = far
    made: list[Secret] = field(default_factory=list)

    @property
    def overlaps(self) -> bool:
        """Tell whether two versions can be valid at once."""
        return self.target.capabilities.values_max != 1 or len(self.usernames) > 1

    def wanted(self, turn: int = 0, text: str | None = None) -> CredentialValue:
        """Return a value that is to be applied in the given turn; without a secret where the target makes it."""
        username = self.usernames[turn % len(self.usernames)]
        if self.target.capabilities.issues_value:
            return CredentialValue(username, None)
        return CredentialValue(username, Secret(text) if text is not None else canary())

    def put(self, turn: int = 0, text: str | None = None) -> CredentialValue:
        """Apply a fresh value under a tag of its own turn; return the value in force."""
        value = self.target.apply(self.wanted(turn, text), tag=f"tag-{turn}", deadline=self.deadline())
        assert value.secret is not None
        self.made.append(value.secret)
        return value

    def sees(self, value: CredentialValue) -> Probe:
        """Return what a fresh login shows, through another object."""
        return self.again().probe(value).probe


class MakeBench(Protocol):
    """Makes a bench whose logins are called `username`, or begin with it where there are two."""

    def __call__(self, username: str = "app") -> Bench:
        """Return a fresh bench."""
        ...


def errors_of(target: Target, value: CredentialValue) -> list[str]:
    """Return all that a target says when it is asked for what it cannot do."""
    stranger = CredentialValue("canary-no-such-login", value.secret)
    said = []
    for deadline in (Instant(1), far()):
        for asked in (value, stranger):
            for call in (
                lambda asked=asked, deadline=deadline: target.apply(asked, tag="x", deadline=deadline),
                lambda asked=asked, deadline=deadline: target.restore(
                    asked, candidate=value, tag="x", deadline=deadline
                ),
            ):
                try:
                    call()
                except PortError as error:
                    said += [str(error), repr(error), str(error.fields), error.advice]
                    said += [repr(error.__cause__)] if error.__cause__ else []
    return said
