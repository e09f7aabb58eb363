"""The notifier of the channel `email`: what is wrong with its options, its mails, and handing them in.

Rule: secrets are read when a mail is sent, and go to `mail_delivery` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from adapters.notifiers.mail_address import parse_address
from adapters.notifiers.mail_delivery import Login, MailServer, deliver
from adapters.notifiers.mail_message import Letterhead, compose
from adapters.notifiers.smtp import BatchMode, EmailOptions, Tls
from engine.adapter import NotifierContext, Reference
from engine.notices import Notice
from engine.notifier import Outgoing, Pace
from engine.values import SECOND, Microseconds, Secret

_IMPLICIT_PORT: Final = 465
_RECIPIENTS_MAX: Final = 100
"""As many as every server must take for one mail (RFC 5321, section 4.5.3.1.8)."""
_NAME: Final = re.compile(r"[^\s/@:\[\]]+")
_HELO: Final = re.compile(r"[A-Za-z0-9.-]+|\[[A-Za-z0-9.:-]+\]")
_BATCH: Final = {
    BatchMode.IMMEDIATE: Microseconds(0),
    BatchMode.HOURLY: Microseconds(3_600 * SECOND),
    BatchMode.DAILY: Microseconds(86_400 * SECOND),
}


class EmailNotifier:
    """Writes mails to the recipients of the options."""

    def __init__(self, options: EmailOptions, context: NotifierContext) -> None:
        self._options = options
        self._context = context

    @property
    def pace(self) -> Pace:
        """One mail a second; six tries over eight minutes, which outlast the five that greylisting mostly takes."""
        return Pace(attempts=6, first=Microseconds(15 * SECOND), batch=_BATCH[self._options.batch_mode])

    def supports(self, notice: Notice, *, selected: bool) -> bool:
        """Tell whether it was selected: every kind can be written."""
        return selected

    def validate(self) -> Sequence[str]:
        """Return what is wrong with addresses, and with how the server is reached; reads `ca_file`."""
        return [*self._wrong_addresses(), *self._wrong_server()]

    def render(self, notices: Sequence[Notice], *, key: str, dropped: int = 0) -> Outgoing:
        """Return the mail: text and HTML, with a Message-ID that `key` makes, in the thread of its rotation."""
        options = self._options
        letterhead = Letterhead(
            sender=parse_address(options.from_),
            to=tuple(map(parse_address, options.to)),
            cc=tuple(map(parse_address, options.cc)),
            reply_to=parse_address(options.reply_to) if options.reply_to else None,
            subject_prefix=options.subject_prefix,
        )
        return compose(letterhead, notices, key=key, dropped=dropped)

    def send(self, outgoing: Outgoing, *, key: str, thread: str = "") -> str:
        """Hand the mail in for all recipients; the receipt is what the server said, and whom it refused.

        The same Message-ID goes with every try, and the thread is in the mail, so neither `key` nor `thread` is used.
        """
        options = self._options
        # Each once: somebody who is in `to` and in `bcc` gets one mail.
        envelope = {each.spec: each for each in map(parse_address, (*options.to, *options.cc, *options.bcc))}
        return deliver(
            self._server(),
            self._login(),
            sender=parse_address(options.from_),
            recipients=list(envelope.values()),
            content=outgoing.content,
        )

    def _server(self) -> MailServer:
        smtp = self._options.smtp
        return MailServer(
            host=smtp.host,
            port=smtp.port,
            tls=smtp.tls,
            ca_file=self._context.base / smtp.ca_file if smtp.ca_file else None,
            seconds=smtp.timeout.microseconds / SECOND,
            helo=smtp.helo,
        )

    def _login(self) -> Login | None:
        smtp = self._options.smtp
        if smtp.password is None:
            return None
        is_reference = "://" in smtp.username
        username = self._context.secret(Reference.parse(smtp.username)) if is_reference else Secret(smtp.username)
        return Login(username, self._context.secret(smtp.password))

    def _wrong_addresses(self) -> Iterator[str]:
        options = self._options
        given = {"from": (options.from_,), "to": options.to, "cc": options.cc, "bcc": options.bcc}
        for key, texts in (given | {"reply_to": (options.reply_to,) if options.reply_to else ()}).items():
            for number, text in enumerate(texts, 1):
                try:
                    parse_address(text)
                except ValueError as error:
                    yield f"`{key}`, address {number}: {error}."
        if len(options.to) + len(options.cc) + len(options.bcc) > _RECIPIENTS_MAX:
            yield f"More than {_RECIPIENTS_MAX} recipients: use a mailing list."

    def _wrong_server(self) -> Iterator[str]:
        smtp = self._options.smtp
        if not _is_host(smtp.host):
            yield "`smtp.host` is a name or an address, without a port."
        if smtp.helo and not _HELO.fullmatch(smtp.helo):
            yield "`smtp.helo` is the name of a host, or an address in brackets."
        if smtp.port == _IMPLICIT_PORT and smtp.tls is Tls.STARTTLS:
            yield "Port 465 expects TLS from the first byte: say `tls: implicit`."
        if smtp.tls is Tls.NONE and smtp.password is not None and not _is_this_machine(smtp.host):
            yield "Without TLS a password goes to this machine only (localhost): say `tls: starttls` or `implicit`."
        if smtp.ca_file and not (self._context.base / smtp.ca_file).is_file():
            yield "`smtp.ca_file` is no file."


def _is_host(text: str) -> bool:
    return bool(_NAME.fullmatch(text)) or _address(text) is not None


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
