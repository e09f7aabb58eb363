"""The views of an installation: opened for reading, and brought up to the log after a command that appended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.quick_status import VIEWS_FILE
from adapters.views import SqliteViews
from projections.feed import catch_up
from projections.health import HEALTH
from projections.history import HISTORY
from projections.notifications.outbox import OUTBOX
from projections.status import STATUS

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Configuration


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


def configured(configuration: Configuration) -> list[tuple[str, str, int | None]]:
    """Return service, environment and ttl of every service, as the status wants them."""
    return [
        (service.name, service.environment, service.rotation.ttl.microseconds if service.rotation.ttl else None)
        for service in configuration.services.values()
    ]


def follow(session: Session) -> None:
    """Bring every view up to the log."""
    with open_views(session) as views:
        services = configured(session.configuration)
        views.remember(session.config_path, services, mark=session.config_mark)
        told = (OUTBOX,) if any(service.channels for service in session.configuration.services.values()) else ()
        looked = (HEALTH,) if any(service.checks for service in session.configuration.services.values()) else ()
        for projection in (STATUS, HISTORY, *told, *looked):
            catch_up(projection, session.log, views)
