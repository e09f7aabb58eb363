"""The instances of one rotation, as of its last fact: who was told which version, who proved it, who is gone.

Rule 1: folding is total, and nothing here decides what follows; that is for policies and effects.
Rule 2: thousands of instances are usual: a fact costs one copy of what it changes, and nothing is searched from end to
end in a fold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

import msgspec
from msgspec.structs import replace

from engine import events as e
from engine.instances import Instance
from engine.rollout import RolloutPolicy, Wave
from engine.rollout_events import PauseKind
from engine.values import Deadline, Instant, Microseconds, Moment

_AT_ONCE = Deadline(Instant(0))


class Fleet(msgspec.Struct, frozen=True):
    """Instances and waves of one rotation. A wave is passed when its number is below `Rotation.waves`."""

    is_planned: bool = False
    """The waves are decided."""
    waves: tuple[Wave, ...] = ()
    instances: dict[str, Instance] = {}
    """Every instance that was ever listed, as it was listed last when that was recorded."""
    places: dict[str, int] = {}
    """The wave that each belongs to."""
    members: tuple[tuple[str, ...], ...] = ()
    """The instances of each wave, in the order in which they are told."""
    flight: dict[str, Deadline] = {}
    """Who was told a version and neither proved it nor failed, and until when it may take effect."""
    told: frozenset[str] = frozenset()
    """Who may hold the candidate, `flight` aside."""
    moved: frozenset[str] = frozenset()
    """Who proved that it uses the candidate."""
    returned: frozenset[str] = frozenset()
    """Who proved that it uses the previous version again."""
    missed: dict[str, int] = {}
    """Who is not listed any more, and for how many looks in a row."""
    gone: frozenset[str] = frozenset()
    tries: dict[str, int] = {}
    """How often an instance was told since it proved anything."""
    looks: int = 0
    """Looks in a row at instances in flight that proved nothing."""
    due: Deadline = _AT_ONCE
    """When instances are to be looked at again."""
    relook: Deadline = _AT_ONCE
    """When one that is not listed may be missed again."""
    hold: Deadline = _AT_ONCE
    """When the next wave may begin."""
    why: str = ""
    """What it is held for."""
    soak: Deadline | None = None
    """Until when the wave is watched; None before that began."""
    distributed: int = -1
    """The last wave that proved that it uses the candidate."""
    let: int = -1
    """The last wave that a person let begin."""
    hurried: int = -1
    """The last wave that a person let begin whatever its window says."""
    passed: int = -1
    """The last wave whose soak a person let pass."""
    accepted: int = -1
    """The last wave of which a person accepted that the checks see nothing."""
    full: bool = False
    """A person let all waits, soaks and approvals pass."""
    is_back: bool = False
    """The rotation goes back, so that what is told is the previous version."""
    progressed: Instant = Instant(0)
    """When an instance proved something last, or a wave passed."""
    pause: PauseKind | None = None
    """Why it rests, or rested last."""
    warned: int = 0
    """The last per cent of the time of the previous version that was warned of."""

    @property
    def size(self) -> int:
        """How many waves there are, with what joined behind the plan."""
        return len(self.members)

    def wave(self, number: int) -> Wave:
        """Return a wave of the plan; those who joined behind it are treated as its last one."""
        return self.waves[number] if number < len(self.waves) else _behind(self.waves)

    def present(self, number: int) -> list[str]:
        """Return who is in a wave and not gone."""
        return [each for each in self.members[number] if each not in self.gone] if number < self.size else []

    def outstanding(self, last: int) -> list[str]:
        """Return who is still to prove the candidate, in waves up to and with `last`."""
        done = self.moved | self.gone
        return [each for members in self.members[: last + 1] for each in members if each not in done]

    def has_begun(self, number: int) -> bool:
        """Tell whether anybody of a wave was told."""
        return any(each in self.told or each in self.flight for each in self.present(number))

    def holding(self) -> Iterator[str]:
        """Yield who may hold the candidate, gone ones left out."""
        return (each for each in (*self.told, *self.flight) if each not in self.gone)

    def unverified(self, waves: int) -> list[str]:
        """Return who may hold the candidate before the soak of its wave has passed."""
        members = (each for wave in self.members[waves:] for each in wave)
        return [each for each in members if (each in self.told or each in self.flight) and each not in self.gone]

    def to_return(self, *, promoted: bool) -> list[str]:
        """Return who is still to prove the previous version, the last wave first.

        Once the candidate was current, whoever is there may have it, told or not.
        """
        done = self.returned | self.gone
        wanted = self.places if promoted else self.told
        return [each for wave in reversed(self.members) for each in wave if each in wanted and each not in done]

    def zone(self, instance: str) -> str:
        """Return the failure domain of an instance."""
        return self.instances[instance].zone


def _behind(waves: Sequence[Wave]) -> Wave:
    return replace(waves[-1], instances=(), canary=False) if waves else Wave((), 100)


def room(fleet: Fleet, policy: RolloutPolicy, waves: int, wanted: Iterable[str], *, most: int) -> list[str]:
    """Return which of `wanted` may be told now, `most` at once, without too many that hold an unverified candidate.

    Whoever belongs to a wave that passed has a verified one.
    """
    held = fleet.unverified(waves)
    zones = Counter(fleet.zone(each) for each in held)
    total, chosen = len(held), list[str]()
    holding = set(held)
    for each in wanted:
        if len(chosen) == most:
            break
        if fleet.places[each] >= waves and each not in holding:
            zone = fleet.zone(each)
            if policy.max_unverified is not None and total >= policy.max_unverified:
                continue
            if policy.max_unverified_zone is not None and zones[zone] >= policy.max_unverified_zone:
                continue
            total += 1
            zones[zone] += 1
        chosen.append(each)
    return chosen


def fits(fleet: Fleet, policy: RolloutPolicy, instance: Instance, number: int) -> bool:
    """Tell whether a wave has room for one more, so that all of it may hold an unverified candidate at once."""
    members = fleet.present(number)
    if policy.max_unverified is not None and len(members) >= policy.max_unverified:
        return False
    beside = sum(fleet.zone(each) == instance.zone for each in members)
    return policy.max_unverified_zone is None or beside < policy.max_unverified_zone


def _planned(fleet: Fleet, body: e.RolloutPlanned, at: Instant) -> Fleet:
    """Fold the plan: who is in which wave."""
    members = tuple(wave.instances for wave in body.waves)
    places = {each: number for number, wave in enumerate(members) for each in wave}
    listed = {each.id: each for each in body.instances}
    return replace(
        fleet, is_planned=True, waves=body.waves, instances=listed, places=places, members=members, progressed=at
    )


def evolve(fleet: Fleet, body: e.RolloutRemark, at: Instant) -> Fleet:
    """Return the fleet after one more fact about its instances."""
    match body:
        case e.RolloutPlanned():
            return _planned(fleet, body, at)
        case e.InstancesJoined() | e.InstancesMissed() | e.InstancesLeft():
            return _listed(fleet, body)
        case e.InstancesTold() | e.InstancesFailed() | e.InstancesUnproved():
            return _told(fleet, body)
        case e.InstancesMoved() | e.InstancesReturned() | e.InstancesLapsed():
            return _proved(fleet, body, at)
        case e.WaveHeld():
            return replace(fleet, hold=body.until, why=body.why)
        case e.SoakStarted():
            return replace(fleet, soak=body.until)
        case e.RolloutAdvanced():
            return replace(fleet, full=fleet.full or body.full)
        case e.OverlapWarned():
            return replace(fleet, warned=body.percent)
        case e.RetirementRequested():
            return fleet
        case _:
            assert_never(body)


def advance(fleet: Fleet, waves: int) -> Fleet:
    """Return the fleet after a person let it pass what it waits for: the soak of the wave, or what its begin needs."""
    past_soak = waves if fleet.distributed >= waves else fleet.passed
    return replace(fleet, let=waves, hurried=waves, passed=past_soak, hold=_AT_ONCE)


def _listed(fleet: Fleet, body: e.InstancesJoined | e.InstancesMissed | e.InstancesLeft) -> Fleet:
    """Fold what discovery listed."""
    match body:
        case e.InstancesJoined():
            return _joined(fleet, body)
        case e.InstancesMissed():
            missed = fleet.missed | {each: fleet.missed.get(each, 0) + 1 for each in body.instances}
            return replace(fleet, missed=missed, relook=body.due)
        case e.InstancesLeft():
            left = set(body.instances)
            flight = {each: until for each, until in fleet.flight.items() if each not in left}
            missed = {each: count for each, count in fleet.missed.items() if each not in left}
            return replace(fleet, gone=fleet.gone | left, flight=flight, missed=missed)
        case _:
            assert_never(body)


def _joined(fleet: Fleet, body: e.InstancesJoined) -> Fleet:
    """Fold instances that came, or came back: what was proved before is to be proved again."""
    ids = {each.instance.id for each in body.joiners}
    members = list(fleet.members)
    for joiner in body.joiners:
        if joiner.instance.id in fleet.places:
            continue
        members += [()] * (joiner.wave + 1 - len(members))
        members[joiner.wave] = (*members[joiner.wave], joiner.instance.id)
    return replace(
        fleet,
        instances=fleet.instances | {each.instance.id: each.instance for each in body.joiners},
        places={each.instance.id: each.wave for each in body.joiners} | fleet.places,
        members=tuple(members),
        moved=fleet.moved - ids,
        returned=fleet.returned - ids,
        gone=fleet.gone - ids,
        missed={each: count for each, count in fleet.missed.items() if each not in ids},
        tries={each: count for each, count in fleet.tries.items() if each not in ids},
    )


def _told(fleet: Fleet, body: e.InstancesTold | e.InstancesFailed | e.InstancesUnproved) -> Fleet:
    """Fold what was said to instances: until it is known that it did not reach one, it may have."""
    flight = dict(fleet.flight)
    match body:
        case e.InstancesTold():
            again = [each for each in body.instances if each in flight and not fleet.is_back]
            flight.update(dict.fromkeys(body.instances, body.deadline))
            tries = fleet.tries | {each: fleet.tries.get(each, 0) + 1 for each in body.instances}
            told = fleet.told | set(again) if again else fleet.told
            return replace(
                fleet, flight=flight, tries=tries, told=told, moved=fleet.moved - set(body.instances), looks=0
            )
        case e.InstancesFailed():
            lost = [each for each in body.instances if flight.pop(each, None) is not None]
            told = fleet.told if body.certain or fleet.is_back else fleet.told | set(lost)
            return replace(fleet, flight=flight, told=told)
        case e.InstancesUnproved():
            return replace(fleet, due=body.due, looks=fleet.looks + 1)
        case _:
            assert_never(body)


def _proved(fleet: Fleet, body: e.InstancesMoved | e.InstancesReturned | e.InstancesLapsed, at: Instant) -> Fleet:
    """Fold what instances proved to use, or do not prove any more."""
    ids = set(body.instances)
    if isinstance(body, e.InstancesLapsed):
        return replace(fleet, moved=fleet.moved - ids, returned=fleet.returned - ids)
    flight = {each: until for each, until in fleet.flight.items() if each not in ids}
    tries = {each: count for each, count in fleet.tries.items() if each not in ids}
    fleet = replace(fleet, flight=flight, tries=tries, looks=0, due=_AT_ONCE, progressed=at)
    if isinstance(body, e.InstancesMoved):
        return replace(fleet, told=fleet.told | ids, moved=fleet.moved | ids)
    return replace(fleet, returned=fleet.returned | ids)


def changed(fleet: Fleet, body: e.StateChange, waves: int, at: Instant) -> Fleet:
    """Return the fleet after the rotation came into another state; `waves` are those that passed before."""
    fleet = replace(fleet, due=_AT_ONCE, looks=0, tries={}, soak=None)
    match body:
        case e.WaveDistributed():
            return replace(fleet, distributed=body.wave)
        case e.WavePassed():
            hold = body.until or _AT_ONCE
            return replace(fleet, progressed=at, hold=hold, why="the wait after the wave" if body.until else "")
        case e.RolloutPaused():
            return replace(fleet, pause=body.kind)
        case e.RolloutResumed():
            let = waves if fleet.pause is PauseKind.APPROVAL else fleet.let
            accepted = waves if body.accept else fleet.accepted
            fleet = replace(fleet, let=let, accepted=accepted, full=fleet.full or body.full)
            return advance(fleet, waves) if body.advance or body.full else fleet
        case e.RollbackStarted() | e.RollbackRetried():
            # What was still under way forward may have arrived; what was under way back is told anew.
            told = fleet.told if fleet.is_back else fleet.told | set(fleet.flight)
            returned = frozenset[str]() if isinstance(body, e.RollbackStarted) else fleet.returned
            return replace(fleet, told=told, flight={}, is_back=True, returned=returned)
        case _:
            return fleet


def stalled_since(fleet: Fleet, entered: Instant) -> Instant:
    """Return since when nothing moves on: what is waited for on purpose does not count."""
    soak = fleet.soak.wall if fleet.soak else Instant(0)
    return max(entered, fleet.progressed, fleet.hold.wall, soak)


def is_stalled(fleet: Fleet, policy: RolloutPolicy, entered: Instant, now: Moment) -> bool:
    """Tell whether nothing moved on for as long as the policy allows."""
    return now.wall - stalled_since(fleet, entered) >= policy.progress_deadline


def next_look(now: Moment, looks: int, longest: Microseconds) -> Deadline:
    """Return when instances in flight are looked at again: a quarter of a second later, then doubling up to 5 s."""
    after = min(250_000 * 2 ** min(looks, 20), longest, 5_000_000)
    return Deadline(Instant(now.wall + after), now.boot, Microseconds(now.uptime + after))
