"""Going back on the instances: whoever was told the candidate gets the previous version again, the last wave first.

Rule: neither canary nor window nor soak holds it up, and nothing is taken away from anybody before all have proved it.
"""

from __future__ import annotations

from engine import events as e
from engine.backward import restore_target
from engine.errors import Rejected, Unavailable
from engine.events import Cause
from engine.handing import Handover, look_around, named
from engine.instances import Instance
from engine.performance import Performance
from engine.ports import Probe
from engine.process import Effect
from engine.values import CredentialValue
from engine.waves import try_later, wait_for_lost


def recall(performance: Performance) -> None:
    """Hand the previous version to those who may hold the candidate, as far as it can be done now."""
    rotation = performance.rotation
    previous = performance.previous()
    assert previous is not None, "without a previous version nobody is called back"
    if not (performance.fleet.returned or performance.fleet.flight):
        _see_in_force(performance, previous)
    handover = Handover(
        performance,
        Effect.RECALL,
        version=rotation.previous or "",
        value=previous,
        tries_max=rotation.plan.rollback_retries + 1,
        listed=_listed(performance),
    )
    trouble = handover.bring(performance.fleet.to_return(promoted=rotation.promotable))
    left = performance.fleet.to_return(promoted=rotation.promotable)
    if trouble is None:
        wait_for_lost(performance, left)
    elif trouble.is_final:
        performance.record(e.RollbackFailed(_told(performance, trouble.cause, left)))
    else:
        try_later(performance, trouble.cause)


def _told(performance: Performance, cause: Cause, left: list[str]) -> Cause:
    """Return a cause with the instances that are not back, and what to run."""
    rotation = performance.rotation
    message = f"{cause.message}; not back on {rotation.previous}: {named(left)}"
    hint = f"Bring them up or remove them from discovery; keyturn retry {rotation.id} then goes on."
    return Cause(cause.step, cause.kind, message, hint)


def _listed(performance: Performance) -> dict[str, Instance]:
    """Return who is listed now; where they cannot be listed, who was last: going back does not wait for that."""
    try:
        return look_around(performance)
    except (Unavailable, Rejected):
        return performance.fleet.instances


def _see_in_force(performance: Performance, previous: CredentialValue) -> None:
    """See that the previous version works before anybody is given it; it is set first where only one is valid."""
    rotation = performance.rotation
    if not rotation.plan.overlap:
        restore_target(performance, previous, performance.read(rotation.candidate))
        return
    performance.spend_login(previous.username)
    sighting = performance.target.probe(previous)
    if sighting.probe is not Probe.ACCEPTED:
        detail = f" ({sighting.detail})" if sighting.detail else ""
        raise Unavailable(
            what="seeing that the previous version works",
            why=f"the target says {sighting.probe}{detail}, so no instance is given it",
        )
