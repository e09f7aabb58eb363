"""A sink of every kind for one installation, each behind a proxy, and the configuration that leads to them.

What each was told is read back from what it accepted, by its own format. No tests live here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.integration.installations import Ended, Installation
from tests.integration.proxy import HOST, Proxy, running
from tests.sinks.certificates import LOCAL, authority
from tests.sinks.mail import MailSink, mail_server, parsed, part
from tests.sinks.pagerduty import ROUTING_KEY, FakePagerDuty, fake_pagerduty
from tests.sinks.slack import CHANNEL, TOKEN, WEBHOOK_PATH, FakeSlack, Message, fake_slack
from tests.sinks.slack_schema import texts
from tests.sinks.webhook import Receiver, receiving
from tests.unit.notifiers.webhook_bench import PREVIOUS, SIGNING

LOGIN: Final = ("keyturn@example.test", "canary-mail-password")
HOOK_TOKEN: Final = "canary-token-of-the-webhook"

HEADLINES: Final = {
    "Rotation of production/app started": "started",
    "production/app has a new credential": "completed",
    "Rotation of production/app failed": "failed",
    "Rotation of production/app failed and is going back": "rollback_started",
    "Rollback of production/app started": "rollback_started",
    "production/app is back on its previous credential": "rolled_back",
    "Rollback of production/app FAILED: a person is needed": "rollback_failed",
}
"""The first lines of messages, as people read them, and what they tell of."""

EVERY: Final = ("slack-hook", "slack-bot", "email", "pagerduty", "webhook", "file")
"""The channels, by the names that the configuration gives them."""
REMOTE: Final = EVERY[:-1]
"""Those that a network leads to."""


def kind_of(headline: str) -> str:
    """Return what a first line tells of; behind a colon it may go on with the cause."""
    return next(kind for words, kind in HEADLINES.items() if headline == words or headline.startswith(f"{words}: "))


@dataclass
class Listeners:
    """One sink of every kind, and the proxies before them."""

    folder: Path
    """Where the configuration is: the channel `file` writes into it."""
    ca_file: Path
    mail: MailSink
    hook_workspace: FakeSlack
    """A workspace that a webhook posts to."""
    bot_workspace: FakeSlack
    pagerduty: FakePagerDuty
    receiver: Receiver
    proxies: dict[str, Proxy] = field(default_factory=dict)
    """By the name of the channel."""

    # --- the configuration --------------------------------------------------------------------------------

    def _url(self, name: str) -> str:
        return f"http://{HOST}:{self.proxies[name].port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the references of the configuration refer to."""
        return {
            "KT_SLACK_HOOK": self._url("slack-hook") + WEBHOOK_PATH,
            "KT_SLACK_TOKEN": TOKEN,
            "KT_MAIL_USER": LOGIN[0],
            "KT_MAIL_PASSWORD": LOGIN[1],
            "KT_PAGERDUTY": ROUTING_KEY,
            "KT_SIGNING": SIGNING,
            "KT_PREVIOUS": PREVIOUS,
            "KT_HOOK_TOKEN": HOOK_TOKEN,
        }

    def options(self, name: str) -> tuple[str, dict[str, Any]]:
        """Return the key of a channel in the configuration, and its options."""
        smtp = {"host": HOST, "port": self.proxies["email"].port, "ca_file": str(self.ca_file)}
        login = {"username": "env://KT_MAIL_USER", "password": "env://KT_MAIL_PASSWORD", "helo": "keyturn.example.test"}
        people = {"from": "keyturn <keyturn@example.test>", "to": ["ops@example.test"], "bcc": ["log@example.test"]}
        allowed = {"allow_http": True, "allow_private": ["127.0.0.0/8"]}
        signed = {"signing_secret": "env://KT_SIGNING", "previous_signing_secret": "env://KT_PREVIOUS"}
        bearer = {"auth": {"type": "bearer", "token": "env://KT_HOOK_TOKEN"}}
        bot = {"token": "env://KT_SLACK_TOKEN", "channel": CHANNEL, "api_url": f"{self._url('slack-bot')}/api"}
        paged = {"integration_key": "env://KT_PAGERDUTY", "url": self._url("pagerduty"), "events": ["failed"]}
        found: dict[str, tuple[str, dict[str, Any]]] = {
            "slack-hook": ("slack", {"webhook_url": "env://KT_SLACK_HOOK", "mentions": {"on_failure": ["@here"]}}),
            "slack-bot": ("slack", bot),
            "email": ("email", {"smtp": smtp | login, **people}),
            "pagerduty": ("pagerduty", paged),
            "webhook": ("webhooks", {"url": f"{self._url('webhook')}/hook", **signed, **bearer, **allowed}),
            "file": ("file", {"path": "told.jsonl"}),
        }
        return found[name]

    def tell(self, installation: Installation, *names: str, **changes: Any) -> None:
        """Have the configuration lead to these channels; `changes` are further options of all of them."""
        channels: dict[str, list[dict[str, Any]]] = {}
        for name in names:
            key, options = self.options(name)
            channels.setdefault(key, []).append({"name": name, **options, **changes})
        text = installation.config.read_text()
        written = f", notifications: {json.dumps(channels)}}}\n"
        lines = [
            line.partition(", notifications:")[0].rstrip("}") + written
            if line.lstrip().startswith("rotation:") and ", notifications:" in line
            else line[: line.rindex("}")] + written
            if line.lstrip().startswith("rotation:")
            else line
            for line in text.splitlines(keepends=True)
        ]
        installation.config.write_text("".join(lines))

    def run(self, installation: Installation, *arguments: str) -> Ended:
        """Run the command line in a process of its own, with the secrets of the channels in its environment."""
        ended = installation.run(*arguments, environ=self.environment)
        assert "Traceback" not in ended.err, ended
        return ended

    # --- what went wrong ----------------------------------------------------------------------------------

    @property
    def refused(self) -> list[str]:
        """Return what a sink did not take for what it was."""
        answered = [*self.hook_workspace.refused, *self.bot_workspace.refused, *self.pagerduty.refused]
        return [*answered, *self.receiver.refused]

    # --- what was told ------------------------------------------------------------------------------------

    def told(self, name: str) -> list[str]:
        """Return the kinds of what a sink took, in its order; of alerts and changes what was done, as `trigger`."""
        match name:
            case "slack-hook":
                return [kind_of(str(each.body["text"])) for each in self.hook_workspace.messages]
            case "slack-bot":
                return [self._posted_as(each) for each in self.bot_workspace.messages]
            case "email":
                return [kind_of(subject.removeprefix("[keyturn] ")) for subject in self.subjects]
            case "pagerduty":
                return [_done(request.json) for request in self.pagerduty.server.requests]
            case "webhook":
                return [event["data"]["kind"] for event in self.events]
            case _:
                return [line["kind"] for line in self.lines]

    def _posted_as(self, message: Message) -> str:
        """Return what a message of the bot told when it was posted: the first of a thread was edited since."""
        key = message.body["metadata"]["event_payload"]["key"]
        posts = [each.json for each in self.bot_workspace.server.requests if each.path.endswith("chat.postMessage")]
        return kind_of(next(each["text"] for each in posts if each["metadata"]["event_payload"]["key"] == key))

    @property
    def subjects(self) -> list[str]:
        """The subjects of the mails that were taken."""
        return [str(parsed(each.original_content or b"")["Subject"]) for each in self.mail.taken]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that the receiver of the webhook took."""
        return [json.loads(each.body) for each in self.receiver.received]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of the file."""
        path = self.folder / "told.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def words(self, name: str) -> list[str]:
        """Return each message that a sink took as people read it."""
        match name:
            case "slack-hook":
                return [_visible(each.body) for each in self.hook_workspace.messages]
            case "slack-bot":
                posts = [each for each in self.bot_workspace.server.requests if each.path.endswith("chat.postMessage")]
                return [_visible(each.json) for each in posts]
            case "email":
                return [part(parsed(each.original_content or b""), "plain") for each in self.mail.taken]
            case "pagerduty":
                return [json.dumps(each.json, ensure_ascii=False) for each in self.pagerduty.server.requests]
            case "webhook":
                return [json.dumps(event, ensure_ascii=False) for event in self.events]
            case _:
                return [json.dumps(line, ensure_ascii=False) for line in self.lines]

    def keys(self, name: str) -> list[str]:
        """Return the idempotency keys of what a sink took, where its messages carry one."""
        match name:
            case "slack-bot":
                return [each.body["metadata"]["event_payload"]["key"] for each in self.bot_workspace.messages]
            case "email":
                return [str(parsed(each.original_content or b"")["Message-ID"]) for each in self.mail.taken]
            case "webhook":
                return [each.headers["webhook-id"] for each in self.receiver.received]
            case _:
                return [line["key"] for line in self.lines]

    def bytes_received(self) -> Mapping[str, bytes]:
        """Return everything that came to each sink, accepted or not: bodies alone, as headers carry logins by right."""
        vendors = {
            "slack-hook": self.hook_workspace.server,
            "slack-bot": self.bot_workspace.server,
            "pagerduty": self.pagerduty.server,
        }
        return {
            **{name: b"\n".join(each.body for each in server.requests) for name, server in vendors.items()},
            "email": b"\n".join(_whole(each.original_content or b"") for each in self.mail.taken),
            "webhook": b"\n".join(each.body for each in self.receiver.received),
            "file": "\n".join(json.dumps(line) for line in self.lines).encode(),
        }


