"""What the tests of mails share: the channel as a configuration would have it, and its secrets. No tests live here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from adapters.notifiers.mail_notifier import EmailNotifier
from adapters.notifiers.smtp import ADAPTER, EmailOptions
from engine.adapter import NotifierContext
from engine.notices import NoticeKind
from engine.values import Instant, Secret
from projections.notifications.samples import sample
from tests.sinks.mail import HOST, MailSink

AT = Instant(1_770_000_000_000_000)
SECRETS = {"env://SMTP_USER": "keyturn@example.test", "env://SMTP_PASSWORD": "canary-pässword"}
NOTICE = sample(NoticeKind.FAILED, service="app-db", environment="production", at=AT)


def notifier(sink: MailSink | int, *, ca_file: str = "", has_login: bool = False, **given: Any) -> EmailNotifier:
    """Return a channel to the server, as a configuration would have it."""
    port = sink if isinstance(sink, int) else sink.port
    smtp: dict[str, Any] = {"host": HOST, "port": port, "ca_file": ca_file, "timeout": "10s"} | given.pop("smtp", {})
    if has_login:
        smtp |= {"username": "env://SMTP_USER", "password": "env://SMTP_PASSWORD"}
    options = {"smtp": smtp, "from": "keyturn <keyturn@example.test>", "to": ["ops@example.test"]} | given
    read = msgspec.convert(options, EmailOptions, dec_hook=lambda cls, raw: cls.parse(raw))
    context = NotifierContext("email", "app-db", "production", Path("/"), lambda each: Secret(SECRETS[str(each)]))
    built = ADAPTER.build(read, context)
    assert isinstance(built, EmailNotifier)
    return built


def send(channel: EmailNotifier) -> str:
    """Render the notice, and send it."""
    return channel.send(channel.render([NOTICE], key="message.1"), key="message.1")
