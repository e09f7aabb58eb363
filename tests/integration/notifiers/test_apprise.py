"""Messages through Apprise to a server on this machine; without the library skipped, and failed under CI=true."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adapters.notifiers.apprise import ADAPTER, AppriseNotifier, AppriseOptions
from engine.adapter import Duration, NotifierContext, Reference
from engine.errors import SinkGone, Unavailable
from engine.notices import NoticeKind
from engine.values import SECOND, Instant, Secret
from projections.notifications.samples import sample

# A plugin that Apprise loads imports a module that Python 3.13 no longer has, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TOKEN = "canary-token"
AT = Instant(1_770_000_000_000_000)


@dataclass
class Web:
    """A server that keeps what it is sent, by path, and answers as it is told."""

    port: int = 0
    status: dict[str, int] = field(default_factory=dict)
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    is_silent: bool = False

    def url(self, path: str, options: str = "") -> str:
        """Return the URL that Apprise is given: JSON to a path, with a token."""
        return f"json://keyturn:{TOKEN}@127.0.0.1:{self.port}/{path}/{TOKEN}{options}"


@pytest.fixture(autouse=True)
def installed() -> None:
    """Skip where the library is missing; under CI=true fail."""
    if find_spec("apprise") is None:
        reason = 'Apprise is not installed: pip install "keyturn[apprise]"'
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def web() -> Iterator[Web]:
    """A server on a free port."""
    made, over = Web(), threading.Event()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            place = self.path.split("/")[1]
            made.got.append((place, found))
            if made.is_silent:
                over.wait(10)
                return
            self.send_response(made.status.get(place, 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.port = server.server_port
    yield made
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def channel(*urls: str, seconds: float = 10) -> AppriseNotifier:
    """Return a channel to the services with these URLs."""
    secrets = {f"env://URL{number}": Secret(url) for number, url in enumerate(urls)}
    references = tuple(map(Reference.parse, secrets))
    timeout = Duration(int(seconds * SECOND))
    options = AppriseOptions(url=references[0], timeout=timeout)
    if len(urls) > 1:
        options = AppriseOptions(urls=references, timeout=timeout)
    context = NotifierContext("apprise", "db", "test", Path(), lambda reference: secrets[str(reference)])
    built = ADAPTER.build(options, context)
    assert isinstance(built, AppriseNotifier)
    return built


def send(to: AppriseNotifier, kind: NoticeKind = NoticeKind.FAILED, *, key: str = "1", **changes: Any) -> str:
    """Render a notice of the kind, and send it."""
    outgoing = to.render([sample(kind, service="app-db", environment="production", at=AT, channel="mail")], key=key)
    return to.send(outgoing, key=key)


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        (NoticeKind.FAILED, "failure"),
        (NoticeKind.ROLLED_BACK, "warning"),
        (NoticeKind.COMPLETED, "success"),
        (NoticeKind.STARTED, "info"),
    ],
)
def test_a_notice_arrives_as_title_body_and_type(web: Web, kind: NoticeKind, type_: str) -> None:
    to = channel(web.url("one"))
    notice = sample(kind, service="app-db", environment="production", at=AT)
    outgoing = to.render([notice], key="1")
    assert to.send(outgoing, key="1") == ""
    ((place, found),) = web.got
    assert place == "one"
    assert (found["title"], found["message"]) == outgoing.readable
    assert found["type"] == type_
    assert "app-db" in found["title"]
    assert "Rotation: 00000000-" in found["message"]


def test_markup_arrives_as_it_is(web: Web) -> None:
    """Plain text: nothing is taken for Markdown, HTML, an escape or an emoji."""
    text = "*bold* <b>x</b> \\n :smile: & [a](https://evil.test)"
    notice = sample(NoticeKind.STARTED, service="db", environment="test", at=AT)
    to = channel(web.url("one"))
    digest = to.render(
        [
            notice,
            type(notice)(position=1, kind=NoticeKind.PAUSED, at=AT, service="db", environment="test", reason=text),
        ],
        key="1",
    )
    to.send(digest, key="1")
    assert f"Reason: {text}" in web.got[0][1]["message"]


def test_what_is_longer_than_a_service_takes_is_cut(web: Web) -> None:
    """It would be refused again and again; the failures stand first, so they are told."""
    calm = sample(NoticeKind.STARTED, service="x" * 200, environment="test", at=AT)
    failed = sample(NoticeKind.FAILED, service="app-db", environment="test", at=AT)
    to = channel(web.url("one"))
    to.send(to.render([*[calm] * 200, failed], key="1"), key="1")
    message = web.got[0][1]["message"]
    assert 20_000 < len(message) <= 32_768
    assert "app-db failed" in message.splitlines()[0]


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_what_is_not_taken_is_tried_later_and_once_at_a_time(web: Web, status: int) -> None:
    """Apprise does not say why; its own retry is off, whatever the URL says."""
    web.status["one"] = status
    with pytest.raises(Unavailable, match="no success with env://URL0") as caught:
        send(channel(web.url("one", "?retry=3&wait=0")))
    assert len(web.got) == 1
    assert_no_secret(caught.value)


def test_a_service_that_does_not_answer_is_not_waited_for(web: Web) -> None:
    web.is_silent = True
    began = time.monotonic()
    with pytest.raises(Unavailable):
        send(channel(web.url("one"), seconds=0.1))
    assert time.monotonic() - began < 5, "it waited the 10 s that are the default"


def test_who_took_a_message_does_not_get_it_again(web: Web) -> None:
    """The next try of the same message tells the others alone; the next message tells all."""
    to = channel(web.url("one"), web.url("two"))
    web.status["two"] = 503
    with pytest.raises(Unavailable, match="no success with env://URL1"):
        send(to)
    web.status.clear()
    send(to)
    assert [place for place, _ in web.got] == ["one", "two", "two"]
    send(to, key="2")
    assert [place for place, _ in web.got][3:] == ["one", "two"]


@pytest.mark.parametrize("url", ["canary-nothing", "canaryscheme://x", "json://", f"pover://{TOKEN}"])
def test_a_url_that_apprise_does_not_know_is_for_all_messages(url: str) -> None:
    with pytest.raises(SinkGone, match="env://URL0 refers to is no URL") as caught:
        send(channel(url))
    assert_no_secret(caught.value)


class Kept(logging.Handler):
    """Keeps what reaches the root logger, as the handlers of a program would."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep whose record it is."""
        self.names.append(record.name)


