"""What can be known right now of some versions: does the target accept them, and where are they stored.

Rule 1: a look makes nothing worse. It changes nothing outside, spends no wrong login that going back may need, and
what it cannot read or ask is told as not known instead of raised.
Rule 2: nothing here decides; what is seen is for a person, or for who asks on behalf of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from typing import Final

import msgspec

from engine import events as e
from engine.credential import Version
from engine.errors import Conflict, NoRoom, OwnedElsewhere, PortError
from engine.leaving import is_full
from engine.performance import World, facts_of, noted_facts
from engine.plan import Plan
from engine.ports import Probe, Sighting
from engine.process import until_free
from engine.rotation import Rotation
from engine.values import SECOND, CredentialValue, Deadline, Form, Microseconds, deadline_after

WRONG_LOGINS_MAX: Final = 2
"""Refused logins that one look may cost; what is left to look at then is not tried."""

_LEFT_OVER: Final = 1
"""Wrong logins of a target's budget that are left alone: what leads on must not have to wait because of a look."""

_LONGEST: Final = Microseconds(5 * SECOND)
"""After this long nothing more is asked: a target that does not answer one login will hardly answer the next."""


class Acceptance(StrEnum):
    """Whether a version works, as far as a look can tell."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNUSABLE = "unusable"
    """The secret is right, and the login is refused for another reason."""
    UNKNOWN = "unknown"
    """The target, or the store, gave no clear answer."""
    NOT_TRIED = "not tried"
    """There is nothing to log in with, or a wrong login more could lock the login."""


class Seen(msgspec.Struct, frozen=True):
    """What a look showed of one version. `stored_in` is store and path; None where the store does not show it.

    `detail` is redacted text for people.
    """

    version: str
    accepted: Acceptance
    stored_in: str | None
    detail: str = ""


def versions_of(rotation: Rotation) -> tuple[Version, ...]:
    """Return the versions that a rotation moves between, the one to go back to first."""
    versions = [Version(rotation.candidate, rotation.login)] if rotation.candidate else []
    if rotation.previous is not None:
        versions.insert(0, Version(rotation.previous, rotation.previous_login or rotation.login))
    return tuple(versions)


def look_around(
    world: World,
    service: str,
    environment: str,
    plan: Plan,
    versions: Sequence[Version],
    *,
    spending: bool = True,
    expected: bool = False,
) -> tuple[Seen, ...]:
    """Look at versions of a credential, in the order given, and return what is seen of each.

    Costs `WRONG_LOGINS_MAX` refused logins at most. Where the target counts them, each login is recorded before it
    is tried: in the open rotation, or on the credential where none is open; without `spending` none is tried there.
    What is `expected` to work is recorded only once it was refused, so that looking again and again uses nothing up.
    Raises what `World.bind` raises.
    """
    binding = world.bind(service, environment, plan)
    limit = deadline_after(world.clock.now(), _LONGEST)
    place = f"{plan.store}, {plan.path}"
    refused, seen = 0, list[Seen]()
    for version in versions:
        try:
            value = binding.store.read(plan.path, version.id)
        except PortError as error:
            seen.append(Seen(version.id, Acceptance.UNKNOWN, None, error.message))
            continue
        if value is None:
            seen.append(Seen(version.id, Acceptance.NOT_TRIED, None, f"store {plan.store} does not hold it"))
            continue
        hindrance = _hindrance(world, value, refused=refused, limit=limit)
        spend = partial(_spend, world, service, environment, plan, value, spending=spending)
        hindrance = hindrance or spend(recording=not expected)
        if hindrance is not None:
            seen.append(Seen(version.id, hindrance[0], place, hindrance[1]))
            continue
        sighting = binding.target.probe(value)
        accepted = _acceptance(value, sighting)
        if expected and accepted is Acceptance.REFUSED:
            spend(recording=True)
        refused += accepted is Acceptance.REFUSED
        seen.append(Seen(version.id, accepted, place, sighting.detail))
    return tuple(seen)


def require_room(world: World, service: str, environment: str, plan: Plan, *, values_max: int | None) -> None:
    """Require that a login which holds `values_max` values has room for one more, where the last rotation failed.

    Only then is anything looked at. A new rotation would fail, and stand in the way of taking that one back, which is
    what makes room. Raises `NoRoom`, and what `look_around` raises.
    """
    credential = world.credential(service, environment)
    last = world.load(credential.last) if credential.last and not credential.open else None
    if values_max is None or last is None or not is_full(last):
        return
    current = (credential.current,) if credential.current else ()
    seen = look_around(world, service, environment, plan, (*current, *credential.strays))
    held = [each.version for each in seen if each.accepted in (Acceptance.ACCEPTED, Acceptance.UNUSABLE)]
    held += [f"{each.version} (lost)" for each in seen if each.accepted is Acceptance.NOT_TRIED and not each.stored_in]
    if last.previous is None and not last.vacant:
        held.append("a value of before that no store holds")
    if len(held) >= values_max:
        raise NoRoom(service=service, environment=environment, rotation_id=last.id, held=" and ".join(held))


_Hindrance = tuple[Acceptance, str]


def _hindrance(world: World, value: CredentialValue, *, refused: int, limit: Deadline) -> _Hindrance | None:
    """Return why a value is not looked at, whatever the target's budget; None where it is."""
    if value.secret is None:
        return (Acceptance.NOT_TRIED, "it has no secret to log in with")
    if refused >= WRONG_LOGINS_MAX:
        return (Acceptance.NOT_TRIED, f"{WRONG_LOGINS_MAX} wrong logins were spent already")
    if not limit.left(world.clock.now()):
        return (Acceptance.UNKNOWN, "the target takes too long to answer")
    return None


