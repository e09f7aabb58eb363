"""The ways out: the commands that a person can run where a rotation stands, and what each does.

Rule 1: a command that is named here works in that state; tests/integration/test_endings.py runs each of them.
Rule 2: words only; what a command may do is decided in commands.py.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.errors import NoWayBack
from engine.machine import ENDED, State
from engine.plan import Strategy
from engine.policies import can_go_back, is_inconclusive, is_stuck
from engine.rollout_events import PauseKind
from engine.rotation import Rotation


class Way(msgspec.Struct, frozen=True):
    """A command, complete, and what it does: `keyturn retry 018f…` `tries again`."""

    command: str
    does: str

    def __str__(self) -> str:
        return f"{self.command} {self.does}"


def ways_out(rotation: Rotation) -> tuple[Way, ...]:
    """Return what leads on from where a rotation stands, the way that is wanted most often first.

    None where it is over and well.
    """

    def way(name: str, does: str) -> Way:
        return Way(f"keyturn {name} {rotation.id}", does)

    def of_service(name: str, does: str) -> Way:
        return Way(f"keyturn {name} {rotation.service}", does)

    on = way("resume", "drives it on")
    back = (way("abort", "takes it back"),) if can_go_back(rotation) else ()
    match rotation.state:
        case State.PAUSED:
            return (*(way(*each) for each in _ON[rests_for(rotation)]), *back)
        case State.ROLLBACK_FAILED:
            up = way("abort", "gives going back up")
            is_futile = rotation.cause is not None and rotation.cause.kind == NoWayBack.kind
            return (up,) if is_futile else (way("retry", "tries again to go back, once the cause is gone"), up)
        case State.FAILED:
            # A login that holds two values has no room for a third, until the one that failed is taken away.
            forward = () if is_full(rotation) else (of_service("rotate", "leads forward"),)
            return (of_service("rollback", "goes back"), *forward) if is_half_way(rotation) else forward
        case State.RETIRING if is_stuck(rotation):
            again = way("resume", "tries again, once the cause is gone")
            return (again, way("abort", "ends the rotation, and leaves everything as it is"))
        case State.MONITORING if is_inconclusive(rotation):
            return (way("resume", "looks again, once the checks see something"), *back)
        case State.GRACE:
            ends = way("retire", "ends the grace period now")
            return (way("resume", "retires the old version once it is over"), ends, *back)
        case state if state in ENDED:
            return ()
        case State.WAITING:
            return (way("resume", "starts it when its turn has come"), way("abort", "withdraws it"))
        case State.RETIRING | State.ROLLING_BACK | State.VERIFYING_ROLLBACK:
            return (on,)
        case _:
            is_out = rotation.plan.rollout is not None and rotation.state in (State.DISTRIBUTING, State.SOAKING)
            passing = (way("promote", "passes what it waits for"),) if is_out else ()
            return (on, *passing, *back)


_ON: Final[dict[PauseKind, tuple[tuple[str, str], ...]]] = {
    PauseKind.OPERATOR: (("continue", "lets it go on"),),
    PauseKind.APPROVAL: (("continue", "lets the next wave begin"),),
    PauseKind.FAILURE: (("retry", "tries the wave again, once the cause is gone"), ("promote", "passes it")),
    PauseKind.STALLED: (("retry", "tries the wave again, once the cause is gone"), ("promote", "passes it")),
    PauseKind.INCONCLUSIVE: (
        ("retry", "looks again"),
        ("accept-inconclusive", "goes on, and does not ask that again in this wave"),
    ),
}
"""What leads on from a pause of each kind."""


def rests_for(rotation: Rotation) -> PauseKind:
    """Return why a rotation rests that is paused."""
    return (rotation.fleet.pause if rotation.fleet else None) or PauseKind.OPERATOR


def is_half_way(rotation: Rotation) -> bool:
    """Tell whether a rotation failed where something is still to be taken back, and can be."""
    touched = rotation.attempted or rotation.promotable
    return rotation.state is State.FAILED and touched and can_go_back(rotation)


def is_full(rotation: Rotation) -> bool:
    """Tell whether a rotation that failed may have left its login without room for another value."""
    return rotation.plan.strategy is Strategy.DUAL and is_half_way(rotation)


def in_words(ways: tuple[Way, ...]) -> str:
    """Return the ways as one sentence."""
    return "; ".join(map(str, ways)) + "." if ways else ""
