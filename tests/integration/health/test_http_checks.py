"""The checks over HTTP and below it, against servers of this machine: what each option changes."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.health.connecting import TCP, TLS_EXPIRY
from adapters.health.http import HTTP_ENDPOINT, RESPONSE_TIME
from adapters.health.prometheus import PROMETHEUS
from adapters.targets.memory import ADAPTER as MEMORY
from engine.adapter import CheckAdapter
from engine.health import CheckResult, HealthCheck, Sample
from tests.integration.health.bench import CANARY, assert_told, built, context, subject, without_value
from tests.integration.health.web_bench import Web, certificate, serving

PASS, WARN, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as started:
        yield started


def check(adapter: CheckAdapter, *, timeout: float = 2.0, base: Path = Path("/nowhere"), **options: Any) -> HealthCheck:
    return built(adapter, context("memory", MEMORY.options(), timeout=timeout, base=base), **options)


def look(adapter: CheckAdapter, *, timeout: float = 2.0, base: Path = Path("/nowhere"), **options: Any) -> Sample:
    sample = check(adapter, timeout=timeout, base=base, **options).look(subject("app"))
    assert_told(sample)
    return sample


def nobody() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- http_endpoint --------------------------------------------------------------------------------------


def test_an_endpoint_that_answers_passes(web: Web) -> None:
    sample = look(HTTP_ENDPOINT, url=web.url("/deep?token=canary"))
    assert (sample.result, sample.unit) == (PASS, "s")
    assert sample.value is not None
    assert 0 < sample.value < 2
    assert web.asked == [("/deep?token=canary", "")]


@pytest.mark.parametrize(
    ("status", "expected", "result"),
    [(204, None, PASS), (299, None, PASS), (404, None, FAIL), (500, None, FAIL), (404, 404, PASS), (200, 204, FAIL)],
)
def test_the_status_is_the_expected_one(web: Web, status: int, expected: int | None, result: CheckResult) -> None:
    web.status, web.body = status, b""
    options: dict[str, Any] = {} if expected is None else {"expected_status": expected}
    sample = look(HTTP_ENDPOINT, url=web.url(), **options)
    assert sample.result is result
    assert f"status {status}" in sample.text


def test_a_redirect_is_not_followed(web: Web) -> None:
    web.status, web.headers = 302, {"Location": web.url("/elsewhere")}
    assert look(HTTP_ENDPOINT, url=web.url()).result is FAIL
    assert len(web.asked) == 1


def test_the_body_is_searched(web: Web) -> None:
    assert look(HTTP_ENDPOINT, url=web.url(), body_matches="is w.ll$").result is PASS
    sample = look(HTTP_ENDPOINT, url=web.url(), body_matches="^is")
    assert sample.result is FAIL
    assert "`body_matches` is not found" in sample.text


def test_a_body_is_read_to_64_kib(web: Web) -> None:
    web.body = b"x" * 65_530 + b"inside" + b"outside" + b"x" * 5_000_000
    assert look(HTTP_ENDPOINT, url=web.url(), body_matches="inside").result is PASS
    assert look(HTTP_ENDPOINT, url=web.url(), body_matches="outside").result is FAIL


@pytest.mark.parametrize(
    ("use", "sent"),
    [
        ("none", ""),
        ("basic", "Basic " + base64.b64encode(f"app:{CANARY}".encode()).decode()),
        ("bearer", f"Bearer {CANARY}"),
    ],
)
@pytest.mark.parametrize(
    ("adapter", "further"), [(HTTP_ENDPOINT, {}), (RESPONSE_TIME, {"p50_threshold_ms": 1e6, "requests": 1})]
)
def test_the_new_version_goes_along(
    web: Web, adapter: CheckAdapter, further: dict[str, Any], use: str, sent: str
) -> None:
    assert look(adapter, url=web.url(), use_credential=use, **further).result is PASS
    assert [authorization for _, authorization in web.asked] == [sent]
    looked = check(adapter, url=web.url(), use_credential=use, **further).look(without_value(subject("app")))
    assert looked.result is (PASS if use == "none" else UNKNOWN)


@pytest.mark.parametrize("secret", ["canary\nX: y", "canary-é", "canary-\ud800"])
def test_a_value_that_no_header_can_hold_is_not_told(web: Web, secret: str) -> None:
    looked = check(HTTP_ENDPOINT, url=web.url(), use_credential="bearer").look(subject("app", secret))
    assert looked.result is FAIL
    assert "canary" not in looked.text


@pytest.mark.parametrize(
    ("adapter", "options"),
    [(HTTP_ENDPOINT, {}), (RESPONSE_TIME, {"p50_threshold_ms": 100}), (PROMETHEUS, {"query": "up", "success": "== 1"})],
)
def test_what_is_not_there_is_a_failure_but_for_prometheus(adapter: CheckAdapter, options: dict[str, Any]) -> None:
    sample = look(adapter, url=f"http://127.0.0.1:{nobody()}", **options)
    assert sample.result is (UNKNOWN if adapter is PROMETHEUS else FAIL)
    assert "Connection refused" in sample.text


@pytest.mark.slow
@pytest.mark.parametrize("pem", [False, True], ids=["plain", "protected"])
@pytest.mark.parametrize("delay", [{"wait": 3.0}, {"drip": 0.3}, {"trickle": 0.3}], ids=["answer", "body", "head"])
@pytest.mark.parametrize(
    ("adapter", "options"),
    [(HTTP_ENDPOINT, {}), (RESPONSE_TIME, {"p50_threshold_ms": 1e6}), (PROMETHEUS, {"query": "up", "success": "== 1"})],
)
def test_an_answer_that_is_late_is_no_answer(
    tmp_path: Path, *, adapter: CheckAdapter, options: dict[str, Any], delay: dict[str, float], pem: bool
) -> None:
    """In time, however often a part of it comes."""
    root = certificate(tmp_path) if pem else None
    with serving(root) as web:
        for name, value in delay.items():
            setattr(web, name, value)
        began = time.monotonic()
        trusted = {"tls_root": root.name} if root else {}
        sample = look(adapter, url=web.url(), timeout=0.4, base=tmp_path, **options, **trusted)
        assert time.monotonic() - began < 2
    assert sample.result is (UNKNOWN if adapter is PROMETHEUS else FAIL)
    assert "no answer in time" in sample.text


# --- response_time --------------------------------------------------------------------------------------


def test_answers_are_timed(web: Web) -> None:
    sample = look(RESPONSE_TIME, url=web.url(), p95_threshold_ms=1000)
    assert (sample.result, sample.unit) == (PASS, "s")
    assert sample.value is not None
    assert 0 < sample.value < 1
    assert sample.text.endswith("of 20 answers")
    assert len(web.asked) == 20


@pytest.mark.parametrize("rank", ["p50", "p95", "p99"])
def test_each_percentile_has_its_bound(web: Web, rank: str) -> None:
    web.wait = 0.03
    tight: dict[str, Any] = {f"{rank}_threshold_ms": 20}
    sample = look(RESPONSE_TIME, url=web.url(), requests=2, **tight)
    assert sample.result is FAIL
    assert sample.text.endswith(f"too slow: {rank}")
    assert look(RESPONSE_TIME, url=web.url(), requests=2, **{**tight, f"{rank}_threshold_ms": 1000}).result is PASS


def test_the_window_reaches_back_to_earlier_looks(web: Web) -> None:
    made = check(RESPONSE_TIME, url=web.url(), requests=2, window=3, p50_threshold_ms=1e6)
    texts = [made.look(subject("app")).text for _ in range(2)]
    assert [text.rpartition(" of ")[2] for text in texts] == ["2 answers", "3 answers"]


@pytest.mark.parametrize(("status", "result"), [(404, PASS), (500, FAIL)])
def test_an_error_of_the_server_is_a_failure(web: Web, status: int, result: CheckResult) -> None:
    web.status = status
    assert look(RESPONSE_TIME, url=web.url(), p50_threshold_ms=1e6).result is result


# --- TLS and TCP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "options"),
    [(HTTP_ENDPOINT, {}), (RESPONSE_TIME, {"p50_threshold_ms": 1e6}), (PROMETHEUS, {"query": "up", "success": "== 1"})],
)
def test_a_certificate_is_trusted_where_the_options_say_so(
    tmp_path: Path, adapter: CheckAdapter, options: dict[str, Any]
) -> None:
    """The path is relative to the configuration file."""
    pem = certificate(tmp_path)
    with serving(pem) as web:
        web.body = json.dumps({"data": {"resultType": "scalar", "result": [1, "1"]}}).encode()
        assert look(adapter, url=web.url(), base=tmp_path, tls_root=pem.name, **options).result is PASS
        sample = look(adapter, url=web.url(), **options)
        assert sample.result is (UNKNOWN if adapter is PROMETHEUS else FAIL)
        assert "the certificate is not trusted" in sample.text
        missing = look(adapter, url=web.url(), base=tmp_path, tls_root="missing.pem", **options)
        assert "cannot be read" in missing.text


def test_a_port_takes_connections(web: Web) -> None:
    sample = look(TCP, host="127.0.0.1", port=web.port)
    assert (sample.result, sample.unit) == (PASS, "s")
    refused = look(TCP, host="127.0.0.1", port=nobody())
    assert (refused.result, refused.value) == (FAIL, None)
    assert "Connection refused" in refused.text
    assert look(TCP, host="x" * 100 + ".invalid", port=80).result is FAIL


def test_a_certificate_ends(tmp_path: Path) -> None:
    pem = certificate(tmp_path, days=10)
    with serving(pem) as web:
        given: dict[str, Any] = {"host": "127.0.0.1", "port": web.port, "base": tmp_path, "tls_root": pem.name}
        sample = look(TLS_EXPIRY, **given)
        assert (sample.result, sample.unit) == (WARN, "s")
        assert sample.value == pytest.approx(864_000, abs=60)
        assert look(TLS_EXPIRY, **given, warn_days=9).result is PASS
        assert look(TLS_EXPIRY, **given, fail_days=11).result is FAIL


@pytest.mark.parametrize(
    ("days", "name", "said"),
    [(-1, "127.0.0.1", "certificate has expired"), (30, "127.0.0.2", "certificate is not valid for '127.0.0.1'")],
)
def test_a_certificate_that_is_not_accepted_is_a_failure(tmp_path: Path, days: float, name: str, said: str) -> None:
    pem = certificate(tmp_path, days=days, name=name)
    with serving(pem) as web:
        sample = look(TLS_EXPIRY, host="127.0.0.1", port=web.port, base=tmp_path, tls_root=pem.name)
    assert sample.result is FAIL
    assert said in sample.text


def test_a_certificate_of_nobody_known_is_a_failure(tmp_path: Path, web: Web) -> None:
    with serving(certificate(tmp_path)) as protected:
        assert "not trusted" in look(TLS_EXPIRY, host="127.0.0.1", port=protected.port).text
    assert look(TLS_EXPIRY, host="127.0.0.1", port=web.port, timeout=0.5).result is FAIL
    missing = look(TLS_EXPIRY, host="127.0.0.1", port=web.port, base=tmp_path, tls_root="missing.pem")
    assert "cannot be read" in missing.text


# --- prometheus -----------------------------------------------------------------------------------------


def told(web: Web, *numbers: str) -> None:
    result = [{"metric": {"n": str(n)}, "value": [1, number]} for n, number in enumerate(numbers)]
    web.body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def test_the_query_is_asked_of_prometheus(web: Web) -> None:
    told(web, "0.005")
    query = 'rate(errors{app="x"}[5m])'
    sample = look(PROMETHEUS, url=web.url("/prometheus/"), query=query, success="< 0.01")
    assert (sample.result, sample.value, sample.unit) == (PASS, 0.005, "")
    parts = urlsplit(web.asked[0][0])
    assert (parts.path, parse_qs(parts.query)) == ("/prometheus/api/v1/query", {"query": [query]})


@pytest.mark.parametrize(
    ("numbers", "result", "value"),
    [
        (["0.005", "0.001"], PASS, 0.005),
        (["0.005", "0.02"], UNKNOWN, 0.02),
        (["0.1", "0.005", "0.02"], FAIL, 0.1),
        (["+Inf"], FAIL, None),
        (["NaN"], UNKNOWN, None),
        ([], UNKNOWN, None),
    ],
)
def test_the_worst_series_counts(web: Web, numbers: list[str], result: CheckResult, value: float | None) -> None:
    told(web, *numbers)
    sample = look(PROMETHEUS, url=web.url(""), query="x", success="< 0.01", failure=">= 0.05")
    assert (sample.result, sample.value) == (result, value)


@pytest.mark.parametrize("change", [{"status": 503}, {"status": 400}, {"body": b"<html>"}])
def test_an_answer_of_something_else_shows_nothing(web: Web, change: dict[str, Any]) -> None:
    told(web, "1")
    for name, value in change.items():
        setattr(web, name, value)
    assert look(PROMETHEUS, url=web.url(""), query="x", success="== 1").result is UNKNOWN