def _spend(
    world: World,
    service: str,
    environment: str,
    plan: Plan,
    value: CredentialValue,
    *,
    spending: bool,
    recording: bool,
) -> _Hindrance | None:
    """Record a login that may be refused, where the target counts them; return why it may not be tried."""
    budget = plan.login_budget
    if budget is None or value.form is Form.VERIFIER:
        return None
    if not spending:
        return (Acceptance.NOT_TRIED, "it would count as a login")
    now = world.clock.now()
    credential = world.credential(service, environment)
    rotation = world.load(credential.open) if credential.open else None
    tries = credential.tries if rotation is None else rotation.tries
    cost = 1 + _LEFT_OVER
    if cost > budget.tries or until_free(tries, value.username, budget, cost, now):
        return (Acceptance.NOT_TRIED, "the wrong logins that the target allows are used up for now")
    if not recording:
        return None
    try:
        if rotation is None:
            spent = e.LoginSpent(value.username, now.boot, now.uptime)
            world.append(noted_facts(credential, [spent], at=now.wall, actor=world.actor))
            return None
        tried = e.LoginTried(value.username, now.boot, now.uptime)
        with world.hold(rotation.id):  # whoever drives it would lose a fact of its own to this one
            world.append(
                facts_of(rotation.id, rotation.version, rotation.state, [tried], at=now.wall, actor=world.actor)
            )
    except (Conflict, OwnedElsewhere):
        return (Acceptance.NOT_TRIED, "another process is at work on it")
    return None


def _acceptance(value: CredentialValue, sighting: Sighting) -> Acceptance:
    """Tell what a sighting says of a value; of a verifier only that it is in force can be seen."""
    if value.form is Form.VERIFIER:
        shown = sighting.restorable
        return Acceptance.ACCEPTED if shown is not None and shown.secret == value.secret else Acceptance.UNKNOWN
    match sighting.probe:
        case Probe.ACCEPTED:
            return Acceptance.ACCEPTED
        case Probe.REFUSED:
            return Acceptance.REFUSED
        case Probe.UNUSABLE:
            return Acceptance.UNUSABLE
        case Probe.UNKNOWN:
            return Acceptance.UNKNOWN
