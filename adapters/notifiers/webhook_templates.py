"""The templates of a webhook: its body, and its headers. What a template may be stands in adapters/templates.py.

Rule: a header has either what a notice says or the token in it, never both: the one is made when a message is rendered,
and searched for secrets; the other only when it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.notifiers import webhook_bodies as bodies
from adapters.templates import Template, TemplateFault, compile_template
from engine.notices import Notice
from projections.notifications.documents import document
from projections.notifications.words import digest_headline

TOKEN: Final = "token"  # noqa: S105 - a name in templates
GO_TOKEN: Final = "Token"  # noqa: S105 - likewise

GO_NAMES: Final[dict[str, str]] = {
    "EventType": "kind",
    "Type": "kind",
    "ServiceName": "service",
    "Service": "service",
    "Environment": "environment",
    "RotationID": "rotation_id",
    "Status": "status",
    "Strategy": "strategy",
    "Duration": "duration_seconds",
    "Timestamp": "at",
    "Error": "error",
    "Version": "version",
    "NewVersion": "version",
    "PreviousVersion": "previous_version",
    "InitiatedBy": "actor",
}
"""The names that dsops templates use, and ours for them; both are understood."""

NAMES: Final = (
    "kind",
    "status",
    "text",
    "urgency",
    "service",
    "environment",
    "rotation_id",
    "strategy",
    "state",
    "version",
    "previous_version",
    "actor",
    "reason",
    "error",
    "step",
    "hint",
    "at",
    "started_at",
    "until",
    "duration_seconds",
    "channel",
    "count",
    "dropped",
    "events",
)
"""What a template may name.

All are texts, empty where a notice has none, but for `count`, `dropped`, `duration_seconds` (a number, or null in
JSON) and `events` (a list of `keyturn.notice/1`, for `|tojson`).
"""

HEADER_LENGTH_MAX: Final = 1_000
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
"""A token of RFC 9110, 5.6.2."""
_NOT_IN_A_HEADER: Final = re.compile(r"[^ -~]")
_OURS: Final = {
    "host": "the URL says it",
    "content-length": "it is counted",
    "transfer-encoding": "the body is sent as a whole",
    "connection": "each request has its own connection",
    "content-type": "use `content_type`",
    "idempotency-key": "it is that of the message",
    "te": "it is between the two ends of a connection",
    "trailer": "it is between the two ends of a connection",
    "upgrade": "it is between the two ends of a connection",
    "expect": "a request is sent at once",
}
"""Headers that are not the configuration's, and why."""


def payload(text: str, *, in_json: bool) -> Template:
    """Compile the template of a body; raises `TemplateFault`. `in_json`: what is filled in is escaped for JSON."""
    return compile_template(text, NAMES, go_names=GO_NAMES, in_json=in_json)


def header(name: str, text: str) -> Template:
    """Compile the template of a header's value; raises `TemplateFault`, as for a name that no header may have."""
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name):
        raise TemplateFault("this is no name of a header.")
    if lower in _OURS or lower.startswith(("webhook-", "proxy-")):
        raise TemplateFault(f"this header is keyturn's: {_OURS.get(lower, 'it belongs to the delivery')}.")
    if _NOT_IN_A_HEADER.search(text):
        raise TemplateFault("the value of a header is visible ASCII, on one line.")
    made = compile_template(text, [*NAMES, TOKEN], go_names={**GO_NAMES, GO_TOKEN: TOKEN})
    if names_token(made) and not made.names <= {TOKEN, GO_TOKEN}:
        raise TemplateFault(f"`{GO_TOKEN}` stands in a header without other names.")
    return made


def names_token(template: Template) -> bool:
    """Tell whether a header has the token in it."""
    return bool(template.names & {TOKEN, GO_TOKEN})


def header_value(text: str) -> str:
    """Return a text as it may stand in a header: one line of visible ASCII, not too long."""
    return _NOT_IN_A_HEADER.sub("?", text[:HEADER_LENGTH_MAX]).strip()


def values(
    notices: Sequence[Notice], kept: Sequence[Notice], *, dropped: int, longest: int, in_json: bool
) -> Mapping[str, object]:
    """Return what stands for each of `NAMES`; of a digest only what all its notices share, its kind being `digest`."""
    documents = [bodies.cut(document(notice), longest) for notice in kept]
    full = [_of(notice) for notice in notices]
    one = {name: bodies.shared([each[name] for each in full]) for name in full[0]}
    found: dict[str, Any] = bodies.cut({name: _whole(text) for name, text in one.items()}, longest)
    seconds: float | str | None = documents[0]["duration_seconds"]
    if bodies.is_digest(notices, dropped):
        found |= {"kind": "digest", "status": "digest", "text": digest_headline(len(notices), dropped)}
        seconds = None
    found |= {
        "duration_seconds": "" if seconds is None and not in_json else seconds,
        "count": len(notices),
        "dropped": dropped,
        "events": documents,
    }
    return found


def _of(notice: Notice) -> dict[str, str]:
    said = document(notice)
    cause = notice.cause
    said |= {
        "status": bodies.dsops_status(notice),
        "error": "" if cause is None else cause.message,
        "step": "" if cause is None else cause.step,
        "hint": "" if cause is None else cause.hint,
    }
    numbers = ("duration_seconds", "count", "dropped", "events")
    return {name: said[name] or "" for name in NAMES if name not in numbers}


def _whole(text: str) -> str:
    """Return a text with half a character replaced: what is rendered is encoded."""
    return text.encode("utf-8", "replace").decode()
