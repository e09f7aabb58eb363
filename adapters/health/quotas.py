"""What is left of what an API lets its callers have: of its rate limit, and of a quota that it tells of.

Rule 1: what an answer does not tell is unknown; an answer that refuses the caller is a failure.
Rule 2: shares are of what is used, 0 to 1, whichever of used and left is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from adapters.health.http_session import Answer, UseCredential, asking, authorization, check_url, place
from adapters.health.looking import FAIL, Found, NotSeen, OutOfReach, See, declared, judged, seconds
from adapters.health.rate_limit_fields import number, used_share, used_shares
from engine.adapter import CheckContext
from engine.health import Subject

Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]

_TOO_MANY: Final = 429
"""Too Many Requests (RFC 6585)."""
_UNAUTHORIZED: Final = 401
_NUMBER_MAX: Final = 1e300
"""JSON has whole numbers of any length, which no float holds."""


class RateLimitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking one URL with GET, and reading from the headers how much of the rate limit is used."""

    url: str
    warning_used_pct: Percent = 80.0
    """It warns where more of a limit than this is used."""
    max_used_pct: Percent = 95.0
    """It fails where more of a limit than this is used, or where the answer is 429."""
    limit_header: str = ""
    """The header with the limit, where the API has names of its own; else `RateLimit`, `RateLimit-…`, `X-RateLimit-…`
    and `X-Rate-Limit-…` are looked at, and of several limits the one of which most is used counts."""
    remaining_header: str = ""
    """The header with what is left of it; with `limit_header` alone."""
    use_credential: UseCredential = UseCredential.NONE
    """Logging in with the new version, over https alone, or on this machine."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else the public ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        check_url(self.url, is_secret=self.use_credential is not UseCredential.NONE)
        _check_bounds(self.warning_used_pct, self.max_used_pct)
        if bool(self.limit_header) != bool(self.remaining_header):
            raise ValueError("`limit_header` and `remaining_header` go together")


class ApiQuotaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking one URL with GET for a quota; a number stands in a header, or at a JSON Pointer (`/usage/0/used`)."""

    url: str
    limit: Annotated[int, msgspec.Meta(ge=1)] | Annotated[str, msgspec.Meta(min_length=1)]
    """How much there is: a whole number, or where it stands in the answer."""
    used: str = ""
    """Where it stands how much of it is used: the name of a header, or, beginning with `/`, a JSON Pointer (RFC 6901)
    into the body."""
    remaining: str = ""
    """Where it stands how much of it is left, if not how much is used."""
    warning_used_pct: Percent = 80.0
    """It warns where more than this is used."""
    max_used_pct: Percent = 95.0
    """It fails where more than this is used, or where the answer is not from 200 to 299."""
    use_credential: UseCredential = UseCredential.NONE
    """Logging in with the new version, over https alone, or on this machine."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else the public ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        check_url(self.url, is_secret=self.use_credential is not UseCredential.NONE)
        _check_bounds(self.warning_used_pct, self.max_used_pct)
        if bool(self.used) == bool(self.remaining):
            raise ValueError("one of `used` and `remaining` is expected")


def _check_bounds(warn: float, fail: float) -> None:
    if warn > fail:
        raise ValueError("`warning_used_pct` must not be more than `max_used_pct`")


def at(answer: Answer, where: str) -> float:
    """Return the number of an answer at a header, or, beginning with `/`, at a JSON Pointer; raises `NotSeen`."""
    if not where.startswith("/"):
        found = number(answer.headers.get(where.lower(), ""))
    else:
        found = _number_in(_pointed(answer.body, where))
    if found is None:
        raise NotSeen(f"there is no number at {where}")
    return found


def _pointed(body: bytes, pointer: str) -> object:
    """Return what a pointer leads to; None where nothing is."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotSeen("the body is not JSON, or longer than 64 KiB") from None
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _number_in(value: object) -> float | None:
    """Return a number of JSON, or a text that is one; anything else, true and false among it, is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if abs(value) <= _NUMBER_MAX else None
    return number(value) if isinstance(value, str) else None


def _rate_limit(options: RateLimitOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None
    where = place(options.url)

    def see(subject: Subject) -> Found:
        headers = authorization(options.use_credential, subject)
        with asking(root=root, limit=seconds(context.timeout)) as opened:
            answer = opened.get(options.url, headers=headers)
        if answer.status == _TOO_MANY:
            return Found(FAIL, f"{where}: status {answer.status}, the limit is reached", 1.0)
        if answer.status == _UNAUTHORIZED or answer.status >= 500:
            # The limits that come along are not those of this login.
            raise OutOfReach(f"{where}: status {answer.status}")
        if options.limit_header:
            share = used_share(at(answer, options.limit_header), at(answer, options.remaining_header))
            shares = [] if share is None else [share]
        else:
            shares = used_shares(answer.headers)
        if not shares:
            raise NotSeen(f"{where}: no header tells of a rate limit")
        return _told(where, max(shares), options)

    return see


def _api_quota(options: ApiQuotaOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None
    where = place(options.url)

    def see(subject: Subject) -> Found:
        headers = authorization(options.use_credential, subject)
        with asking(root=root, limit=seconds(context.timeout)) as opened:
            answer = opened.get(options.url, headers=headers)
        if not 200 <= answer.status < 300:
            raise OutOfReach(f"{where}: status {answer.status}")
        limit = at(answer, options.limit) if isinstance(options.limit, str) else options.limit
        left = at(answer, options.remaining) if options.remaining else limit - at(answer, options.used)
        share = used_share(limit, max(left, 0.0) if options.used else left)
        if share is None:
            raise NotSeen(f"{where}: a limit of {limit:g}, of which {left:g} are left, says nothing")
        return _told(where, share, options)

    return see


def _told(where: str, share: float, options: RateLimitOptions | ApiQuotaOptions) -> Found:
    result = judged(share, warn=options.warning_used_pct / 100, fail=options.max_used_pct / 100)
    return Found(result, f"{where}: {share:.1%} used", share)


RATE_LIMIT: Final = declared(
    "rate_limit",
    "reads from the headers of an answer how much of a rate limit is used",
    RateLimitOptions,
    _rate_limit,
    unit="ratio",
)
API_QUOTA: Final = declared(
    "api_quota",
    "reads from an answer how much of a quota is used",
    ApiQuotaOptions,
    _api_quota,
    unit="ratio",
)
