"""The effects that lead back: restore the previous version, and see that it is in force.

Rule: the order is decided by what is valid when: stores return first where both versions are valid, last
where only one is; the failed candidate is quarantined, never deleted, because a late answer may make it live.
"""

from __future__ import annotations

from engine import events as e
from engine.errors import Rejected, Unavailable
from engine.events import CredentialEvent
from engine.forward import publish
from engine.performance import Performance
from engine.ports import Probe
from engine.values import CredentialValue, Form


def restore(performance: Performance) -> None:
    """Bring stores and target back to the previous version, and quarantine the candidate."""
    rotation = performance.rotation
    previous = performance.previous()
    candidate = performance.read(rotation.candidate)
    if rotation.plan.overlap:
        demoted = _demote(performance, previous)
        closed = _restore_target(performance, previous, candidate)
    else:
        closed = _restore_target(performance, previous, candidate)
        demoted = _demote(performance, previous)
    performance.store.discard(performance.path, rotation.candidate, destroy=False)
    noted: list[CredentialEvent] = []
    if demoted:
        noted.append(e.CurrentChanged(rotation.id, rotation.previous, rotation.previous_login))
    performance.record(*closed, e.PreviousRestored(), noted=noted)


def _demote(performance: Performance, previous: CredentialValue | None) -> bool:
    """Have every store call the previous version current, if the candidate got there; tell whether it may have."""
    rotation = performance.rotation
    if not rotation.promotable or previous is None or rotation.previous is None:
        return False
    current = performance.store.versions(performance.path).current
    if current not in (rotation.candidate, rotation.previous, None):
        raise Rejected(
            what="taking the store back",
            why=f"it calls {current} current, which this rotation does not know",
            advice="Someone else changed the store: keyturn doctor compares it with the target.",
        )
    performance.store.promote(performance.path, rotation.previous, previous, expected=current)
    publish(performance, previous, version=rotation.previous)
    return True


def _restore_target(
    performance: Performance, previous: CredentialValue | None, candidate: CredentialValue | None
) -> list[e.AttemptClosed]:
    """Ask the target to go back, if it was ever asked to change."""
    rotation = performance.rotation
    if not rotation.attempted:
        return []
    lost = [a for a in rotation.attempts if a.version == rotation.candidate and not a.closed]
    if rotation.plan.issues_value:
        for attempt in lost:
            performance.revoke(attempt.number, keep=previous)
    version = rotation.previous or ""
    deadline = performance.begin_attempt(version, rotation.previous_login or rotation.login)
    performance.target.restore(previous, candidate=candidate, tag=performance.tag, deadline=deadline)
    return [performance.end_attempt()]


def verify_rollback(performance: Performance) -> None:
    """See what is in force: a fresh login with the previous version, or its verifier, or the candidate refused."""
    rotation = performance.rotation
    previous = performance.previous()
    if not rotation.attempted:
        performance.record(e.RollbackVerified("nothing"))
        return
    if previous is not None:
        if previous.form is Form.PLAIN:
            performance.spend_login(previous.username)
        sighting = performance.target.probe(previous)
        observed = "verifier" if previous.form is Form.VERIFIER else "login"
        wanted = Probe.ACCEPTED
        which = "the previous version"
    else:
        candidate = performance.read(rotation.candidate)
        if candidate is None:
            performance.record(e.RollbackVerified("revoked"))
            return
        performance.spend_login(rotation.login)
        sighting = performance.target.probe(candidate)
        observed, wanted, which = "refused", Probe.REFUSED, "the candidate"
    shown = sighting.restorable
    in_force = previous is not None and previous.form is Form.VERIFIER and shown is not None
    if in_force and shown is not None and previous is not None and shown.secret == previous.secret:
        performance.record(e.RollbackVerified(observed))
        return
    if sighting.probe is not wanted:
        raise Unavailable(what=f"seeing {which} {wanted}", why=f"the target says {sighting.probe} ({sighting.detail})")
    performance.record(e.RollbackVerified(observed))
