"""The effects that lead forward: stage, look, apply, verify, promote, wait, retire.

Rule 1: each performs one effect and records its outcome; each may be performed again from the start.
Rule 2: nothing here catches an outcome of a port; the runner does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine import events as e
from engine.errors import Rejected, Unavailable, Uncertain
from engine.events import Cause, CredentialEvent, RotationEvent
from engine.gate import is_unused
from engine.passwords import PasswordRule, generate
from engine.performance import Performance
from engine.plan import Kind, RetryClass, Strategy
from engine.policies import destroyable, give_up, judge
from engine.ports import Probe, Verification
from engine.process import Effect
from engine.values import CredentialValue, Form, Instant, Secret, deadline_after

_UNIT: Final = 1 << 53
_REPLACING: Final = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.SCRIPT)
"""Where a login holds one value, so that the first rotation replaces what nobody else may know."""


def jitter(performance: Performance) -> float:
    """Return a random number from 0 up to 1."""
    return int.from_bytes(performance.world.entropy.draw(7), "big") % _UNIT / _UNIT


def stage(performance: Performance) -> None:
    """Have the store hold the candidate, before the target is touched."""
    rotation, plan = performance.rotation, performance.rotation.plan
    vacant = _take_over(performance) if rotation.previous is None and rotation.kind is Kind.ROTATION else False
    held = performance.read(rotation.candidate)
    if plan.issues_value and rotation.kind is Kind.ROTATION and not rotation.imported:
        _see_label(performance)
        performance.record(e.CandidateReserved())
        return
    value = held or _fresh(performance)
    performance.store.stage(performance.path, rotation.candidate, value, deadline=_soon(performance))
    if performance.store.capabilities.readable and performance.read(rotation.candidate) != value:
        raise Uncertain(what="staging the candidate", why="the store does not give back what was written")
    _see_label(performance)
    performance.record(e.CandidateStaged(performance.fingerprint(value), vacant=vacant))


def _soon(performance: Performance) -> Instant:
    """Return the deadline of a write that is no attempt: who stood still for so long may have been taken over."""
    return deadline_after(performance.world.clock.now(), performance.rotation.plan.attempt_window).wall


def _see_label(performance: Performance) -> None:
    """See that the store still calls current what it did when the rotation began, before the target is touched.

    That look may have shown what was there before the store's last write; what is replaced, and what can be gone back
    to, was chosen by it.
    """
    current, begun = performance.store.versions(performance.path).current, performance.rotation.label
    if current != begun:
        why = f"the store calls {current or 'nothing'} current, and called {begun or 'nothing'} so when it began"
        raise Unavailable(what="staging the candidate", why=why)


def _fresh(performance: Performance) -> CredentialValue:
    """Return a new value for the candidate: the one that the user gave, or a generated one."""
    rotation = performance.rotation
    if performance.given is not None:
        return CredentialValue(rotation.login, performance.given)
    if rotation.imported:
        raise Rejected(
            what="staging the candidate",
            why="the given value was not stored before the process ended",
            advice="Give it again: keyturn rotate --new-value-file.",
        )
    plan = rotation.plan
    secret = generate(PasswordRule(plan.password_length, plan.password_alphabet), performance.world.entropy)
    return CredentialValue(rotation.login, secret)


def _take_over(performance: Performance) -> bool:
    """Tell whether the target shows that the login holds no value yet.

    Where it holds one that is going to be replaced, what the target shows of it is taken into the store,
    so that there is a way back.
    """
    rotation = performance.rotation
    sighting = performance.target.probe(CredentialValue(rotation.login, None))
    shown = sighting.restorable
    replaced = rotation.plan.strategy in _REPLACING and rotation.plan.settable
    if sighting.probe is Probe.UNKNOWN and shown is None and replaced:
        raise Unavailable(what="looking what the login holds", why=sighting.detail or "no clear answer")
    if shown is None or not replaced:
        return sighting.probe is Probe.REFUSED
    version = f"v0-{rotation.id.hex[:6]}"
    performance.store.stage(performance.path, version, shown, deadline=_soon(performance))
    performance.store.discard(performance.path, version, destroy=False)
    captured = e.PreviousCaptured(version, rotation.login, performance.fingerprint(shown))
    # Going to an earlier version, the log goes on calling current what it did until that is promoted.
    adopted = [e.VersionAdopted(version, rotation.login)] if rotation.kind is Kind.ROTATION else []
    performance.record(captured, noted=adopted)
    return False


def look(performance: Performance) -> None:
    """Settle what nobody knows: does the target accept the candidate already?"""
    rotation = performance.rotation
    value = performance.read(rotation.candidate)
    attempt = rotation.in_doubt
    if value is None:
        _revoke_orphans(performance)
        return
    performance.spend_login(rotation.login)
    sighting = performance.target.probe(value)
    if sighting.probe in (Probe.ACCEPTED, Probe.UNUSABLE):
        performance.record(_applied(performance, value, observed="probe"))
        return
    if sighting.probe is Probe.UNKNOWN:
        raise Unavailable(
            what="looking whether the target accepts the new version", why=sighting.detail or "no clear answer"
        )
    settled = e.AttemptSettled(attempt.number if attempt else 0)
    if attempt and rotation.plan.retry is RetryClass.NEVER_REPEAT:
        why = "the answer of the only attempt was lost, the target refuses its value, and it may not be repeated"
        cause = Cause(Effect.PROBE.value, "never_repeat", why)
        performance.record(settled, *give_up(rotation, cause))
        return
    performance.record(settled)


def _revoke_orphans(performance: Performance) -> None:
    """Revoke what a lost attempt made: nobody holds it."""
    attempt = performance.rotation.in_doubt
    assert attempt is not None, "a candidate without a value was never attempted"
    keep = performance.previous()
    performance.revoke(attempt.number, keep=keep)
    performance.record(e.OrphanRevoked(attempt.number))


def apply(performance: Performance) -> None:
    """Make the target accept the candidate: record the attempt, ask, record the answer."""
    rotation = performance.rotation
    if rotation.previous is None and rotation.kind is Kind.ROLLBACK and not rotation.attempted:
        _take_over(performance)  # not before it is known that the target does not accept the version already
    value = performance.read(rotation.candidate)
    if value is None:
        if not rotation.plan.issues_value:
            value = performance.candidate()
        else:
            value = CredentialValue(rotation.login, None)
    deadline = performance.begin_attempt(rotation.candidate, rotation.login)
    number = performance.rotation.attempts[-1].number
    made = performance.target.apply(value, tag=performance.attempt_tag(number), deadline=deadline)
    if value.secret is None:
        performance.attempt = None  # what fails from here is the store: the attempt stays open, its value in doubt
        # In time, or whoever resumes may have revoked it already: it would be held as if it worked.
        performance.store.stage(performance.path, rotation.candidate, made, deadline=deadline)
        performance.attempt = number
    closed = performance.end_attempt()
    performance.record(closed, _applied(performance, made, observed="answer"))


def _applied(performance: Performance, value: CredentialValue, *, observed: str) -> e.CandidateApplied:
    attempts = performance.rotation.attempts
    return e.CandidateApplied(
        attempt=attempts[-1].number if attempts else 0,
        observed=observed,
        fingerprint=performance.fingerprint(value),
    )


def verify(performance: Performance) -> None:
    """Log in afresh with the candidate, see a wrong value refused, run the query; judge."""
    rotation = performance.rotation
    value = performance.candidate()
    wrong = Secret(performance.world.entropy.draw(24).hex())
    performance.spend_login(rotation.login)
    performance.spend_login(rotation.login)
    timeout = deadline_after(performance.world.clock.now(), rotation.plan.verification_timeout)
    seen = performance.target.verify(value, control=wrong)
    now = performance.world.clock.now()
    if not timeout.left(now):
        seen = Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False, detail="it came after the verification timeout")
    events: list[RotationEvent] = judge(performance.rotation, seen, now=now, jitter=jitter(performance))
    if isinstance(events[-1], e.CandidateVerified):
        if performance.rotation.pausing:
            events.append(e.RolloutPaused())
        elif performance.rotation.plan.rollout is None:
            # A service without instances has zero waves: nobody is given the candidate before it is current.
            events.append(e.RolloutCompleted())
    performance.record(*events)


def promote(performance: Performance) -> None:
    """Make the candidate current in the store, then in every further place, each recorded.

    Under an attempt, as a change of the target is: an answer may be lost, and the label move later. The places have
    one of their own: where one of them refuses, the store has not.
    """
    rotation = performance.rotation
    value = performance.candidate()
    until = performance.begin_attempt(rotation.candidate, "")
    performance.store.promote(performance.path, rotation.candidate, value, expected=rotation.label, deadline=until)
    if rotation.plan.places:
        until = performance.begin_attempt(rotation.candidate, "", after=[performance.end_attempt()])
        publish(performance, value, version=rotation.candidate, places=rotation.plan.places, deadline=until)
    changed: CredentialEvent = e.CurrentChanged(rotation.id, rotation.candidate, rotation.login)
    performance.record(performance.end_attempt(), e.Promoted(), noted=[changed])


def publish(
    performance: Performance, value: CredentialValue, *, version: str, places: Sequence[str], deadline: Instant
) -> None:
    """Write a version to those further places that do not have it yet, recording each."""
    if value.form is Form.VERIFIER:
        return  # a verifier is of no use to a consumer
    for place in performance.places:
        if place.name in places and place.name not in performance.rotation.published:
            place.publish(value, version=version, deadline=deadline)
            performance.record(e.Published(place.name, version))


def retire(performance: Performance) -> None:
    """Make the old version unusable and prove it: current accepted, then old refused, and current accepted still."""
    rotation = performance.rotation
    current = performance.candidate()
    old = _old(performance)
    _see_promoted(performance)
    if not is_unused(performance, Effect.RETIRE):
        return
    _expect(performance, current, Probe.ACCEPTED, "the current version")  # or nothing would be left that works
    if rotation.changed_nothing and not _has_left_over(performance):
        performance.record(e.PreviousRetired(refused=False))
        return
    _take_away(performance, rotation.previous or "", old, current)
    provable = old is not None and old.secret is not None and old.form is Form.PLAIN and not _same(old, current)
    if old is not None and provable:
        performance.spend_login(old.username)
        _expect(performance, old, Probe.REFUSED, "the old version")
    _expect(performance, current, Probe.ACCEPTED, "the current version")
    if rotation.plan.strategy in (Strategy.DUAL, Strategy.ISSUE):
        _retire_strays(performance, current)
    _forget(performance)
    noted = [e.VersionRetired(rotation.previous)] if rotation.previous and provable else []
    performance.record(e.PreviousRetired(refused=provable), noted=noted)


def _has_left_over(performance: Performance) -> bool:
    """Tell whether a `dual` login may hold what the log knows and no store holds: it would have no room for another."""
    rotation, world = performance.rotation, performance.world
    if rotation.plan.strategy is not Strategy.DUAL:
        return False
    strays = world.credential(rotation.service, rotation.environment).strays
    return any(performance.read(stray.id) is None for stray in strays)


def _see_promoted(performance: Performance) -> None:
    """See that consumers are on the current version before the old one is taken away from them."""
    rotation = performance.rotation
    label = performance.store.versions(performance.path).current
    if label != rotation.candidate:
        raise Unavailable(
            what="seeing that consumers have the current version",
            why=f"store {rotation.plan.store} calls {label or 'nothing'} current, and not {rotation.candidate}",
            advice=f"Somebody changed the store by hand: keyturn show {rotation.id} names what leads on.",
        )


def _old(performance: Performance) -> CredentialValue | None:
    """Return the value to retire; where no store holds it any more, its login, or None for all but the current."""
    rotation = performance.rotation
    value = performance.read(rotation.previous)
    if value is not None or rotation.previous is None or rotation.plan.strategy is Strategy.DUAL:
        return value
    return CredentialValue(rotation.previous_login or rotation.login, None)


def _take_away(performance: Performance, version: str, old: CredentialValue | None, current: CredentialValue) -> None:
    """Ask the target to refuse a version, under an attempt: landing late it could hit what comes after."""
    deadline = performance.begin_attempt(f"-{version}", old.username if old else current.username)
    performance.target.retire(old, keep=current, tag=performance.tag, deadline=deadline)
    performance.record(performance.end_attempt())


def _retire_strays(performance: Performance, current: CredentialValue) -> None:
    """Take out values that rotations which went wrong may have left in force beside the current one."""
    rotation, world = performance.rotation, performance.world
    for stray in world.credential(rotation.service, rotation.environment).strays:
        if stray.id in (rotation.previous, rotation.candidate):
            continue
        value = performance.read(stray.id)
        if value is None or value.form is not Form.PLAIN or _same(value, current):
            continue
        if not performance.can_spend_login(value.username):
            continue  # the next rotation has logins to spend again
        _take_away(performance, stray.id, value, current)
        performance.spend_login(value.username)
        _expect(performance, value, Probe.REFUSED, f"the left-over version {stray.id}")
        performance.note([e.VersionRetired(stray.id)])


def _same(old: CredentialValue, current: CredentialValue) -> bool:
    """Tell whether retiring cannot be seen: the value in force was rotated to itself."""
    return old.username == current.username and old.secret == current.secret


def _expect(performance: Performance, value: CredentialValue, wanted: Probe, which: str) -> None:
    """Probe a value; raise where the target does not show what is wanted."""
    sighting = performance.target.probe(value)
    if sighting.probe is wanted:
        return
    if sighting.probe is Probe.REFUSED:
        performance.spend_login(value.username)  # nobody expected that, so it was not counted before
    detail = f" ({sighting.detail})" if sighting.detail else ""
    raise Unavailable(what=f"proving that {which} is {wanted}", why=f"the target says {sighting.probe}{detail}")


def _forget(performance: Performance) -> None:
    """Delete the versions that are old enough: recorded first, so that no restore point points at nothing."""
    rotation, world = performance.rotation, performance.world
    if not performance.store.capabilities.versioned:
        return
    credential = world.credential(rotation.service, rotation.environment)
    held = performance.store.versions(performance.path)
    told = {fact.body.version for fact in world.log.stream(credential.id) if isinstance(fact.body, e.VersionDestroyed)}
    told -= {held.current, held.previous, held.pending, *(version.id for version in credential.known)}
    for version in told.intersection(held.versions):  # a process ended between the record and the deletion
        performance.store.discard(performance.path, version, destroy=True)
    for version in destroyable(rotation, credential, held, now=world.clock.now()):
        performance.note([e.VersionDestroyed(version)])
        performance.store.discard(performance.path, version, destroy=True)
