"""Every form of a message that ships, as a configuration makes it, and what is wrong with a message of it.

Rule: what a sink takes is judged by the readers of the sinks (tests/sinks), which know their limits; here it is given
one of four names. No tests live here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from adapters.notifiers import apprise, file, pagerduty, slack, smtp, webhook
from adapters.notifiers.apprise import Text
from adapters.notifiers.webhook_templates import NAMES
from engine.adapter import Duration, NotifierAdapter, NotifierContext, Reference
from engine.notifier import Notifier, Outgoing
from engine.values import Secret
from tests.sinks import cloudevents
from tests.sinks.mail import parsed, part
from tests.sinks.pagerduty import EVENT_BYTES_MAX, ROUTING_KEY, problems_of_event
from tests.sinks.slack_schema import mentions, problems_of_message
from tests.unit.notifiers.test_mail_messages import CONTROLS, HEADERS, TAGS, Page
from tests.unit.notifiers.test_webhook_messages import EVERYTHING

KEY: Final = "kt_0123456789abcdef0123456789abcdef"
LIMIT, INVALID, MARKUP, HEADER = "over a limit", "invalid", "unescaped markup", "header injection"
PROBLEMS: Final = (LIMIT, INVALID, MARKUP, HEADER)

MENTIONED: Final = {"<!here>", "<!subteam^S0123ABCD>"}
MAIL_BYTES_MAX: Final = 10_000_000
"""What the least generous of the large mail services takes."""
MAIL_LINE_MAX: Final = 998
"""RFC 5322, section 2.1.1."""
WEBHOOK_BYTES_MAX: Final = 19_999
HEADER_MAX: Final = 1_000
TITLE_MAX, BODY_MAX = 250, 4_000_000
"""Of Apprise: no service takes a longer title; bodies are cut there, and here they only must not be endless."""
_WORDS_OF_LIMITS: Final = re.compile(r"long|where \d+ are allowed|list of 1 to|\d+ blocks|larger|at most 255")
_TYPES: Final = {"info", "success", "warning", "failure"}
_HEADERS: Final = {
    f"X-{name.replace('_', '-')}": f"{{{{ {name} }}}}" for name in NAMES if name not in {"events", "count", "dropped"}
}

Problem = tuple[str, str]
"""One of `PROBLEMS`, and what it is about."""


class Renderer(NamedTuple):
    """A form of messages, and what judges one of them."""

    name: str
    notifier: Notifier
    problems: Callable[[Outgoing], Iterator[Problem]]


def _build(adapter: NotifierAdapter, **options: Any) -> Notifier:
    def hook(_: type, raw: Any) -> Any:
        return Reference.parse(raw) if isinstance(raw, str) and "://" in raw else Duration.parse(raw)

    context = NotifierContext("told", "db", "production", Path("/"), lambda reference: Secret("canary"))
    built = adapter.build(msgspec.convert(options, adapter.options, dec_hook=hook), context)
    assert not built.validate()
    return built


def renderers() -> list[Renderer]:
    """Return every form of messages there is."""
    mentioned = {"mentions": {"on_failure": ["@here"], "on_rollback": ["S0123ABCD"]}}
    people = {"from": "keyturn <keyturn@example.test>", "to": ["ops@example.test"], "cc": ["Ü <lead@example.test>"]}
    hook = {"url": "https://hooks.example/hook"}
    templated = {"payload_template": EVERYTHING, "headers": _HEADERS}
    return [
        Renderer("slack webhook", _build(slack.ADAPTER, webhook_url="env://A", **mentioned), of_slack),
        Renderer("slack bot", _build(slack.ADAPTER, token="env://A", channel="#ops", **mentioned), of_slack),
        Renderer("email", _build(smtp.ADAPTER, smtp={"host": "mail.example.test"}, **people), of_mail),
        Renderer("pagerduty", _build(pagerduty.ADAPTER, integration_key="env://A"), of_pagerduty),
        Renderer("webhook cloudevents", _build(webhook.ADAPTER, **hook), of_cloudevents),
        Renderer("webhook dsops", _build(webhook.ADAPTER, **hook, format="dsops"), of_json),
        Renderer("webhook template", _build(webhook.ADAPTER, **hook, **templated), of_template),
        Renderer("apprise", _build(apprise.ADAPTER, url="env://A"), of_apprise),
        Renderer("file", _build(file.ADAPTER, path="tmp/told.jsonl"), of_file),
    ]


# --- what is wrong with a message -----------------------------------------------------------------------------------


def of_slack(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge what Slack is sent: each message, and nobody but who is configured is mentioned."""
    for content in (outgoing.content, *outgoing.further):
        message = msgspec.json.decode(content)
        for problem in problems_of_message(message):
            yield (MARKUP if "markup" in problem or "mention" in problem else _named(problem)), problem
        if not set(mentions(message["blocks"])) <= MENTIONED:
            yield MARKUP, "somebody is mentioned who is not configured"


