"""The instances of a service as people see them: who they are, the waves they would get a version in, what is odd.

Rule: asks discovery, and nobody else; nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from adapters.cli.refusals import NoInstances
from adapters.cli.shared import shared_options
from adapters.config.planning import rollout_of
from adapters.event_store.errors import NoLog
from engine import credential as credentials
from engine.adapter import Duration
from engine.credential import credential_id
from engine.errors import ExitCode
from engine.instances import Discovery, Instance
from engine.ports import Checkable, Finding, Severity
from engine.rollout import RolloutPolicy, Share, Wave, blast, has_label, plan_waves, seed_of
from engine.values import SECOND

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.composition import Installation
    from adapters.config.model import Service

_NAMED: Final = 5
"""Instances of a wave that are named to a person; --json has all of them."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The instances that discovery lists, and the waves of a rotation that begins now."""

    instances: tuple[Instance, ...]
    policy: RolloutPolicy
    waves: tuple[Wave, ...]

    @property
    def zones(self) -> int:
        """How many failure domains there are; instances without one are in none."""
        return len({each.zone for each in self.instances} - {""})

    @property
    def unverified_max(self) -> Share:
        """The most instances that have the new version before its checks have passed."""
        return Share(max((len(wave.instances) for wave in self.waves), default=0), len(self.instances))

    def counted(self) -> str:
        """Say how many there are."""
        where = f" in {_several(self.zones, 'zone')}" if self.zones else ""
        return f"{_several(len(self.instances), 'instance')}{where}"


@click.command()
@click.argument("service")
@shared_options
@click.pass_obj
def discover(session: Session, *, service: str) -> ExitCode:
    """List the instances of a service, and the wave that each would be in."""
    found = session.wiring.service(service)
    session.where = f"service {found.name} ({found.environment})"
    fleet = fleet_of(session, found, session.wiring.discovery(found.name))
    if fleet is None:
        raise NoInstances(service=found.name)
    place = {each: (number, wave.canary) for number, wave in enumerate(fleet.waves) for each in wave.instances}
    if session.console.json:
        listed = [_document(each, place[each.id][0]) for each in fleet.instances]
        fields = {"service": found.name, "environment": found.environment, "instances": listed}
        session.console.document("keyturn.instances/1", {**fields, "remarks": list(remarks(fleet))})
        return ExitCode.DONE
    heads = ("ID", "ZONE", "ENDPOINT", "LABELS", "CANARY", "WAVE")
    session.console.table(heads, [_row(each, *place[each.id]) for each in fleet.instances])
    for remark in remarks(fleet):
        session.console.say(f"note: {remark}")
    return ExitCode.DONE


def fleet_of(session: Session, service: Service, discovery: Discovery | None) -> Fleet | None:
    """Ask who the instances are, by id, and plan their waves; None where a service has none. Raises the outcomes."""
    policy = rollout_of(service)
    if discovery is None or policy is None:
        return None
    found = tuple(sorted(discovery.instances(), key=lambda each: each.id))
    seed = seed_of(service.name, service.environment, _current(session, service))
    return Fleet(found, policy, plan_waves(found, policy, seed))


def remarks(fleet: Fleet) -> Iterator[str]:
    """Yield what is probably not meant."""
    policy = fleet.policy
    if not fleet.instances:
        yield "discovery lists no instance: a rotation rests until it lists some"
        return
    if policy.canary and policy.selector and not any(has_label(each, policy.selector) for each in fleet.instances):
        yield f"no instance has the label {policy.selector}, so another one is the canary"
    if fleet.waves[0].canary and len(fleet.waves[0].instances) == len(fleet.instances) > 1:
        yield "every instance is in the canary, so that nobody keeps the old version"


