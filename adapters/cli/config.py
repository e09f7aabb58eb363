"""`keyturn config`: is the configuration right, what does it come to, and what may stand in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adapters.cli.shared import shared_options
from adapters.config.problems import ConfigInvalid, Problem, dotted
from adapters.registry import MissingDriver
from engine.errors import ExitCode, StrategyImpossible
from engine.health import Validatable

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.group()
@shared_options
def config() -> None:
    """Check, show or describe the configuration."""


@config.command()
@shared_options
@click.pass_obj
def check(session: Session) -> ExitCode:
    """Check everything at once; list every problem with its line and its key."""
    try:
        told, muted = _channels(session)
        problems, notes = [*_impossible(session), *_blind(session), *told], (*session.configuration.problems, *muted)
    except ConfigInvalid as invalid:
        problems, notes = list(invalid.problems), ()
    console = session.console
    if console.json:
        fields = {"file": str(session.config_path), "ok": not problems, "problems": [_document(p) for p in problems]}
        console.document("keyturn.config/1", {**fields, "notes": [_document(note) for note in notes]})
    else:
        for problem in problems:
            console.say(str(problem))
        for note in notes:
            console.say(f"note: {note}")
        if not problems:
            services, stores = len(session.configuration.services), len(session.configuration.stores)
            console.out(f"{session.config_path}: {services} services, {stores} stores, nothing wrong")
    return ExitCode.USAGE if problems else ExitCode.DONE


def _impossible(session: Session) -> list[Problem]:
    """Return what only shows when the targets are built, which opens no connection."""
    file, wiring = str(session.config_path), session.wiring
    found: list[Problem] = []
    for service in session.configuration.services.values():
        try:
            wiring.plan_for(service.name, wiring.target(service.name).capabilities)
            wiring.held_in(service.name)
            wiring.places(service.name)
            wiring.discovery(service.name)
            wiring.distributor(service.name)
        except (StrategyImpossible, MissingDriver) as error:
            below = error.fields.get("key")
            key = f"services.{service.name}.{below}" if below else f"services.{service.name}"
            found.append(Problem(file, 1, 1, key, error.message, error.advice))
    return found


def _blind(session: Session) -> list[Problem]:
    """Return what would keep the health checks from looking, as a script that is not there; nothing is looked at."""
    file, found = str(session.config_path), list[Problem]()
    for service in session.configuration.services.values():
        try:
            built = session.wiring.checks(service.name)
        except MissingDriver:
            continue  # it is told of the service
        for entry, check in zip(service.checks, built, strict=True):
            wrong = check.validate() if isinstance(check, Validatable) else {}
            found += [Problem(file, 1, 1, dotted((*entry.path, key)), f"{text}.") for key, text in wrong.items()]
    return found


def _channels(session: Session) -> tuple[list[Problem], list[Problem]]:
    """Return what is wrong with the channels, and what they leave unsaid; every form is tried, nothing is sent."""
    from adapters.outbox.trial import deaf, faults, unreached
    from adapters.system import SystemClock

    services = [service for service in session.configuration.services.values() if service.channels]
    if not services:
        return [], []
    file, at = str(session.config_path), SystemClock().now().wall
    try:
        outlets = session.outlets
    except MissingDriver as error:
        return [Problem(file, 1, 1, "notifications", error.message, error.advice)], []
    problems = [Problem(file, 1, 1, dotted(channel.path), f"{text}.") for channel, text in faults(outlets, at)]
    notes = [
        Problem(file, 1, 1, dotted(channel.path), "this channel is never sent anything.", "Look at its `events`.")
        for channel in deaf(outlets, at)
    ]
    for service in services:
        if kinds := unreached(outlets, service, at):
            where = f"services.{service.name}.rotation.notifications"
            message = f"nobody is told where it ends in: {', '.join(kinds)}."
            notes.append(Problem(file, 1, 1, where, message, "Have a channel list `failed` in its `events`."))
    return problems, notes


def _document(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in problem.__struct_fields__}


@config.command()
@shared_options
@click.pass_obj
def schema(session: Session) -> ExitCode:
    """Print the JSON Schema of the configuration, for editors."""
    import json

    from adapters.config.json_schema import json_schema

    session.console.out(json.dumps(json_schema(), indent=2))
    return ExitCode.DONE


@config.command()
@shared_options
@click.pass_obj
def show(session: Session) -> ExitCode:
    """Print the configuration as it takes effect: defaults written out, secrets as the references they are."""
    from adapters.config.show import effective

    shown = effective(session.configuration)
    shown["state"] = str(session.state)
    if session.console.json:
        session.console.document("keyturn.effective/1", shown)
        return ExitCode.DONE
    import yaml

    session.console.out(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip("\n"))
    return ExitCode.DONE
