"""What may go wrong, as data: the calls, the kinds of faults at each, and what a kind means in words.

Rule: nothing here performs a fault; that is the work of ports.py and of the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.errors import ExitCode, KeyturnError
from engine.plan import Strategy


class Crash(BaseException):
    """The process dies here; nothing of the engine may catch it."""


class Disk(KeyturnError):
    """The log refuses the append: no space is left."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Fault:
    """At the `nth` call (from 1) of `call`, `kind` happens; a late effect lands after `late` seconds.

    `calls` is how many calls in a row are refused where the rate is limited.
    """

    call: str
    nth: int
    kind: str
    late: float = 1.0
    calls: int = 3


KINDS: Final[dict[str, str]] = {
    "error_before": "it answers that it cannot now, and nothing happened",
    "error_after": "it happens, and the answer is lost",
    "lost": "the request is lost, and so is the answer",
    "late": "no answer comes, and it happens later",
    "twice": "it is delivered twice before it is answered",
    "rejected": "it is refused for good",
    "own_login_rejected": "keyturn's own login is refused",
    "rate_limited": "this call and the next ones are refused for now: too many requests",
    "partial": "it happens on some nodes only",
    "forgotten": "it is answered as done, and lost by a restart before it was on disk",
    "stale": "what is shown is what was there before the last write",
    "unknown": "no clear answer comes",
    "refused": "the login is refused",
    "query": "the login works, and the query does not",
    "crash_before": "the process dies before it",
    "crash_after": "the process dies after it",
    "slow": "the answer takes two seconds",
    "very_slow": "the answer takes forty seconds",
    "clock_forward": "the wall clock is set forward by five hours",
    "clock_back": "the wall clock is set back by five hours",
    "abort": "an operator aborts the rotation",
    "rollback": "an operator rolls the rotation back",
    "retry": "an operator has the rollback tried again",
    "retire": "an operator ends the grace period",
    "disk_full": "the log has no space",
    "other_first": "another process appends first",
}
"""Every kind of fault, in words."""

PEOPLE: Final = ("abort", "rollback", "retry", "retire")
"""What operators in other processes do at that moment; then the call goes on."""

DEATHS: Final = ("crash_before", "crash_after")
SLOW: Final = {"slow": 2, "very_slow": 40}
"""Seconds that an answer takes: longer than nothing, and longer than every deadline and timeout of a plan."""
JUMPS: Final = {"clock_forward": 5 * 3600, "clock_back": -5 * 3600}
"""Seconds that the wall clock is set by, while the time since boot goes on truthfully."""

_EVERYWHERE = (*DEATHS, *SLOW, *JUMPS, *PEOPLE)
_WRITE = (
    *_EVERYWHERE,
    "error_before",
    "error_after",
    "lost",
    "late",
    "twice",
    "rejected",
    "own_login_rejected",
    "rate_limited",
)
_READ = (*_EVERYWHERE, "error_before", "own_login_rejected", "rate_limited", "stale")
CALLS: Final[dict[str, tuple[str, ...]]] = {
    "target.apply": (*_WRITE, "partial", "forgotten"),
    "target.restore": (*_WRITE, "partial", "forgotten"),
    "target.retire": (*_WRITE, "partial", "forgotten"),
    "target.verify": (
        *_EVERYWHERE,
        "unknown",
        "refused",
        "query",
        "error_before",
        "own_login_rejected",
        "rate_limited",
    ),
    "target.probe": (*_EVERYWHERE, "unknown", "rate_limited", "stale"),
    "store.stage": _WRITE,
    "store.promote": _WRITE,
    "store.read": _READ,
    "store.versions": _READ,
    "store.discard": _WRITE,
    "place.publish": _WRITE,
    "log.append": (*_EVERYWHERE, "disk_full", "other_first"),
}
"""What may go wrong at each call. Reading the log cannot fail by itself: a process that dies there has done nothing
since the call before, where it may die as well."""

WRITES: Final = frozenset({"target.apply", "target.restore", "target.retire"})
STORE_WRITES: Final = frozenset({"store.stage", "store.promote", "store.discard"})
CHANGING: Final = frozenset({*WRITES, *STORE_WRITES, "place.publish", "log.append"})
"""The calls after which the world may be another one."""

_MADE_ONCE = "the target makes the value in one place and shows it once; nodes that agree later are `eventual`"
IMPOSSIBLE: Final[dict[tuple[str, str, Strategy], str]] = {
    ("target.apply", "partial", Strategy.ISSUE): _MADE_ONCE,
    ("target.retire", "partial", Strategy.ISSUE): _MADE_ONCE,
    ("target.restore", "partial", Strategy.ISSUE): _MADE_ONCE,
    ("target.apply", "forgotten", Strategy.ISSUE): "a value that was shown to nobody cannot be answered with",
}
"""Call, kind and strategy that do not go together, and why."""


def kinds_at(call: str, strategy: Strategy) -> tuple[str, ...]:
    """Return what may go wrong at a call of a target with this strategy."""
    return tuple(kind for kind in CALLS[call] if (call, kind, strategy) not in IMPOSSIBLE)