def test_the_library_logs_nothing(web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    """It would write URLs, with their tokens, where a program logs everything."""
    root, kept = logging.getLogger(), Kept()
    level = root.level
    root.addHandler(kept)
    root.setLevel(1)
    try:
        web.status["two"] = 500
        send(channel(web.url("one")))
        with pytest.raises(Unavailable):
            send(channel(web.url("two")))
        with pytest.raises(SinkGone):
            send(channel(f"json://{TOKEN}:{TOKEN}@"))
        logging.getLogger("somebody").debug("else")
    finally:
        root.removeHandler(kept)
        root.setLevel(level)
    assert kept.names == ["somebody"]
    assert capfd.readouterr() == ("", "")


def assert_no_secret(error: Exception) -> None:
    """Look for a token in all that an error tells."""
    assert "canary" not in "".join(traceback.format_exception(error))


# --- options ------------------------------------------------------------------------------------------------------


def test_a_url_or_several_are_given_each_once() -> None:
    one, two = Reference("env", "A"), Reference("env", "B")
    assert ADAPTER.sink(AppriseOptions(url=one)) == "env://A"
    assert ADAPTER.sink(AppriseOptions(urls=(one, two))) == "env://A env://B"
    for wrong in ({}, {"url": one, "urls": (two,)}, {"urls": (one, one)}, {"url": one, "timeout": Duration(0)}):
        with pytest.raises(ValueError):
            AppriseOptions(**wrong)
