"""A rotation as a document: what `keyturn.rotation/1` says of it.

Rule: computed from the aggregate alone, so that the view, a replay and the log say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.machine import ENDED, State
from engine.rotation import Rotation
from engine.values import SECOND, Instant
from projections.rollouts import rollout_document
from projections.times import to_text


def rotation_document(rotation: Rotation, *, known: Sequence[Mapping[str, str | None]] = ()) -> dict[str, Any]:
    """Return the fields of `keyturn.rotation/1`; times are ISO 8601 text, durations seconds.

    `outcome` is None while the rotation may still go on by itself or by a command of its state.
    `not_before` is the time that it waits for: the next try, the next wave, or the end of the grace period. One that
    waits for its turn has no version yet, and `started_at` is when it was asked for. `known` is what was seen of its
    versions just now, by who looked; the log does not say it.
    """
    ended = rotation.ended_at
    waits = rotation.not_before
    if rotation.state is State.GRACE and rotation.grace is not None:
        waits = max(waits, rotation.grace.wall)
    if rotation.state is State.DISTRIBUTING and rotation.fleet is not None:
        waits = max(waits, rotation.fleet.hold.wall)
    return {
        "rotation_id": str(rotation.id),
        "service": rotation.service,
        "environment": rotation.environment,
        "kind": rotation.kind.value,
        "strategy": rotation.plan.strategy.value,
        "state": rotation.state.value,
        "outcome": outcome_of(rotation),
        "version": rotation.candidate or None,
        "previous_version": rotation.previous,
        "started_at": to_text(rotation.started_at),
        "ended_at": None if ended is None else to_text(ended),
        "duration_seconds": None if ended is None else (ended - rotation.started_at) / SECOND,
        "actor": rotation.actor,
        "reason": rotation.reason,
        "error": error_of(rotation),
        "not_before": to_text(waits) if waits > Instant(0) else None,
        "events": rotation.version,
        "waves": rotation.waves,
        "rollout": rollout_document(rotation),
        "health": [
            {
                "check": each.check,
                "result": each.result.value,
                "at": to_text(each.at),
                "failures": each.failures,
                "unknowns": each.unknowns,
                "text": each.text,
            }
            for each in rotation.health
        ],
        "known": list(known),
    }


def outcome_of(rotation: Rotation) -> str | None:
    """Return how the rotation came out; None where it is not over. `rollback_failed` rests, and is an outcome."""
    over = rotation.state in ENDED or rotation.state is State.ROLLBACK_FAILED
    return rotation.state.value if over else None


def error_of(rotation: Rotation) -> dict[str, str] | None:
    """Return step, kind, message and hint of what is wrong with a rotation; None where nothing is.

    A try that failed before a later one succeeded is no error any more, nor is what a person took back.
    """
    failed = rotation.state in (State.FAILED, State.ROLLBACK_FAILED)
    back = rotation.automatic and rotation.state in (State.ROLLING_BACK, State.VERIFYING_ROLLBACK, State.ROLLED_BACK)
    cause = rotation.cause
    if cause is None or not (failed or back or rotation.failures or rotation.state is State.PAUSED):
        return None
    return {"step": cause.step, "kind": cause.kind, "message": cause.message, "hint": cause.hint}
