"""What is looked at over HTTP: whether an endpoint answers as it should, and how fast.

Rule: an endpoint is one that the service's consumers, or the service itself, ask; it changes nothing.
"""

from __future__ import annotations

import re
import time
from typing import Annotated, Final

import msgspec

from adapters.health.http_session import UseCredential, asking, authorization, check_url, place
from adapters.health.latency import Latencies
from adapters.health.looking import FAIL, PASS, Found, OutOfReach, See, declared, in_milliseconds, seconds
from engine.adapter import CheckContext
from engine.health import Subject


class HttpEndpointOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking one URL with GET, without following redirects; 64 KiB of the body are looked at."""

    url: str
    expected_status: Annotated[int, msgspec.Meta(ge=100, le=599)] | None = None
    """It fails with any other; any from 200 to 299 where none is given."""
    body_matches: str = ""
    """A regular expression of Python that is found in the body, else it fails."""
    use_credential: UseCredential = UseCredential.NONE
    """Logging in with the new version, over https alone, or on this machine."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else the public ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        check_url(self.url, is_secret=self.use_credential is not UseCredential.NONE)
        try:
            re.compile(self.body_matches)
        except re.error:
            raise ValueError("`body_matches` is no regular expression") from None


class ResponseTimeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking one URL with GET some times in a row, whatever its answer is short of an error of the server (5xx)."""

    url: str
    p50_threshold_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The median fails above this."""
    p95_threshold_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The 95th percentile fails above this."""
    p99_threshold_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The 99th percentile fails above this; of fewer than 100 answers it is the slowest."""
    requests: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """How often it is asked in a look, as far as its timeout lets it: of 20, one may be slow."""
    window: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 20
    """Of how many of the last answers the percentiles are; more than `requests` reaches back to earlier looks."""
    use_credential: UseCredential = UseCredential.NONE
    """Logging in with the new version, over https alone, or on this machine."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else the public ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        check_url(self.url, is_secret=self.use_credential is not UseCredential.NONE)
        if not self.bounds():
            raise ValueError("one of `p50_threshold_ms`, `p95_threshold_ms` and `p99_threshold_ms` is expected")

    def bounds(self) -> dict[int, float]:
        """Return what each percentile may not exceed, in seconds."""
        given = {50: self.p50_threshold_ms, 95: self.p95_threshold_ms, 99: self.p99_threshold_ms}
        return {rank: bound / 1000 for rank, bound in given.items() if bound is not None}


def _http_endpoint(options: HttpEndpointOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None
    wanted = re.compile(options.body_matches)
    where = place(options.url)

    def see(subject: Subject) -> Found:
        headers = authorization(options.use_credential, subject)
        began = time.monotonic()
        with asking(root=root, limit=seconds(context.timeout)) as opened:
            answer = opened.get(options.url, headers=headers)
        took = time.monotonic() - began
        expected = options.expected_status
        is_expected = 200 <= answer.status < 300 if expected is None else answer.status == expected
        if not is_expected:
            return Found(FAIL, f"{where}: status {answer.status}, not {expected or '2xx'}", took)
        if not wanted.search(answer.body.decode(errors="replace")):
            return Found(FAIL, f"{where}: status {answer.status}, and `body_matches` is not found", took)
        return Found(PASS, f"{where}: status {answer.status} in {in_milliseconds(took)}", took)

    return see


def _response_time(options: ResponseTimeOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None
    where = place(options.url)
    latencies = Latencies(options.window)

    def see(subject: Subject) -> Found:
        headers = authorization(options.use_credential, subject)
        with asking(root=root, limit=seconds(context.timeout)) as opened:

            def ask() -> None:
                answer = opened.get(options.url, headers=headers)
                if answer.status >= 500:
                    raise OutOfReach(f"{where}: status {answer.status}")

            # Half of the time is for the requests that are begun, so that the last of them can end.
            latencies.take(ask, count=options.requests, until=time.monotonic() + seconds(context.timeout) / 2)
        seen = {rank: latencies.percentile(rank) for rank in (50, 95, 99)}
        late = [rank for rank, bound in options.bounds().items() if seen[rank] > bound]
        text = ", ".join(f"p{rank} {in_milliseconds(seen[rank])}" for rank in seen)
        too = f"; too slow: {', '.join(f'p{rank}' for rank in late)}" if late else ""
        return Found(FAIL if late else PASS, f"{where}: {text} of {len(latencies)} answers{too}", seen[95])

    return see


HTTP_ENDPOINT: Final = declared(
    "http_endpoint",
    "asks a URL, with the new version where that is wanted, and looks at status and body",
    HttpEndpointOptions,
    _http_endpoint,
    unit="s",
)
RESPONSE_TIME: Final = declared(
    "response_time",
    "times answers to a URL, and judges the 50th, 95th and 99th percentile",
    ResponseTimeOptions,
    _response_time,
    unit="s",
)
