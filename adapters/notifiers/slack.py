"""Slack: a webhook posts to its channel; a bot token also keeps one thread a rotation, its first message up to date.

Rule: how a message looks stands in slack_blocks.py, what an answer means in slack_answers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from adapters import http_answers
from adapters.notifiers import slack_answers, slack_blocks
from engine.adapter import Duration, NotifierAdapter, NotifierContext, Reference
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.notices import FAMILIES, Notice
from engine.notifier import Outgoing, Pace
from engine.values import SECOND, Microseconds

_API: Final = "https://slack.com/api"
_MENTIONS_MAX: Final = 20
_TIMEOUT_MAX: Final = Microseconds(60 * SECOND)
_CONTENT_TYPE: Final = "application/json; charset=utf-8"
_EVENT_TYPE: Final = "keyturn_notification"
_PACE: Final = Pace(per_second=1.0, burst=1)
"""One message a second into a channel (docs.slack.dev, rate limits)."""

_PERSON: Final = re.compile(r"[UW][A-Z0-9]{7,20}|<@[UW][A-Z0-9]{7,20}>")
_GROUP: Final = re.compile(r"S[A-Z0-9]{7,20}|<!subteam\^S[A-Z0-9]{7,20}>")
_EVERYBODY: Final = {"@here": "<!here>", "@channel": "<!channel>"}
_CHANNEL: Final = re.compile(r"#[^\s#,<>&]{1,80}|[CGD][A-Z0-9]{7,20}")
_RECEIPT: Final = re.compile(r"(?P<channel>[CGD][A-Z0-9]{1,30}):(?P<message>[0-9]{1,20}\.[0-9]{1,20})")


class Mentions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is mentioned, and so notified; in every other message nobody is."""

    on_failure: tuple[str, ...] = ()
    """When something failed: `@here`, `@channel`, a user `U…`, a group `S…`, or a name of `mention_ids`."""
    on_rollback: tuple[str, ...] = ()
    """When a rotation goes back, is back, or could not."""


class SlackOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of the channel `slack`."""

    webhook_url: Reference | None = None
    """The URL of an incoming webhook, which is a secret. Either this or `token`."""
    token: Reference | None = None
    """A bot token (`xoxb-…`) with the scope `chat:write`: one thread a rotation."""
    channel: str = ""
    """Where a bot posts: `#name`, or the id. A webhook has a channel of its own, which this only names."""
    mentions: Mentions = Mentions()
    mention_ids: dict[str, str] = {}
    """What names such as `@oncall` stand for: the id of a user (`U…`) or of a group (`S…`). Slack needs the id."""
    api_url: str = _API
    """Where the Web API is; `https://slack-gov.com/api` for GovSlack."""
    timeout: Duration = Duration(10 * SECOND)


class Slack:
    """One channel in Slack."""

    def __init__(self, options: SlackOptions, context: NotifierContext) -> None:
        self._options = options
        self._context = context
        self._what = f"notifying {context.name}"

    @property
    def pace(self) -> Pace:
        """One message a second, three tries."""
        return _PACE

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Everything that is selected can be told."""
        return selected

    def validate(self) -> Sequence[str]:
        """Return what is wrong with the options."""
        options = self._options
        problems: list[str] = []
        if (options.webhook_url is None) == (options.token is None):
            problems.append("either `webhook_url` or `token` is expected, and not both")
        if options.token is not None and not options.channel:
            problems.append("`channel` is missing: a bot has to be told where to post")
        if options.channel and not _CHANNEL.fullmatch(options.channel):
            problems.append("`channel` is written #name, or as the id of a channel (C…)")
        if not http_answers.is_safe_url(options.api_url):
            problems.append("`api_url` must begin with https://, as the token is sent there")
        if not 0 < options.timeout.microseconds <= _TIMEOUT_MAX:
            problems.append("`timeout` is more than 0 and at most 60s")
        return [*problems, *_problems_of_mentions(options)]

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return the message; of one notice of a rotation, for a bot, also what its first message becomes."""
        is_of_one = len(notices) == 1 and not dropped
        content = self._shown(notices, dropped=dropped, mentions=_mentions(self._options, notices))
        content |= {"unfurl_links": False, "unfurl_media": False}
        bodies = [content]
        if self._options.token is not None:
            # Slack has no key against posting twice; a reader of the channel can tell by this one.
            metadata = {"event_type": _EVENT_TYPE, "event_payload": {"key": key}}
            is_failure = any(notice.is_failure for notice in notices)
            content |= {"channel": self._options.channel, "metadata": metadata, "reply_broadcast": is_failure}
            if is_of_one and notices[0].rotation_id:
                bodies.append(self._shown(notices, dropped=0, mentions=()))
        return Outgoing(
            content=_encoded(content),
            content_type=_CONTENT_TYPE,
            further=tuple(map(_encoded, bodies[1:])),
            readable=tuple(_unescaped(text) for body in bodies for text in _texts(body)),
        )

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Post the message; return `CHANNEL:TS` for a bot, nothing for a webhook, which tells nothing of it.

        Where there is a thread, its first message is edited before the answer is posted: editing twice does no harm, so
        whatever goes wrong before the answer, trying again repeats nothing. Where the thread was deleted or closed, the
        message is posted on its own. Failures in a thread are shown in the channel as well.
        """
        if self._options.token is None:
            self._post_to_webhook(outgoing)
            return ""
        message: dict[str, Any] = msgspec.json.decode(outgoing.content)
        alone = {name: value for name, value in message.items() if name != "reply_broadcast"}
        place = _RECEIPT.fullmatch(thread)
        if place is None:
            return _receipt(*self._call("chat.postMessage", alone))
        for body in outgoing.further[:1]:
            self._edit({**msgspec.json.decode(body), "channel": place["channel"], "ts": place["message"]})
        reply = {**message, "channel": place["channel"], "thread_ts": place["message"]}
        said, error = self._call("chat.postMessage", reply)
        if error is not None and said.get("error") in slack_answers.THREAD_CLOSED:
            said, error = self._call("chat.postMessage", alone)
        return _receipt(said, error)

    # --- inside -------------------------------------------------------------------------------------------

    @staticmethod
    def _shown(notices: Sequence[Notice], *, dropped: int, mentions: Sequence[str]) -> dict[str, object]:
        """Return the part of a message that people see."""
        if len(notices) == 1 and not dropped:
            blocks = slack_blocks.of_notice(notices[0], mentions=mentions)
        else:
            blocks = slack_blocks.of_digest(notices, dropped=dropped, mentions=mentions)
        return {"text": slack_blocks.fallback(notices, dropped=dropped), "blocks": blocks}

    def _post_to_webhook(self, outgoing: Outgoing) -> None:
        assert self._options.webhook_url is not None, "validate() lets no channel without one through"
        url = self._context.secret(self._options.webhook_url).reveal().strip()
        if not http_answers.is_safe_url(url):
            raise Rejected(what=self._what, why="the webhook URL does not begin with https://, or has no host")
        what = f"{self._what} ({http_answers.redacted(url)})"
        headers = {"Content-Type": outgoing.content_type}
        timeout = self._options.timeout.microseconds
        answer = http_answers.post(url, outgoing.content, headers=headers, timeout=timeout, what=what)
        error = slack_answers.webhook_error(answer, what=what)
        if error is not None:
            raise error

    def _edit(self, message: Mapping[str, Any]) -> None:
        """Edit the first message of a thread; what cannot be edited stays as it is."""
        said, error = self._call("chat.update", message)
        if isinstance(error, Uncertain):
            raise Unavailable(what=error.what, why=f"{error.why}; nothing was posted yet")
        if error is not None and said.get("error") not in slack_answers.NO_SUCH_MESSAGE:
            raise error

    def _call(self, method: str, arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], PortError | None]:
        """Call a method of the Web API; return what it said, and what that means where it is no success."""
        assert self._options.token is not None, "only a bot calls methods"
        what = f"{self._what} ({method})"
        token = self._context.secret(self._options.token).reveal().strip()
        headers = {"Content-Type": _CONTENT_TYPE, "Authorization": f"Bearer {token}"}
        url = f"{self._options.api_url.rstrip('/')}/{method}"
        timeout = self._options.timeout.microseconds
        answer = http_answers.attempt(url, _encoded(arguments), headers=headers, timeout=timeout, what=what)
        if isinstance(answer, PortError):
            return {}, answer
        return slack_answers.said_by(answer), slack_answers.api_error(answer, what=what)