def documents(fleet: Fleet) -> list[dict[str, Any]]:
    """Return `waves` of `keyturn.plan/1`."""
    return [
        {
            "index": index,
            "instances": list(wave.instances),
            "percentage": wave.percentage,
            "canary": wave.canary,
            "soak_seconds": wave.soak / SECOND,
            "wait_seconds": wave.wait / SECOND,
            "blast_radius": {
                **share(radius.fleet),
                "zones": {zone: share(part) for zone, part in radius.zones.items()},
            },
        }
        for index, (wave, radius) in enumerate(zip(fleet.waves, blast(fleet.waves, fleet.instances), strict=True))
    ]


def share(part: Share) -> dict[str, Any]:
    """Return a part of a fleet, or of a zone of it."""
    return {"instances": part.count, "of": part.of, "percentage": part.percentage}


def lines(fleet: Fleet) -> Iterator[str]:
    """Yield what a plan says of the instances, for people."""
    policy, most = fleet.policy, fleet.unverified_max
    yield fleet.counted()
    if not fleet.instances:
        return
    yield f"unverified at once: {most.count} at most ({most.percentage:g} %), joining ones aside"
    for number, (wave, radius) in enumerate(
        zip(fleet.waves, blast(fleet.waves, fleet.instances), strict=True), start=1
    ):
        zones = ", ".join(f"{zone} {part.count} of {part.of}" for zone, part in radius.zones.items() if zone)
        radius_told = f"{radius.fleet.count} of {radius.fleet.of} ({radius.fleet.percentage:g} %)"
        times = [f"checked for {Duration(wave.soak)}"] if wave.soak else ["not checked before the next"]
        times += [f"then {Duration(wave.wait)} of waiting"] if wave.wait else []
        times += ["after an approval"] if policy.approval and number > 1 else []
        called = f"wave {number}{' (canary)' if wave.canary else ''}"
        reached = f"up to {wave.percentage} %"
        yield f"{called}: {'; '.join(filter(None, [radius_told, zones, reached, ', '.join(times)]))}"
        yield f"  {_names(wave.instances)}"
    takes = sum(wave.soak + wave.wait for wave in fleet.waves)
    yield f"takes {Duration(takes)} at least, besides handing out"


def findings(installation: Installation, session: Session, service: Service) -> Iterator[Finding]:
    """Look whether discovery lists anybody; raises the outcomes where it cannot be asked."""
    fleet = fleet_of(session, service, installation.binding(service).discovery)
    if fleet is None:
        return
    yield Finding("discovery", Severity.OK, f"it lists {fleet.counted()}")
    for remark in remarks(fleet):
        yield Finding("discovery", Severity.WARN, remark, f"keyturn discover {service.name}")


def distribution(installation: Installation, service: Service) -> Sequence[Finding]:
    """Look whether a version could be handed out, as far as that can be told without doing it."""
    distributor = installation.binding(service).distributor
    if distributor is None:
        return []
    if isinstance(distributor, Checkable):
        return distributor.check()
    return [Finding("distribution", Severity.OK, "it is configured; it cannot be looked at")]


def _current(session: Session, service: Service) -> str | None:
    """Return the version that a rotation would replace; None where there is none yet."""
    name, environment = service.name, service.environment
    try:
        facts = session.log.stream(credential_id(name, environment))
    except NoLog:
        return None
    current = credentials.fold(name, environment, facts).current
    return current.id if current is not None else None


def _document(instance: Instance, wave: int) -> dict[str, Any]:
    return {
        "id": instance.id,
        "zone": instance.zone,
        "endpoint": instance.endpoint,
        "labels": dict(sorted(instance.labels.items())),
        "canary": instance.canary,
        "wave": wave,
    }


def _row(instance: Instance, wave: int, is_canary: bool) -> tuple[object, ...]:  # noqa: FBT001 - a place of a wave
    labels = ",".join(f"{key}={value}" for key, value in sorted(instance.labels.items()))
    called = f"{wave + 1} (canary)" if is_canary else wave + 1
    marked = "yes" if instance.canary else None
    return (instance.id, instance.zone or None, instance.endpoint or None, labels or None, marked, called)


def _names(instances: Sequence[str]) -> str:
    more = len(instances) - _NAMED
    return ", ".join(instances[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
