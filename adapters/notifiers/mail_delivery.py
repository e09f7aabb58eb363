"""One mail handed to one server over SMTP (RFC 5321), and what its answers mean.

Rule 1: one connection, one try. Until the last line of the mail was sent nothing can have been taken; from there on,
without an answer, it may have been.
Rule 2: no password goes over a connection that somebody could read, and none into a message of an error: whatever could
carry one is raised `from None`, and the text of an answer to AUTH is left out.
Rule 3: a certificate is always verified, and its host; TLS that was asked for is never given up.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.notifiers.mail_address import MailAddress
from adapters.notifiers.plain_text import one_line
from adapters.notifiers.smtp import Tls
from engine.errors import PortError, Rejected, SinkGone, Unavailable, Uncertain
from engine.values import Secret

_ANSWER_MAX: Final = 160
_READY: Final = 354
_DONE: Final = 250
_ACCEPTED: Final = frozenset({250, 251, 252})
"""Ok, will be forwarded, cannot be verified but will be tried (RFC 5321, section 4.2.3)."""
_CLOSING: Final = 421
_CHALLENGE: Final = 334
_LOGGED_IN: Final = 235


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mails are handed in, and how."""

    host: str
    port: int
    tls: Tls
    ca_file: Path | None
    """The certificates to trust; those of the system where it is None."""
    seconds: float
    """How long connecting, and each answer, may take."""
    helo: str
    """The name that this machine gives itself; the one that the system has where it is empty."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and password for AUTH."""

    username: Secret
    password: Secret


def deliver(
    server: MailServer, login: Login | None, *, sender: MailAddress, recipients: Sequence[MailAddress], content: bytes
) -> str:
    """Hand in the mail, and return what the server said to it, with the recipients that it refused.

    One recipient that was accepted makes it delivered. Raises `Unavailable` (no connection, no trusted certificate,
    an answer 4xx), `Uncertain` (the answer to the whole mail is missing), `SinkGone` (the login is refused), and
    `Rejected` (an answer 5xx, no STARTTLS).
    """
    what = f"handing a mail to {server}"
    with _until_the_end(what):
        connection = _connected(server, what)
    try:
        with _until_the_end(what):
            _protect(connection, server, what)
            if login is not None:
                _log_in(connection, login, what)
            refused = _begin(connection, sender, recipients, len(content), what)
            # Alone on its line a dot would end the mail; the server takes away what is added here (section 4.5.2).
            connection.send(re.sub(rb"(?m)^\.", b"..", content))
        answer = _end(connection, what)
        with suppress(smtplib.SMTPException, OSError):
            connection.quit()
    finally:
        connection.close()
    return "; ".join([answer, *refused])


def _connected(server: MailServer, what: str) -> smtplib.SMTP:
    name = server.helo or None
    if server.tls is not Tls.IMPLICIT:
        return smtplib.SMTP(server.host, server.port, name, server.seconds)
    context = _context(server, what)
    return smtplib.SMTP_SSL(server.host, server.port, name, timeout=server.seconds, context=context)


def _context(server: MailServer, what: str) -> ssl.SSLContext:
    try:
        # Said, because what smtplib takes when it is told nothing verifies nothing (Python 3.11).
        return ssl.create_default_context(cafile=server.ca_file)
    except OSError as error:
        raise Unavailable(what=what, why=f"`ca_file` cannot be read: {_reason(error)}") from None


def _protect(connection: smtplib.SMTP, server: MailServer, what: str) -> None:
    connection.ehlo_or_helo_if_needed()
    if server.tls is not Tls.STARTTLS:
        return
    if not connection.has_extn("starttls"):
        advice = "If the server expects TLS from the first byte (port 465), say `tls: implicit`."
        raise Rejected(what=what, why="it does not offer STARTTLS, so nothing was sent", advice=advice)
    connection.starttls(context=_context(server, what))
    # What was said before TLS may have been put in by somebody on the way, so the server is asked again.
    connection.ehlo_or_helo_if_needed()


