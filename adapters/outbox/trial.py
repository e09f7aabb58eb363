"""Trying channels: a test message to one now, and every form against sample notices, without sending anything.

Rule: what is tried is what would be used: the same notifier, the same search for secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import uuid4

from adapters.config.build import Wiring
from adapters.config.model import Channel, Service
from adapters.outbox.gate import found_in
from adapters.outbox.outlets import Outlet, Subscription
from adapters.outbox.secrets import Secrets
from adapters.system import SystemClock
from engine import channel_events as c
from engine.errors import Rejected
from engine.facts import Fact
from engine.notices import NoticeKind
from engine.ports import EventLog
from engine.values import Instant
from projections.feed import Views, catch_up
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.samples import sample, samples


def trial(subscription: Subscription, wiring: Wiring, kind: NoticeKind) -> str:
    """Send a sample notice and return the key of the message; raises what the sink answers, and `Rejected`."""
    service = subscription.service
    notice = sample(kind, service=service.name, environment=service.environment, at=SystemClock().now().wall)
    key = f"kt_test_{uuid4().hex}"
    outgoing = subscription.notifier.render([notice], key=key)
    what = found_in(outgoing, Secrets(wiring).known(service.name)())
    if what:
        raise Rejected(what="sending a test", why=f"{what} stands in the message")
    subscription.notifier.send(outgoing, key=key)
    return key


def enable(log: EventLog, views: Views, name: str, actor: str) -> bool:
    """Use a channel again that was disabled, or is left alone for a while; tell whether it was."""
    catch_up(OUTBOX, log, views)
    with views.reading(OUTBOX) as rows:
        state = queries.channel(rows, name)
    if state is None or (state.disabled is None and not state.failures):
        return False
    at = SystemClock().now().wall
    log.append([Fact(c.channel_id(name), state.version + 1, at, actor, c.ChannelEnabled(name))])
    return True


def faults(outlets: Mapping[str, Outlet], at: Instant) -> Iterator[tuple[Channel, str]]:
    """Yield what is wrong with the channels, a sentence each: their options, and every form that cannot be made."""
    for outlet in outlets.values():
        for subscription in outlet.subscriptions.values():
            told = subscription.notifier.validate()
            yield from ((subscription.channel, problem) for problem in told)
            if not told:
                yield from _unmade(subscription, at)


def _unmade(subscription: Subscription, at: Instant) -> Iterator[tuple[Channel, str]]:
    """Yield the first form that cannot be made, of those that the channel tells when they are selected."""
    service, notifier = subscription.service, subscription.notifier
    every = samples(service=service.name, environment=service.environment, at=at)
    told = [notice for notice in every if notifier.supports(notice, selected=True)]
    for notices in (*([each] for each in told), told):
        try:
            notifier.render(notices, key="kt_sample")
        except Rejected as error:
            what = notices[0].kind.value if len(notices) == 1 else "a digest"
            yield subscription.channel, f"the message of {what} cannot be made: {error.why}"
            return


def unreached(outlets: Mapping[str, Outlet], service: Service, at: Instant) -> list[str]:
    """Return the critical kinds of which no channel tells anybody, for a service that has channels."""
    every = samples(service=service.name, environment=service.environment, at=at)
    critical = [notice for notice in every if notice.is_critical and notice.kind is not NoticeKind.UNDELIVERED]
    return [
        notice.kind.value
        for notice in critical
        if all(outlet.subscription(notice) is None for outlet in outlets.values())
    ]


def deaf(outlets: Mapping[str, Outlet], at: Instant) -> Iterator[Channel]:
    """Yield the channels that are never sent anything."""
    for outlet in outlets.values():
        for each in outlet.subscriptions.values():
            every = samples(service=each.service.name, environment=each.service.environment, at=at)
            if not any(each.takes(notice) for notice in every):
                yield each.channel
