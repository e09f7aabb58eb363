"""The channel `apprise`: a bridge to the services that the library Apprise knows (ntfy, Teams, Telegram and others).

Rule 1: a URL of Apprise holds a token, so it is read when something is sent, and no message here carries any of it.
Rule 2: one try, and nothing of the library's own: no retry, no log, no file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

import msgspec

from adapters.notifiers import plain_text
from engine.adapter import Duration, NotifierAdapter, NotifierContext, Reference
from engine.errors import SinkGone, Unavailable
from engine.notices import Notice, NoticeKind, Urgency
from engine.notifier import Outgoing, Pace
from engine.values import SECOND

_LOGGERS: Final = ("apprise", "requests", "urllib3", "requests_oauthlib", "oauthlib")
"""They write URLs and headers, which hold tokens."""
_PARTLY_MAX: Final = 1_000
_TYPES: Final = {
    Urgency.CRITICAL: "failure",
    Urgency.ERROR: "failure",
    Urgency.WARNING: "warning",
    Urgency.INFO: "info",
}


class AppriseOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which services are told."""

    url: Reference | None = None
    """A reference to the URL of a service, as Apprise writes it: `ntfys://TOKEN@host/topic`."""
    urls: tuple[Reference, ...] = ()
    """References to several; each is told."""
    timeout: Duration = Duration(10 * SECOND)
    """How long connecting to a service, and its answer, may take: 100 ms to 10 minutes."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        if (self.url is None) == (not self.urls):
            raise ValueError("either `url` (a reference) or `urls` (a list of references) is expected")
        if len(set(self.urls)) != len(self.urls):
            raise ValueError("a reference stands twice in `urls`")
        if not SECOND // 10 <= self.timeout.microseconds <= 600 * SECOND:
            raise ValueError("`timeout` is 100ms to 10m")

    def references(self) -> tuple[Reference, ...]:
        """Return the references in the order given."""
        return self.urls if self.url is None else (self.url,)


class Text(msgspec.Struct, frozen=True):
    """The message as `render` writes it and `send` reads it: what Apprise is given."""

    title: str
    body: str
    type: str
    """One of the types of Apprise: info, success, warning, failure."""


class AppriseNotifier:
    """Tells services through Apprise, in plain text."""

    def __init__(self, options: AppriseOptions, context: NotifierContext) -> None:
        self._options = options
        self._context = context
        self._partly: dict[str, frozenset[Reference]] = {}
        """By key, the services that took a message which others did not: they are not told again."""

    @property
    def pace(self) -> Pace:
        """One message a second: Apprise does not say what a service can bear."""
        return Pace()

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Tell whether it was selected: every kind can be written."""
        return selected

    def validate(self) -> Sequence[str]:
        """Return nothing: what a URL is worth is known when its secret is read."""
        return []

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return title and body as JSON; where a service takes less than that, Apprise cuts it."""
        assert notices, "a message tells something"
        if len(notices) == 1 and not dropped:
            title, body = plain_text.headline(notices[0]), plain_text.notice_text(notices[0])
        else:
            title, body = plain_text.digest_headline(notices, dropped), plain_text.digest_text(notices, dropped)
        text = Text(title, body.partition("\n\n")[2] or body, _type(plain_text.digest_rows(notices)[0]))
        return Outgoing(msgspec.json.encode(text), "application/json", readable=(text.title, text.body))

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Tell every service that has not taken the message yet; Apprise gives no receipt.

        Raises `Unavailable` where one does not take it, and `SinkGone` where Apprise does not know a URL. Apprise does
        not say why, nor whether an answer was only late: a message may come twice.
        """
        text = msgspec.json.decode(outgoing.content, type=Text)
        taken = self._partly.pop(key, frozenset())
        missing = []
        try:
            for reference in self._options.references():
                if reference in taken:
                    continue
                if self._tell(reference, text):
                    taken |= {reference}
                else:
                    missing.append(str(reference))
        finally:
            if taken and len(taken) < len(self._options.references()):
                self._remember(key, taken)
        if missing:
            why = f"no success with {', '.join(missing)}"
            raise Unavailable(what="telling a service through Apprise", why=why)
        return ""

    def _tell(self, reference: Reference, text: Text) -> bool:
        _silence()
        import apprise

        # In this thread, and with nothing kept on a disk.
        asset = apprise.AppriseAsset(async_mode=False, storage_mode="memory", pgp_autogen=False, pem_autogen=False)
        service: Any = apprise.Apprise.instantiate(self._context.secret(reference).reveal().strip(), asset=asset)
        if service is None:
            advice = "The page of the service at Apprise's documentation shows how its URL is written."
            why = f"what {reference} refers to is no URL that Apprise knows"
            raise SinkGone(what="telling a service through Apprise", why=why, advice=advice)
        seconds = self._options.timeout.microseconds / SECOND
        service.socket_connect_timeout = service.socket_read_timeout = seconds
        service.retry = 0
        if service.overflow_mode == apprise.OverflowMode.UPSTREAM:
            # What the URL says otherwise stays. A service refuses what is too long, again and again.
            service.overflow_mode = apprise.OverflowMode.TRUNCATE
        teller = apprise.Apprise(asset=asset)
        teller.add(service)
        return bool(
            teller.notify(
                body=text.body,
                title=text.title,
                notify_type=apprise.NotifyType(text.type),
                body_format=apprise.NotifyFormat.TEXT,
            )
        )

    def _remember(self, key: str, taken: frozenset[Reference]) -> None:
        """Keep who took a message, of so many messages; what is forgotten comes twice at worst."""
        if len(self._partly) >= _PARTLY_MAX:
            del self._partly[next(iter(self._partly))]
        self._partly[key] = taken


def _silence() -> None:
    for name in _LOGGERS:
        # Both are needed: without any handler, warnings would go to stderr.
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _type(notice: Notice) -> str:
    return "success" if notice.kind is NoticeKind.COMPLETED else _TYPES[notice.urgency]


def _build(options: AppriseOptions, context: NotifierContext) -> AppriseNotifier:
    if find_spec("apprise") is None:
        # Found out here, as with every driver, although it is imported when something is sent.
        raise ModuleNotFoundError("No module named 'apprise'", name="apprise")
    return AppriseNotifier(options, context)


ADAPTER = NotifierAdapter(
    name="apprise",
    summary="Tells any service that the library Apprise knows.",
    options=AppriseOptions,
    build=_build,
    sink=lambda options: " ".join(map(str, options.references())),
    extra="apprise",
)
