"""`keyturn machine` and `keyturn adapters`: what the program itself is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adapters.cli.shared import shared_options
from engine.errors import ExitCode

if TYPE_CHECKING:
    from adapters.cli.session import Session


@click.command()
@click.option("--format", "form", type=click.Choice(["mermaid", "table", "json"]), default="table", show_default=True)
@shared_options
@click.pass_obj
def machine(session: Session, *, form: str) -> ExitCode:
    """Print the state machine of a rotation: states, events, and what each leads to."""
    from engine import machine as rules

    console = session.console
    if console.json or form == "json":
        moves = [{"event": event, "from": source, "to": to} for (source, event), to in rules.TABLE.items()]
        resting = {state.value: list(commands) for state, commands in rules.LEAVING.items()}
        ended = [state.value for state in rules.State if state in rules.ENDED]
        states = [state.value for state in rules.State]
        console.document(
            "keyturn.machine/1", {"states": states, "transitions": moves, "resting": resting, "ended": ended}
        )
    else:
        console.out((rules.mermaid() if form == "mermaid" else rules.markdown()).rstrip("\n"))
    return ExitCode.DONE


@click.command()
@shared_options
@click.pass_obj
def adapters(session: Session) -> ExitCode:
    """List the kinds of targets, stores, channels, health checks, discovery and distribution that are installed."""
    from adapters import registry

    found: list[dict[str, Any]] = []
    for name in registry.installed(registry.TARGET_GROUP):
        target = registry.target_adapter(name)
        strategies = sorted(strategy.value for strategy in target.strategies)
        found.append(_entry("target", name, target.summary, target.extra, strategies))
    for name in registry.installed(registry.STORE_GROUP):
        store = registry.store_adapter(name)
        found.append(_entry("store", name, store.summary, store.extra, []))
    for name in registry.installed(registry.NOTIFIER_GROUP):
        channel = registry.notifier_adapter(name)
        found.append(_entry("channel", name, channel.summary, channel.extra, []))
    for name in registry.installed(registry.CHECK_GROUP):
        check = registry.check_adapter(name)
        found.append(_entry("check", name, check.summary, check.extra, []))
    for name in registry.installed(registry.DISCOVERY_GROUP):
        discovery = registry.discovery_adapter(name)
        found.append(_entry("discovery", name, discovery.summary, discovery.extra, []))
    for name in registry.installed(registry.DISTRIBUTOR_GROUP):
        distributor = registry.distributor_adapter(name)
        found.append(_entry("distribution", name, distributor.summary, distributor.extra, []))
    console = session.console
    if console.json:
        console.document("keyturn.adapters/1", {"adapters": found})
        return ExitCode.DONE
    heads = ("KIND", "TYPE", "EXTRA", "STRATEGIES", "WHAT IT IS")
    rows = [
        (each["kind"], each["type"], each["extra"] or None, ", ".join(each["strategies"]) or None, each["summary"])
        for each in found
    ]
    console.table(heads, rows)
    return ExitCode.DONE


def _entry(kind: str, name: str, summary: str, extra: str, strategies: list[str]) -> dict[str, Any]:
    return {"kind": kind, "type": name, "summary": summary, "extra": extra, "strategies": strategies}
