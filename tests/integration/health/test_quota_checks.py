"""Error rates, rate limits and quotas of HTTP services, against a server of this machine: what each option changes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.health.error_rate import ERROR_RATE
from adapters.health.quotas import API_QUOTA, RATE_LIMIT
from adapters.targets.memory import ADAPTER as MEMORY
from engine.adapter import CheckAdapter
from engine.health import CheckResult, HealthCheck, Sample
from tests.integration.health.bench import CANARY, assert_told, context, subject, without_value
from tests.integration.health.web_bench import Web, certificate, serving
from tests.unit.health.bench import options as read

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN

EVERY: list[tuple[CheckAdapter, dict[str, Any]]] = [
    (ERROR_RATE, {"requests": 2, "min_requests": 1}),
    (RATE_LIMIT, {}),
    (API_QUOTA, {"limit": 100, "used": "X-Used"}),
]
"""Each check with options that pass where the answer is `FINE`."""
FINE = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "90", "X-Used": "10"}


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as started:
        started.headers = dict(FINE)
        yield started


def check(adapter: CheckAdapter, *, timeout: float = 2.0, base: Path = Path("/nowhere"), **options: Any) -> HealthCheck:
    given = context("memory", MEMORY.options(), timeout=timeout, base=base)
    made: HealthCheck = adapter.build(read(adapter.options, options), given)
    return made


def look(adapter: CheckAdapter, **options: Any) -> Sample:
    sample = check(adapter, **options).look(subject("app"))
    assert_told(sample)
    return sample


# --- all of them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "sent"),
    [
        ("none", ""),
        ("basic", "Basic " + base64.b64encode(f"app:{CANARY}".encode()).decode()),
        ("bearer", f"Bearer {CANARY}"),
    ],
)
@pytest.mark.parametrize(("adapter", "options"), EVERY)
def test_the_new_version_goes_along(
    web: Web, adapter: CheckAdapter, options: dict[str, Any], use: str, sent: str
) -> None:
    made = check(adapter, url=web.url(), use_credential=use, **options)
    assert made.look(subject("app")).result is PASS
    assert {authorization for _, authorization in web.asked} == {sent}
    assert made.look(without_value(subject("app"))).result is (PASS if use == "none" else UNKNOWN)


@pytest.mark.parametrize(("adapter", "options"), EVERY)
def test_a_certificate_is_trusted_where_the_options_say_so(
    tmp_path: Path, adapter: CheckAdapter, options: dict[str, Any]
) -> None:
    pem = certificate(tmp_path)
    with serving(pem) as web:
        web.headers = dict(FINE)
        assert look(adapter, url=web.url(), base=tmp_path, tls_root=pem.name, **options).result is PASS
        sample = look(adapter, url=web.url(), **options)
    assert sample.result is FAIL
    assert "the certificate is not trusted" in sample.text


@pytest.mark.parametrize(("adapter", "options"), EVERY)
def test_out_of_reach_is_a_failure(web: Web, adapter: CheckAdapter, options: dict[str, Any]) -> None:
    """However few requests there were: silence is not health."""
    web.wait = 1.0
    began = time.monotonic()
    sample = look(
        adapter, url=web.url(), timeout=0.2, **options | ({"min_requests": 20} if adapter is ERROR_RATE else {})
    )
    assert (sample.result, sample.value) == (FAIL, None)
    assert "no answer in time" in sample.text
    assert time.monotonic() - began < 1


# --- error_rate -----------------------------------------------------------------------------------------


def test_a_share_of_errors_is_judged(web: Web) -> None:
    """One of 20 is five per cent, which is as much as there may be."""
    web.statuses = [503]
    sample = look(ERROR_RATE, url=web.url())
    assert (sample.result, sample.value, sample.unit) == (PASS, 0.05, "ratio")
    assert sample.text.endswith("1 errors in 20 requests (5.0%)")
    assert len(web.asked) == 20
    web.statuses = [503, 302]
    assert look(ERROR_RATE, url=web.url()).result is FAIL


def test_the_bounds_are_those_of_the_options(web: Web) -> None:
    for options, result in (
        ({"max_error_rate_pct": 9.9}, FAIL),
        ({"max_error_rate_pct": 10}, PASS),
        ({"max_error_rate_pct": 10, "warning_rate_pct": 9}, WARN),
        ({"max_error_rate_pct": 10, "warning_rate_pct": 10}, PASS),
    ):
        web.statuses = [500]
        assert look(ERROR_RATE, url=web.url(), requests=10, min_requests=10, **options).result is result


def test_only_the_codes_that_are_named_are_errors(web: Web) -> None:
    few: dict[str, Any] = {"requests": 4, "min_requests": 4}
    web.statuses = [404, 404, 200, 503]
    assert look(ERROR_RATE, url=web.url(), error_codes=[503], **few).value == 0.25
    web.statuses = [404, 404, 200, 503]
    assert look(ERROR_RATE, url=web.url(), **few).value == 0.75


def test_with_few_requests_no_share_is_told(web: Web) -> None:
    made = check(ERROR_RATE, url=web.url(), requests=3, min_requests=5)
    first, second = made.look(subject("app")), made.look(subject("app"))
    assert (first.result, first.value) == (UNKNOWN, None)
    assert "3 requests in the window, of 5 that it takes" in first.text
    assert second.result is PASS, "earlier looks count"
    assert second.text.endswith("in 6 requests (0.0%)")


def test_the_window_is_how_far_back_requests_count(web: Web) -> None:
    made = check(ERROR_RATE, url=web.url(), requests=2, min_requests=1, window="100ms")
    web.status = 500
    assert made.look(subject("app")).value == 1.0
    web.status = 200
    time.sleep(0.12)
    assert made.look(subject("app")).value == 0.0


def test_a_connection_that_breaks_is_an_error_and_no_more(web: Web) -> None:
    """Where others are answered, it is one of them."""
    made = check(ERROR_RATE, url=web.url(), timeout=1.0, requests=4, min_requests=4, max_error_rate_pct=30)
    web.hang_up = 1
    sample = made.look(subject("app"))
    assert (sample.result, sample.value) == (PASS, 0.25)


def test_no_request_is_begun_when_half_of_the_time_is_over(web: Web) -> None:
    web.wait = 0.1
    assert look(ERROR_RATE, url=web.url(), timeout=0.5, min_requests=1).result is PASS
    assert len(web.asked) == 3


# --- rate_limit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "result", "value"),
    [
        ({"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'}, PASS, 0.5),
        ({"RateLimit": '"day";r=90, "now";r=1', "RateLimit-Policy": '"now";q=10, "day";q=100'}, WARN, 0.9),
        ({"RateLimit": "limit=100, remaining=4, reset=1"}, FAIL, 0.96),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "21"}, PASS, 0.79),
        ({"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0"}, FAIL, 1.0),
        ({"X-Rate-Limit-Limit": "10", "X-Rate-Limit-Remaining": "1"}, WARN, 0.9),
        ({"RateLimit": "limit=9, remaining=9", "X-RateLimit-Limit": "9", "X-RateLimit-Remaining": "0"}, FAIL, 1.0),
        ({}, UNKNOWN, None),
        ({"RateLimit": '"default";r=50'}, UNKNOWN, None),
    ],
)  # fmt: skip
def test_the_fullest_limit_counts(web: Web, headers: dict[str, str], result: CheckResult, value: float | None) -> None:
    web.headers = headers
    sample = look(RATE_LIMIT, url=web.url())
    assert sample.result is result
    assert sample.value == (None if value is None else pytest.approx(value))
    assert sample.unit == ("" if value is None else "ratio")


@pytest.mark.parametrize(("adapter", "options"), EVERY[1:])
def test_the_bounds_of_what_is_used_are_those_of_the_options(
    web: Web, adapter: CheckAdapter, options: dict[str, Any]
) -> None:
    """What is used of `FINE` is ten per cent."""
    for bounds, result in (
        ({"warning_used_pct": 10, "max_used_pct": 10}, PASS),
        ({"warning_used_pct": 9, "max_used_pct": 10}, WARN),
        ({"warning_used_pct": 9, "max_used_pct": 9}, FAIL),
    ):
        assert look(adapter, url=web.url(), **options, **bounds).result is result


@pytest.mark.parametrize("status", [429, 401, 500, 503])
def test_an_answer_that_refuses_the_caller_is_a_failure(web: Web, status: int) -> None:
    """Whatever its headers say: they are not those of this login."""
    web.status = status
    sample = look(RATE_LIMIT, url=web.url())
    assert (sample.result, sample.value) == (FAIL, 1.0 if status == 429 else None)
    assert f"status {status}" in sample.text


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_any_other_answer_tells_of_the_limit(web: Web, status: int) -> None:
    web.status = status
    assert look(RATE_LIMIT, url=web.url()).value == pytest.approx(0.1)


def test_an_api_may_have_headers_of_its_own(web: Web) -> None:
    names = {"limit_header": "X-Limit-Tokens", "remaining_header": "x-left-tokens"}
    web.headers |= {"X-Limit-Tokens": "1000", "X-Left-Tokens": "150"}
    assert look(RATE_LIMIT, url=web.url(), **names).value == pytest.approx(0.85)
    del web.headers["X-Left-Tokens"]
    missing = look(RATE_LIMIT, url=web.url(), **names)
    assert (missing.result, missing.value) == (UNKNOWN, None)
    assert "no number at x-left-tokens" in missing.text
    web.headers |= {"X-Limit-Tokens": "0", "X-Left-Tokens": "0"}
    assert look(RATE_LIMIT, url=web.url(), **names).result is UNKNOWN


# --- api_quota ------------------------------------------------------------------------------------------

BODY = {"resources": [{"core": {"limit": 5000, "used": 4600, "remaining": 400, "a/b~c": "4900"}}], "none": None}


@pytest.mark.parametrize(
    ("options", "result", "value"),
    [
        ({"limit": "/resources/0/core/limit", "used": "/resources/0/core/used"}, WARN, 0.92),
        ({"limit": "/resources/0/core/limit", "remaining": "/resources/0/core/remaining"}, WARN, 0.92),
        ({"limit": 10_000, "used": "/resources/0/core/used"}, PASS, 0.46),
        ({"limit": 10_000, "remaining": "/resources/0/core/remaining"}, FAIL, 0.96),
        ({"limit": 5000, "used": "/resources/0/core/a~1b~0c"}, FAIL, 0.98),
        ({"limit": 4000, "used": "/resources/0/core/used"}, FAIL, 1.0),
        ({"limit": 100, "used": "x-used"}, PASS, 0.1),
        ({"limit": "X-RateLimit-Limit", "remaining": "X-RateLimit-Remaining"}, PASS, 0.1),
        ({"limit": 100, "used": "/resources/1/core/used"}, UNKNOWN, None),
        ({"limit": 100, "used": "/resources/-1/core/used"}, UNKNOWN, None),
        ({"limit": 100, "used": "/resources"}, UNKNOWN, None),
        ({"limit": 100, "used": "/none"}, UNKNOWN, None),
        ({"limit": 100, "used": "X-Unknown"}, UNKNOWN, None),
        ({"limit": "/resources/0/core/missing", "used": "X-Used"}, UNKNOWN, None),
    ],
)
def test_a_quota_is_read_where_the_options_say(
    web: Web, options: dict[str, Any], result: CheckResult, value: float | None
) -> None:
    web.body = json.dumps(BODY).encode()
    sample = look(API_QUOTA, url=web.url(), **options)
    assert sample.result is result
    assert sample.value == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[" * 60_000, b'"\xff"', b'{"used": true}', b'{"used": 1' + b"0" * 400 + b"}", b'{"used": "nan"}',
     b'{"limit": 100, "used": ' + b" " * 70_000 + b"5}"],
)  # fmt: skip
def test_a_body_of_something_else_says_nothing(web: Web, body: bytes) -> None:
    web.body = body
    assert look(API_QUOTA, url=web.url(), limit=100, used="/used").result is UNKNOWN


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 503])
def test_a_quota_is_told_in_an_answer_that_is_one(web: Web, status: int) -> None:
    web.status = status
    sample = look(API_QUOTA, url=web.url(), limit=100, used="X-Used")
    assert (sample.result, sample.value) == (FAIL, None)


@pytest.mark.parametrize(
    ("adapter", "options", "said"),
    [
        (RATE_LIMIT, {"limit_header": "X"}, "go together"),
        (RATE_LIMIT, {"warning_used_pct": 96}, "not be more than"),
        (API_QUOTA, {"limit": 1}, "one of `used` and `remaining`"),
        (API_QUOTA, {"limit": 1, "used": "a", "remaining": "b"}, "one of `used` and `remaining`"),
        (API_QUOTA, {"limit": 1, "used": "a", "warning_used_pct": 96}, "not be more than"),
        (API_QUOTA, {"limit": 0, "used": "a"}, "limit"),
        (API_QUOTA, {"limit": "", "used": "a"}, "limit"),
        (API_QUOTA, {"used": "a"}, "missing required field `limit`"),
    ],
)
def test_what_cannot_be_meant_is_refused(adapter: CheckAdapter, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check(adapter, url="https://app.example", **options)


@pytest.mark.parametrize(("adapter", "options"), EVERY)
def test_a_credential_is_not_shown_to_the_network(adapter: CheckAdapter, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="https:// alone"):
        check(adapter, url="http://app.example", use_credential="bearer", **options)
    with pytest.raises(ValueError, match="has a login in it"):
        check(adapter, url="https://me:canary@app.example", **options)
