"""The header fields by which an HTTP API tells how much of its rate limit is left.

Rule: what cannot be read says nothing; no text of a server is handed on but names of policies.

Sources: draft-ietf-httpapi-ratelimit-headers, of which all three forms are in use: a list of policies (08 and later,
`RateLimit: "default";r=50;t=30`), a dictionary (07, `RateLimit: limit=100, remaining=50, reset=30`) and single fields
(06 and before, `RateLimit-Remaining: 50`). Older than the draft are `X-RateLimit-…`, which GitHub documents under "Rate
limits for the REST API" and many others have as well, and `X-Rate-Limit-…`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

_SINGLE: Final = ("ratelimit", "x-ratelimit", "x-rate-limit")
"""What stands before `-limit` and `-remaining`, in lower case."""


def used_shares(headers: Mapping[str, str]) -> list[float]:
    """Return which share of each limit is used that the headers (names in lower case) tell of, 0 to 1 and no order.

    A limit whose size is not told is left out.
    """
    listed = _listed(headers.get("ratelimit", ""), headers.get("ratelimit-policy", ""))
    return [*listed, *_dictionary(headers.get("ratelimit", "")), *_single(headers)]


def used_share(limit: float | None, remaining: float | None) -> float | None:
    """Return which share of a limit is used; None where that cannot be told. More than all of it is all of it."""
    if limit is None or remaining is None or limit <= 0 or remaining < 0:
        return None
    return max(1 - remaining / limit, 0.0)


def number(text: str) -> float | None:
    """Return the number of a field, or the first of a list, as in `100, 100;w=60`; None for anything else."""
    try:
        found = float(text.partition(",")[0].partition(";")[0])
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _listed(remaining: str, policies: str) -> Iterator[float]:
    """Yield the used shares of the policies of which both fields tell."""
    quotas = {name: parameters.get("q") for name, parameters in _items(policies)}
    for name, parameters in _items(remaining):
        share = used_share(_natural(quotas.get(name)), _natural(parameters.get("r")))
        if share is not None:
            yield share


def _dictionary(text: str) -> Iterator[float]:
    """Yield the used share of a field that is a dictionary."""
    told = _parsed(text, "dictionary") or {}
    limit, remaining = (_natural(told.get(key, (None,))[0]) for key in ("limit", "remaining"))
    share = used_share(limit, remaining)
    if share is not None:
        yield share


def _single(headers: Mapping[str, str]) -> Iterator[float]:
    """Yield the used shares of pairs of fields with a number each."""
    for prefix in _SINGLE:
        share = used_share(number(headers.get(f"{prefix}-limit", "")), number(headers.get(f"{prefix}-remaining", "")))
        if share is not None:
            yield share


def _items(text: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the names and parameters of a list of structured fields; a name is a string, or a token as before."""
    from http_sf import Token

    for value, parameters in _parsed(text, "list") or ():
        if isinstance(value, str | Token):
            yield str(value), parameters


def _parsed(text: str, form: str) -> Any:
    """Return a structured field (RFC 9651) of this form; None where it is none."""
    from http_sf import StructuredFieldError, parse

    try:
        return parse(text.encode(), tltype=form)
    except StructuredFieldError:
        return None


def _natural(value: object) -> float | None:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None
