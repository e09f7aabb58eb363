"""PagerDuty: an alert for each credential that is in trouble, resolved when it is well again, and changes.

Rule: which events a notice makes, and how they look, stands in pagerduty_events.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from adapters import http_answers
from adapters.http_answers import Answer
from adapters.notifiers import pagerduty_events
from adapters.notifiers.pagerduty_events import Form
from adapters.notifiers.texts import on_one_line, shortened
from engine.adapter import Duration, NotifierAdapter, NotifierContext, Reference
from engine.errors import PortError, Rejected, SinkGone
from engine.notices import Notice, Urgency
from engine.notifier import Outgoing, Pace
from engine.values import SECOND, Microseconds

Region: TypeAlias = Literal["us", "eu"]

_HOSTS: Final[dict[Region, str]] = {"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}
_ALERTS: Final = "/v2/enqueue"
_CHANGES: Final = "/v2/change/enqueue"
_KEY_LENGTH: Final = 32
_EVENT_BYTES_MAX: Final = 512_000
_TIMEOUT_MAX: Final = Microseconds(60 * SECOND)
_TOLD_MAX: Final = 500
_CONTENT_TYPE: Final = "application/json"
_BAD_REQUEST: Final = 400
_PACE: Final = Pace(per_second=2.0, burst=10, attempts=4, first=Microseconds(30 * SECOND), is_exponential=False)
"""About 120 calls a minute and key; after a refusal three more tries, 30 s apart (events-API-v2/05-Rate-Limits)."""
_KEY_ADVICE: Final = (
    "Give the integration key of an integration of type Events API v2 of the service; then: keyturn notify test."
)


class PagerDutyOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of the channel `pagerduty`."""

    integration_key: Reference
    """The integration key (routing key) of an integration of type Events API v2, which is a secret."""
    severity: Urgency = Urgency.ERROR
    """How severe a failure is; a rollback that failed is always `critical`, one that succeeded `warning`."""
    auto_resolve: bool = True
    """A rotation that succeeds resolves the alert of its credential, whatever `events` selects."""
    service_name: str = ""
    """What alerts name as the component; the service when not given."""
    group: str = ""
    """What alerts name as the group; the environment when not given."""
    client_url: str = ""
    """Where alerts and changes link to, such as a dashboard."""
    region: Region = "us"
    """The service region of the account."""
    url: str = ""
    """Where the Events API is, in place of what `region` says, without a path."""
    timeout: Duration = Duration(10 * SECOND)


class PagerDuty:
    """One integration of PagerDuty."""

    def __init__(self, options: PagerDutyOptions, context: NotifierContext) -> None:
        self._options = options
        self._context = context
        self._form = Form(
            severity=options.severity,
            does_resolve=options.auto_resolve,
            component=options.service_name,
            group=options.group,
            client_url=options.client_url,
        )

    @property
    def pace(self) -> Pace:
        """Two a second, ten at once; four tries, 30 s apart."""
        return _PACE

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Take problems and successes that are selected, and every success that resolves an alert."""
        if self._options.auto_resolve and pagerduty_events.resolves(notice):
            return True
        failure = self._options.severity
        is_problem = pagerduty_events.severity_of(notice, failure=failure) is not None
        return selected and (is_problem or pagerduty_events.is_change(notice, failure=failure))

    def validate(self) -> Sequence[str]:
        """Return what is wrong with the options."""
        options = self._options
        problems: list[str] = []
        if options.url and not http_answers.is_safe_url(options.url):
            problems.append("`url` must begin with https://, as the integration key is sent there")
        if options.client_url and not options.client_url.startswith(("https://", "http://")):
            problems.append("`client_url` is a link, which begins with https://")
        if not 0 < options.timeout.microseconds <= _TIMEOUT_MAX:
            problems.append("`timeout` is more than 0 and at most 60s")
        return problems

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return the events, without the routing key: the alerts, and then the changes.

        Raises `Rejected` where no notice is one that PagerDuty is told of.
        """
        events = pagerduty_events.events(notices, self._form, dropped=dropped)
        if not events:
            kinds = ", ".join(sorted({notice.kind.value for notice in notices}))
            raise Rejected(what=self._what, why=f"it is told of problems and of successes only, not of: {kinds}")
        contents = [msgspec.json.encode(event) for event in events]
        texts = tuple(text for event in events for text in pagerduty_events.readable(event))
        return Outgoing(contents[0], _CONTENT_TYPE, further=tuple(contents[1:]), readable=texts)

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Hand the events over, one call each; return the deduplication key of the first, where it has one.

        Where one is refused, the rest waits: what is sent again changes nothing about an alert.
        """
        routing_key = self._routing_key()
        said = [self._enqueue(content, routing_key) for content in (outgoing.content, *outgoing.further)]
        return said[0]

    # --- inside -------------------------------------------------------------------------------------------

    @property
    def _what(self) -> str:
        return f"notifying {self._context.name}"

    def _routing_key(self) -> str:
        key = self._context.secret(self._options.integration_key).reveal().strip()
        if len(key) != _KEY_LENGTH or not key.isalnum() or not key.isascii():
            why = f"the integration key does not have {_KEY_LENGTH} letters and digits"
            raise SinkGone(what=self._what, why=why, advice=_KEY_ADVICE)
        return key

    def _enqueue(self, content: bytes, routing_key: str) -> str:
        event: dict[str, Any] = msgspec.json.decode(content)
        path = _ALERTS if "event_action" in event else _CHANGES
        body = msgspec.json.encode({"routing_key": routing_key, **event})
        if len(body) > _EVENT_BYTES_MAX:
            raise Rejected(what=self._what, why=f"the event has {len(body)} bytes, and PagerDuty takes 512,000")
        url = f"{(self._options.url or _HOSTS[self._options.region]).rstrip('/')}{path}"
        timeout = self._options.timeout.microseconds
        what = f"{self._what} ({path.removeprefix('/v2/')})"
        answer = http_answers.post(url, body, headers={"Content-Type": _CONTENT_TYPE}, timeout=timeout, what=what)
        error = _meaning(answer, routing_key, what=what)
        if error is not None:
            raise error
        return str(event.get("dedup_key", ""))


def _meaning(answer: Answer, routing_key: str, *, what: str) -> PortError | None:
    """Return what an answer means; None where the event was accepted."""
    said = _said(answer, routing_key)
    if answer.status == _BAD_REQUEST and "invalid routing key" in said.lower():
        return SinkGone(what=what, why=f"PagerDuty does not know the integration key ({said})", advice=_KEY_ADVICE)
    return http_answers.refusal(answer.status, answer.headers, what=what, said=said)


def _said(answer: Answer, routing_key: str) -> str:
    """Return the reason that an answer gives, without the key that it might repeat."""
    try:
        told = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if not isinstance(told, dict):
        return ""
    errors = told.get("errors")
    reasons = [told.get("message"), *(errors if isinstance(errors, list) else [])]
    text = "; ".join(reason for reason in reasons if isinstance(reason, str))
    return shortened(on_one_line(text.replace(routing_key, "***")), _TOLD_MAX)


def _build(options: PagerDutyOptions, context: NotifierContext) -> PagerDuty:
    return PagerDuty(options, context)


def _sink(options: PagerDutyOptions) -> str:
    """Name an integration by the reference of its key, and where that is sent."""
    return f"pagerduty {options.url or options.region} {options.integration_key}"


ADAPTER: Final = NotifierAdapter(
    name="pagerduty",
    summary="PagerDuty: an alert for each credential in trouble, resolved when it is well again",
    options=PagerDutyOptions,
    build=_build,
    sink=_sink,
)
