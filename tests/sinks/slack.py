"""A Slack for tests: one incoming webhook, and the methods of the Web API that post and edit. No tests live here.

What it enforces is of docs.slack.dev; more strictly than Slack, an argument that it does not know is refused. What it
accepted is in `channels`, as people would see it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.sinks.slack_schema import problems_of_message
from tests.sinks.vendor_server import Fault, Reply, Request, VendorServer, serving

WEBHOOK_PATH: Final = "/services/T0000FAKE/B0000FAKE/canary-webhook-path"
TOKEN: Final = "xoxb-canary-bot-token"
CHANNEL: Final = "#ops"
CHANNEL_ID: Final = "C0FAKE0001"

_SHOWN: Final = {"text", "blocks"}
_WEBHOOK: Final = _SHOWN | {"unfurl_links", "unfurl_media"}
_POST: Final = _WEBHOOK | {"channel", "metadata", "thread_ts", "reply_broadcast"}
_UPDATE: Final = _SHOWN | {"channel", "metadata", "ts"}
_METHODS: Final = {"chat.postMessage": _POST, "chat.update": _UPDATE}
_TS: Final = re.compile(r"[0-9]{10}\.[0-9]{6}")
_FLAGS: Final = ("unfurl_links", "unfurl_media", "reply_broadcast")


@dataclass
class Message:
    """A message in a channel, as it is now; `thread` is the `ts` of the message that it answers."""

    ts: str
    body: Mapping[str, Any]
    thread: str = ""
    edits: int = 0


@dataclass
class FakeSlack:
    """One workspace, with one channel, one webhook and one bot."""

    server: VendorServer = field(init=False)
    channels: dict[str, list[Message]] = field(default_factory=lambda: {CHANNEL_ID: []})
    names: dict[str, str] = field(default_factory=lambda: {CHANNEL: CHANNEL_ID})
    is_limited: bool = False
    """One message a second into a channel, as Slack has it; off by default, so that tests need not wait."""
    clock: Callable[[], float] = time.monotonic
    locked_threads: set[str] = field(default_factory=set)
    _posted: dict[str, float] = field(default_factory=dict)

    @property
    def webhook_url(self) -> str:
        """The URL of the webhook, which posts into `CHANNEL`."""
        return self.server.url + WEBHOOK_PATH

    @property
    def api_url(self) -> str:
        """Where the Web API is."""
        return f"{self.server.url}/api"

    @property
    def messages(self) -> list[Message]:
        """What stands in `CHANNEL`, threads among them."""
        return self.channels[CHANNEL_ID]

    @property
    def calls(self) -> list[str]:
        """What was asked for, in its order: the last parts of the paths."""
        return [request.path.rsplit("/", 1)[-1] for request in self.server.requests]

    @property
    def refused(self) -> list[str]:
        """Why something was not taken, in the words of the answers."""
        answers = [(reply.status, reply.body.decode()) for reply in self.server.replies]
        return [said for status, said in answers if status != 200 or (said != "ok" and not json.loads(said)["ok"])]

    def delete(self, ts: str) -> None:
        """Delete a message, as a person may."""
        self.channels[CHANNEL_ID] = [message for message in self.messages if message.ts != ts]

    def refuse(self, *words: str) -> None:
        """Have the next calls of the Web API meet these errors, one each."""
        self.server.order(*(_answered(_error(word), wait=7) for word in words))

    def lose(self, *faults: Fault) -> None:
        """Have the next requests meet these faults, one each."""
        self.server.order(*faults)

    def answer(self, request: Request) -> Reply:
        """Answer a request as Slack does."""
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        if request.path == WEBHOOK_PATH:
            return self._webhook(request, body)
        if not request.path.startswith("/api/"):
            return Reply(404, b"no_service")
        return _answered(self._method(request.path.removeprefix("/api/"), request, body), wait=1)

    # --- the webhook --------------------------------------------------------------------------------------

    def _webhook(self, request: Request, body: object) -> Reply:
        is_json = request.headers.get("content-type", "").startswith("application/json")
        if not is_json or not isinstance(body, dict) or set(body) - _WEBHOOK or not _flags_are_right(body):
            return Reply(400, b"invalid_payload")
        if problems_of_message(body):
            return Reply(400, b"invalid_blocks" if body.get("text") else b"no_text")
        if self._is_too_fast(CHANNEL_ID):
            return Reply(429, b"rate_limited", {"Retry-After": "1"})
        self._add(CHANNEL_ID, body)
        return Reply(200, b"ok", {"Content-Type": "text/html"})

    # --- the Web API --------------------------------------------------------------------------------------

    def _method(self, method: str, request: Request, body: object) -> dict[str, Any]:
        wrong = _error_of_call(method, request, body)
        if wrong or not isinstance(body, dict):
            return _error(wrong)
        unknown = sorted(set(body) - _METHODS[method])
        if unknown or not _flags_are_right(body):
            return _error("invalid_arguments", *unknown)
        channel = self._channel(body.get("channel"), is_edit=method == "chat.update")
        if channel is None:
            return _error("channel_not_found")
        if "metadata" in body and not _is_metadata(body["metadata"]):
            return _error("invalid_metadata_format")
        problems = problems_of_message(body)
        if problems:
            return _error("invalid_blocks" if body.get("text") else "no_text", *problems)
        return self._post(channel, body) if method == "chat.postMessage" else self._update(channel, body)

    def _post(self, channel: str, body: dict[str, Any]) -> dict[str, Any]:
        thread = body.get("thread_ts", "")
        if "reply_broadcast" in body and not thread:
            return _error("invalid_arguments", "reply_broadcast without thread_ts")
        if thread and not _TS.fullmatch(thread):
            return _error("invalid_thread_ts")
        if thread and all(message.ts != thread for message in self.channels[channel]):
            return _error("thread_not_found")
        if thread in self.locked_threads:
            return _error("restricted_action_thread_locked")
        if self._is_too_fast(channel):
            return _error("ratelimited")
        return {"ok": True, "channel": channel, "ts": self._add(channel, body, thread).ts, "message": body}

    def _update(self, channel: str, body: dict[str, Any]) -> dict[str, Any]:
        message = next((each for each in self.channels[channel] if each.ts == body.get("ts")), None)
        if message is None:
            return _error("message_not_found")
        kept = {"metadata": message.body["metadata"]} if "metadata" in message.body else {}
        message.body = kept | body
        message.edits += 1
        return {"ok": True, "channel": channel, "ts": message.ts, "text": body["text"]}

    def _channel(self, given: object, *, is_edit: bool) -> str | None:
        """Return the id of a channel; only posting takes a name as well."""
        found = given if is_edit else self.names.get(str(given), given)
        return found if isinstance(found, str) and found in self.channels else None

    # --- what both do -------------------------------------------------------------------------------------

    def _add(self, channel: str, body: Mapping[str, Any], thread: str = "") -> Message:
        number = len(self.server.requests)
        message = Message(f"{1_790_000_000 + number}.{number:06d}", body, thread)
        self.channels[channel].append(message)
        return message

    def _is_too_fast(self, channel: str) -> bool:
        now = self.clock()
        before = self._posted.get(channel)
        if self.is_limited and before is not None and now - before < 1.0:
            return True
        self._posted[channel] = now
        return False


def _error_of_call(method: str, request: Request, body: object) -> str:
    """Return the error of a call that is none, whatever its arguments; empty where it is one."""
    authorization = request.headers.get("authorization", "")
    if not authorization:
        return "not_authed"
    if authorization != f"Bearer {TOKEN}":
        return "invalid_auth"
    if method not in _METHODS:
        return "unknown_method"
    if request.headers.get("content-type", "") != "application/json; charset=utf-8":
        return "invalid_post_type"
    return "" if isinstance(body, dict) else "invalid_json"


def _answered(said: Mapping[str, Any], *, wait: int) -> Reply:
    """Return an answer of the Web API: HTTP 200 for every error but the one that asks to wait."""
    is_limited = said.get("error") == "ratelimited"
    headers = {"Content-Type": "application/json"} | ({"Retry-After": str(wait)} if is_limited else {})
    return Reply(429 if is_limited else 200, json.dumps(said).encode(), headers)


def _error(word: str, *messages: str) -> dict[str, Any]:
    more = {"response_metadata": {"messages": [f"[ERROR] {message}" for message in messages]}} if messages else {}
    return {"ok": False, "error": word, **more}


def _flags_are_right(body: Mapping[str, Any]) -> bool:
    return all(isinstance(body.get(name, False), bool) for name in _FLAGS)


def _is_metadata(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"event_type", "event_payload"}:
        return False
    kind, payload = value["event_type"], value["event_payload"]
    return (
        isinstance(kind, str)
        and re.fullmatch(r"[a-z0-9_]+", kind) is not None
        and isinstance(payload, dict)
        and all(isinstance(each, str | int | float | bool) for each in payload.values())
    )


@contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    """Serve a workspace for the length of the block."""
    fake = FakeSlack()
    with serving(fake.answer) as server:
        fake.server = server
        yield fake
