"""Notices as the bytes of a mail (RFC 5322, MIME), the same for the same notices and key.

Rule 1: pure: no clock, no random boundary, no name of this machine.
Rule 2: a header is made of ASCII that was checked, or encoded by `email.header`. The newer `EmailMessage` is not used:
it encodes long message ids as if they were words, and drops spaces between encoded words (Python 3.11).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.charset import QP, Charset
from email.generator import BytesGenerator
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, quote
from hashlib import sha256
from io import BytesIO
from typing import Final

from adapters.notifiers import plain_text
from adapters.notifiers.mail_address import MailAddress
from adapters.notifiers.mail_html import digest_html, notice_html
from engine.notices import Notice
from engine.notifier import Outgoing
from projections.notifications import words

SUBJECT_MAX: Final = 150
"""Characters of a subject; the notice itself opens with the whole headline."""
CONTENT_TYPE: Final = "message/rfc822"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOUNDARY: Final = "=_keyturn"
"""Can be the same in every mail: the parts are quoted-printable, where `=_` does not occur (RFC 2045, section 6.7)."""
_POLICY: Final = compat32.clone(linesep="\r\n", max_line_length=None)
"""Lines of a header are as long as `_words` and `_addresses` make them, so that an id is never on a line of its own."""
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*", re.ASCII)
_KEY_MAX: Final = 64
_HASHED: Final = 40
"""Hexadecimal digits: 160 bits, in which nobody finds two that are the same."""


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all mails of a channel have in common in their headers; there is no bcc, which is for the envelope alone."""

    sender: MailAddress
    to: tuple[MailAddress, ...]
    cc: tuple[MailAddress, ...]
    reply_to: MailAddress | None
    subject_prefix: str


def compose(letterhead: Letterhead, notices: Sequence[Notice], *, key: str, dropped: int) -> Outgoing:
    """Return the mail of one notice, or the digest of several; `key` makes its Message-ID."""
    assert notices, "a mail tells something"
    if len(notices) == 1 and not dropped:
        headline, text, html = words.headline(notices[0]), plain_text.notice_text(notices[0]), notice_html(notices[0])
    else:
        headline = plain_text.digest_headline(notices, dropped)
        text, html = plain_text.digest_text(notices, dropped), digest_html(notices, dropped)
    subject = plain_text.one_line(f"{letterhead.subject_prefix} {headline}", SUBJECT_MAX)
    message = MIMEMultipart("alternative", boundary=_BOUNDARY)
    # What a client cannot show it leaves out; the last part that it can is the one that it shows.
    message.attach(_part(text, "plain"))
    message.attach(_part(html, "html"))
    _address(message, letterhead)
    message["Subject"] = _words(subject, "Subject")
    _identify(message, letterhead.sender.domain, notices, key)
    if any(notice.is_failure for notice in notices):
        # Each of them is the one that some client looks at.
        message["Importance"], message["X-Priority"], message["Priority"] = "high", "1", "urgent"
    return Outgoing(_bytes(message), CONTENT_TYPE, readable=(subject, text, html))


def _address(message: MIMEMultipart, letterhead: Letterhead) -> None:
    message["From"] = _addresses([letterhead.sender], "From")
    message["To"] = _addresses(letterhead.to, "To")
    if letterhead.cc:
        message["Cc"] = _addresses(letterhead.cc, "Cc")
    if letterhead.reply_to is not None:
        message["Reply-To"] = _addresses([letterhead.reply_to], "Reply-To")


def _identify(message: MIMEMultipart, domain: str, notices: Sequence[Notice], key: str) -> None:
    """Say when and what the mail is, so that a second copy is known as one, and a rotation is a thread.

    The thread hangs on the id of a mail that was never sent, which clients allow for (RFC 5256, REFERENCES): no answer
    of the server has to be kept for it.
    """
    latest = max(notice.at for notice in notices)
    message["Date"] = format_datetime(_EPOCH + timedelta(microseconds=latest))
    message["Message-ID"] = f"<{_id(key)}@{domain}>"
    rotations = {notice.rotation_id for notice in notices}
    if len(rotations) == 1 and (rotation := rotations.pop()):
        message["In-Reply-To"] = message["References"] = f"<rotation.{_id(rotation)}@{domain}>"
    message["List-Id"] = f"keyturn <keyturn.{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers
    message["X-Auto-Response-Suppress"] = "All"  # the same for Exchange (MS-OXCMAIL)


def _id(key: str) -> str:
    """Return a key as the left side of a message id: as it is, or its SHA-256 where it has other characters."""
    if _PLAIN_KEY.fullmatch(key) and len(key) <= _KEY_MAX:
        return key
    return sha256(key.encode(errors="backslashreplace")).hexdigest()[:_HASHED]


def _part(text: str, subtype: str) -> MIMEText:
    charset = Charset("utf-8")
    charset.body_encoding = QP
    return MIMEText(text + "\n", subtype, charset)  # type: ignore[arg-type]


def _words(text: str, name: str) -> str:
    """Return free text as a header; what looks like an encoded word is encoded, so that nobody decodes it."""
    is_plain = text.isascii() and "=?" not in text
    return Header(text, "us-ascii" if is_plain else "utf-8", header_name=name).encode()


def _addresses(addresses: Sequence[MailAddress], name: str) -> str:
    header = Header(header_name=name)
    for number, address in enumerate(addresses, 1):
        comma = "," if number < len(addresses) else ""
        if address.name.isascii() and "=?" not in address.name:
            spec = f'"{quote(address.name)}" <{address.spec}>' if address.name else address.spec
            header.append(spec + comma, "us-ascii")
        else:
            header.append(address.name, "utf-8")
            header.append(f"<{address.spec}>{comma}", "us-ascii")
    return header.encode()


def _bytes(message: MIMEMultipart) -> bytes:
    content = BytesIO()
    BytesGenerator(content, mangle_from_=False, policy=_POLICY).flatten(message)
    return content.getvalue()