def _done(event: Mapping[str, Any]) -> str:
    return str(event.get("event_action", "change"))


def _visible(body: Mapping[str, Any]) -> str:
    """Return all texts of a message of Slack, unescaped."""
    found = "\n".join([body["text"], *(each["text"] for each in texts(body["blocks"]))])
    return found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _whole(content: bytes) -> bytes:
    """Return a mail as it came, and its parts as they are read."""
    message = parsed(content)
    return b"\n".join((content, *(part(message, subtype).encode() for subtype in ("plain", "html"))))


@contextmanager
def listening(installation: Installation) -> Iterator[Listeners]:
    """Run every sink for the length of the block."""
    folder = installation.folder / "certificates"
    folder.mkdir()
    with ExitStack() as stack:
        signing = authority(folder)
        mail = stack.enter_context(mail_server(starttls=signing.context(LOCAL), username=LOGIN[0], password=LOGIN[1]))
        made = Listeners(
            folder=installation.config.parent,
            ca_file=signing.file,
            mail=mail,
            hook_workspace=stack.enter_context(fake_slack()),
            bot_workspace=stack.enter_context(fake_slack()),
            pagerduty=stack.enter_context(fake_pagerduty()),
            receiver=stack.enter_context(receiving(secrets=[SIGNING, PREVIOUS])),
        )
        ports = {
            "slack-hook": made.hook_workspace.server.port,
            "slack-bot": made.bot_workspace.server.port,
            "email": mail.port,
            "pagerduty": made.pagerduty.server.port,
            "webhook": made.receiver.port,
        }
        made.proxies = {name: stack.enter_context(running(port)) for name, port in ports.items()}
        yield made
