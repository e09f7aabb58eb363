"""The effects that lead back: restore the previous version, and see that it is in force.

Rule: the order is decided by what is valid when: stores return first where both versions are valid, last
where only one is; the failed candidate is quarantined, never deleted, because a late answer may make it live.
"""

from __future__ import annotations

from engine import events as e
from engine.errors import NoWayBack, Rejected, Unavailable
from engine.events import CredentialEvent
from engine.forward import publish
from engine.gate import is_back
from engine.performance import Performance
from engine.plan import Strategy
from engine.ports import Probe
from engine.rotation import Rotation
from engine.values import CredentialValue, Form, deadline_after


def restore(performance: Performance) -> None:
    """Bring stores and target back to the previous version, and quarantine the candidate."""
    rotation = performance.rotation
    previous = performance.previous()
    candidate = performance.read(rotation.candidate)
    if rotation.promotable and rotation.label is None:
        _see_nothing_depends(performance)
    if rotation.plan.overlap and _is_in_force(performance, previous, candidate):
        demoted = _demote(performance, previous)
        if previous is not None and not is_back(performance, previous):
            return  # they are called back first; then the stores are looked at again, and what is in force
        restore_target(performance, previous, candidate)
    else:
        restore_target(performance, previous, candidate)
        demoted = _demote(performance, previous)
    performance.store.discard(performance.path, rotation.candidate, destroy=False)
    noted: list[CredentialEvent] = []
    if demoted:
        noted.append(e.CurrentChanged(rotation.id, rotation.previous, rotation.previous_login))
    performance.record(e.PreviousRestored(), noted=noted)


def _see_nothing_depends(performance: Performance) -> None:
    """See that the store does not call the candidate current where it called nothing so before."""
    rotation = performance.rotation
    if performance.store.versions(performance.path).current == rotation.candidate:
        why = f"store {rotation.plan.store} calls {rotation.candidate} current, and called nothing so before"
        raise NoWayBack(what="going back", why=why, advice=_stays(rotation))


def _stays(rotation: Rotation) -> str:
    return f"keyturn abort {rotation.id} gives going back up, and {rotation.candidate} stays."


def _is_in_force(performance: Performance, previous: CredentialValue | None, candidate: CredentialValue | None) -> bool:
    """See that the previous version works before anything depends on it; False where it has to be set first.

    Consumers are sent to it, or it is all that is left once a candidate is taken away that the store holds. Raises
    `NoWayBack` where it does not work and cannot be set back: the candidate then stays.
    """
    rotation = performance.rotation
    if previous is None or previous.form is Form.VERIFIER:
        return True
    if not rotation.promotable and (rotation.plan.settable or not rotation.attempted or candidate is None):
        return True  # nobody is sent anywhere, and nothing that works is taken away
    performance.spend_login(previous.username)
    sighting = performance.target.probe(previous)
    if sighting.probe is Probe.ACCEPTED:
        return True
    if sighting.probe is Probe.REFUSED and not rotation.plan.settable:
        why = f"the target refuses {rotation.previous}, and cannot be set back to a known value"
        raise NoWayBack(what="going back", why=why, advice=_stays(rotation))
    if sighting.probe is Probe.REFUSED:
        return False
    raise Unavailable(what="seeing whether the previous version works", why=f"the target says {sighting.probe}")


def _demote(performance: Performance, previous: CredentialValue | None) -> bool:
    """Have every store call the previous version current, if the candidate got there; tell whether it may have."""
    rotation = performance.rotation
    if not rotation.promotable or previous is None or rotation.previous is None:
        return False
    if rotation.label is None:
        return False  # it was seen to call nothing current, as before
    current = performance.store.versions(performance.path).current
    if current not in (rotation.candidate, rotation.previous, None):
        raise Rejected(
            what="taking the store back",
            why=f"it calls {current} current, which this rotation does not know",
            advice="Someone else changed the store: keyturn doctor compares it with the target.",
        )
    until = performance.begin_attempt(rotation.previous, "")
    performance.store.promote(performance.path, rotation.previous, previous, expected=current, deadline=until)
    publish(performance, previous, version=rotation.previous, places=_written(rotation), deadline=until)
    performance.record(performance.end_attempt())
    return True


