"""`keyturn notify`: try a channel, see what it would send, what became of notices, and who hears what.

Rule: `preview`, `outbox` and `route` send nothing; `outbox --replay` and `test` send, and record what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from adapters.cli import lookup
from adapters.cli.history import position
from adapters.cli.refusals import BadInput, NoNotice, NoSuchChannel
from adapters.cli.shared import shared_options
from adapters.cli.views import open_views
from engine.errors import ExitCode, NoSuchPosition
from engine.notices import Notice, NoticeKind
from projections.feed import catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.samples import sample
from projections.notifications.tables import DeliveryState
from projections.notifications.words import headline
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.outbox.outlets import Outlet, Subscription

_KINDS = click.Choice([kind.value for kind in NoticeKind])


@click.group()
@shared_options
def notify() -> None:
    """Try channels of notifications, and see what they were sent."""


@notify.command()
@click.argument("channel")
@click.option("--service", metavar="SERVICE", help="On whose account, where several use the channel.")
@click.option("--event", type=_KINDS, default=NoticeKind.FAILED.value, show_default=True, help="What it tells of.")
@shared_options
@click.pass_obj
def test(session: Session, *, channel: str, service: str | None, event: str) -> ExitCode:
    """Send a test message to a channel now, whatever its `events`; enable it, where it was disabled."""
    from adapters.outbox.trial import enable, trial

    outlet = _outlet(session, channel)
    subscription = _subscription(outlet, service)
    session.where = f"channel {outlet.id}"
    key = trial(subscription, session.wiring, NoticeKind(event))
    with open_views(session) as views:
        enabled = enable(session.log, views, outlet.id, session.actor)
    session.has_appended = enabled
    if enabled:
        session.start_notifying()  # what waited goes out
    if session.console.json:
        session.console.document("keyturn.notify/1", {"channel": outlet.id, "key": key, "enabled": enabled})
    else:
        session.console.out(f"{outlet.id} took the message {key}" + (", and is enabled again" if enabled else ""))
    return ExitCode.DONE


@notify.command()
@click.argument("event", metavar="#EVENT")
@click.option("--channel", required=True, metavar="CHANNEL", help="The channel whose form is shown.")
@shared_options
@click.pass_obj
def preview(session: Session, *, event: str, channel: str) -> ExitCode:
    """Show the exact bytes that a channel would be sent for an event."""
    from adapters.outbox.courier import key_of

    wanted = position(event, "#EVENT")
    outlet = _outlet(session, channel)
    with open_views(session) as views:
        catch_up(OUTBOX, session.log, views)
        with views.reading(OUTBOX) as rows:
            found = queries.waiting_at(rows, wanted)
    if wanted > session.log.head():
        raise NoSuchPosition(position=f"#{wanted}", service="any service")
    if found is None:
        raise NoNotice(position=wanted)
    subscription = outlet.subscriptions.get(found.notice.service) or _subscription(outlet, None)
    key = key_of(outlet.id, [found])
    outgoing = subscription.notifier.render([found.notice], key=key)
    goes = outlet.subscription(found.notice) is not None
    if session.console.json:
        fields = {"channel": outlet.id, "position": wanted, "goes": goes, "key": key}
        bodies = [each.decode(errors="replace") for each in (outgoing.content, *outgoing.further)]
        session.console.document("keyturn.preview/1", {**fields, "type": outgoing.content_type, "bodies": bodies})
        return ExitCode.DONE
    if not goes:
        session.console.say(f"{outlet.id} would not be sent this: its `events` do not select {found.notice.kind}.")
    for body in (outgoing.content, *outgoing.further):
        session.console.raw(body.decode(errors="replace").rstrip("\n") + "\n")
    return ExitCode.DONE


@notify.command()
@click.option("--channel", metavar="CHANNEL", help="This channel alone.")
@click.option("--all", "every", is_flag=True, help="List what was delivered as well.")
@click.option("--replay", is_flag=True, help="Send again what was given up, blocked or dropped, and what waits.")
@shared_options
@click.pass_obj
def outbox(session: Session, *, channel: str | None, every: bool, replay: bool) -> ExitCode:
    """List what became of notices: per channel, and each one that was not delivered."""
    chosen = [_outlet(session, channel).id] if channel else None
    if replay:
        _replay(session, chosen)
    channels, notices = _contents(session, chosen, every=every)
    console = session.console
    if console.json:
        console.document("keyturn.outbox/1", {"channels": channels, "notices": notices})
        return ExitCode.DONE
    heads = ("CHANNEL", "STATE", "WAITING", "DELIVERED", "GIVEN UP", "BLOCKED", "DROPPED", "LAST DELIVERY")
    fields = ("channel", "state", "waiting", "delivered", "given_up", "blocked", "dropped", "delivered_at")
    console.table(heads, [[each[name] for name in fields] for each in channels])
    for each in channels:
        if each["error"]:
            console.say(f"{each['channel']} is {each['state']}: {each['error']['message']}")
    if notices:
        console.out()
        rows = [(f"#{n['position']}", n["channel"], n["state"], n["text"], n["reason"]) for n in notices]
        console.table(("EVENT", "CHANNEL", "STATE", "NOTICE", "WHY"), rows)
    return ExitCode.DONE


@notify.command()
@click.option("--service", metavar="SERVICE", help="This service alone.")
@shared_options
@click.pass_obj
def route(session: Session, *, service: str | None) -> ExitCode:
    """Show which channels hear of what, and of what nobody hears."""
    outlets = session.outlets
    chosen = lookup.services(session.wiring, (service,) if service else (), every=service is None)
    found: list[dict[str, Any]] = []
    for each in chosen:
        for kind in NoticeKind:
            notice = _sample(session, kind, each.name, each.environment)
            told = [name for name, outlet in outlets.items() if outlet.subscription(notice) is not None]
            found.append({"service": each.name, "event": kind.value, "critical": notice.is_critical, "channels": told})
    if session.console.json:
        session.console.document("keyturn.route/1", {"routes": found})
        return ExitCode.DONE
    rows = [(each["service"], each["event"], ", ".join(each["channels"]) or None) for each in found]
    session.console.table(("SERVICE", "EVENT", "CHANNELS"), rows)
    return ExitCode.DONE


def _sample(session: Session, kind: NoticeKind, service: str, environment: str) -> Notice:
    from adapters.system import SystemClock

    return sample(kind, service=service, environment=environment, at=SystemClock().now().wall)


def _outlet(session: Session, name: str) -> Outlet:
    """Return the channel that a name means: its id, its name, or SERVICE/NAME. Raises `NoSuchChannel`, `BadInput`."""
    outlets: Mapping[str, Outlet] = session.outlets
    if name in outlets:
        return outlets[name]
    service, _, own = name.rpartition("/")
    found = [each for each in outlets.values() if each.name == own and (not service or service in each.subscriptions)]
    if not found:
        raise NoSuchChannel(channel=name, known=", ".join(outlets) or "none")
    if len(found) > 1:
        listed = " or ".join(each.id for each in found)
        raise BadInput(what=f"channel {name!r}", why="several are called so", advice=f"That may be {listed}.")
    return found[0]


def _subscription(outlet: Outlet, service: str | None) -> Subscription:
    """Return the subscription of a service, or the first; raises `BadInput` where the service has none."""
    if service is None:
        return next(iter(outlet.subscriptions.values()))
    if service not in outlet.subscriptions:
        raise BadInput(what=f"--service {service}", why=f"it does not use the channel {outlet.id}")
    return outlet.subscriptions[service]


def _replay(session: Session, chosen: list[str] | None) -> None:
    """Send again what was not delivered, and wait for it."""
    from adapters.outbox.dispatcher import requeue
    from adapters.system import SystemClock

    session.log  # noqa: B018 - raises `NoLog` before anything is made
    with open_views(session) as views:
        at = SystemClock().now().wall
        counts = requeue(session.log, views, channels=chosen or session.outlets, actor=session.actor, at=at)
    session.has_appended = True
    for name, count in counts.items():
        session.console.say(f"{name}: {count} are sent again")
    session.start_notifying()
    session.finish_notifying()


def _contents(
    session: Session, chosen: list[str] | None, *, every: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return how the channels stand, and the notices that they did not deliver, or all of them."""
    outlets = session.outlets
    channels, notices = [], []
    with open_views(session) as views:
        catch_up(OUTBOX, session.log, views)
        with views.reading(OUTBOX) as rows:
            for state in queries.channels(rows):
                if chosen is not None and state.name not in chosen:
                    continue
                outlet = outlets.get(state.name)
                waits = [] if outlet is None else _waiting(rows, outlet, state)
                cause = state.disabled or state.cause
                standing = "disabled" if state.disabled else "resting" if state.failures else "ok"
                channels.append(
                    {
                        "channel": state.name,
                        "state": standing if outlet else "not configured",
                        "waiting": len(waits),
                        "delivered": state.delivered,
                        "given_up": state.given_up,
                        "blocked": state.blocked,
                        "dropped": state.dropped,
                        "delivered_at": None if state.delivered_at is None else to_text(state.delivered_at),
                        "not_before": to_text(state.not_before) if state.not_before else None,
                        "error": None if cause is None else {"kind": cause.kind, "message": cause.message},
                    }
                )
                notices += [_notice(state.name, "waiting", each.notice, "", None) for each in waits]
                for delivery in queries.deliveries(rows, channel=state.name):
                    about = queries.notice_at(rows, delivery.position)
                    is_shown = every or delivery.state not in (DeliveryState.DELIVERED, DeliveryState.POSTPONED)
                    if about is not None and is_shown and delivery.state is not DeliveryState.REQUEUED:
                        why = delivery.cause.message if delivery.cause else ""
                        notices.append(_notice(state.name, delivery.state.value, about, why, delivery.attempts))
    return channels, sorted(notices, key=lambda each: (each["position"], each["channel"]))


def _waiting(rows: Any, outlet: Outlet, state: Any) -> list[queries.Waiting]:
    behind = queries.behind(rows, state.position, services=tuple(outlet.subscriptions))
    found = [*queries.requeued(rows, state), *behind]
    return [each for each in found if outlet.subscription(each.notice) is not None]


def _notice(channel: str, state: str, notice: Notice, reason: str, attempts: int | None) -> dict[str, Any]:
    return {
        "position": notice.position,
        "channel": channel,
        "state": state,
        "kind": notice.kind.value,
        "text": headline(notice),
        "at": to_text(notice.at),
        "service": notice.service,
        "environment": notice.environment,
        "attempts": attempts,
        "reason": reason,
    }
