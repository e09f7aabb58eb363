"""Generated passwords: which characters, how many, how strong, and how one is drawn.

Rule 1: pure; random bytes come in through the `Entropy` port, so a simulation owns them.
Rule 2: ASCII only, because SASLprep maps different Unicode texts to one PostgreSQL password.
"""

from __future__ import annotations

import string
from math import ceil, log2
from typing import Final

import msgspec

from engine.ports import Entropy
from engine.values import Secret

BITS_MIN: Final = 128
"""The entropy that a generated password must have, unless somebody says in words why not."""

_PRINTABLE: Final = "".join(chr(code) for code in range(0x21, 0x7F))

ALPHABETS: Final[dict[str, str]] = {
    "url-safe": string.ascii_letters + string.digits + "-_",
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": string.digits + "abcdef",
    "ascii-printable": "".join(character for character in _PRINTABLE if character not in "'\"`\\"),
}
"""The alphabets that have a name. `url-safe` holds the 64 characters that need no quoting in a URL (RFC 3986
unreserved, without `.` and `~`), a shell or YAML; `ascii-printable` leaves out quotes, backslash and space."""


class PasswordRule(msgspec.Struct, frozen=True):
    """How a password is made: `length` characters out of `characters`, the first one a letter if there are any."""

    length: int = 32
    characters: str = ALPHABETS["url-safe"]


def alphabet_fault(characters: str) -> str:
    """Return what is wrong with an alphabet, for people; empty where nothing is."""
    if len(set(characters)) != len(characters):
        return "a character stands in it twice, which would make it likelier than the others"
    if not set(characters) <= set(_PRINTABLE):
        return "it may hold printable ASCII characters without the space only"
    if len(characters) < 2:
        return "it needs two characters at least"
    return ""


def entropy_bits(rule: PasswordRule) -> float:
    """Return log2 of the number of passwords that the rule can make, each as likely as the others."""
    if rule.length < 1:
        return 0.0
    return log2(len(_first(rule))) + (rule.length - 1) * log2(len(rule.characters))


def length_min(characters: str) -> int:
    """Return the shortest length that reaches `BITS_MIN` with an alphabet of two characters or more."""
    first = log2(len(_first(PasswordRule(1, characters))))
    return 1 + ceil((BITS_MIN - first) / log2(len(characters)))


def generate(rule: PasswordRule, entropy: Entropy) -> Secret:
    """Draw a password; every one that the rule allows is equally likely."""
    first = _draw(1, _first(rule), entropy)
    return Secret(first + _draw(rule.length - 1, rule.characters, entropy))


def _first(rule: PasswordRule) -> str:
    """Return what the first character is drawn from; a letter there keeps command lines and YAML simple."""
    letters = "".join(character for character in rule.characters if character in string.ascii_letters)
    return letters or rule.characters


def _draw(count: int, characters: str, entropy: Entropy) -> str:
    """Draw by rejection: bytes past the last whole multiple of the alphabet are thrown away, so there is no bias."""
    size = len(characters)
    limit = 256 - 256 % size
    drawn: list[str] = []
    while len(drawn) < count:
        fit = (byte for byte in entropy.draw(count - len(drawn)) if byte < limit)
        drawn.extend(characters[byte % size] for byte in fit)
    return "".join(drawn)
