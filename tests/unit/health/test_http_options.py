"""Which URLs a check takes, and what of them is shown."""

from __future__ import annotations

import pytest

from adapters.health.http import HttpEndpointOptions, ResponseTimeOptions
from adapters.health.http_session import UseCredential, place


@pytest.mark.parametrize("url", ["app.example", "ftp://app.example", "https://", "http://a b/", "http://a:0/", "x://["])
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="begins with"):
        HttpEndpointOptions(url=url)


def test_a_login_does_not_stand_in_a_url() -> None:
    with pytest.raises(ValueError, match="has a login in it"):
        HttpEndpointOptions(url="https://me:canary@app.example/")


@pytest.mark.parametrize("use", [UseCredential.BASIC, UseCredential.BEARER])
@pytest.mark.parametrize("url", ["https://app.example/", "http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"])
def test_a_credential_is_not_shown_to_the_network(use: UseCredential, url: str) -> None:
    """But to this machine itself."""
    assert HttpEndpointOptions(url=url, use_credential=use).url == url
    assert ResponseTimeOptions(url=url, use_credential=use, p50_threshold_ms=1).url == url
    with pytest.raises(ValueError, match="https:// alone"):
        HttpEndpointOptions(url="http://app.example/", use_credential=use)
    with pytest.raises(ValueError, match="https:// alone"):
        ResponseTimeOptions(url="http://app.example/", use_credential=use, p50_threshold_ms=1)


def test_a_pattern_is_a_regular_expression() -> None:
    with pytest.raises(ValueError, match="regular expression"):
        HttpEndpointOptions(url="https://app.example", body_matches="(")


def test_response_times_need_a_bound() -> None:
    with pytest.raises(ValueError, match="is expected"):
        ResponseTimeOptions(url="https://app.example")
    options = ResponseTimeOptions(url="https://app.example", p50_threshold_ms=10, p99_threshold_ms=1000)
    assert options.bounds() == {50: 0.01, 99: 1.0}


def test_only_the_place_of_a_url_is_shown() -> None:
    assert place("https://app.example:8443/canary?token=canary") == "https://app.example:8443"
