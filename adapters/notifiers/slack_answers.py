"""What Slack answers, in its words, and what they mean; the words are of docs.slack.dev (webhooks, chat.postMessage).

Rule: a word of Slack is shown only where it is one, in its signs, as an answer could repeat what it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from adapters.http_answers import Answer, refusal, retry_after
from engine.errors import PortError, Rejected, SinkGone, Throttled, Unavailable, Uncertain

_WORD: Final = re.compile(r"[a-z][a-z_]{1,63}")

GONE: Final = frozenset(
    {
        # The webhook, or what it belongs to, is no more.
        "action_prohibited",
        "channel_is_archived",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "posting_to_general_channel_denied",
        "team_disabled",
        # The channel takes nothing of this app.
        "channel_not_found",
        "ekm_access_denied",
        "is_archived",
        "not_in_channel",
        "restricted_action",
        "restricted_action_read_only_channel",
        "restricted_action_thread_only_channel",
        "team_access_not_granted",
        # The token does not let it.
        "access_denied",
        "account_inactive",
        "enterprise_is_restricted",
        "invalid_auth",
        "method_deprecated",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    }
)
"""The words after which the webhook, the token or the channel takes nothing any more."""
_TOO_MANY: Final = frozenset({"message_limit_exceeded", "rate_limited", "ratelimited"})
_LATER: Final = frozenset(
    {"accesslimited", "org_login_required", "request_timeout", "service_unavailable", "team_added_to_org"}
)
_UNKNOWN: Final = frozenset({"fatal_error", "internal_error"})
"""Slack says of these that a part of what was asked for may have been done."""

NO_SUCH_MESSAGE: Final = frozenset(
    {"cannot_reply_to_message", "cant_update_message", "edit_window_closed", "message_not_found", "thread_not_found"}
)
"""It is the message that was to be edited, or answered in its thread; everything else may be well."""
THREAD_CLOSED: Final = NO_SUCH_MESSAGE | {
    "invalid_thread_ts",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
}
"""The thread takes no answer; the channel may."""

_ADVICE: Final = {
    "not_in_channel": "Invite the app to the channel (/invite @APP), then: keyturn notify test.",
    "channel_not_found": "Give its id (C…); a private one must have the app as a member. Then: keyturn notify test.",
    "missing_scope": "Give the app the scope chat:write and install it again; then: keyturn notify test.",
}


def webhook_error(answer: Answer, *, what: str) -> PortError | None:
    """Return what the answer of a webhook means; None where the message was taken."""
    word = _word(answer.body.decode(errors="replace").strip())
    if 200 <= answer.status < 300 and word in ("", "ok"):
        return None
    return _meaning(word, answer, what=what) or refusal(answer.status, answer.headers, what=what, said=word)


def api_error(answer: Answer, *, what: str) -> PortError | None:
    """Return what the answer of a method of the Web API means; None where it did what was asked for.

    `ok: false` comes with HTTP 200; an answer that cannot be read leaves open what was done.
    """
    said = said_by(answer)
    word = _word(said.get("error", ""))
    is_success = 200 <= answer.status < 300
    if is_success and said.get("ok") is True:
        return None
    meaning = _meaning(word, answer, what=what)
    if meaning is not None:
        return meaning
    if is_success and said.get("ok") is False:
        return Rejected(what=what, why=f"Slack refused it ({word or 'without a reason'})")
    if is_success:
        return Uncertain(what=what, why="the answer cannot be read")
    return refusal(answer.status, answer.headers, what=what, said=word)


def said_by(answer: Answer) -> Mapping[str, Any]:
    """Return the JSON object of an answer; nothing where it is none."""
    try:
        said = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}


def _word(text: object) -> str:
    return text if isinstance(text, str) and _WORD.fullmatch(text) else ""


def _meaning(word: str, answer: Answer, *, what: str) -> PortError | None:
    """Return what one of Slack's words means, whatever the status; None for all that are about the message."""
    why = f"Slack refused it ({word})"
    if word in GONE:
        return SinkGone(what=what, why=why, advice=_ADVICE.get(word, ""))
    if word in _TOO_MANY:
        return Throttled(what=what, why=why, after=retry_after(answer.headers))
    if word in _LATER:
        return Unavailable(what=what, why=why)
    if word in _UNKNOWN:
        return Uncertain(what=what, why=f"Slack failed while at it ({word})")
    return None
