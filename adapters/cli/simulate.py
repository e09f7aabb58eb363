"""`keyturn simulate`: rotations of a service or a strategy, by the real engine, in a simulated world that goes wrong.

Rule: contacts nobody and writes nothing; of the configuration only the plan and the target's capabilities are used.
"""

from __future__ import annotations

from contextlib import closing
from difflib import get_close_matches
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from msgspec.structs import replace

from adapters.cli import lookup, rehearsal
from adapters.cli.refusals import BadInput, NothingToSimulate
from adapters.cli.shared import LENGTH, shared_options
from adapters.simulation.campaign import campaign
from adapters.simulation.seeds import KINDS
from adapters.simulation.subject import Subject, like
from engine.errors import ExitCode
from engine.plan import Strategy
from engine.values import Microseconds

if TYPE_CHECKING:
    from adapters.cli.session import Session


class Wanted(NamedTuple):
    """How the runs are to be made."""

    runs: int
    seed: int
    jobs: int


class Kinds(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases only
    """Kinds of trouble, with commas between them."""

    name = "kinds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the kinds; an unknown one is a usage error that names the nearest."""
        wanted = tuple(dict.fromkeys(kind.strip() for kind in str(value).split(",")))
        for kind in wanted:
            if kind not in KINDS:
                near = get_close_matches(kind, KINDS, n=1)
                known = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(KINDS))}."
                self.fail(f"there is no kind {kind!r}. {known}", param, ctx)
        return wanted


@click.command(epilog=f"Kinds of trouble: {', '.join(KINDS)}.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--all", "every", is_flag=True, help="All services of the configuration.")
@click.option("--strategy", type=click.Choice([s.value for s in Strategy]), help="A strategy, without a configuration.")
@click.option("--runs", type=click.IntRange(min=1), default=1000, show_default=True, help="How many runs.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of the first run.")
@click.option("--faults", type=Kinds(), metavar="KIND,...", help="Only trouble of these kinds; all where not given.")
@click.option("--story", type=click.IntRange(min=0), metavar="SEED", help="Tell one run, step by step.")
@click.option(
    "--refresh",
    type=LENGTH,
    default=str(rehearsal.REFRESH),
    show_default=True,
    help="How often consumers re-read the credential.",
)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Runs at the same time.")
@shared_options
@click.pass_obj
def simulate(
    session: Session,
    *,
    services: tuple[str, ...],
    every: bool,
    strategy: str | None,
    runs: int,
    seed: int,
    faults: tuple[str, ...] | None,
    story: int | None,
    refresh: int,
    jobs: int,
) -> ExitCode:
    """Rehearse rotations of a service or a strategy in a simulated world that goes wrong; touches nothing.

    The real engine runs with the plan of the service, at a target with the capabilities that the real one declares,
    from a version that the store holds. Nobody is contacted, nothing is written, and the same seed is the same run.

    Exits with 3 where an invariant was violated: it failed, and nothing outside was touched; 5 is for a credential
    that needs a person now.
    """
    common = Subject(strategy=Strategy.SINGLE, kinds=faults or KINDS, refresh=Microseconds(refresh))
    if strategy and (services or every):
        raise BadInput(what="--strategy", why="it goes without services")
    if strategy:
        subjects = [(f"--strategy {strategy}", replace(common, strategy=Strategy(strategy)))]
    else:
        subjects = _of_services(session, services, every=every, common=common)
    if story is not None:
        return _told(session, subjects, story)
    return max(_rehearsed(session, name, subject, Wanted(runs, seed, jobs)) for name, subject in subjects)


def _of_services(
    session: Session, names: tuple[str, ...], *, every: bool, common: Subject
) -> list[tuple[str, Subject]]:
    """Return each service with its plan; raises what `plan` raises."""
    if not (names or every):
        raise NothingToSimulate
    wiring, found = session.wiring, []
    for service in lookup.services(wiring, names, every=every):
        session.where = f"service {service.name} ({service.environment})"
        capabilities = wiring.target(service.name).capabilities
        plan = wiring.plan_for(service.name, capabilities)
        options = like(capabilities, plan.strategy)
        found.append((service.name, replace(common, strategy=plan.strategy, plan=plan, options=options)))
    session.where = ""
    return found


def _rehearsed(session: Session, name: str, subject: Subject, wanted: Wanted) -> ExitCode:
    """Play all runs of a subject and print what was found, after an interrupt what was found so far."""
    findings, began = rehearsal.Findings(name, subject, wanted.seed, config=session.given_config), monotonic()
    seeds = range(wanted.seed, wanted.seed + wanted.runs)
    was_interrupted = False
    try:
        with closing(campaign(subject, seeds, jobs=wanted.jobs)) as batches, rehearsal.moving(session.console) as show:
            for batch in batches:
                findings.add(batch, seconds=monotonic() - began)
                show(findings.so_far(of=wanted.runs))
    except KeyboardInterrupt:
        was_interrupted = True
    findings.show(session.console)
    if was_interrupted:
        session.on_interrupt = "that was found so far; the same --seed begins with the same runs."
        raise KeyboardInterrupt
    return ExitCode.ROLLED_BACK if findings.tally.violated else ExitCode.DONE


def _told(session: Session, subjects: list[tuple[str, Subject]], seed: int) -> ExitCode:
    """Tell the run of one seed; where it violates an invariant, the shortest one that does."""
    if len(subjects) > 1:
        raise BadInput(what="--story", why="it tells of one service")
    ((name, subject),) = subjects
    return ExitCode.ROLLED_BACK if rehearsal.story(session.console, name, subject, seed) else ExitCode.DONE
