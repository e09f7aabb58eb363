"""How notices look to PagerDuty: alerts that open, change and resolve, and changes that notify nobody.

Fields and limits are of the vendor's documentation of the Events API v2 (events-API-v2/01-Overview, 02-Trigger-Events,
03-Change-Events); what it does not limit is kept short enough for 512 KB an event.

Rule: pure, and without the routing key, which is a secret and put in when an event is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias

from adapters.notifiers.texts import on_one_line, shortened, shown, utf16
from engine.notices import Notice, NoticeKind, Urgency
from projections.notifications.words import details, digest_headline, headline
from projections.times import to_text

Event: TypeAlias = dict[str, Any]

CLIENT: Final = "keyturn"
_SUMMARY_MAX: Final = 1_024
_KEY_MAX: Final = 255
_NAME_MAX: Final = 255
_DETAIL_MAX: Final = 4_000
_STEPS_MAX: Final = 20
_STEP_MAX: Final = 1_000
_LISTED_MAX: Final = 100
_LISTED_LINE_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Form:
    """What the options say of how events look."""

    severity: Urgency
    """Of a failure."""
    does_resolve: bool
    component: str
    """Empty: the service of the notice."""
    group: str
    """Empty: the environment of the notice."""
    client_url: str
    """Empty: no link."""


def severity_of(notice: Notice, *, failure: Urgency) -> Urgency | None:
    """Return the severity of the alert that a notice opens or changes; None where it is no problem.

    A rollback without a failure is what somebody asked for; that after a failure changes the alert which that opened.
    """
    match notice.kind:
        case NoticeKind.FAILED | NoticeKind.UNDELIVERED:
            return failure
        case NoticeKind.ROLLBACK_STARTED:
            return failure if notice.automatic else None
        case NoticeKind.ROLLED_BACK:
            return Urgency.WARNING if notice.automatic or notice.cause is not None else None
        case NoticeKind.ROLLBACK_FAILED:
            return Urgency.CRITICAL
        case NoticeKind.OVERDUE:
            return Urgency.WARNING
        case _:
            return None


def is_change(notice: Notice, *, failure: Urgency) -> bool:
    """Tell whether a notice says that something changed as somebody wanted it."""
    done = notice.kind in {NoticeKind.COMPLETED, NoticeKind.ROLLED_BACK}
    return done and severity_of(notice, failure=failure) is None


def resolves(notice: Notice) -> bool:
    """Tell whether a notice says that an alert of the credential, where there is one, is over."""
    return notice.kind is NoticeKind.COMPLETED and notice.ends_failure


def events(notices: Sequence[Notice], form: Form, *, dropped: int) -> list[Event]:
    """Return the events of one or several notices: of each alert the last one, and one change; none where none is due.

    An alert is what its last event makes of it, so that of several the earlier ones need not be sent. Changes are
    one event together, and so is what was dropped.
    """
    alerts: dict[str, Event] = {}
    changes: list[Notice] = []
    for notice in notices:
        key = dedup_key(notice)
        severity = severity_of(notice, failure=form.severity)
        if severity is not None:
            alerts.pop(key, None)
            alerts[key] = _trigger(notice, key, severity, form)
        elif form.does_resolve and resolves(notice):
            alerts.pop(key, None)
            alerts[key] = {"event_action": "resolve", "dedup_key": key}
        if is_change(notice, failure=form.severity):
            changes.append(notice)
    return [*alerts.values(), *_changes(changes, notices, form, dropped=dropped)]


def dedup_key(notice: Notice) -> str:
    """Return what the events of an alert have in common: the credential, so that a later rotation ends it.

    `keyturn/ENVIRONMENT/SERVICE`; of a channel that does not deliver `keyturn//CHANNEL`, as no rotation ends that.
    Where it is longer than 255 or cannot be shown, its SHA-256 stands for it.
    """
    if notice.kind is NoticeKind.UNDELIVERED:
        key = f"keyturn//{notice.channel}"
    else:
        key = f"keyturn/{notice.environment}/{notice.service}"
    if key.isprintable() and utf16(key) <= _KEY_MAX:
        return key
    return f"keyturn/sha256:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"


def readable(event: Event) -> list[str]:
    """Return the texts of an event as people read them."""
    payload = event.get("payload", {})
    texts = [str(payload[name]) for name in ("summary", "source", "component", "group") if name in payload]
    for value in payload.get("custom_details", {}).values():
        texts += value if isinstance(value, list) else [value]
    return texts


def _trigger(notice: Notice, key: str, severity: Urgency, form: Form) -> Event:
    payload = _payload(notice) | {
        "severity": severity.value,
        "component": _name(form.component or notice.service),
        "group": _name(form.group or notice.environment),
        "class": notice.kind.value,
    }
    event: Event = {"event_action": "trigger", "dedup_key": key, "payload": payload, "client": CLIENT}
    return event | ({"client_url": form.client_url} if form.client_url else {})


def _changes(changes: Sequence[Notice], notices: Sequence[Notice], form: Form, *, dropped: int) -> list[Event]:
    if not changes and not dropped:
        return []
    if len(changes) == 1 and not dropped:
        payload = _payload(changes[0])
    else:
        lines = [
            shortened(f"{to_text(each.at)} {on_one_line(headline(each))}", _LISTED_LINE_MAX, size=utf16)
            for each in changes[:_LISTED_MAX]
        ]
        payload = {
            "summary": digest_headline(len(changes), dropped),
            "source": CLIENT,
            "timestamp": to_text(notices[-1].at),
            "custom_details": {"Notifications": lines, "Not listed": str(len(changes) - len(lines))},
        }
    links = [{"href": form.client_url, "text": CLIENT}] if form.client_url else []
    return [{"payload": payload} | ({"links": links} if links else {})]


def _payload(notice: Notice) -> Event:
    """Return what alerts and changes have in common."""
    cause = f": {on_one_line(notice.cause.message)}" if notice.cause else ""
    told: dict[str, str | list[str]] = {
        name: shortened(shown(value), _DETAIL_MAX, size=utf16) for name, value in details(notice)
    }
    steps = [shortened(on_one_line(step), _STEP_MAX, size=utf16) for step in notice.next_steps[:_STEPS_MAX]]
    if steps:
        told["Next"] = steps
    return {
        "summary": shortened(on_one_line(headline(notice)) + cause, _SUMMARY_MAX, size=utf16),
        "source": _name(notice.credential if notice.service else ""),
        "timestamp": to_text(notice.at),
        "custom_details": told,
    }


def _name(text: str) -> str:
    """Return a name on one line; keyturn's own where there is none, as the vendor takes no empty one."""
    return shortened(on_one_line(text), _NAME_MAX, size=utf16) or CLIENT
