"""`keyturn health`: the health checks of a service, now, and what they saw before.

Rule: looks and tells; nothing is recorded, and nothing follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adapters.cli.refusals import NothingHeld
from adapters.cli.shared import shared_options
from adapters.cli.views import open_views
from engine.errors import ExitCode
from engine.health import CheckResult, Sample, Subject
from engine.values import CURRENT, SECOND
from projections.feed import catch_up
from projections.health import HEALTH, Record, records
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service


@click.command()
@click.argument("service")
@click.option("--past", is_flag=True, help="Only show what was seen before; look at nothing now.")
@shared_options
@click.pass_obj
def health(session: Session, *, service: str, past: bool) -> ExitCode:
    """Run the health checks of a service now, and show what they saw before.

    Ends with 0 where every check passes or warns, and with 5 where one fails or sees nothing.
    """
    found = session.wiring.service(service)
    session.where = f"service {found.name} ({found.environment})"
    before = {each.check: each for each in _past(session, found)}
    now: dict[str, Sample] = {}
    if not past:
        subject = _subject(session, found)
        for check in session.wiring.checks(found.name):
            now[check.name] = check.look(subject)
    entries = [_entry(name, now.get(name), before.get(name)) for name in {**now, **before}]
    if session.console.json:
        fields = {"service": found.name, "environment": found.environment, "checks": entries}
        session.console.document("keyturn.health/1", fields)
    elif not entries:
        session.console.say("no health check is configured: rotation.health_checks; keyturn doctor looks at the rest")
    else:
        heads = ("CHECK", "NOW", "VALUE", "TOOK", "BEFORE", "WHAT IT SAYS")
        session.console.table(heads, [_row(each) for each in entries])
    well = (CheckResult.PASS, CheckResult.WARN)
    return ExitCode.DONE if all(sample.result in well for sample in now.values()) else ExitCode.PERSON_NEEDED


def _past(session: Session, service: Service) -> list[Record]:
    log = session.log
    with open_views(session) as views:
        catch_up(HEALTH, log, views)
        with views.reading(HEALTH) as rows:
            found = records(rows, service=service.name)
    return [each for each in found if each.environment == service.environment]


def _subject(session: Session, service: Service) -> Subject:
    """Return what is looked at: the version that the store calls current. Raises `NothingHeld`."""
    store, key = session.wiring.held_in(service.name), service.credential.key
    value, current = store.read(key, CURRENT), store.versions(key).current
    if value is None or current is None:
        raise NothingHeld(wanted=CURRENT, service=service.name, environment=service.environment)
    return Subject(
        service=service.name,
        environment=service.environment,
        strategy=service.strategy.value,
        new_version=current,
        new=value,
    )


def _entry(name: str, now: Sample | None, before: Record | None) -> dict[str, Any]:
    return {
        "check": name,
        "result": now.result.value if now else None,
        "value": now.value if now else None,
        "unit": (now.unit if now else before.unit if before else "") or None,
        "duration_seconds": now.duration / SECOND if now else None,
        "text": now.text if now else before.text if before else "",
        "last": None
        if before is None
        else {
            "at": to_text(before.last.at),
            "result": before.last.result.value,
            "value": before.last.value,
            "streak": before.streak,
            "rotation_id": before.rotation_id,
            "history": [seen.result.value for seen in (*before.before, before.last)],
        },
        "sparkline": before.sparkline if before else "",
    }


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    value = None if entry["value"] is None else f"{entry['value']:.4g} {entry['unit'] or ''}".rstrip()
    took = None if entry["duration_seconds"] is None else f"{entry['duration_seconds']:.3f} s"
    return (entry["check"], entry["result"], value, took, entry["sparkline"] or None, entry["text"])