def _log_in(connection: smtplib.SMTP, login: Login, what: str) -> None:
    """Log in with AUTH PLAIN (RFC 4616) or LOGIN; both are in UTF-8, which smtplib's own are not."""
    offered = connection.esmtp_features.get("auth", "").upper().split()
    username, password = login.username.reveal().encode(), login.password.reveal().encode()
    if "PLAIN" in offered:
        code, _ = connection.docmd("AUTH", "PLAIN " + _encoded(b"\0" + username + b"\0" + password))
    elif "LOGIN" in offered:
        code, _ = connection.docmd("AUTH", "LOGIN")
        for word in (username, password):
            if code == _CHALLENGE:
                code, _ = connection.docmd(_encoded(word))
    else:
        advice = "Remove `username` and `password`, or use a port of the server on which it takes a login."
        raise SinkGone(what=what, why="it offers no login with a name and password", advice=advice)
    if code == _LOGGED_IN:
        return
    if 400 <= code < 500 or code < 0:
        raise Unavailable(what=what, why=f"it cannot judge the login now ({code})")
    advice = "Correct what `username` and `password` refer to; then keyturn notify test enables the channel again."
    raise SinkGone(what=what, why=f"it refuses the login ({code})", advice=advice)


def _begin(
    connection: smtplib.SMTP, sender: MailAddress, recipients: Sequence[MailAddress], size: int, what: str
) -> list[str]:
    """Name the sender and the recipients, and announce the mail; return those that were refused, in words."""
    # Some servers refuse by size before they have read it all (RFC 1870).
    code, said = connection.mail(sender.spec, [f"size={size}"] if connection.has_extn("size") else ())
    if code != _DONE:
        raise _refusal(code, said, f"{what} from {sender.spec}")
    refused: list[tuple[MailAddress, int, bytes]] = []
    for recipient in recipients:
        code, said = connection.rcpt(recipient.spec)
        if code == _CLOSING:
            raise _refusal(code, said, what)
        if code not in _ACCEPTED:
            refused.append((recipient, code, said))
    if len(refused) == len(recipients):
        # One that is refused for now only may be accepted later, as with greylisting (RFC 6647).
        recipient, code, said = min(refused, key=lambda each: each[1])
        raise _refusal(code, said, f"{what} for {recipient.redacted}")
    code, said = connection.docmd("DATA")
    if code != _READY:
        raise _refusal(code, said, what)
    return [f"not accepted for {recipient.redacted} ({code})" for recipient, code, _ in refused]


def _end(connection: smtplib.SMTP, what: str) -> str:
    """Send the line that ends the mail; return what the server said to it."""
    try:
        connection.send(b".\r\n")
        code, said = connection.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise Uncertain(what=what, why=f"all was sent, and not answered: {_reason(error)}") from None
    if code == _DONE:
        return _text(said) or "accepted"
    if 400 <= code < 600:
        raise _refusal(code, said, what)
    raise Uncertain(what=what, why=f"all was sent, and the answer is none of SMTP: {_text(said)}")


@contextmanager
def _until_the_end(what: str) -> Iterator[None]:
    """Translate what goes wrong while nothing can have been taken yet."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        advice = "If its certificate is from an authority of your own, name that in `ca_file`."
        why = f"its certificate is not trusted: {one_line(error.verify_message, _ANSWER_MAX)}"
        raise Unavailable(what=what, why=why, advice=advice) from None
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error if isinstance(error.smtp_error, bytes) else error.smtp_error.encode()
        raise Unavailable(what=what, why=f"it answers {error.smtp_code} {_text(said)}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise Unavailable(what=what, why=_reason(error)) from None


def _refusal(code: int, said: bytes, what: str) -> PortError:
    """Return what an answer means: 5xx is for good (RFC 5321, section 4.2.1), anything else for now."""
    if code == 530:
        advice = "It wants a login: give `username` and `password` of `smtp`."
        return Rejected(what=what, why=f"it answers 530 {_text(said)}", advice=advice)
    kind = Rejected if 500 <= code < 600 else Unavailable
    return kind(what=what, why=f"it answers {code} {_text(said)}")


def _text(said: bytes) -> str:
    return one_line(said.decode(errors="replace"), _ANSWER_MAX)


def _reason(error: OSError) -> str:
    """Return why the network failed, in the words of the system."""
    return one_line(error.strerror or str(error) or type(error).__name__, _ANSWER_MAX)


def _encoded(word: bytes) -> str:
    return b64encode(word).decode()
