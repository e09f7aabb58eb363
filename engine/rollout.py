"""The plan of a rollout: which instances get the candidate when, decided once and frozen into the log.

Rule 1: pure; the same instances, policy and seed give the same plan, whatever order they are listed in.
Rule 2: percentages are of the whole fleet and cumulative, rounded up; the canary counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import zip_longest
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from engine.instances import Instance
from engine.values import SECOND, Microseconds

WHOLE: Final = 100
"""Per cent: what the last wave brings the fleet to."""


class OnTrouble(StrEnum):
    """What follows when a wave fails its checks, or shows nothing."""

    PAUSE = "pause"
    ABORT = "abort"


class Stage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of the policy: how much of the fleet has the candidate at its end."""

    percentage: int
    """Of the whole fleet, cumulative, from 1 to 100."""
    soak: Microseconds = Microseconds(0)
    """How long the checks are to pass before the next step."""
    wait: Microseconds = Microseconds(0)
    """How long nothing happens after they passed."""


class RolloutPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a version is handed out; part of the plan of a rotation. Times are microseconds."""

    stages: tuple[Stage, ...]
    canary: bool = True
    """The first wave is a canary."""
    selector: str = ""
    """`key=value`: the instances with that label are the canary. Else those that are marked, else the first of all."""
    canary_soak: Microseconds = Microseconds(300 * SECOND)
    failure_threshold: int = 2
    """Failures of one check in a row before a wave has failed."""
    inconclusive_threshold: int = 10
    """Looks of one check in a row that showed nothing, before a wave is inconclusive."""
    on_failure: OnTrouble = OnTrouble.ABORT
    on_inconclusive: OnTrouble = OnTrouble.PAUSE
    interval: Microseconds = Microseconds(30 * SECOND)
    """From one look of the checks to the next."""
    approval: bool = False
    """A person lets every wave after the first begin."""
    max_unverified: int | None = None
    """The most instances that may hold a candidate whose soak has not passed; None is as many as a wave has."""
    max_unverified_zone: int | None = None
    """The same for each failure domain."""
    parallelism: int = 10
    """Instances that are told at once."""
    instance_timeout: Microseconds = Microseconds(30 * SECOND)
    """From telling an instance to its proof."""
    progress_deadline: Microseconds = Microseconds(600 * SECOND)
    """How long no further instance may prove that it moved, while the rollout is not paused."""
    missed_looks: int = 3
    """Looks in a row that do not list an instance, before it counts as gone."""


def at_once(policy: RolloutPolicy) -> RolloutPolicy:
    """Return a policy by which everybody is given the version as soon as they can be: for going back."""
    return replace(
        policy,
        stages=(Stage(WHOLE),),
        canary=False,
        approval=False,
        max_unverified=None,
        max_unverified_zone=None,
    )


class Wave(msgspec.Struct, frozen=True, omit_defaults=True):
    """Instances that get the candidate together, and soak together."""

    instances: tuple[str, ...]
    percentage: int
    """Of the whole fleet, with all waves before: what it is rounded up to."""
    soak: Microseconds = Microseconds(0)
    wait: Microseconds = Microseconds(0)
    canary: bool = False


class Share(msgspec.Struct, frozen=True):
    """A part of something that is counted."""

    count: int
    of: int

    @property
    def percentage(self) -> float:
        """The part in per cent, to one place; of nothing, nothing."""
        return round(WHOLE * self.count / self.of, 1) if self.of else 0.0


class Blast(msgspec.Struct, frozen=True):
    """Who would meet a version that does not work, if one wave did."""

    fleet: Share
    zones: dict[str, Share]
    """By failure domain, the ones that the wave is in; `""` is of those that have none."""


class Refusal(NamedTuple):
    """Why a version cannot be handed out in waves, and what to do about it."""

    why: str
    advice: str


def seed_of(service: str, environment: str, current: str | None) -> str:
    """Return what the order of a fleet is drawn with, `current` being the version that a rotation would replace.

    It is known before a rotation begins, so that the waves can be shown beforehand, and is another one for the next
    version, so that not always the same instances go first.
    """
    return "/".join((environment, service, current or ""))


def plan_waves(instances: Sequence[Instance], policy: RolloutPolicy, seed: str) -> tuple[Wave, ...]:
    """Return the waves of a fleet: the canary, then one for each stage that adds anybody, each within the limits.

    Every instance is in one of them, and none of them is empty. A stage that would have more unverified than the
    policy allows is made of several waves; each of them soaks, and the wait of the stage follows the last.
    """
    order = _spread(instances, seed)
    first = _canary(order, policy)
    chosen = {each.id for each in first}
    rest = [each for each in order if each.id not in chosen]
    opening = Stage(_rounded_up(len(first), len(order)), policy.canary_soak)
    waves = [replace(wave, canary=True) for wave in _waves(first, opening, policy, before=0, total=len(order))]
    taken = 0
    for stage in _up_to_all(policy.stages):
        upto = max(-(-len(order) * stage.percentage // WHOLE) - len(first), taken)
        waves += _waves(rest[taken:upto], stage, policy, before=len(first) + taken, total=len(order))
        taken = upto
    return tuple(waves)


def place_of(instance: Instance, waves: Sequence[Wave], seed: str) -> int:
    """Return the number of the wave that an instance belongs to which the plan does not have; 0 where it has none.

    Large waves get more of those that join than small ones. A canary was chosen, so nobody joins it while there are
    others.
    """
    sizes = {number: len(wave.instances) for number, wave in enumerate(waves) if not wave.canary}
    place = _drawn(seed, instance.id) % max(sum(sizes.values()), 1)
    for number, size in sizes.items():
        if place < size:
            return number
        place -= size
    return 0


def blast(waves: Sequence[Wave], instances: Sequence[Instance]) -> tuple[Blast, ...]:
    """Return for each wave how much of the fleet it is, as a whole and of each failure domain."""
    zone_of = {each.id: each.zone for each in instances}
    whole = Counter(zone_of.values())
    found: list[Blast] = []
    for wave in waves:
        counts = Counter(zone_of[each] for each in wave.instances)
        zones = {zone: Share(counts[zone], whole[zone]) for zone in sorted(counts)}
        found.append(Blast(Share(len(wave.instances), len(zone_of)), zones))
    return tuple(found)


def has_label(instance: Instance, selector: str) -> bool:
    """Tell whether a `key=value` selects an instance."""
    key, _, value = selector.partition("=")
    return instance.labels.get(key) == value


def refusal(*, overlap: bool, able: Sequence[str]) -> Refusal | None:
    """Return why a strategy cannot be rolled out in waves; None where it can.

    `overlap` is whether both versions can be valid at once with it, `able` names the strategies with which they can.
    """
    if overlap:
        return None
    why = "only one version is valid at a time, so that all instances would have to change at once: a wave is everybody"
    if able:
        return Refusal(why, f"Use one of: {', '.join(able)}.")
    return Refusal(why, "The target holds two versions with no strategy; take the instances out of `rotation`.")


def _canary(order: Sequence[Instance], policy: RolloutPolicy) -> list[Instance]:
    if not policy.canary:
        return []
    selected = [each for each in order if policy.selector and has_label(each, policy.selector)]
    return selected or [each for each in order if each.canary] or list(order[:1])


def _up_to_all(stages: Sequence[Stage]) -> Iterator[Stage]:
    """Yield the stages; the last one is of the whole fleet."""
    yield from stages
    if not stages or stages[-1].percentage < WHOLE:
        yield replace(stages[-1], percentage=WHOLE) if stages else Stage(WHOLE)


def _waves(members: Sequence[Instance], stage: Stage, policy: RolloutPolicy, *, before: int, total: int) -> list[Wave]:
    """Return the waves of a stage; `before` instances have the candidate by then. The last of the fleet is 100."""
    parts = list(_within(members, policy))
    waves: list[Wave] = []
    for part in parts:
        before += len(part)
        is_last = len(waves) == len(parts) - 1
        percentage = stage.percentage if is_last and before < total else _rounded_up(before, total)
        wait = stage.wait if is_last else Microseconds(0)
        waves.append(Wave(tuple(each.id for each in part), percentage, stage.soak, wait))
    return waves


def _within(members: Sequence[Instance], policy: RolloutPolicy) -> Iterator[list[Instance]]:
    """Yield the members in parts, in their order, each of as many as may be unverified at once."""
    most = policy.max_unverified or len(members)
    most_of_zone = policy.max_unverified_zone or len(members)
    part: list[Instance] = []
    zones = Counter[str]()
    for each in members:
        if len(part) == most or zones[each.zone] == most_of_zone:
            yield part
            part, zones = [], Counter[str]()
        part.append(each)
        zones[each.zone] += 1
    if part:
        yield part


def _spread(instances: Sequence[Instance], seed: str) -> list[Instance]:
    """Return the fleet in the order that it is handed out in: the zones in turn, drawn within each."""
    zones: dict[str, list[Instance]] = {}
    for each in sorted(instances, key=lambda each: (_drawn(seed, each.id), each.id)):
        zones.setdefault(each.zone, []).append(each)
    in_turn = [zones[zone] for zone in _drawn_zones(zones, seed)]
    return [each for turn in zip_longest(*in_turn) for each in turn if each is not None]


def _drawn_zones(zones: Mapping[str, object], seed: str) -> list[str]:
    return sorted(zones, key=lambda zone: (_drawn(seed, "zone", zone), zone))


def _drawn(*words: str) -> int:
    """Return a number that follows from words alone, on every machine."""
    return int.from_bytes(blake2b("\0".join(words).encode(), digest_size=8).digest(), "big")


def _rounded_up(count: int, total: int) -> int:
    """Return a part of a whole in per cent, rounded up."""
    return -(-WHOLE * count // total) if total else 0
