"""Handing a version to instances: claimed in the log, handed, and looked at until each proved it or its time is over.

Rule 1: a claim is durable before anybody is handed anything, so that no crash and no second process tells too many.
Rule 2: what became of one instance is caught here, since the others go on; what follows from it is the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import NamedTuple

from engine import events as e
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.events import Cause
from engine.fleet import evolve, fits, next_look, room
from engine.instances import INSTANCE_ID_MAX, Distributor, Instance, Proof, Usage
from engine.performance import Performance
from engine.process import Effect
from engine.rollout import place_of, seed_of
from engine.rollout_events import Joiner
from engine.rotation import Rotation
from engine.values import CredentialValue, deadline_after

_NAMED_MAX = 5
"""Instances that a message names; it says how many more there are."""


class Trouble(NamedTuple):
    """Why an instance does not use the version, and whether it had all its tries."""

    cause: Cause
    is_final: bool


def named(instances: Collection[str]) -> str:
    """Return instances for people: the first few by name, and how many more."""
    first = sorted(instances)[:_NAMED_MAX]
    more = len(instances) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


class Handover:
    """Instances being brought to use one version, in one performance of an effect.

    `listed` are those that discovery lists now; of the others it is known where they were last. What goes wrong with
    one that is not listed is no trouble.
    """

    def __init__(
        self,
        performance: Performance,
        effect: Effect,
        *,
        version: str,
        value: CredentialValue,
        tries_max: int,
        listed: dict[str, Instance] | None = None,
    ) -> None:
        self._performance = performance
        self._effect = effect
        self._version = version
        self._value = value
        self._tries_max = tries_max
        self._listed = listed
        self._detail = ""

    def bring(self, wanted: Sequence[str]) -> Trouble | None:
        """Have instances use the version, as far as it can be done now, and record it; return what went wrong.

        Who still is to prove it stands in the fleet, with the time of the next look. Raises the three outcomes where
        nothing can be handed to anybody.
        """
        performance = self._performance
        trouble = self._settle(list(performance.fleet.flight))
        queue = [each for each in wanted if each not in performance.fleet.flight and self._lacks(each)]
        while trouble is None and queue:
            batch = self._claim(queue)
            if not batch:
                break
            claimed = set(batch)
            queue = [each for each in queue if each not in claimed]
            trouble = self._hand(batch)
        if unproved := tuple(performance.fleet.flight):
            now = performance.world.clock.now()
            due = next_look(now, performance.fleet.looks, performance.policy.instance_timeout)
            due = min((due, *performance.fleet.flight.values()), key=lambda each: each.left(now))
            performance.record(e.InstancesUnproved(unproved, due, self._detail))
        return trouble

    def look(self, instances: Sequence[str]) -> dict[str, Proof]:
        """Return what each instance shows now, as many at once as the policy allows."""
        performance, seen = self._performance, dict[str, Proof]()
        for some in _parts(instances, performance.policy.parallelism):
            looks = performance.world.parallel(partial(self._look, performance.distributor), some)
            seen.update(zip(some, looks, strict=True))
        return seen

    def _look(self, distributor: Distributor, instance: str) -> Proof:
        return distributor.look(self._found(instance), self._value, version=self._version)

    def _lacks(self, instance: str) -> bool:
        fleet = self._performance.fleet
        return instance not in (fleet.returned if fleet.is_back else fleet.moved)

    def _found(self, instance: str) -> Instance:
        known = self._performance.fleet.instances[instance]
        return self._listed.get(instance, known) if self._listed else known

    def _claim(self, queue: Sequence[str]) -> list[str]:
        """Record which instances are told next: durable before any of them is."""
        performance = self._performance
        policy, fleet = performance.policy, performance.fleet
        most = policy.parallelism - len(fleet.flight)
        if fleet.is_back or performance.rotation.promotable:  # all waves have passed, so that it is verified
            batch = list(queue[: max(most, 0)])
        else:
            batch = room(fleet, policy, performance.rotation.waves, queue, most=max(most, 0))
        if batch:
            deadline = deadline_after(performance.world.clock.now(), policy.instance_timeout)
            performance.record(e.InstancesTold(tuple(batch), self._version, deadline))
        return batch

    def _hand(self, batch: Sequence[str]) -> Trouble | None:
        """Hand the version to a batch that was claimed, and look who proves it."""
        performance = self._performance
        distributor = performance.distributor
        deadline = performance.fleet.flight[batch[0]].wall

        def hand(each: str) -> PortError | None:
            try:
                distributor.hand(self._found(each), self._value, version=self._version, deadline=deadline)
            except (Unavailable, Rejected, Uncertain) as error:
                return error
            return None

        answers = dict(zip(batch, performance.world.parallel(hand, batch), strict=True))
        refused = {each: a for each, a in answers.items() if isinstance(a, Unavailable | Rejected)}
        trouble = self._settle([each for each in batch if each not in refused])
        if not refused:
            return trouble
        counted = [each for each in refused if self._counts(each)] or list(refused)
        error = refused[counted[0]]
        cause = Cause(self._effect.value, error.kind, f"{named(counted)}: {error.message}", error.advice)
        is_final = any(isinstance(refused[each], Rejected) for each in counted) or self._had_all(counted)
        performance.record(e.InstancesFailed(tuple(refused), cause, certain=True))
        return trouble or self._trouble(counted, cause, is_final=is_final)

    def _settle(self, instances: Sequence[str]) -> Trouble | None:
        """Look who of those in flight proves it by now; whose time is over has failed."""
        performance = self._performance
        if not instances:
            return None
        seen = self.look(instances)
        proved = tuple(each for each, proof in seen.items() if proof.usage is Usage.USED)
        if proved:
            is_back = performance.fleet.is_back
            performance.record(e.InstancesReturned(proved) if is_back else e.InstancesMoved(proved))
        now, flight = performance.world.clock.now(), performance.fleet.flight
        late = [each for each in seen if each in flight and not flight[each].left(now)]
        details = [f"{each}: {seen[each].detail}" for each in seen if each in flight and seen[each].detail]
        self._detail = details[0] if details else ""
        if not late:
            return None
        seconds = performance.policy.instance_timeout / 1_000_000
        message = f"{named(late)} did not prove within {seconds:g} s to use {self._version}"
        why = next((f" ({seen[each].detail})" for each in late if seen[each].detail), "")
        cause = Cause(
            self._effect.value, "unproved", message + why, "See whether the instance reloads what it is given."
        )
        counted = [each for each in late if self._counts(each)]
        is_final = self._had_all(counted)
        performance.record(e.InstancesFailed(tuple(late), cause))
        return self._trouble(counted, cause, is_final=is_final)

    def _counts(self, instance: str) -> bool:
        return instance not in self._performance.fleet.missed

    def _had_all(self, instances: Sequence[str]) -> bool:
        tries = self._performance.fleet.tries
        return any(tries.get(each, 0) >= self._tries_max for each in instances)

    def _trouble(self, counted: Sequence[str], cause: Cause, *, is_final: bool) -> Trouble | None:
        return Trouble(cause, is_final) if any(self._counts(each) for each in counted) else None


def _parts(instances: Sequence[str], size: int) -> list[Sequence[str]]:
    return [instances[at : at + size] for at in range(0, len(instances), max(size, 1))]


def look_around(performance: Performance) -> dict[str, Instance]:
    """List the instances; record who came, who is not listed any more, and who counts as gone. Return those listed.

    Raises `Unavailable` or `Rejected` where they cannot be listed.
    """
    policy, fleet = performance.policy, performance.fleet
    listed = list_instances(performance)
    known = fleet.places.keys()
    came = [each for each in listed if each not in known or each in fleet.missed or each in fleet.gone]
    if came:
        performance.record(e.InstancesJoined(tuple(_places(performance, [listed[each] for each in sorted(came)]))))
    now = performance.world.clock.now()
    lost = [each for each in known if each not in listed and each not in fleet.gone]
    if fleet.relook.left(now):
        lost = [each for each in lost if each not in fleet.missed]  # the others are to be missed later again
    left = tuple(sorted(each for each in lost if fleet.missed.get(each, 0) + 1 >= policy.missed_looks))
    missed = tuple(sorted(set(lost) - set(left)))
    if missed:
        performance.record(e.InstancesMissed(missed, deadline_after(now, policy.interval)))
    if left:
        performance.record(e.InstancesLeft(left))
    return listed


def seed(rotation: Rotation) -> str:
    """Return what the order of the fleet is drawn with."""
    return seed_of(rotation.service, rotation.environment, rotation.previous)


def list_instances(performance: Performance) -> dict[str, Instance]:
    """Return who is there now, by id.

    Raises `Unavailable` or `Rejected` where they cannot be listed; so it does where one has no usable id, since what
    is recorded has to be readable for ever.
    """
    listed: dict[str, Instance] = {}
    for each in performance.discovery.instances():
        if not 1 <= len(each.id) <= INSTANCE_ID_MAX or each.id in listed:
            why = f"an instance is called {each.id[:INSTANCE_ID_MAX]!r}, which is empty, too long, or there twice"
            raise Rejected(what="listing the instances", why=why)
        listed[each.id] = each
    return listed


def _places(performance: Performance, instances: Sequence[Instance]) -> list[Joiner]:
    """Return the wave of each instance that came: its own, or a later one where that has no room."""
    rotation, policy, fleet = performance.rotation, performance.policy, performance.fleet
    joiners: list[Joiner] = []
    for instance in instances:
        number = fleet.places.get(instance.id)
        if number is None:
            number = place_of(instance, fleet.waves, seed(rotation))
            is_free = number < rotation.waves or rotation.promotable
            while not is_free and not fits(fleet, policy, instance, number):
                number += 1
        joiner = Joiner(instance, number)
        joiners.append(joiner)
        fleet = evolve(fleet, e.InstancesJoined((joiner,)), rotation.entered_at)
    return joiners
