"""The views of an installation: opened for reading, and brought up to the log after a command that appended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from adapters.quick_status import VIEWS_FILE
from adapters.schedule import due_at
from adapters.views import SqliteViews
from engine.values import Instant
from projections.feed import BATCH, catch_up
from projections.health import HEALTH
from projections.history import HISTORY
from projections.notifications.outbox import OUTBOX
from projections.status import RESCHEDULING, STATUS, documents

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from engine.ports import EventLog


def open_views(session: Session) -> SqliteViews:
    """Open the views of the state folder; raises `ViewsUnusable`."""
    return SqliteViews(session.state / VIEWS_FILE)


def history(session: Session) -> SqliteViews:
    """Open the views with the history brought up to the log; raises `PoisonEvent` and `ViewsUnusable`."""
    log, views = session.log, open_views(session)
    try:
        catch_up(HISTORY, log, views)
    except BaseException:
        views.close()
        raise
    return views


def configured(
    session: Session, entries: Iterable[Mapping[str, Any]]
) -> list[tuple[str, str, Instant | None, Instant | None]]:
    """Return of every service: name, environment, when it was last rotated and when it is due, as the status wants it.

    `entries` are those of projections/status.py. A service with a `ttl` that was never rotated is due at once, which is
    no time to show.
    """
    rotated = {(entry["service"], entry["environment"]): entry["last_rotated_at"] for entry in entries}
    found = []
    for service in session.configuration.services.values():
        last = rotated.get((service.name, service.environment))
        due = due_at(service.timetable, last_rotated_at=last, since=session.known_since)
        shown = None if last is None and service.rotation.ttl is not None else due
        found.append((service.name, service.environment, last, shown))
    return found


def follow(session: Session) -> None:
    """Bring every view up to the log."""
    with open_views(session) as views:
        with views.reading(STATUS) as page:
            before = page.tracking.position
        told = (OUTBOX,) if any(service.channels for service in session.configuration.services.values()) else ()
        looked = (HEALTH,) if any(service.checks for service in session.configuration.services.values()) else ()
        reached = catch_up(STATUS, session.log, views)
        # Whoever brings the status up tells when services are due: all of them, so only where that has changed.
        if _is_rescheduled(session.log, before, reached):
            with views.reading(STATUS) as rows:
                entries = documents(rows)
            views.remember(session.config_path, configured(session, entries), mark=session.config_mark)
        for projection in (HISTORY, *told, *looked):
            catch_up(projection, session.log, views)


def _is_rescheduled(log: EventLog, after: int, until: int) -> bool:
    """Tell whether a fact between two positions changes when a service was rotated last, and so when it is due."""
    while after < until:
        facts = log.after(after, limit=min(until - after, BATCH))
        if any(isinstance(recorded.fact.body, RESCHEDULING) for recorded in facts):
            return True
        after = facts[-1].position
    return False