def _receipt(said: Mapping[str, Any], error: PortError | None) -> str:
    """Return `CHANNEL:TS` of a message that was posted; nothing where Slack did not tell; raises `error`."""
    if error is not None:
        raise error
    receipt = f"{said.get('channel')}:{said.get('ts')}"
    return receipt if _RECEIPT.fullmatch(receipt) else ""


def markup_of(mention: str, ids: Mapping[str, str]) -> str:
    """Return what mentions a person or a group: `<@U…>`, `<!subteam^S…>`, `<!here>`, `<!channel>`; else nothing."""
    if mention in _EVERYBODY:
        return _EVERYBODY[mention]
    identity = ids.get(mention, mention)
    if _PERSON.fullmatch(identity):
        return identity if identity.startswith("<") else f"<@{identity}>"
    if _GROUP.fullmatch(identity):
        return identity if identity.startswith("<") else f"<!subteam^{identity}>"
    return ""


def _mentions(options: SlackOptions, notices: Sequence[Notice]) -> list[str]:
    """Return whom these notices are to reach, each once."""
    names: list[str] = []
    if any(notice.is_failure for notice in notices):
        names += options.mentions.on_failure
    if any(notice.kind in FAMILIES["rollback"] for notice in notices):
        names += options.mentions.on_rollback
    found = dict.fromkeys(markup_of(name, options.mention_ids) for name in names)
    return [markup for markup in found if markup][:_MENTIONS_MAX]


def _problems_of_mentions(options: SlackOptions) -> list[str]:
    problems: list[str] = []
    given = {"on_failure": options.mentions.on_failure, "on_rollback": options.mentions.on_rollback}
    for key, names in given.items():
        problems += [
            f"`mentions.{key}`: {name!r} is a name, which Slack mentions nobody by; give its id in `mention_ids`, as "
            f"{{{name!r}: S0123ABCD}}, or use @here or @channel"
            for name in names
            if not markup_of(name, options.mention_ids)
        ]
    if len({*options.mentions.on_failure, *options.mentions.on_rollback}) > _MENTIONS_MAX:
        problems.append(f"`mentions` has more than {_MENTIONS_MAX} names; mention a group")
    return [
        *problems,
        *(
            f"`mention_ids`: {name!r} has the id of a user (U…) or of a group (S…), copied from its profile in Slack"
            for name, identity in options.mention_ids.items()
            if not (_PERSON.fullmatch(identity) or _GROUP.fullmatch(identity))
        ),
    ]


def _encoded(body: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(body)


def _texts(value: object) -> list[str]:
    """Return every text that people read in a message: the values of `text`."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if not isinstance(value, dict):
        return []
    found = [each for name, each in value.items() if name == "text" and isinstance(each, str)]
    return found + [text for each in value.values() for text in _texts(each)]


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _build(options: SlackOptions, context: NotifierContext) -> Slack:
    return Slack(options, context)


def _sink(options: SlackOptions) -> str:
    """Name a webhook by its reference, the channel of a bot by the reference of its token and the channel."""
    if options.webhook_url is not None:
        return f"slack {options.webhook_url}"
    return f"slack {options.api_url} {options.token} {options.channel}"


ADAPTER: Final = NotifierAdapter(
    name="slack",
    summary="Slack: a webhook, or a bot that keeps one thread a rotation",
    options=SlackOptions,
    build=_build,
    sink=_sink,
)
