"""`keyturn plan`: what a rotation would do, step by step; the dry run of `rotate`.

Rule: changes nothing, asks nothing of a target but what it can do, and of discovery who there is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import instances, lookup
from adapters.cli.driving import worst
from adapters.cli.shared import shared_options
from adapters.cli.steps import steps
from engine.adapter import Duration
from engine.errors import ExitCode, StrategyImpossible

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service
    from engine.plan import Plan


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--all", "every", is_flag=True, help="All services of the configuration.")
@shared_options
@click.pass_obj
def plan(session: Session, *, services: tuple[str, ...], every: bool) -> ExitCode:
    """Show what a rotation would do, step by step, and what a crash at each step leads to.

    Where the service has instances: the waves they get the new version in, and how many a bad one would reach. Refuses
    what the target of a service cannot do. Nothing is changed.
    """
    chosen = lookup.services(session.wiring, services, every=every)
    if len(chosen) == 1:
        return show(session, chosen[0])
    return worst([session.reported(partial(show, session, service)) for service in chosen])


def show(session: Session, service: Service) -> ExitCode:
    """Print the plan of one service; raises `StrategyImpossible`, and with --json says it in `refused` as well.

    Where discovery cannot say who the instances are, there is no plan: raises what it raises.
    """
    session.where = f"service {service.name} ({service.environment})"
    wiring, console = session.wiring, session.console
    try:
        made = wiring.plan_for(service.name, wiring.target(service.name).capabilities)
    except StrategyImpossible as refused:
        if console.json:
            empty: dict[str, Any] = {"overlap": False, "blast_radius": {}, "steps": [], "waves": []}
            named = {"service": service.name, "strategy": service.strategy.value}
            console.document("keyturn.plan/1", {**named, **empty, "refused": f"{refused.message} {refused.advice}"})
        raise
    fleet = instances.fleet_of(session, service, wiring.discovery(service.name))
    fields = document(service, made, fleet)
    if console.json:
        console.document("keyturn.plan/1", fields)
        return ExitCode.DONE
    console.out(f"{service.name} ({service.environment}): strategy {made.strategy}")
    overlap = f"both versions are valid for {Duration(made.grace)}" if made.grace else "no grace period"
    console.out(f"  overlap: {'yes, ' + overlap if made.overlap else 'no; one login, one value'}")
    for key in ("logins", "store", "places"):
        value = fields["blast_radius"][key]
        console.out(f"  {key}: {', '.join(value) if isinstance(value, list) else value}")
    for line in instances.lines(fleet) if fleet is not None else ():
        console.out(f"  {line}")
    for number, step in enumerate(fields["steps"], start=1):
        console.out(f"  {number}. {step['effect']}: {step['description']}")
        console.out(f"     crash: {step['on_crash']}")
    for remark in instances.remarks(fleet) if fleet is not None else ():
        console.say(f"note: {remark}")
    return ExitCode.DONE


def document(service: Service, plan: Plan, fleet: instances.Fleet | None = None) -> dict[str, Any]:
    """Return the fields of `keyturn.plan/1`."""
    reached: dict[str, Any] = {}
    if fleet is not None:
        reached = {"instances": len(fleet.instances), "unverified_max": instances.share(fleet.unverified_max)}
    return {
        "service": service.name,
        "strategy": plan.strategy.value,
        "overlap": plan.overlap,
        "blast_radius": {
            "logins": list(service.usernames),
            "store": f"{plan.store}:{plan.path}",
            "places": list(plan.places),
            **reached,
        },
        "steps": steps(plan),
        "waves": instances.documents(fleet) if fleet is not None else [],
        "refused": None,
    }
