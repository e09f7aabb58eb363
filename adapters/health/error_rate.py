"""The check `error_rate`: which share of requests to a URL fails, over some time.

Rule: of few answers no share is told; that nobody answers at all is a failure all the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from adapters.health.http_session import UseCredential, asking, authorization, check_url, place
from adapters.health.looking import Found, NotSeen, OutOfReach, See, declared, judged, seconds
from engine.adapter import CheckContext, Duration
from engine.health import Subject
from engine.values import SECOND

Status = Annotated[int, msgspec.Meta(ge=100, le=599)]


class ErrorRateOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking one URL with GET some times in a row. What is no answer, or one of `error_codes`, is an error."""

    url: str
    max_error_rate_pct: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 5.0
    """It fails where more than this are errors."""
    warning_rate_pct: Annotated[float, msgspec.Meta(ge=0, lt=100)] | None = None
    """It warns where more than this are errors."""
    error_codes: tuple[Status, ...] = ()
    """The statuses that are errors; where none are given, all but those from 200 to 299."""
    window: Duration = Duration(300 * SECOND)
    """How far back the requests reach that count, those of earlier looks among them."""
    requests: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """How often it is asked in a look, as far as its timeout lets it."""
    min_requests: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 20
    """With fewer requests in the window it is unknown: of 20, each is 5 %."""
    use_credential: UseCredential = UseCredential.NONE
    """Logging in with the new version, over https alone, or on this machine."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else the public ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        check_url(self.url, is_secret=self.use_credential is not UseCredential.NONE)
        if self.warning_rate_pct is not None and self.warning_rate_pct > self.max_error_rate_pct:
            raise ValueError("`warning_rate_pct` must not be more than `max_error_rate_pct`")
        if not self.window.microseconds:
            raise ValueError("`window` must be longer than nothing")

    def is_error(self, status: int) -> bool:
        """Tell whether an answer of this status is an error."""
        return status in self.error_codes if self.error_codes else not 200 <= status < 300


class Tries:
    """Requests and whether they were errors, as far back as `length` seconds."""

    def __init__(self, length: float, now: Callable[[], float] = time.monotonic) -> None:
        self._length = length
        self._now = now
        self._kept: deque[tuple[float, bool]] = deque()

    def add(self, *, is_error: bool) -> None:
        """Record a request that has just ended."""
        self._kept.append((self._now(), is_error))

    def counted(self) -> tuple[int, int]:
        """Return how many of the requests that count were errors, and how many they are; the others are forgotten."""
        since = self._now() - self._length
        while self._kept and self._kept[0][0] < since:
            self._kept.popleft()
        return sum(is_error for _, is_error in self._kept), len(self._kept)


def _error_rate(options: ErrorRateOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None
    where = place(options.url)
    tries = Tries(options.window.microseconds / SECOND)
    warn = None if options.warning_rate_pct is None else options.warning_rate_pct / 100

    def see(subject: Subject) -> Found:
        headers = authorization(options.use_credential, subject)
        silence, answers = "", 0
        with asking(root=root, limit=seconds(context.timeout)) as opened:
            # Half of the time is for the requests that are begun, so that the last of them can end.
            until = time.monotonic() + seconds(context.timeout) / 2
            for _ in range(options.requests):
                try:
                    is_error = options.is_error(opened.get(options.url, headers=headers).status)
                    answers += 1
                except OutOfReach as error:
                    is_error, silence = True, str(error)
                tries.add(is_error=is_error)
                if time.monotonic() >= until:
                    break
        if not answers:
            raise OutOfReach(silence)
        errors, count = tries.counted()
        if count < options.min_requests:
            raise NotSeen(f"{where}: {count} requests in the window, of {options.min_requests} that it takes")
        share = errors / count
        result = judged(share, warn=warn, fail=options.max_error_rate_pct / 100)
        return Found(result, f"{where}: {errors} errors in {count} requests ({share:.1%})", share)

    return see


ERROR_RATE: Final = declared(
    "error_rate",
    "asks a URL, and judges which share of the requests of some time were errors",
    ErrorRateOptions,
    _error_rate,
    unit="ratio",
)