def of_mail(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge a mail as a reader does: its headers, its parts, its lines, and the tags of its page."""
    content = outgoing.content
    if len(content) > MAIL_BYTES_MAX:
        yield LIMIT, f"{len(content)} bytes"
    if max(map(len, content.split(b"\r\n"))) > MAIL_LINE_MAX:
        yield LIMIT, "a line"
    if not content.isascii() or b"\0" in content or re.search(rb"(?<!\r)\n|\r(?!\n)", content):
        yield INVALID, "its bytes"
    try:
        message = parsed(content)
    except AssertionError:
        yield INVALID, "the parser of the standard library finds defects"
        return
    names = message.keys()
    if not {*names} <= HEADERS or len(names) != len({*names}):
        yield HEADER, f"its headers are {', '.join(names)}"
    subject, text, page = outgoing.readable
    if message["Subject"] != subject or CONTROLS.search(subject):
        yield HEADER, "its subject is not what was meant"
    if [each.get_content_type() for each in message.walk()] != ["multipart/alternative", "text/plain", "text/html"]:
        yield INVALID, "its parts"
    elif (part(message, "plain"), part(message, "html")) != (f"{text}\n", f"{page}\n"):
        yield INVALID, "its parts are not read as they were written"
    if not {tag for tag, _ in Page(page).tags} <= TAGS:
        yield MARKUP, "a tag that is not ours"


def of_pagerduty(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge every event."""
    for content in (outgoing.content, *outgoing.further):
        event = {**msgspec.json.decode(content), "routing_key": ROUTING_KEY}
        for problem in problems_of_event(event, is_change="event_action" not in event):
            yield _named(problem), problem
        if len(msgspec.json.encode(event)) > EVENT_BYTES_MAX:
            yield LIMIT, "an event"


def of_cloudevents(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge an event of CloudEvents."""
    yield from of_json(outgoing)
    for problem in cloudevents.problems(outgoing.content):
        yield INVALID, problem


def of_template(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge what a template of every name made, and the headers of every name: each value stayed in its place."""
    yield from of_json(outgoing)
    if set(json.loads(outgoing.content)) != set(NAMES):
        yield MARKUP, "a value left its place in the JSON"
    headers = json.loads(outgoing.further[0])
    if set(headers) != set(_HEADERS):
        yield HEADER, "its headers are others"
    for name, value in headers.items():
        if not value.isascii() or not (value == "" or value.isprintable()):
            yield HEADER, name
        if len(value) > HEADER_MAX:
            yield LIMIT, name


def of_json(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge a body of JSON that a receiver must take."""
    if not 0 < len(outgoing.content) <= WEBHOOK_BYTES_MAX:
        yield LIMIT, f"{len(outgoing.content)} bytes"
    try:
        found = json.loads(outgoing.content.decode(), parse_constant=lambda name: name)
    except ValueError as error:
        yield INVALID, str(error)
        return
    if not isinstance(found, dict) or not found:
        yield INVALID, "no object"


def of_apprise(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge what Apprise is given: a title on one line, and a body without what moves a cursor."""
    text = msgspec.json.decode(outgoing.content, type=Text)
    if len(text.title) > TITLE_MAX or len(text.body) > BODY_MAX:
        yield LIMIT, f"{len(text.title)} and {len(text.body)} characters"
    if not text.title or text.type not in _TYPES:
        yield INVALID, "no title, or no type that Apprise has"
    if CONTROLS.search(text.title) or CONTROLS.search(text.body.replace("\n", "")):
        yield MARKUP, "a control character"


def of_file(outgoing: Outgoing) -> Iterator[Problem]:
    """Judge lines: each is one document, and ends."""
    *lines, rest = outgoing.content.split(b"\n")
    if rest or not lines:
        yield INVALID, "a line does not end"
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError as error:
            yield INVALID, str(error)
        else:
            if found.get("key") != KEY:
                yield INVALID, "a line without its key"


def _named(problem: str) -> str:
    return LIMIT if _WORDS_OF_LIMITS.search(problem) else INVALID
