"""Outlets: the channels of all services, those that lead to the same sink made one.

Rule: building an outlet opens no connection and reads no secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from adapters.config.build import Wiring
from adapters.config.model import Channel, Service
from adapters.registry import MissingDriver, missing_driver, notifier_adapter
from engine.adapter import NotifierContext, Reference
from engine.errors import Rejected, Unavailable
from engine.notices import Notice, NoticeKind, selects
from engine.notifier import Notifier, Pace
from engine.values import Secret


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a service has sent to a channel, and in which form."""

    service: Service
    channel: Channel
    notifier: Notifier

    def takes(self, notice: Notice) -> bool:
        """Tell whether a notice of this service, or of none, goes to the channel."""
        return self.notifier.supports(notice, selected=selects(self.channel.events, notice))


@dataclass(frozen=True, slots=True)
class Outlet:
    """A channel, and the services that use it."""

    id: str
    name: str
    adapter: str
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """By the name of the service."""

    @property
    def pace(self) -> Pace:
        """What the sink can bear: of several services that say it differently, what the first says."""
        return next(iter(self.subscriptions.values())).notifier.pace

    def subscription(self, notice: Notice) -> Subscription | None:
        """Return on whose account a notice goes to the channel; None where it does not.

        What a channel could not tell is told by the others, and not by itself.
        """
        if notice.kind is NoticeKind.UNDELIVERED and notice.channel == self.id:
            return None
        if notice.service:
            found = self.subscriptions.get(notice.service)
            if found is None or found.service.environment != notice.environment:
                return None
            return found if found.takes(notice) else None
        return next((each for each in self.subscriptions.values() if each.takes(notice)), None)


def outlets(wiring: Wiring, *, lacking: Callable[[Channel, MissingDriver], None] | None = None) -> Mapping[str, Outlet]:
    """Return the outlets of a configuration, by id; raises `MissingDriver` where nobody is told what a channel lacks.

    `lacking` is told of each channel that cannot be built for that reason, and the others are returned.
    """
    found: dict[str, Outlet] = {}
    reading = Lock()
    for service in wiring.configuration.services.values():
        for channel in service.channels:
            try:
                notifier = _notifier(wiring, service, channel, reading)
            except MissingDriver as error:
                if lacking is None:
                    raise
                lacking(channel, error)
                continue
            outlet = found.setdefault(channel.id, Outlet(channel.id, channel.name, channel.adapter))
            outlet.subscriptions[service.name] = Subscription(service, channel, notifier)
    return found


def _notifier(wiring: Wiring, service: Service, channel: Channel, reading: Lock) -> Notifier:
    """Return what sends the notices of a service to a channel; the stores are read by one thread at a time."""
    adapter = notifier_adapter(channel.adapter)
    read = wiring.reader(channel.options, channel.path)

    def secret(reference: Reference) -> Secret:
        try:
            with reading:
                return read(reference)
        except Rejected as error:
            # That a secret is not there says nothing against the message, which can be sent once it is.
            raise Unavailable(what=error.what, why=error.why, advice=error.advice) from error

    context = NotifierContext(
        name=channel.name,
        service=service.name,
        environment=service.environment,
        base=wiring.configuration.base,
        secret=secret,
    )
    try:
        notifier: Notifier = adapter.build(channel.options, context)
    except ModuleNotFoundError as error:
        raise missing_driver(adapter, error) from error
    return notifier
