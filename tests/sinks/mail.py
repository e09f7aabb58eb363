"""A mail server on a free port of 127.0.0.1 that keeps what it took, and refuses as it is told. No tests live here.

It is aiosmtpd, which holds clients to the protocol: TLS, AUTH, the order of commands, the length of lines.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"


@dataclass
class MailSink:
    """What a server answers, and what it took. An answer that is empty is the usual one."""

    answer_mail: str = ""
    answer_data: str = ""
    """To the whole mail; `drop` keeps it, and ends the connection without an answer."""
    answers_rcpt: dict[str, str] = field(default_factory=dict)
    """By recipient."""
    username: str = ""
    password: str = ""
    taken: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer to the sender."""
        self.sessions.append(session)
        if self.answer_mail:
            return self.answer_mail
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer to a recipient."""
        if address in self.answers_rcpt:
            return self.answers_rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        """Keep the mail, and answer to it."""
        if self.answer_data in ("", "drop"):
            self.taken.append(envelope)
        if self.answer_data == "drop":
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return self.answer_data or "250 2.0.0 queued as 4ABC"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any
    ) -> AuthResult:
        """Judge a login."""
        assert isinstance(login, LoginPassword)
        is_right = (login.login, login.password) == (self.username.encode(), self.password.encode())
        return AuthResult(success=is_right, handled=False)

    def mail(self) -> EmailMessage:
        """Return the one mail that was taken, as the parser of the standard library reads it."""
        (envelope,) = self.taken
        return parsed(envelope.original_content or b"")


def parsed(content: bytes) -> EmailMessage:
    """Return a mail as the parser of the standard library reads it, without anything that it finds wrong."""
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def part(message: EmailMessage, subtype: str) -> str:
    """Return the text of the part `text` or `html`, with newlines as line ends."""
    body = message.get_body((subtype,))
    assert isinstance(body, EmailMessage)
    content = body.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


@contextmanager
def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    implicit: ssl.SSLContext | None = None,
    username: str = "",
    password: str = "",
    without: tuple[str, ...] = (),
    **answers: Any,
) -> Iterator[MailSink]:
    """Run a server; it wants a login where `username` is given, and does not offer the mechanisms of `without`."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    sink = MailSink(username=username, password=password, port=port, **answers)
    controller = Controller(
        sink,
        hostname=HOST,
        port=port,
        ssl_context=implicit,
        tls_context=starttls,
        require_starttls=starttls is not None,
        auth_required=bool(username),
        # An outer TLS is none that aiosmtpd knows of.
        auth_require_tls=starttls is not None,
        authenticator=sink.authenticate,
        auth_exclude_mechanism=without,
        timeout=20,
    )
    with warnings.catch_warnings():
        # aiosmtpd warns, at each connection, of what a test sets up on purpose: a login without a TLS that it knows of.
        warnings.simplefilter("ignore", UserWarning)
        controller.start()
        try:
            yield sink
        finally:
            controller.stop()
