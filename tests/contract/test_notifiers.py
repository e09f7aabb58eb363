"""Every channel keeps the contract, built as the configuration builds it, against a sink that checks what it gets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.notifiers import apprise, file, pagerduty, slack, smtp, webhook
from adapters.registry import NOTIFIER_GROUP, SHIPPED
from engine.adapter import Duration, NotifierAdapter, NotifierContext, Reference
from engine.notifier import Notifier
from engine.values import Secret
from tests.contract.notifiers import NotifierContract, Taken
from tests.sinks.mail import MailSink, mail_server
from tests.sinks.pagerduty import ROUTING_KEY, FakePagerDuty, fake_pagerduty
from tests.sinks.slack import CHANNEL, TOKEN, FakeSlack, fake_slack
from tests.sinks.vendor_server import Reply, VendorServer, serving
from tests.sinks.webhook import HOST, Receiver, receiving
from tests.unit.notifiers.webhook_bench import SIGNING


def _hook(_: type, raw: Any) -> Any:
    """Read what the configuration reads: a reference has a scheme, a duration none."""
    is_reference = isinstance(raw, str) and "://" in raw
    return Reference.parse(raw) if is_reference else Duration.parse(raw)


def build(adapter: NotifierAdapter, folder: Path, secrets: dict[str, str], **options: Any) -> Notifier:
    """Return a notifier as the configuration would build it; `env://NAME` is one of `secrets`."""
    context = NotifierContext("told", "app-db", "production", folder, lambda each: Secret(secrets[each.location]))
    return adapter.build(msgspec.convert(options, adapter.options, dec_hook=_hook), context)


@pytest.fixture
def closed_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def test_every_channel_that_ships_is_under_the_contract() -> None:
    """A kind that is added without a class here fails."""
    classes = [each for each in globals().values() if isinstance(each, type) and issubclass(each, NotifierContract)]
    assert {each.kind for each in classes if each is not NotifierContract} == set(SHIPPED[NOTIFIER_GROUP])


class TestFile(NotifierContract):
    """Lines of JSON in a file."""

    kind = "file"

    @pytest.fixture
    def notifier(self, tmp_path: Path) -> Notifier:
        """Return one whose sink is there."""
        return build(file.ADAPTER, tmp_path, {}, path="notices.jsonl")

    @pytest.fixture
    def taken(self, tmp_path: Path) -> Taken:
        """Return what counts the messages."""
        path = tmp_path / "notices.jsonl"
        return lambda: path.read_bytes().count(b"\n") if path.exists() else 0

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Notifier:
        """Return one whose sink is not there."""
        return build(file.ADAPTER, tmp_path, {}, path="nowhere/notices.jsonl")


class _Slack(NotifierContract):
    """Slack, in either way."""

    kind = "slack"
    options: dict[str, Any]

    @pytest.fixture
    def fake(self) -> Iterator[FakeSlack]:
        """Return the service."""
        with fake_slack() as found:
            yield found

    @pytest.fixture
    def notifier(self, fake: FakeSlack, tmp_path: Path) -> Notifier:
        """Return one whose sink is there."""
        secrets = {"HOOK": fake.webhook_url, "TOKEN": TOKEN}
        return build(slack.ADAPTER, tmp_path, secrets, api_url=fake.api_url, **self.options)

    @pytest.fixture
    def taken(self, fake: FakeSlack) -> Taken:
        """Return what counts the messages."""
        return lambda: len(fake.messages)

    @pytest.fixture
    def unreachable(self, closed_port: int, tmp_path: Path) -> Notifier:
        """Return one whose sink is not there."""
        here = f"http://{HOST}:{closed_port}"
        secrets = {"HOOK": f"{here}/services/T00000000/B00000000/canary-hook", "TOKEN": TOKEN}
        return build(slack.ADAPTER, tmp_path, secrets, api_url=f"{here}/api", **self.options)


class TestSlackWebhook(_Slack):
    """By an incoming webhook."""

    options = {"webhook_url": "env://HOOK"}  # noqa: RUF012 - read only


class TestSlackBot(_Slack):
    """As a bot."""

    options = {"token": "env://TOKEN", "channel": CHANNEL}  # noqa: RUF012 - read only


class TestPagerDuty(NotifierContract):
    """The Events API."""

    kind = "pagerduty"
    secrets = ("canary-", ROUTING_KEY)

    @pytest.fixture
    def fake(self) -> Iterator[FakePagerDuty]:
        """Return the service."""
        with fake_pagerduty() as found:
            yield found

    @pytest.fixture
    def notifier(self, fake: FakePagerDuty, tmp_path: Path) -> Notifier:
        """Return one whose sink is there."""
        return self._build(fake.server.url, tmp_path)

    @pytest.fixture
    def taken(self, fake: FakePagerDuty) -> Taken:
        """Return what counts the messages."""
        return lambda: sum(len(alert.payloads) for alert in fake.alerts) + len(fake.changes)

    @pytest.fixture
    def unreachable(self, closed_port: int, tmp_path: Path) -> Notifier:
        """Return one whose sink is not there."""
        return self._build(f"http://{HOST}:{closed_port}", tmp_path)

    @staticmethod
    def _build(url: str, folder: Path) -> Notifier:
        return build(pagerduty.ADAPTER, folder, {"KEY": ROUTING_KEY}, integration_key="env://KEY", url=url)


class TestWebhook(NotifierContract):
    """A signed CloudEvent."""

    kind = "webhook"
    secrets = ("canary-", SIGNING)

    @pytest.fixture
    def receiver(self) -> Iterator[Receiver]:
        """Return who verifies what comes."""
        with receiving(secrets=[SIGNING], host=HOST) as found:
            yield found

    @pytest.fixture
    def notifier(self, receiver: Receiver, tmp_path: Path) -> Notifier:
        """Return one whose sink is there."""
        return self._build(receiver.port, tmp_path)

    @pytest.fixture
    def taken(self, receiver: Receiver) -> Taken:
        """Return what counts the messages."""
        return lambda: len(receiver.received) - len(receiver.refused)

    @pytest.fixture
    def unreachable(self, closed_port: int, tmp_path: Path) -> Notifier:
        """Return one whose sink is not there."""
        return self._build(closed_port, tmp_path)

    @staticmethod
    def _build(port: int, folder: Path) -> Notifier:
        return build(
            webhook.ADAPTER,
            folder,
            {"SIGNING": SIGNING},
            url=f"http://{HOST}:{port}/hook",
            signing_secret="env://SIGNING",
            allow_http=True,
            allow_private=["127.0.0.0/8"],
        )


class TestEmail(NotifierContract):
    """A mail server without TLS, on this machine."""

    kind = "email"

    @pytest.fixture
    def sink(self) -> Iterator[MailSink]:
        """Return the server."""
        with mail_server() as found:
            yield found

    @pytest.fixture
    def notifier(self, sink: MailSink, tmp_path: Path) -> Notifier:
        """Return one whose sink is there."""
        return self._build(sink.port, tmp_path)

    @pytest.fixture
    def taken(self, sink: MailSink) -> Taken:
        """Return what counts the messages."""
        return lambda: len(sink.taken)

    @pytest.fixture
    def unreachable(self, closed_port: int, tmp_path: Path) -> Notifier:
        """Return one whose sink is not there."""
        return self._build(closed_port, tmp_path)

    @staticmethod
    def _build(port: int, folder: Path) -> Notifier:
        smtp_options = {"host": HOST, "port": port, "tls": "none-i-accept"}
        options = {"smtp": smtp_options, "from": "keyturn@example.com", "to": ["ops@example.com"]}
        return build(smtp.ADAPTER, folder, {}, **options)


# A plugin that Apprise loads imports a module that Python 3.13 no longer has, and does without it there.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
class TestApprise(NotifierContract):
    """The bridge, to its plugin for JSON over HTTP."""

    kind = "apprise"

    @pytest.fixture
    def server(self) -> Iterator[VendorServer]:
        """Return the server."""
        with serving(lambda request: Reply(200)) as found:
            yield found

    @pytest.fixture
    def notifier(self, server: VendorServer, tmp_path: Path) -> Notifier:
        """Return one whose sink is there."""
        return self._build(int(server.url.rpartition(":")[2]), tmp_path)

    @pytest.fixture
    def taken(self, server: VendorServer) -> Taken:
        """Return what counts the messages."""
        return lambda: len(server.requests)

    @pytest.fixture
    def unreachable(self, closed_port: int, tmp_path: Path) -> Notifier:
        """Return one whose sink is not there."""
        return self._build(closed_port, tmp_path)

    @staticmethod
    def _build(port: int, folder: Path) -> Notifier:
        return build(apprise.ADAPTER, folder, {"URL": f"json://{HOST}:{port}/canary-token"}, url="env://URL")
