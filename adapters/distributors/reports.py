"""What an instance reports of the version that it uses, and what that proves.

docs/reference/instance-report.md is for those who write instances.

Rule 1: a proof is of a challenge that was drawn for one look; an answer that was kept from before proves nothing.
Rule 2: what an instance says is never told to people, but for the id of a version: it may be anything.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

from engine.instances import Proof, Usage
from engine.values import CredentialValue, Form

Wanted: TypeAlias = Literal["fingerprint", "version"]
"""What counts as a proof: an HMAC of the password, or that the instance says so."""

REPORT_BYTES_MAX: Final = 16_384
"""Bytes of a report that are read; one has some 150."""
CHALLENGE: Final = "challenge"
"""The name of the challenge in the query of a report's URL, and in a report that is left behind."""
CHALLENGE_LENGTH_MIN: Final = 16
"""Characters: 64 bits in hex, so that no two reports have the same."""

_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""How keyturn calls a version. Anything else that an instance says could be a secret, by mistake."""


def new_challenge() -> str:
    """Return 256 random bits in hex."""
    return secrets.token_hex(32)


def expected_proof(value: CredentialValue, challenge: str) -> str:
    """Return HMAC-SHA256 in hex, the challenge as its key and the password as its message, both in UTF-8."""
    return hmac.new(challenge.encode(), value.revealed().encode("utf-8", "surrogatepass"), sha256).hexdigest()


def unknown(detail: str) -> Proof:
    """Return that nothing is known, and why."""
    return Proof(Usage.UNKNOWN, detail)


def judged(body: bytes, value: CredentialValue, *, version: str, challenge: str, wanted: Wanted) -> Proof:
    """Return what a report proves of `version`, which is `value`; what is no report proves nothing."""
    report = read(body)
    if report is None:
        return unknown("its report is no JSON object, or longer than 16 KiB")
    said = report.get("version")
    if said is not None and not isinstance(said, str):
        return unknown("`version` of its report is no text")
    if not said and not report.get("proof"):
        return Proof(Usage.OTHER, "it reports that it uses none")
    if wanted == "version":
        if said == version:
            return Proof(Usage.USED, "it reports the version")
        return Proof(Usage.OTHER, _other(said))
    return _by_fingerprint(report.get("proof"), said, value, version=version, challenge=challenge)


def judged_by_itself(body: bytes, value: CredentialValue, version: str, wanted: Wanted) -> Proof:
    """Return what a report proves that was left behind, with the challenge that the instance drew for it.

    Whoever calls this knows that the report is not from before.
    """
    challenge = (read(body) or {}).get(CHALLENGE)
    if not isinstance(challenge, str) or len(challenge) < CHALLENGE_LENGTH_MIN:
        challenge = ""
    if not challenge and wanted == "fingerprint" and (read(body) or {}).get("proof"):
        return unknown(f"`challenge` of its report is missing, or shorter than {CHALLENGE_LENGTH_MIN} characters")
    return judged(body, value, version=version, challenge=challenge, wanted=wanted)


def read(body: bytes) -> dict[str, Any] | None:
    """Return the object of a report; None where it is none, or too long."""
    if len(body) > REPORT_BYTES_MAX:
        return None
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _by_fingerprint(given: object, said: str | None, value: CredentialValue, *, version: str, challenge: str) -> Proof:
    if value.secret is None or value.form is not Form.PLAIN:
        return unknown("the password of the version is not known, so nothing can prove it")
    if not isinstance(given, str) or not _HEX.fullmatch(given.lower()):
        return unknown("`proof` of its report is missing, or not 64 hexadecimal digits")
    if hmac.compare_digest(given.lower(), expected_proof(value, challenge)):
        return Proof(Usage.USED, "it proved that it has the password of the version")
    if said == version:
        return unknown("it reports the version, and its proof is of another password, or of an older challenge")
    return Proof(Usage.OTHER, _other(said))


def _other(said: str | None) -> str:
    if said and _VERSION.fullmatch(said):
        return f"it reports version {said}"
    return "it reports a version that keyturn made none of" if said else "its proof is of another password"