def _written(rotation: Rotation) -> tuple[str, ...]:
    """Return the places that may have the candidate: those that were recorded, and the one that came next.

    Not that one where it is known to have refused: it would refuse again, and has the previous version still. Where an
    answer was lost before it refused, nobody knows what it has.
    """
    next_one = rotation.plan.places[len(rotation.reached) : len(rotation.reached) + 1]
    in_doubt = any(a.version == rotation.candidate and not a.login and not a.closed for a in rotation.attempts)
    why = rotation.sent_back
    refused = why is not None and why.step == "promote" and why.kind == "rejected"
    return rotation.reached if refused and not in_doubt else (*rotation.reached, *next_one)


def restore_target(
    performance: Performance, previous: CredentialValue | None, candidate: CredentialValue | None
) -> None:
    """Ask the target to go back, if it was ever asked to change."""
    rotation = performance.rotation
    if not rotation.attempted:
        return
    lost = [a for a in rotation.attempts if a.version == rotation.candidate and a.login and not a.closed]
    if rotation.plan.issues_value:
        for attempt in lost:
            performance.revoke(attempt.number, keep=previous)
    version = rotation.previous or ""
    login = rotation.previous_login or rotation.login
    deadline = performance.begin_attempt(version, login, longest=rotation.plan.rollback_timeout)
    performance.target.restore(previous, candidate=candidate, tag=performance.tag, deadline=deadline)
    performance.record(performance.end_attempt())
    if candidate is None and previous is not None and rotation.plan.strategy is Strategy.DUAL:
        _take_lost_away(performance, previous)


def _take_lost_away(performance: Performance, previous: CredentialValue) -> None:
    """Have the login hold nothing but the previous version: no store holds the candidate any more, to name it by."""
    rotation = performance.rotation
    longest = rotation.plan.rollback_timeout
    deadline = performance.begin_attempt(f"-{rotation.candidate}", rotation.login, longest=longest)
    performance.target.retire(None, keep=previous, tag=performance.tag, deadline=deadline)
    performance.record(performance.end_attempt())


def verify_rollback(performance: Performance) -> None:
    """See what is in force: a fresh login with the previous version, or its verifier, or the candidate refused."""
    rotation = performance.rotation
    previous = performance.previous()
    if not rotation.attempted:
        performance.record(e.RollbackVerified("nothing"))
        return
    timeout = deadline_after(performance.world.clock.now(), rotation.plan.rollback_timeout)
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
    if not timeout.left(performance.world.clock.now()):
        raise Unavailable(what=f"seeing {which} {wanted}", why="the answer came after the rollback timeout")
    if previous is not None and previous.form is Form.VERIFIER:
        seen = sighting.restorable is not None and sighting.restorable.secret == previous.secret
    else:
        seen = sighting.probe is wanted
    if not seen:
        raise Unavailable(what=f"seeing {which} {wanted}", why=f"the target says {sighting.probe} ({sighting.detail})")
    if previous is not None and rotation.plan.strategy in (Strategy.DUAL, Strategy.ISSUE):
        _see_candidate_gone(performance)
    performance.record(e.RollbackVerified(observed))


def _see_candidate_gone(performance: Performance) -> None:
    """See the candidate refused, where the previous version works beside it: left in force, it fills a place.

    Raises `Unavailable` where it is not; what the target was told may have been lost.
    """
    candidate = performance.read(performance.rotation.candidate)
    if candidate is None:
        return
    performance.spend_login(candidate.username)
    sighting = performance.target.probe(candidate)
    if sighting.probe is not Probe.REFUSED:
        detail = f" ({sighting.detail})" if sighting.detail else ""
        raise Unavailable(what="seeing the candidate refused", why=f"the target says {sighting.probe}{detail}")
