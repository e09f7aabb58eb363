"""The check `prometheus`: a query that another program has measured already, and what is success and what failure.

Rule: three-valued: what is neither success nor failure, and what nobody measured, is unknown. That Prometheus itself
is out of reach is unknown too: it is not what is looked at.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from adapters.health.http_session import asking, check_url, place
from adapters.health.looking import FAIL, PASS, UNKNOWN, Found, NotSeen, OutOfReach, See, declared, seconds
from engine.adapter import CheckContext
from engine.health import CheckResult, Subject

_CONDITION: Final = re.compile(r"\s*(<=|>=|==|!=|<|>)\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class PrometheusOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An instant query. Of several series all are to succeed, and one that fails is enough."""

    url: str
    """Where Prometheus is; `/api/v1/query` is added."""
    query: str
    """PromQL, an instant vector or a scalar."""
    success: str = ""
    """A condition such as `< 0.01`; without it, what does not fail succeeds."""
    failure: str = ""
    """A condition such as `>= 0.05`; without it, what does not succeed fails."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else the public ones."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        check_url(self.url)
        if not self.query.strip():
            raise ValueError("`query` is PromQL")
        if not self.success and not self.failure:
            raise ValueError("`success` or `failure` is expected")
        for text in filter(None, (self.success, self.failure)):
            condition(text)


def condition(text: str) -> Callable[[float], bool]:
    """Read a comparison with a number, as `< 0.01`; raises ValueError for anything else."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError("a condition is a comparison with a number, such as `< 0.01` or `>= 5`")
    compare, bound = _COMPARE[match[1]], float(match[2])
    return lambda value: compare(value, bound)


def verdict(value: float, *, success: str, failure: str) -> CheckResult:
    """Judge one value by conditions, of which one may be empty; failure comes first."""
    fails = bool(failure) and condition(failure)(value)
    succeeds = condition(success)(value) if success else not fails
    if fails or (not succeeds and not failure):
        return FAIL
    return PASS if succeeds else UNKNOWN


def values(body: bytes) -> list[float]:
    """Return the numbers of an answer of `/api/v1/query`; raises `NotSeen` for what has none.

    Source: Prometheus documentation, "HTTP API", instant queries. NaN is no number: 0/0 says nothing.
    """
    try:
        document: Any = msgspec.json.decode(body)
        result, kind = document["data"]["result"], document["data"]["resultType"]
        told = [float(each["value"][1]) for each in result] if kind == "vector" else None
        if kind == "scalar":
            told = [float(result[1])]
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, ValueError, IndexError):
        raise NotSeen("the answer is not one of Prometheus, or longer than 64 KiB") from None
    if told is None:
        raise NotSeen("the query gives neither an instant vector nor a scalar")
    numbers = [number for number in told if not math.isnan(number)]
    if not numbers:
        raise NotSeen("the query gives no number")
    return numbers


def _see(options: PrometheusOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None
    url = f"{options.url.rstrip('/')}/api/v1/query"

    def see(_: Subject) -> Found:
        try:
            with asking(root=root, limit=seconds(context.timeout)) as opened:
                answer = opened.get(url, query={"query": options.query})
        except OutOfReach as error:
            raise NotSeen(str(error)) from None
        if answer.status != 200:
            raise NotSeen(f"{place(url)}: status {answer.status}")
        seen = [
            (verdict(value, success=options.success, failure=options.failure), value) for value in values(answer.body)
        ]
        worst = max(seen, key=lambda each: (_ORDER[each[0]], each[1]))
        which = "" if len(seen) == 1 else f", the worst of {len(seen)} series"
        return Found(worst[0], f"{place(url)}: {worst[1]:g}{which}", worst[1] if math.isfinite(worst[1]) else None)

    return see


_ORDER: Final = {PASS: 0, UNKNOWN: 1, FAIL: 2}

PROMETHEUS: Final = declared(
    "prometheus",
    "asks Prometheus, and judges by conditions of success and failure",
    PrometheusOptions,
    _see,
    unit="",
)
