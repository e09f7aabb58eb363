"""How the channels of notifications stand, for `keyturn doctor`.

Rule: reads what the log says; sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from adapters.cli.views import open_views
from engine.ports import Finding, Severity
from engine.values import Instant
from projections.feed import catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.tables import Channel
from projections.shapes import UNHEARD_AFTER

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.registry import MissingDriver


def findings(session: Session) -> Iterator[Finding]:
    """Yield one finding a channel that was ever used, and one a credential of which somebody should have heard."""
    lacking: dict[str, MissingDriver] = {}
    outlets = session.usable_outlets(lambda channel, error: lacking.update({channel.id: error}))
    for name, error in lacking.items():
        yield Finding(f"channel {name}", Severity.FAIL, error.message, error.advice)
    if not outlets:
        return
    now = session.installation.world.clock.now().wall
    with open_views(session) as views:
        catch_up(OUTBOX, session.log, views)
        with views.reading(OUTBOX) as rows:
            states = {each.name: each for each in queries.channels(rows)}
            unheard = queries.unheard(rows, before=Instant(now - UNHEARD_AFTER))
    for name in outlets:
        yield _of_channel(name, states.get(name))
    services = session.configuration.services.values()
    told = {f"{each.environment}/{each.name}" for each in services if each.channels}
    for concern in unheard:
        if concern.credential not in told:
            continue
        message = f"nobody was told what happened to {concern.credential} (event #{concern.unheard})"
        hint = "keyturn notify outbox tells why; with --replay it is sent again."
        yield Finding("notifications", Severity.FAIL, message, hint)


def _of_channel(name: str, state: Channel | None) -> Finding:
    subject = f"channel {name}"
    if state is None:
        return Finding(subject, Severity.OK, "nothing was sent to it yet", f"keyturn notify test {name} tries it.")
    if state.disabled is not None:
        message = f"it is disabled: {state.disabled.message}"
        return Finding(subject, Severity.FAIL, message, f"{state.disabled.hint} keyturn notify test {name}")
    if state.failures and state.cause is not None:
        return Finding(subject, Severity.WARN, f"it is not there: {state.cause.message}", state.cause.hint)
    lost = state.given_up + state.blocked + state.dropped
    if lost:
        hint = f"keyturn notify outbox --channel {name} lists them."
        message = f"{state.delivered} delivered, {lost} given up, blocked or dropped"
        return Finding(subject, Severity.WARN, message, hint)
    return Finding(subject, Severity.OK, f"{state.delivered} delivered")
