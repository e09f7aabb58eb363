"""The invariants of the design, as predicates over target, stores, log and clock.

I1 to I8 are judged here; I9, I11 and I12 at the end of a run; L1 by the driver in world.py.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from adapters.simulation.faults import WRITES
from engine import events as e
from engine.machine import ENDED, State
from engine.plan import Strategy
from engine.rotation import Rotation
from engine.values import CredentialValue

if TYPE_CHECKING:
    from adapters.simulation.world import Simulation


_CLAIMS: Final = frozenset({e.CandidateVerified, e.PreviousRetired, e.MonitoringPassed, e.RollbackVerified})
"""The events that claim something of the outside (I5), or that a time has passed (I6)."""


class Violation(AssertionError):
    """An invariant of the design does not hold."""


def check_world(world: Simulation) -> None:
    """What must hold between any two calls."""
    if world.consumers is not None:
        world.consumers.look()
    if world.touched:
        _check_nothing_worse(world)
    else:
        _check_untouched(world)
    check_logins(world)


def check_logins(world: Simulation) -> None:
    """I8: wrong logins stay within the budget of the target."""
    budget = world.capabilities.login_budget
    if budget is not None and not world.touched and world.wrong_logins() > budget.tries:
        raise Violation("I8: more wrong logins than the target's budget")


def _check_untouched(world: Simulation) -> None:
    """I1, I2, I3 and I7: nothing is lost, nobody is locked out, nothing is in force that no store holds.

    All of it is a function of what the store holds, what is in force, which attempts are open and how many rotations
    began: where these are as they were when they were judged last, the verdict is the same.
    """
    shelf = world.store.shelf(world.path)
    held, values = shelf.holdings(), list(shelf.values.values())
    tags = _open_tags(world) if world.capabilities.issues_value else set()
    in_force = [value.mark for value in world.in_force()]
    # The values that were seen are kept, so that no other one can be in the place of one of them.
    seen = (held, [id(value) for value in values], in_force, tags, len(world.fold))
    if seen == world.judged:
        return
    for version, value in zip(held.versions, values, strict=True):
        if world.seen_values.setdefault(version, value) != value:
            raise Violation(f"I7: the value of {version} changed")
    for version in sorted(set(world.seen_values) - set(held.versions) - world.gone):
        world.gone.add(version)
        if world.target.accepts(world.seen_values[version]):
            raise Violation(f"I7: {version} left the store, and the target accepts it")
        order = list(world.seen_values)
        if len([newer for newer in held.versions if order.index(newer) > order.index(version)]) < 2:
            raise Violation(f"I7: {version} left the store, and fewer than two newer versions are held")
    if world.takeover and world.initial is not None:
        values.append(world.initial)  # what is taken over is known to its consumers, not to a store
    has_begun = not world.fresh or held.current is not None
    unknown = world.target.strangers(reversed(values))  # the newest is what is in force, mostly
    if has_begun and len(unknown) == len(in_force):
        raise Violation("I1: nothing that a store holds is accepted")
    strangers = [(login, value) for login, value in unknown if value.tag not in tags]
    if strangers:
        raise Violation(f"I2: the target accepts what no store holds: {strangers}")
    current = world.value(held.current)
    overlap = world.fold and all(r.plan.overlap for r in world.fold.values())
    if overlap and current is not None and not world.accepts(current):
        raise Violation(f"I3: {held.current}, which the store calls current, is not accepted")
    world.judged = seen


def _check_nothing_worse(world: Simulation) -> None:
    """I1 where people did things by hand: what works is not taken away, whether a store holds it or not."""
    for version, value in world.store.shelf(world.path).values.items():
        if world.seen_values.setdefault(version, value) != value:  # it was lost, and made anew
            world.by_hand.append(world.seen_values[version])
            world.seen_values[version] = value
    before, world.works = world.works, world.anything_works()
    if before and not world.works and not world.is_unseen:
        raise Violation("I1: the last value that worked was taken away")


def _open_tags(world: Simulation) -> set[str]:
    """Return the tags of attempts whose outcome is open: what carries them is looked for on resume."""
    return {f"{r.id.hex[:12]}-a{a.number}" for r in world.fold.values() for a in r.attempts if not a.closed}


def check_write(world: Simulation, call: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """I6 and I8, at the moment a write is sent to the target, and I3 before one to the store.

    A process that stood still between its last look and the call sends it after the deadline: the target refuses that.
    """
    if call == "store.promote":
        _check_sending_back(world, args[1])
    if call not in WRITES:
        return
    if world.watch.crowd is not None and kwargs["deadline"] <= world.clock.now().wall:
        return
    live = [r for r in world.fold.values() if r.state not in ENDED]
    if len(live) != 1:
        raise Violation(f"I6: {call} without an open rotation")
    rotation = live[0]
    if call in ("target.apply", "target.restore") or args[0] is not None:
        _check_attempt(world, call, rotation)
    is_held = world.capabilities.issues_value or world.value(rotation.candidate) is not None
    if call == "target.apply" and not is_held and not world.is_unseen:
        raise Violation("I6: applied before it was staged")
    if call == "target.apply" and world.shows and not world.touched:
        held = world.store.shelf(world.path).values.values()
        if any(login == rotation.login for login, _ in world.target.strangers(held)):
            raise Violation("I1: what is replaced could have been captured, and no store holds it")
    if call == "target.retire" and args[0] is not None:
        if rotation.state is not State.RETIRING:
            raise Violation(f"I6: retired while {rotation.state}")
        if rotation.grace and world.clock.at < rotation.grace.uptime and rotation.id not in world.ended_early:
            raise Violation("I6: retired within the grace period")


def _check_sending_back(world: Simulation, version: str) -> None:
    """I3 on the way back, whoever did what by hand: consumers are sent only to what works."""
    rotation = world.open
    if rotation is None or rotation.state is not State.ROLLING_BACK or version != rotation.previous:
        return
    value = world.value(version)
    lied = world.is_misled or any(fault.kind == "forgotten" for fault in world.used)
    if world.clock.quiet and not lied and not world.is_unseen and value is not None and not world.accepts(value):
        raise Violation(f"I3: consumers are sent back to {version}, which is not accepted")


def _check_attempt(world: Simulation, call: str, rotation: Rotation) -> None:
    last = rotation.attempts[-1] if rotation.attempts else None
    if last is None or last.closed:
        raise Violation(f"I6: {call} without a recorded attempt")
    if last.uptime <= world.clock.at:
        raise Violation("I8: sent after the deadline of its attempt")
    retires = call == "target.retire"
    for other in (a for r in world.fold.values() for a in r.attempts):
        if retires and (other.version.startswith("-") or other.version == rotation.candidate):
            continue
        is_other = other.version != last.version and other.login == last.login
        if is_other and not other.closed and other.uptime > world.clock.at:
            raise Violation(f"I8: {call} while {other} may still take effect")


def check_fact(world: Simulation, before: Rotation | None, rotation: Rotation, body: e.Event) -> None:
    """I4 of a fact that opens a rotation, since no other makes one open beside another, and I5 of what it claims."""
    if before is None or before.state in ENDED:
        _check_open(world)
    if type(body) in _CLAIMS and world.clock.quiet and not world.is_misled and not world.is_unseen:
        _check_truth(world, rotation, body)


def _check_open(world: Simulation) -> None:
    """I4: one rotation is open."""
    if len([r for r in world.fold.values() if r.state not in ENDED]) > 1:
        raise Violation("I4: two rotations are open")


def _check_truth(world: Simulation, rotation: Rotation, body: e.Event) -> None:
    """I5, judged where no late effect is still under way."""
    candidate, previous = world.value(rotation.candidate), world.value(rotation.previous)
    accepts = world.accepts
    match body:
        case e.CandidateVerified():
            if candidate is None or not accepts(candidate):
                raise Violation("I5: verified, but the candidate is not accepted")
        case e.PreviousRetired():
            if candidate is None or not accepts(candidate):
                raise Violation("I5: completed, but the current version is not accepted")
            if body.refused and previous is not None and world.target.accepts(previous):
                raise Violation("I5: completed, but the old version is still accepted")
        case e.MonitoringPassed():
            if not rotation.vacant and body.grace.wall < rotation.entered_at + rotation.plan.grace:
                raise Violation("I6: the grace period is shorter than planned")
        case e.RollbackVerified(observed="login"):
            if previous is None or not accepts(previous):
                raise Violation("I5: rolled back, but the old version is not accepted")
            if world.store.versions(world.path).current != rotation.previous and not world.touched:
                raise Violation("I5: rolled back, but the store calls another version current")
        case _:
            return


def check_end(world: Simulation, *, led_on: bool = False) -> None:
    """What the store calls current works, readers missed nothing, and the dual slots are not littered.

    `led_on`: a rotation completed that nobody was about.
    """
    if world.follower is not None:
        world.follower.check_end()
    current = world.value(world.store.versions(world.path).current)
    last = list(world.fold.values())[-1] if world.fold else None
    if world.touched and not led_on:
        return  # what was done by hand last, keyturn had no occasion to see
    told = next(
        (r for r in reversed(world.fold.values()) if r.attempted or r.promotable), last
    )  # the last that changed
    has_failed = told is not None and told.state in (State.ROLLBACK_FAILED, State.FAILED)
    if current is not None and not has_failed and not world.accepts(current):
        raise Violation("I3: the store's current version is not accepted at the end")
    ended_well = told is not None and told.state in (State.COMPLETED, State.ROLLED_BACK)
    if ended_well and current is not None and world.place.value not in (None, current, _left_behind(world, told)):
        raise Violation("I3: a further place has another value than the one that the store calls current")
    if last is not None and last.state is State.COMPLETED and last.plan.strategy in (Strategy.DUAL, Strategy.ISSUE):
        failed = any(r.state is State.FAILED for r in world.fold.values())
        # Keys of before are nobody's to revoke, and neither is what somebody added by hand.
        known = (
            not world.touched
            and not world.kept_unseen
            and not (world.takeover and last.plan.strategy is Strategy.ISSUE)
        )
        if known and not failed and world.capabilities.login_budget is None and world.values_in_force() > 1:
            raise Violation("I5: values besides the current one are in force after a completed rotation")


def _left_behind(world: Simulation, ended: Rotation | None) -> CredentialValue | None:
    """Return what a further place was left with when a person gave up going back, and a later rotation only found.

    That person was told, and doctor names the place; a rotation that is taken back before it publishes anything leaves
    it as it is, and one that completes does not.
    """
    if ended is None or ended.state is not State.ROLLED_BACK:
        return None
    earlier = takewhile(lambda each: each.id != ended.id, world.fold.values())
    given_up = any(each.state is State.FAILED and each.promotable for each in earlier)
    return world.places_before[ended.id] if given_up else None


def check_log(world: Simulation) -> None:
    """I9 and I11, once at the end of a run: facts are only added, and so are the values that may not stand in them."""
    raw = world.log.raw()
    if any(value.revealed().encode() in raw for value in world.seen_values.values()):
        raise Violation("I9: a secret stands in the log")
    verdict = world.log.verify()
    if not verdict.ok:
        raise Violation(f"I11: the chain is broken at {verdict.first_bad_position}")
