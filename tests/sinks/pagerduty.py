"""A PagerDuty for tests: the Events API v2 of one service. No tests live here.

What it enforces is of the vendor's documentation (events-API-v2); more strictly, a field that it does not name is
refused. Alerts are open by their key until they are resolved; what comes for one that is not open is dropped, as there.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.sinks.vendor_server import Reply, Request, VendorServer, serving

ROUTING_KEY: Final = "canary0routing0key0of0thirtytwo0"
EVENT_BYTES_MAX: Final = 512_000
SUMMARY_MAX: Final = 1_024
DEDUP_KEY_MAX: Final = 255
CALLS_A_MINUTE: Final = 120
_ACTIONS: Final = ("trigger", "acknowledge", "resolve")
_SEVERITIES: Final = ("critical", "error", "warning", "info")
_CHANGE: Final = {"routing_key", "payload", "links"}
_ALERT: Final = _CHANGE | {"event_action", "dedup_key", "images", "client", "client_url"}
_CHANGE_PAYLOAD: Final = {"summary", "source", "timestamp", "custom_details"}
_ALERT_PAYLOAD: Final = _CHANGE_PAYLOAD | {"severity", "component", "group", "class"}
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)")


@dataclass
class Alert:
    """An alert: the payloads that triggered it, in their order, and how it stands."""

    key: str
    payloads: list[Mapping[str, Any]]
    is_open: bool = True
    is_acknowledged: bool = False

    @property
    def severity(self) -> str:
        """The severity of what came last."""
        return str(self.payloads[-1]["severity"])


@dataclass
class FakePagerDuty:
    """One service with one integration."""

    server: VendorServer = field(init=False)
    alerts: list[Alert] = field(default_factory=list)
    """Every alert there ever was; of one key at most the last is open."""
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    dropped: list[Mapping[str, Any]] = field(default_factory=list)
    """What was accepted, and came for an alert that was not open."""
    is_limited: bool = False
    """120 calls within 60 s, as the vendor has it; off by default."""
    clock: Callable[[], float] = time.monotonic
    _calls: deque[float] = field(default_factory=deque)

    @property
    def open(self) -> dict[str, Alert]:
        """The open alerts, by their key."""
        return {alert.key: alert for alert in self.alerts if alert.is_open}

    @property
    def refused(self) -> list[str]:
        """Why something was not accepted, in the words of the answers."""
        return [reply.body.decode() for reply in self.server.replies if reply.status != 202]

    def answer(self, request: Request) -> Reply:
        """Answer a request as the Events API does."""
        if request.path not in {"/v2/enqueue", "/v2/change/enqueue"}:
            return Reply(404)
        if self._is_too_fast():
            return Reply(429, b"Request Limit Exceeded")
        try:
            event = json.loads(request.body)
        except ValueError:
            return _invalid(["the body is no JSON"])
        is_change = request.path == "/v2/change/enqueue"
        problems = problems_of_event(event, is_change=is_change)
        if len(request.body) > EVENT_BYTES_MAX:
            problems.append("the event is larger than 512 KB")
        if request.headers.get("content-type") != "application/json":
            problems.append("the content type is not application/json")
        if problems:
            return _invalid(problems)
        if event["routing_key"] != ROUTING_KEY:
            return Reply(400, json.dumps({"status": "invalid key", "message": "Invalid routing key"}).encode())
        key = "" if is_change else self._take(event)
        self.changes += [event["payload"]] if is_change else []
        more = {"dedup_key": key} if key else {}
        return Reply(202, json.dumps({"status": "success", "message": "Event processed", **more}).encode())

    def _take(self, event: Mapping[str, Any]) -> str:
        key = event.get("dedup_key") or f"generated-{len(self.alerts)}"
        alert = self.open.get(key)
        if event["event_action"] == "trigger":
            if alert is None:
                self.alerts.append(Alert(key, [event["payload"]]))
            else:
                alert.payloads.append(event["payload"])
        elif alert is None:
            self.dropped.append(event)
        elif event["event_action"] == "resolve":
            alert.is_open = False
        else:
            alert.is_acknowledged = True
        return str(key)

    def _is_too_fast(self) -> bool:
        if not self.is_limited:
            return False
        now = self.clock()
        while self._calls and now - self._calls[0] >= 60.0:
            self._calls.popleft()
        if len(self._calls) >= CALLS_A_MINUTE:
            return True
        self._calls.append(now)
        return False


def problems_of_event(event: object, *, is_change: bool) -> list[str]:
    """Return what is wrong with an event, as `errors` of the answer tell it."""
    if not isinstance(event, dict):
        return ["the event is no object"]
    problems = [f"unknown field {name!r}" for name in event if name not in (_CHANGE if is_change else _ALERT)]
    problems += _problems_of_key(event.get("routing_key"))
    if not is_change:
        problems += _problems_of_action(event)
    if is_change or event.get("event_action") == "trigger" or "payload" in event:
        problems += _problems_of_payload(event.get("payload"), is_change=is_change)
    problems += _problems_of_list(event.get("links", []), "links", required="href", allowed={"href", "text"})
    problems += _problems_of_list(event.get("images", []), "images", required="src", allowed={"src", "href", "alt"})
    problems += [
        f"'{name}' is no text" for name in ("client", "client_url") if not isinstance(event.get(name, ""), str)
    ]
    return problems


def _problems_of_key(key: object) -> list[str]:
    if not isinstance(key, str):
        return ["'routing_key' is missing"]
    length = [] if len(key) == 32 else ["Length of 'routing_key' is incorrect (should be 32 characters)"]
    return length + ([] if key.isalnum() else ["'routing_key' cannot contain non-alphanumeric characters."])


def _problems_of_action(event: Mapping[str, Any]) -> list[str]:
    action, key = event.get("event_action"), event.get("dedup_key")
    problems = [] if action in _ACTIONS else ["'event_action' is missing or unknown"]
    if key is None and action in _ACTIONS[1:]:
        problems.append("'dedup_key' is missing")
    if key is not None and (not isinstance(key, str) or not key or len(key.encode("utf-16-le")) // 2 > DEDUP_KEY_MAX):
        problems.append("'dedup_key' is a text of at most 255 characters")
    return problems


def _problems_of_payload(payload: object, *, is_change: bool) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing"]
    allowed = _CHANGE_PAYLOAD if is_change else _ALERT_PAYLOAD
    problems = [f"unknown field 'payload.{name}'" for name in payload if name not in allowed]
    summary = payload.get("summary")
    if not isinstance(summary, str) or not summary.strip():
        problems.append("'payload.summary' is missing or blank")
    elif len(summary.encode("utf-16-le")) // 2 > SUMMARY_MAX:
        problems.append("'payload.summary' is longer than 1024 characters")
    for name in sorted(allowed - {"summary", "severity", "timestamp", "custom_details"}):
        value = payload.get(name, "x")
        if not isinstance(value, str) or not value.strip():
            problems.append(f"'payload.{name}' is no text")
    if not is_change and "source" not in payload:
        problems.append("'payload.source' is missing")
    if not is_change and payload.get("severity") not in _SEVERITIES:
        problems.append("'payload.severity' is missing or unknown")
    if not _TIMESTAMP.fullmatch(str(payload.get("timestamp", "2026-01-01T00:00:00Z"))):
        problems.append("'payload.timestamp' is no time")
    if not isinstance(payload.get("custom_details", {}), dict):
        problems.append("'payload.custom_details' is no object")
    return problems


def _problems_of_list(given: object, name: str, *, required: str, allowed: set[str]) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        return [f"'{name}' is no list of objects"]
    return [f"'{name}' has a wrong object" for each in given if required not in each or set(each) - allowed]


def _invalid(errors: Sequence[str]) -> Reply:
    told = {"status": "invalid event", "message": "Event object is invalid", "errors": list(errors)}
    return Reply(400, json.dumps(told).encode(), {"Content-Type": "application/json"})


@contextmanager
def fake_pagerduty() -> Iterator[FakePagerDuty]:
    """Serve the Events API for the length of the block."""
    fake = FakePagerDuty()
    with serving(fake.answer) as server:
        fake.server = server
        yield fake
