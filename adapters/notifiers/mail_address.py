"""Addresses of e-mail: read strictly, and written so that a header can carry them.

Rule: an address that was read here has nothing but ASCII in its parts, and no character that could end a header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import idna

_WRITTEN: Final = re.compile(r'(?:"?(?P<name>[^"<>\\]*)"?\s*<(?P<spec>[^<>\s]+)>|(?P<bare>[^<>\s]+))')
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""The dot-atom of RFC 5322, section 3.2.3; quoted forms exist, and are in use nowhere."""
_LOCAL_MAX: Final = 64
"""Octets before the @ (RFC 5321, section 4.5.3.1.1)."""
_NAME_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mailbox, with the name that people see, which may be empty."""

    name: str
    local: str
    domain: str
    """In the form that DNS has: `bücher.example` is `xn--bcher-kva.example`."""

    @property
    def spec(self) -> str:
        """The bare address, as the envelope carries it."""
        return f"{self.local}@{self.domain}"

    @property
    def redacted(self) -> str:
        """The address for a log: its first character and the domain."""
        return f"{self.local[0]}…@{self.domain}"


def parse_address(text: str) -> MailAddress:
    """Read `name@domain` or `Name <name@domain>`.

    The domain may be written in any script (IDNA 2008, RFC 5891), the part before the @ in ASCII alone: the rest needs
    an extension (RFC 6531) that not every server on the way has. Raises ValueError, without repeating the text.
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None or not text.isprintable():
        raise ValueError("an address is expected: name@domain, or Name <name@domain>")
    name, spec = (written["name"] or "").strip(), written["spec"] or written["bare"]
    local, at, domain = spec.rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or len(local) > _LOCAL_MAX:
        raise ValueError("an address is expected: name@domain, with ASCII characters and no quotes before the @")
    if len(name) > _NAME_MAX:
        raise ValueError(f"the name before an address has {_NAME_MAX} characters at most")
    try:
        return MailAddress(name, local, idna.encode(domain, uts46=True).decode())
    except (idna.IDNAError, UnicodeError):
        # The error of the library repeats the domain, which may be anything that was put there by mistake.
        raise ValueError("the part of an address behind the @ is a domain") from None
