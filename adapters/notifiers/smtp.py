"""The channel `email`: notices as mails, at once or gathered for an hour or a day.

Only the options and the declaration stand here, so that they are read without what speaks SMTP: the channel is in
`mail_notifier`, a mail is written in `mail_message`, and handed in by `mail_delivery`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from engine.adapter import Duration, NotifierAdapter, NotifierContext, Reference
from engine.values import SECOND

if TYPE_CHECKING:
    from adapters.notifiers.mail_notifier import EmailNotifier

SUBMISSION_PORT: Final = 587
"""Where programs hand in mails (RFC 6409)."""


class BatchMode(StrEnum):
    """When notices are sent."""

    IMMEDIATE = "immediate"
    HOURLY = "hourly"
    """Gathered for an hour, and sent as one mail."""
    DAILY = "daily"


class Tls(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    """It begins in the clear, and goes on with TLS or not at all (RFC 3207)."""
    IMPLICIT = "implicit"
    """TLS from the first byte, as on port 465 (RFC 8314)."""
    NONE = "none-i-accept"
    """Not at all: everybody on the way reads the mails, and can change them."""


class Smtp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server that takes the mails."""

    host: Annotated[str, msgspec.Meta(min_length=1)]
    """Its name, as its certificate has it."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = SUBMISSION_PORT
    username: str = ""
    """The login, or a reference to it (`env://NAME`); without one, none is used."""
    password: Reference | None = None
    tls: Tls = Tls.STARTTLS
    """`none-i-accept` sends mails in the clear, and a login to this machine only."""
    ca_file: str = ""
    """A file with the certificates to trust, relative to the configuration file; else those of the system."""
    timeout: Duration = Duration(10 * SECOND)
    """How long connecting, and each answer, may take: 100 ms to 10 minutes."""
    helo: str = ""
    """The name that keyturn gives to the server; by default that of this machine."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        if bool(self.username) != (self.password is not None):
            raise ValueError("`username` and `password` are given together, or neither")
        if "://" in self.username:
            Reference.parse(self.username)
        if not SECOND // 10 <= self.timeout.microseconds <= 600 * SECOND:
            raise ValueError("`timeout` is 100ms to 10m")


class EmailOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is written to, by whom, and through which server."""

    smtp: Smtp
    from_: str = msgspec.field(name="from")
    """The sender: `name@domain`, or `Name <name@domain>`."""
    to: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """The recipients, written like the sender."""
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    """Recipients that no other sees."""
    reply_to: str = ""
    """Who gets the answers; else the sender."""
    subject_prefix: Annotated[str, msgspec.Meta(max_length=60)] = "[keyturn]"
    """What every subject begins with."""
    batch_mode: BatchMode = BatchMode.IMMEDIATE
    """`hourly` and `daily` gather notices, and send them as one mail."""


def _sink(options: EmailOptions) -> str:
    """Return server, sender and recipients, and how they are gathered: what shares a queue shares a digest."""
    smtp = options.smtp
    people = {"from": [options.from_], "to": options.to, "cc": options.cc, "bcc": options.bcc}
    listed = "&".join(f"{key}={','.join(sorted(given))}" for key, given in people.items() if given)
    login = f"{smtp.username}@" if smtp.username else ""
    return f"smtp://{login}{smtp.host}:{smtp.port}?{listed}&batch_mode={options.batch_mode}"


def _build(options: EmailOptions, context: NotifierContext) -> EmailNotifier:
    from adapters.notifiers.mail_notifier import EmailNotifier

    return EmailNotifier(options, context)


ADAPTER = NotifierAdapter(
    name="email",
    summary="Sends mails over SMTP.",
    options=EmailOptions,
    build=_build,
    sink=_sink,
)
